"""Does the verdict travel: what a choice of method on a smaller base says about the largest one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.records import DataChoice
from harness.report.collect import Block, ReportModel
from harness.report.findings.how_quality_scales import base_sizes
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.stacked import stacked
from harness.report.render import tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell
from harness.stats.travel import Interval, Travel, travels

MEANING = (
    "The largest base is left out, and methods are chosen on each smaller one (with several, also on their mean). "
    "Signs: the methods whose difference from {baseline} has the same sign on both. Tau: Kendall's rank correlation of "
    "the scores, 1 for the same order. Regret: what the largest base loses by the method that is best on the smaller "
    "one. 95 % intervals from a bootstrap of items and seeds; they are about these bases, and say nothing of still "
    "larger ones. Not corrected for the number of metrics: exploratory."
)


@dataclass(frozen=True)
class Forecasted:
    """From one base, or the mean of all smaller ones, to the largest on one metric; or the reason why not."""

    metric: BenchmarkMetric
    data: DataChoice
    source: str
    target: str
    percent: bool
    found: Travel | None
    methods: tuple[str, ...] = ()
    reason: str = ""


def forecasted(model: ReportModel) -> tuple[Forecasted, ...]:
    """Every quality and knowledge metric and choice of data; empty where no base is known to be the largest."""
    sizes = base_sizes(model)
    matrix = model.matrix
    order = sorted(matrix.bases, key=lambda base: sizes.get(base, 0))
    unknown = any(base not in sizes for base in matrix.bases)
    if matrix.stop or matrix.baseline is None or len(order) < 2 or unknown or sizes[order[-1]] == sizes[order[-2]]:
        return ()
    metrics = [m for benchmark in matrix.benchmarks for m in benchmark.metrics if m.primary and m.role != "other"]
    found = []
    for data in matrix.data:
        blocks = {block.base: block for block in model.blocks if block.data == data}
        for metric in metrics:
            sources = [(base,) for base in order[:-1]] + ([tuple(order[:-1])] if len(order) > 2 else [])
            found += [_forecast(model, blocks, metric, source, order[-1]) for source in sources]
    return tuple(found)


def _forecast(
    model: ReportModel, blocks: dict[str, Block], metric: BenchmarkMetric, source: Sequence[str], target: str
) -> Forecasted:
    measured = [blocks[base].measured_on(metric) for base in (*source, target)]
    found = stacked(measured, model.matrix.methods, without=model.matrix.controls)
    percent = all(one is not None and one.percent for one in measured)
    title = source[0] if len(source) == 1 else f"mean of {len(source)} smaller bases"
    said = Forecasted(metric, blocks[target].data, title, target, percent, None, found.methods, found.reason)
    baseline = str(model.matrix.baseline)
    if found.reason or baseline not in found.methods or len(found.methods) < 2:
        return replace(said, reason=found.reason or "the baseline and a method are not on both")
    better = found.totals if metric.higher_is_better else -found.totals
    return replace(
        said, found=travels(better[:-1].mean(axis=0), better[-1], found.weights, found.methods.index(baseline))
    )


COLUMNS = (
    Column("chosen on", left=True), Column("signs", "that agree, %"), Column("tau"), Column("best there", left=True),
    Column("regret", "on the largest"), Column("finding", left=True),
)  # fmt: skip


def travel_parts(model: ReportModel) -> Iterator[Part]:
    """A table for each metric and choice of data, a row for each base from which one would forecast."""
    found = forecasted(model)
    if not found:
        return
    yield Paragraph(MEANING.format(baseline=model.matrix.baseline))
    for title, data in dict.fromkeys((one.metric.title, one.data) for one in found):
        own = [one for one in found if (one.metric.title, one.data) == (title, data)]
        named = ", ".join(part for part in (in_plain(title), data.title, f"largest base {own[0].target}") if part)
        yield Table(COLUMNS, tuple(_row(one) for one in own), caption=named)


def _row(one: Forecasted) -> tuple[TableCell, ...]:
    if one.found is None:
        reason = TableCell(text.one_line(f"cannot forecast: {one.reason}", 80), mood="open")
        return (TableCell(one.source), *[blank_cell()] * 4, reason)
    travel = one.found
    why = travel.cannot_forecast
    return (
        TableCell(one.source),
        _cell(travel.agreement, True),
        TableCell(f"{travel.tau.value:.2f}", f"[{travel.tau.low:.2f}, {travel.tau.high:.2f}]"),
        TableCell(one.methods[travel.chosen]),
        _cell(travel.regret, one.percent),
        TableCell(f"cannot forecast: {why}", mood="open") if why else TableCell("forecasts the order", mood="good"),
    )


def _cell(one: Interval, percent: bool) -> TableCell:
    return TableCell(tabular.score_text(one.value, percent), tabular.interval(one.low, one.high, percent))
