"""A forest plot of one metric: every method against the baseline, with the intervals that hold together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands
from harness.report.render.document import Drawn, Sure
from harness.report.render.forest_picture import ForestRow, draw_forest
from harness.stats.intervals import Estimate

KIND_OF: dict[str, Sure] = {
    "better": "shown", "kept": "shown", "slight": "worse", "worse": "worse", "near": "likely", "open": "undecided",
    "few": "missing", "blank": "missing",
}  # fmt: skip
"""How each group of findings is drawn."""


def forest_part(result: Result, groups: Mapping[str, Sequence[str]], matrix: Matrix, title: str) -> Drawn:
    """The plot of a metric; `groups`: kind of finding -> methods."""
    # but for knowledge, a difference that is not established is called "no gain shown", as on the first screen
    kind_of = KIND_OF if result.metric.role == "knowledge" else {**KIND_OF, "open": "idle"}
    kinds = {label: kind_of[kind] for kind, labels in groups.items() for label in labels}
    sign = result.metric.sign
    order = sorted(kinds, key=lambda label: -sign * (result.comparisons[label].estimate.value or 0.0))
    shown = [(label, result.comparisons[label].estimate, kinds[label]) for label in order]
    rows, unit = forest_rows(shown, result.percent, bands.lines_of(result, matrix))
    unit = unit or bands.unit_of(result)
    together = f"intervals of all {result.family} tests together" if result.family > 1 else "95 % interval"
    lower = "" if result.metric.higher_is_better else "; lower is better"
    svg = draw_forest(
        rows, f"{title}: difference to {matrix.baseline}", f"{unit}; {together}{lower}", _zone(result, matrix)
    )
    return Drawn(f"{title}: difference to {matrix.baseline}", svg)


def forest_rows(
    shown: Sequence[tuple[str, Estimate, Sure]], percent: bool, lines: Sequence[float]
) -> tuple[list[ForestRow], str]:
    """A row for each (name, difference, how it is drawn), and their unit, "" for that of the metric.

    lines  the values that decide, in the metric's own unit: no end of an interval is rounded onto one
    """
    ratio = any(one.scale == "ratio" for _, one, _ in shown)
    factor = 100.0 if percent or ratio else 1.0
    scaled: list[bands.Ends | None] = []
    for _, one, _ in shown:
        if one.value is None or one.low is None or one.high is None:
            scaled.append(None)
        else:
            scaled.append((one.low * factor, one.value * factor, one.high * factor))
    digits = bands.decimals([ends for ends in scaled if ends is not None]) if factor == 100 else None
    rows = [
        ForestRow(label, ends, kind, _said(ends, digits, [factor * line for line in lines], one.reason))
        for (label, one, kind), ends in zip(shown, scaled, strict=True)
    ]
    return rows, "%" if ratio else "points" if percent else ""


def _said(ends: bands.Ends | None, digits: int | None, lines: Sequence[float], reason: str) -> str:
    if ends is None:
        return reason or "not measured"
    digits = bands.deciding(ends, digits, lines)
    low, value, high = (bands.number(end, digits) for end in ends)
    return f"{value}  ({low} to {high})"


def _zone(result: Result, matrix: Matrix) -> tuple[float, float] | None:
    """Differences in knowledge that count as kept."""
    if result.metric.role != "knowledge" or not matrix.margin > 0:
        return None
    margin = matrix.margin * (100 if result.percent else 1)
    return (-margin, float("inf")) if result.metric.higher_is_better else (-float("inf"), margin)
