"""The resolution of the experiment: noise floors, and the items or seeds needed to detect the margin.

The floor comes from the available rows: methods trained again with other seeds, and methods that train nothing
sampled again with other seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from harness.report.collect import Block
from harness.report.numbers.comparisons import Comparison, Result
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured
from harness.report.render import tabular
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell
from harness.stats.resolution import NoiseFloor, needed, noise_floor

SOURCES: dict[Source, str] = {
    "training": "trained again with other seeds",
    "sampling": "nothing trained, sampled again with other seeds",
}


Source = Literal["training", "sampling"]


@dataclass(frozen=True)
class Noise:
    """The noise floor of one metric from one source."""

    metric: BenchmarkMetric
    percent: bool
    source: Source
    methods: tuple[str, ...]
    floor: NoiseFloor


def noise_of(measured: Sequence[Measured], matrix: Matrix) -> tuple[Noise, ...]:
    """The floors of every primary metric, of those sources that the rows have."""
    kinds: dict[Source, list[str]] = {
        "training": [m.label for m in matrix.methods if not m.deterministic],
        "sampling": [m.label for m in matrix.methods if m.deterministic],
    }
    primary = [one for one in measured if one.metric.primary]
    found = [_noise(one, source, labels) for one in primary for source, labels in kinds.items()]
    # without sampling, an untrained method repeats its bytes, which measures nothing
    return tuple(one for one in found if one is not None and one.floor.widest > 0)


def _noise(one: Measured, source: Source, labels: Sequence[str]) -> Noise | None:
    alone = {label: one.panel.comparable([label]) for label in labels}
    known = {label: found.scores[0] for label, found in alone.items() if found.scores and found.scores[0].seeds > 1}
    floor = noise_floor(list(known.values()))
    metric = replace(one.metric, unit="natural logarithms") if one.panel.log else one.metric
    return None if floor is None else Noise(metric, one.percent, source, tuple(known), floor)


def resolution_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """The floors, then the items or seeds needed to detect the margin."""
    floors = noise_of(block.measured, matrix)
    if floors:
        yield Paragraph(
            "The noise floor: two runs of one method differ by less than this in 95 of 100 cases, on the same items "
            "and on average over the methods named; a smaller difference between two methods may be due to chance. "
            "If the least and most variable methods differ much, it is too high for the one and too low for the other."
        )
        yield _floor_table(floors)
    else:
        yield Paragraph(
            "The noise floor is unknown: nothing ran with two seeds. Give the experiment several seeds.", "open"
        )
    results = [r for r in block.results if r.metric.primary and r.percent and r.comparisons]
    if matrix.margin > 0 and any(_plan(c, r, matrix) for r in results for c in r.comparisons.values()):
        yield Paragraph(
            f"Needed to find a true difference of {tabular.points(matrix.margin, True)} (the margin) with 80 % power, "
            "in a single test and after the correction; the other number stays fixed. A pilot's seed variance is "
            f"very uncertain: treat these as orders of magnitude. {BLANK}: no number up to a million clusters, or "
            "a hundred seeds, is enough; or nothing varies with the seed."
        )
        for result in results:
            yield _needed_table(result, matrix, block)


def _floor_table(floors: Sequence[Noise]) -> Table:
    columns = (
        Column("metric", left=True), Column("source", left=True), Column("runs", "methods x seeds"),
        Column("standard deviation", "between runs, 95 % interval"), Column("of one method", "least to most variable"),
        Column("widest", "difference seen"),
        Column("floor", "one run against one"), Column("floor of means", "over the seeds"),
    )  # fmt: skip
    rows = []
    for one in floors:
        floor = one.floor
        unit = "points" if one.percent else one.metric.unit or in_plain(one.metric.name)
        shown = partial(tabular.score_text, percent=one.percent)
        rows.append((
            TableCell(in_plain(one.metric.title)), TableCell(SOURCES[one.source], small=", ".join(one.methods)),
            TableCell(f"{floor.methods} x {floor.seeds}"),
            TableCell(shown(floor.deviation), tabular.interval(floor.low, floor.high, one.percent), unit),
            TableCell(f"{shown(floor.calmest)} to {shown(floor.wildest)}", unit),
            *(TableCell(shown(value), unit) for value in (floor.widest, floor.single, floor.means)),
        ))  # fmt: skip
    return Table(columns, tuple(rows), caption="Noise floor")


def _needed_table(result: Result, matrix: Matrix, block: Block) -> Table:
    columns = (
        Column("method", left=True), Column("detectable now", "points, alone / corrected"),
        Column("clusters needed", "alone / corrected"), Column("seeds needed", "alone / corrected"),
        Column("there are", "clusters x seeds"),
    )  # fmt: skip
    rows = []
    for method in block.methods:
        comparison = result.comparisons.get(method.label)
        plans = _plan(comparison, result, matrix) if comparison is not None else None
        if comparison is None or plans is None:
            continue
        effects = comparison.effect or (None, None)
        rows.append((
            TableCell(method.label), TableCell(" / ".join(tabular.score_text(size, True) for size in effects)),
            TableCell(" / ".join(tabular.count(plan[0]) for plan in plans)),
            TableCell(" / ".join(tabular.count(plan[1]) for plan in plans)),
            TableCell(f"{comparison.estimate.clusters} x {comparison.estimate.seeds}"),
        ))  # fmt: skip
    return Table(columns, tuple(rows), caption=f"{in_plain(result.metric.title)}: numbers needed to detect the margin")


def _plan(comparison: Comparison, result: Result, matrix: Matrix) -> list[tuple[int | None, int | None]] | None:
    """(clusters, seeds) that are needed in a single test and after the correction."""
    found = [needed(comparison.estimate, matrix.margin, tests) for tests in (1, max(result.family, 1))]
    if found[0] is None or found[1] is None:
        return None
    return [(one.clusters, one.seeds) for one in found if one is not None]
