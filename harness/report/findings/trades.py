"""Quality set against knowledge: the marks and axes of the front, for the first screen, the trade-off and the card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.collect import Block
from harness.report.findings.how_sure import candidates_of, change_of, gains_of, knowledge_change, sure_of
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
        up = f"{bands.benchmark_title(result, gains)}, {bands.unit_of(result)}"
        unit = "points" if across.percent else across.metric.unit
        higher = across.metric.higher_is_better
        label = f"change in {name}{f', {unit}' if unit else ''}{'' if higher else '; better to the right'}"
        zone = 100 * matrix.margin if across.metric.role == "knowledge" and across.percent else 0.0
        title, both = bands.benchmark_title(result, gains), (result.metric.higher_is_better, higher)
        drawn = {mark.name for mark in marks}
        absent = tuple(one.label for one in block.methods if one.label not in drawn)
        found.append(Trade(title, marks, label, up, zone, both, absent))
    return found


def _spread(result: Result, labels: Sequence[str]) -> float:
    values = [change[1] for label in labels if (change := change_of(label, result)) is not None]
    return max(values) - min(values) if len(values) > 1 else 0.0


def _marks(
    block: Block, matrix: Matrix, result: Result, across: Result, sure: dict[str, Sure], chosen: Sequence[str]
) -> Iterator[Mark]:
    """The methods of which both numbers are known, and the baseline at no change."""
    up_by, across_by = 100 if result.percent else 1, 100 if across.percent else 1
    for method in block.methods:
        label, score = method.label, result.scores.get(method.label)
        base = label == matrix.baseline
        if score is None or score.estimate.value is None:
            continue
        change = knowledge_change(label, block) if across.metric.role == "knowledge" else change_of(label, across)
        if change is None and not base:
            continue
        low, value, high = change or (0.0, 0.0, 0.0)
        ends = score.estimate.low, score.estimate.high
        up = None if ends[0] is None or ends[1] is None else (ends[0] * up_by, ends[1] * up_by)
        yield Mark(
            label, value * across_by, score.estimate.value * up_by,
            None if base else (low * across_by, high * across_by), up,
            "base" if base else sure[label], label in chosen,
        )  # fmt: skip
