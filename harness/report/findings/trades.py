"""Changes of quality set against those of knowledge: marks and axes, for the first screen, the trade-off and the card.

Both are differences to the baseline, which lies where the two lines of no change cross: scores have no corrected
intervals, and a line that leaves out 0 must be one of which a difference is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.collect import Block
from harness.report.findings.drawn_intervals import change_of, interval_words, knowledge_of, mean_change
from harness.report.findings.how_sure import candidates_of, gains_of, sure_of
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands
from harness.report.render.document import Sure
from harness.report.render.front_picture import Mark, Trade


def against(block: Block, matrix: Matrix) -> tuple[str, Result | None]:
    """The metric that quality is set against: knowledge, or else the first primary metric of another role."""
    knowledge = [result for result in block.of_role("knowledge") if result.comparisons]
    if knowledge:
        return "knowledge", knowledge[0]
    gains = gains_of(block)
    others = [
        result for result in (*block.of_role("other"), *gains[1:]) if result.comparisons and result not in gains[:1]
    ]
    return (bands.benchmark_title(others[0], block.results), others[0]) if others else ("", None)


def trades_of(block: Block, matrix: Matrix) -> list[Trade]:
    """Every gain metric against knowledge, with the candidates in front; the metric that parts them most is first."""
    rivals = [method.label for method in block.methods if method.label != matrix.baseline]
    sure = {label: sure_of(label, block, matrix) for label in rivals}
    chosen = candidates_of(block, matrix)
    name, across = against(block, matrix)
    if across is None or matrix.baseline is None:
        return []
    gains, found = gains_of(block), []
    for result in sorted(gains, key=lambda one: -_spread(one, chosen)):
        marks = tuple(_marks(block, matrix, result, across, sure, chosen))
        if len(marks) < 2 or result is across:
            continue
        title = bands.benchmark_title(result, gains)
        both = (result.metric.higher_is_better, across.metric.higher_is_better)
        up = _axis(title, result, "better upwards")
        label = _axis(name, across, "better to the right")
        zone = 100 * matrix.margin if across.metric.role == "knowledge" and across.percent else 0.0
        drawn = {mark.name for mark in marks}
        absent = tuple(one.label for one in block.methods if one.label not in drawn)
        found.append(Trade(title, marks, label, up, zone, both, absent, interval_words(block)))
    return found


def _spread(result: Result, labels: Sequence[str]) -> float:
    values = [mean for label in labels if (mean := mean_change(label, result)) is not None]
    return max(values) - min(values) if len(values) > 1 else 0.0


def _axis(title: str, result: Result, turned: str) -> str:
    """'change in over-refusal, points; better upwards': `turned` is said where lower is better."""
    unit = "%" if _is_ratio(result) else "points" if result.percent else result.metric.unit
    return f"change in {title}{f', {unit}' if unit else ''}{'' if result.metric.higher_is_better else f'; {turned}'}"


def _is_ratio(result: Result) -> bool:
    return any(pair.estimate.scale == "ratio" for pair in result.comparisons.values())


def _marks(
    block: Block, matrix: Matrix, result: Result, across: Result, sure: dict[str, Sure], chosen: Sequence[str]
) -> Iterator[Mark]:
    """The methods of which both changes are known, and the baseline at no change."""
    for method in block.methods:
        label = method.label
        if label == matrix.baseline:
            yield Mark(label, 0.0, 0.0, None, None, "base", label in chosen)
            continue
        kept = across
        if across.metric.role == "knowledge":
            kept = knowledge_of(label, block, matrix) or across
        x, y = _placed(label, kept, matrix), _placed(label, result, matrix)
        if x is not None and y is not None:
            yield Mark(label, x[0], y[0], x[1], y[1], sure[label], label in chosen)


def _placed(label: str, result: Result, matrix: Matrix) -> tuple[float, tuple[float, float] | None] | None:
    """The mean change in the unit of the axis, with its interval where it has one."""
    factor = 100.0 if result.percent or _is_ratio(result) else 1.0
    mean, change = mean_change(label, result), change_of(label, result, matrix)
    if mean is None:
        return None
    return mean * factor, None if change is None else (change[0] * factor, change[2] * factor)
