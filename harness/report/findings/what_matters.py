"""The shares of variance of base model, quality and amount of data, method, and seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.report.collect import ReportModel
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.stacked import stacked
from harness.report.render import text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell
from harness.stats.factors import SEEDS, VarianceShare, variance_shares

FEWEST_FACTORS = 2
MEANING = (
    "Shares of the variance of a metric over the cells of the whole matrix, in per cent (epsilon squared: corrected "
    "for the chance of the seeds), with 95 % intervals from a bootstrap of items and seeds. The levels are those of "
    "this experiment: a factor whose levels are far apart has a large share, and nothing follows for others. Not "
    "corrected for the number of metrics: exploratory."
)


@dataclass(frozen=True)
class Mattering:
    """The shares on one metric, over `methods` in every block; or the reason why there are none."""

    metric: BenchmarkMetric
    methods: tuple[str, ...]
    shares: tuple[VarianceShare, ...]
    reason: str = ""


def factors_of(matrix: Matrix) -> dict[str, int]:
    """The axes on which the experiment has two or more levels; methods on the small base are not counted."""
    methods = [method for method in matrix.methods if not method.on_small_base]
    levels = {
        "base model": len(matrix.bases), "data": len(matrix.data_qualities), "amount of data": len(matrix.data_sizes),
        "method": len(methods),
    }  # fmt: skip
    return {name: count for name, count in levels.items() if count > 1}


def matterings(model: ReportModel) -> tuple[Mattering, ...]:
    """Every primary metric; empty where the experiment varies one axis alone."""
    if len(factors_of(model.matrix)) < FEWEST_FACTORS or model.matrix.stop:
        return ()
    metrics = [m for benchmark in model.matrix.benchmarks for m in benchmark.metrics if m.primary]
    return tuple(
        _of_metric(model, metric) for metric in metrics if any(block.measured_on(metric) for block in model.blocks)
    )


def _of_metric(model: ReportModel, metric: BenchmarkMetric) -> Mattering:
    found = stacked([block.measured_on(metric) for block in model.blocks], model.matrix.methods)
    names, levels = _axes(model.matrix, len(found.methods))
    if found.reason or len(names) < FEWEST_FACTORS:
        return Mattering(metric, found.methods, (), found.reason or "fewer than two methods in every block")
    shares = variance_shares(found.totals.reshape(*levels, *found.totals.shape[-2:]), found.weights, names)
    return Mattering(metric, found.methods, shares, "" if shares else "no score differs from another")


def _axes(matrix: Matrix, methods: int) -> tuple[list[str], list[int]]:
    """The factors in the order of the blocks, then methods. Blocks vary by base, then quality, then size."""
    counts = {**factors_of(matrix), "method": methods}
    named = [(name, count) for name, count in counts.items() if count > 1]
    return [name for name, _ in named], [count for _, count in named]


def mattering_parts(model: ReportModel) -> Iterator[Part]:
    """One table: a row for each metric, a column for each factor, interactions together."""
    found = matterings(model)
    if not found:
        return
    yield Paragraph(MEANING)
    factors = list(factors_of(model.matrix))
    columns = (
        Column("metric", left=True), *(Column(name, "%") for name in factors), Column("interactions", "%"),
        Column("largest interaction", left=True), Column("seeds", "%"), Column("methods"),
    )  # fmt: skip
    yield Table(columns, tuple(_row(one, factors) for one in found))


def _row(one: Mattering, factors: Sequence[str]) -> tuple[TableCell, ...]:
    head = TableCell(in_plain(one.metric.title))
    if not one.shares:
        reason = TableCell(text.one_line(one.reason, 80), mood="blank")
        return (head, *[blank_cell()] * (len(factors) + 1), reason, blank_cell(), TableCell(str(len(one.methods))))
    by_name = {share.effect: share for share in one.shares}
    mixed = [share for share in one.shares if len(share.effect) > 1]
    largest = max(mixed, key=lambda share: share.value)
    return (
        head,
        *(_cell(by_name.get((name,))) for name in factors),
        TableCell(f"{100 * sum(share.value for share in mixed):.1f}"),
        TableCell(f"{' x '.join(largest.effect)}: {_words(largest)}"),
        _cell(by_name.get(SEEDS)),
        TableCell(str(len(one.methods))),
    )


def _cell(share: VarianceShare | None) -> TableCell:
    return blank_cell() if share is None else TableCell(f"{100 * share.value:.1f}", _ends(share))


def _words(share: VarianceShare) -> str:
    return f"{100 * share.value:.1f} {_ends(share)}"


def _ends(share: VarianceShare) -> str:
    return f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
