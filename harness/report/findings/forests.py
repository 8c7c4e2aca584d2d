"""A forest plot of one metric: every method against the baseline, with the intervals that hold together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands
from harness.report.render.document import Drawn, Sure
from harness.report.render.forest_picture import ForestRow, draw_forest

KIND_OF: dict[str, Sure] = {
    "better": "shown", "kept": "shown", "slight": "worse", "worse": "worse", "near": "likely", "open": "undecided",
    "few": "missing", "blank": "missing",
}  # fmt: skip
"""How each group of findings is drawn."""


def forest_part(result: Result, groups: Mapping[str, Sequence[str]], matrix: Matrix, title: str) -> Drawn:
    """The plot of a metric; `groups`: kind of finding -> methods."""
    kinds = {label: KIND_OF[kind] for kind, labels in groups.items() for label in labels}
    sign = 1.0 if result.metric.higher_is_better else -1.0
    order = sorted(kinds, key=lambda label: -sign * (result.comparisons[label].estimate.value or 0.0))
    estimates = [result.comparisons[label].estimate for label in order]
    ratio = any(one.scale == "ratio" for one in estimates)
    factor = 100.0 if result.percent or ratio else 1.0
    scaled: list[bands.Ends | None] = []
    for one in estimates:
        if one.value is None or one.low is None or one.high is None:
            scaled.append(None)
        else:
            scaled.append((one.low * factor, one.value * factor, one.high * factor))
    digits = bands.decimals([ends for ends in scaled if ends is not None]) if factor == 100 else None
    lines = [factor * line for line in bands.lines_of(result, matrix)]
    rows = [
        ForestRow(label, ends, kinds[label], _said(ends, digits, lines, estimate.reason))
        for label, ends, estimate in zip(order, scaled, estimates, strict=True)
    ]
    unit = "%" if ratio else "points" if result.percent else bands.unit_of(result)
    together = f"intervals of all {result.family} tests together" if result.family > 1 else "95 % interval"
    lower = "" if result.metric.higher_is_better else "; lower is better"
    svg = draw_forest(
        rows, f"{title}: difference to {matrix.baseline}", f"{unit}; {together}{lower}", _zone(result, matrix)
    )
    return Drawn(f"{title}: difference to {matrix.baseline}", svg)


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
