"""Items gained and lost against the baseline: a small net change may hide many that changed sides.

gained = mean over items and seeds of max(method - baseline, 0), lost the same of max(baseline - method, 0), so that
gained - lost is the paired difference. Of right or wrong answers they are the shares of items that became right, and
that became wrong. Intervals are those of any mean here: items clustered by their source, seeds random.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy

from harness.report.collect import Block
from harness.report.findings.tables import estimate_cell
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.numbers.panel import Measured, MethodValues, Panel, at_seeds, measure, score_of
from harness.report.render.document import Column, Paragraph, Part, Table, TableCell
from harness.stats.contrasts import Estimate


@dataclass(frozen=True)
class Turnover:
    """What a method gained and lost against the baseline on one metric; gained - lost is their difference."""

    method: str
    metric: BenchmarkMetric
    percent: bool
    gained: Estimate
    lost: Estimate


def turnovers_of(measured: Sequence[Measured], matrix: Matrix) -> tuple[Turnover, ...]:
    """Every primary metric of every method but the baseline; empty without a baseline."""
    found = []
    for one in measured:
        if not one.metric.primary or not one.metric.against_baseline or matrix.baseline not in one.panel.methods:
            continue
        for method in matrix.methods:
            if method.label != matrix.baseline and method.label in one.panel.methods:
                sides = _sides(one, method.label, str(matrix.baseline))
                found.append(Turnover(method.label, one.metric, one.percent, *sides))
    return tuple(found)


def _sides(one: Measured, label: str, baseline: str) -> tuple[Estimate, Estimate]:
    """(gained, lost)"""
    panel = one.panel
    seeds = tuple(sorted(set(panel.methods[label].seeds) & set(panel.methods[baseline].seeds)))
    if panel.reason or not seeds:
        blank = Estimate(None, reason=panel.reason or "no seed in common")
        return blank, blank
    own, other = (at_seeds(panel.methods[name], seeds) for name in (label, baseline))
    change = (own - other) * (1 if one.metric.higher_is_better else -1)
    gained, lost = (
        _mean(one, replace(panel, methods={"side": MethodValues(seeds, numpy.maximum(part, 0.0))}))
        for part in (change, -change)
    )
    return gained, lost


def _mean(one: Measured, panel: Panel) -> Estimate:
    return score_of(replace(measure(one.metric, panel), percent=one.percent), "side")


def turnover_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """One table for each metric."""
    turnovers = turnovers_of(block.measured, matrix)
    if not turnovers:
        return
    yield Paragraph(
        f"Items gained and lost against {matrix.baseline}: gained less lost is the difference above. Of right or wrong "
        "answers these are the shares of items that became right and that became wrong; of others, how far those that "
        "rose did rise, and those that fell did fall. Pointwise 95 % intervals; nothing is tested."
    )
    for title in dict.fromkeys(one.metric.title for one in turnovers):
        own = [one for one in turnovers if one.metric.title == title]
        unit = "points" if own[0].percent else "score"
        columns = (Column("method", left=True), Column("gained", unit), Column("lost", unit))
        rows = tuple((TableCell(o.method), *(estimate_cell(e, o.percent) for e in (o.gained, o.lost))) for o in own)
        yield Table(columns, rows, caption=f"{title}: items gained and lost")
