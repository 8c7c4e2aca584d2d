"""Where the next hour helps: what more items, more seeds or fewer methods would do to the chances of a decision.

The rows are their own pilot: variances as in `bakeoff plan --power --from FOLDER`, prices from the cost ledger. The
chances are those of a new run of this design, not of this one going on (docs/statistics.md, section 20).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness.report.collect import Block
from harness.report.numbers.matrix import Matrix
from harness.report.numbers.panel import Measured
from harness.report.numbers.planning import (
    Change,
    PlannedMetric,
    PlannedRow,
    PlannedRun,
    best_change,
    design_changes,
    pilot_size,
    pilot_variation,
    price_of,
)
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell
from harness.stats.intervals import FEWEST_CLUSTERS

DRAWS = 1000  # a standard error of 1.6 points at 50 % for one question, less for a mean over questions
EFFECT = 0.05


def planned_again(block: Block, matrix: Matrix, ledger: Iterable[Mapping[str, Any]]) -> PlannedRun | None:
    """The block's design with the variances of its own rows; None where no question has a chance to be computed."""
    if matrix.baseline is None:
        return None
    kin = matrix.kin
    rows = {m.label: PlannedRow(m.label, m.deterministic, kin.get(m.label, "")) for m in block.methods}
    if matrix.baseline not in rows:
        return None
    sampled = {benchmark.label for benchmark in matrix.benchmarks if benchmark.stochastic}
    metrics = [_planned(one, rows, matrix, sampled=one.metric.benchmark in sampled) for one in block.measured]
    known = tuple(one for one in metrics if one is not None)
    if not known:
        return None
    seeds = len(matrix.seeds)
    return PlannedRun(known, tuple(rows.values()), matrix.baseline, seeds, matrix.margin, price_of(ledger))


def _planned(one: Measured, rows: Mapping[str, PlannedRow], matrix: Matrix, *, sampled: bool) -> PlannedMetric | None:
    if not (one.metric.primary and one.metric.against_baseline and one.percent):
        return None
    tested = [row for label, row in rows.items() if label != matrix.baseline and label in one.panel.methods]
    size = pilot_size(one, len(matrix.seeds))
    if not tested or size.effective < FEWEST_CLUSTERS:
        return None
    known = pilot_variation(one, tested, rows[str(matrix.baseline)], sampled=sampled)
    return None if known is None else PlannedMetric(one.metric, tuple(tested), size, known[0], sampled)


def next_hour_parts(block: Block, matrix: Matrix, ledger: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    """The advice in a sentence, and the changes behind it."""
    run = planned_again(block, matrix, ledger)
    if run is None:
        return
    if run.seeds == 1:
        yield Paragraph(
            "Where the next hour helps: more seeds. With one, nothing is decided about the methods, whatever the items."
        )
        return
    found = [one for one in design_changes(run, EFFECT, DRAWS) if one.extra]  # one method cannot be halved
    if not found:
        return
    best = best_change(found)
    lead = (
        f"per extra {run.price.step}, {best.title} would raise the chances of a decision most"
        if best
        else "none of these changes raises the mean chances of a decision by a point or more"
    )
    yield Paragraph(
        f"Where the next hour helps: {lead}. Mean chances over {run.tests} comparisons with {run.baseline}, in a new "
        f"run with the variances of these rows: of a method that is truly {100 * EFFECT:g} points better to be shown "
        "better, and of one that loses nothing to be shown to keep its knowledge."
    )
    yield _table(run, found)


def _table(run: PlannedRun, found: Iterable[Change]) -> Table:
    columns = (
        Column("change", left=True), Column("better", "%, now and then"), Column("kept", "%, now and then"),
        Column("extra", f"{run.price.unit}s"), Column("gain", f"points per {run.price.step}"),
    )  # fmt: skip
    rows = []
    for one in found:
        kept = BLANK if one.kept is None else _pair(one.kept)
        rate = one.rate(run.price)
        shown = "costs less" if rate is None else f"{rate:+,.{0 if abs(rate) >= 10 else 1}f}"
        cells = (one.title, _pair(one.better), kept, f"{one.extra:+,.0f}", shown)
        rows.append(tuple(TableCell(cell) for cell in cells))
    return Table(columns, tuple(rows), caption="Other designs")


def _pair(chances: tuple[float, float]) -> str:
    return f"{100 * chances[0]:.0f} → {100 * chances[1]:.0f}"
