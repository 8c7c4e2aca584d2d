"""The methods on several base models: one difference over all of them, with base models as a random factor.

A base model counts as one draw, as a seed does elsewhere: the difference from the baseline, averaged over seeds, is a
row of totals for each base model, and `harness.stats.contrasts.mean` crosses base models with the clusters of items
that all of them share. So the statement is about base models like these, and its degrees of freedom are those of the
number of base models. With fewer than four nothing is pooled. Specification: docs/statistics.md, section 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy

from harness.records import DataChoice
from harness.report.collect import Block, ReportModel
from harness.report.numbers.comparisons import corrected_family, established_sign
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured
from harness.report.render import bands, tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, mean
from harness.stats.intervals import Estimate

FEWEST_BASES = 4  # with three, two degrees of freedom leave intervals that decide nothing


@dataclass(frozen=True)
class AcrossBases:
    """A method against the baseline on one metric, over all base models.

    estimate   the mean difference over base models; within the family its interval is simultaneous
    adjusted   p after the correction over all methods and metrics of one choice of data
    of_bases   base model -> the difference there, averaged over its seeds
    """

    method: str
    metric: BenchmarkMetric
    data: DataChoice
    percent: bool
    estimate: Estimate
    adjusted: float | None
    of_bases: dict[str, float]

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the difference between base models; the chance of seeds and items is part of it."""
        values = list(self.of_bases.values())
        return float(numpy.std(values, ddof=1)) if len(values) > 1 else None


def across_bases(blocks: Sequence[Block], matrix: Matrix) -> tuple[AcrossBases, ...]:
    """Every method and primary metric for each choice of data; empty with fewer than four base models."""
    if matrix.baseline is None or len(matrix.bases) < FEWEST_BASES:
        return ()
    return tuple(
        one
        for data in matrix.data
        for one in _corrected(list(_of_data([b for b in blocks if b.data == data], matrix, data)))
    )


def _of_data(blocks: Sequence[Block], matrix: Matrix, data: DataChoice) -> Iterator[AcrossBases]:
    for metric in (m for benchmark in matrix.benchmarks for m in benchmark.metrics if m.primary and m.against_baseline):
        measured = {b.base: one for b in blocks for one in b.measured if one.metric.title == metric.title}
        for method in matrix.methods:
            if method.label == matrix.baseline or method.on_small_base:
                continue
            estimate, of_bases = _pooled(measured, method.label, str(matrix.baseline), len(matrix.bases))
            percent = all(one.percent for one in measured.values())
            yield AcrossBases(method.label, metric, data, percent, estimate, None, of_bases)


def _pooled(measured: dict[str, Measured], label: str, baseline: str, bases: int) -> tuple[Estimate, dict[str, float]]:
    """The mean difference over base models, and that of each; blank with a reason where they share no items."""
    rows, weights, items = [], None, None
    of_bases: dict[str, float] = {}
    for base, one in measured.items():
        found = one.panel.comparable([label, baseline])
        if not found.scores:
            return Estimate(None, reason=f"{base}: {found.reason}"), of_bases
        own, other = found.scores
        if found.dropped or (items is not None and not numpy.array_equal(items, one.panel.items)):
            return Estimate(None, reason=f"{base} lacks items that others have"), of_bases
        if weights is not None and not numpy.array_equal(weights, own.weights):
            return Estimate(None, reason=f"{base} weighs items in another way"), of_bases
        if one.panel.log != next(iter(measured.values())).panel.log:
            return Estimate(None, reason=f"{base} is on another scale"), of_bases
        rows.append((own.totals - other.totals).mean(axis=0))
        weights, items = own.weights, one.panel.items
        of_bases[base] = own.mean - other.mean
    if len(rows) < bases or weights is None:
        return Estimate(None, reason="no scores on every base model"), of_bases
    shares = all(one.percent for one in measured.values())
    scale = Scale(binary=False, unit=1.0, bounds=(-1.0, 1.0) if shares else None)
    pooled = mean(Scores(numpy.stack(rows), weights), scale=scale)
    if not all(one.panel.log for one in measured.values()):
        return pooled, of_bases
    return pooled.of_logarithms("ratio"), {base: float(numpy.expm1(value)) for base, value in of_bases.items()}


def _corrected(found: Sequence[AcrossBases]) -> Iterator[AcrossBases]:
    """Max-t over all methods and metrics; those of one metric are on the same items."""
    shown = corrected_family([one.estimate for one in found], [one.metric.title for one in found])
    for one, (estimate, p) in zip(found, shown, strict=True):
        yield replace(one, estimate=estimate, adjusted=p)


def across_bases_parts(model: ReportModel) -> Iterator[Part]:
    """A table for each metric and choice of data; a sentence where base models are too few to speak of others."""
    matrix, found = model.matrix, across_bases(model.blocks, model.matrix)
    if not found:
        if 1 < len(matrix.bases) < FEWEST_BASES and matrix.baseline is not None:
            yield Paragraph(
                f"{len(matrix.bases)} base models: each is reported on its own. Nothing is said of base models in "
                f"general: that takes {FEWEST_BASES} or more."
            )
        return
    tests = sum(1 for one in found if one.data == found[0].data)
    yield Paragraph(
        f"Mean difference from {matrix.baseline} over {len(matrix.bases)} base models, which count as a sample of base "
        f"models like these: items and base models are random and crossed. Corrected for "
        f"{bands.counted(tests, 'test')} (step-down max-t); the intervals hold all together with 95 %. The deviation "
        "between base models contains the chance of seeds. A method that is better on average may be worse on one of "
        "them: see the lowest and the highest."
    )
    for title, data in dict.fromkeys((one.metric.title, one.data) for one in found):
        rows = [one for one in found if (one.metric.title, one.data) == (title, data)]
        named = f"{in_plain(title)}, {data.title}" if data.title else in_plain(title)
        yield Table(COLUMNS, tuple(_row(one) for one in rows), caption=f"{named}: method − {matrix.baseline}")


COLUMNS = (
    Column("method", left=True), Column("difference", "over base models"), Column("p", "corrected"),
    Column("finding", left=True), Column("deviation", "between base models"), Column("lowest", left=True),
    Column("highest", left=True),
)  # fmt: skip


def _row(one: AcrossBases) -> tuple[TableCell, ...]:
    if one.estimate.low is None:
        reason = TableCell(text.one_line(one.estimate.reason, 80), mood="blank")
        return (TableCell(one.method), *[blank_cell()] * 2, reason, *[blank_cell()] * 3)
    ends = [min(one.of_bases, key=one.of_bases.__getitem__), max(one.of_bases, key=one.of_bases.__getitem__)]
    return (
        TableCell(one.method),
        estimate_cell(one.estimate, one.percent, signed=True),
        TableCell(tabular.p_value(one.adjusted)),
        _finding(one),
        TableCell(tabular.score_text(one.deviation, one.percent)),
        *(TableCell(tabular.signed(one.of_bases[base], one.percent), small=base) for base in ends),
    )


def _finding(one: AcrossBases) -> TableCell:
    sign = established_sign(one.estimate, one.adjusted) * one.metric.sign
    if not sign:
        return TableCell("not established", mood="open")
    return TableCell("better", mood="good") if sign > 0 else TableCell("worse", mood="bad")
