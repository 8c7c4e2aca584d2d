"""The question that most readers come with, answered in a line or two on each quality metric.

Which method does best without losing more knowledge than the margin, and at what cost? 'Without losing' is the
non-inferiority statement of the verdict; where nobody has it, the best of those whose loss is undecided is named,
and called that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report.document import Mood, Statement
from harness.report.matrix import Matrix
from harness.report.model import Block, MethodCost, Result
from harness.report.text import count, interval, rank, score, seconds, signed
from harness.report.verdict import is_kept, margin_of

MOST_METRICS = 3


def answers(block: Block, matrix: Matrix) -> tuple[tuple[str, tuple[Statement, ...]], ...]:
    """(metric, who is best within the margin, and who is best of all); empty without baseline or knowledge."""
    knowledge = block.of_role("knowledge")
    if matrix.baseline is None or not knowledge or not matrix.margin > 0:
        return ()
    found = []
    for result in block.of_role("quality")[:MOST_METRICS]:
        said = tuple(_on_metric(result, knowledge, block, matrix))
        if said:
            found.append(
                (f"{result.metric.title}, within the margin of {margin_of(knowledge, matrix)} of knowledge", said)
            )
    return tuple(found)


def _on_metric(result: Result, knowledge: Sequence[Result], block: Block, matrix: Matrix) -> Iterator[Statement]:
    better = [label for label in _ordered(result) if result.comparisons[label].better]
    if not better:
        yield Statement(f"nobody is shown to be better than {matrix.baseline}", "", "open")
        return
    safe = [label for label in better if all(_kept(label, one) for one in knowledge)]
    unsure = [label for label in better if label not in safe and not any(_lost(label, one) for one in knowledge)]
    if safe:
        yield _named("best of those shown to lose less than the margin", safe[0], result, block, "good")
    else:
        said = f"nobody is shown both to be better than {matrix.baseline} and to lose less than the margin"
        yield Statement(said, "", "open")
        if unsure:
            yield _named("best of those shown to be better whose loss is undecided", unsure[0], result, block, "")
    if better[0] not in (safe[:1] or unsure[:1]):
        yield _named("best whatever it loses", better[0], result, block, "bad")


def _ordered(result: Result) -> list[str]:
    """The baseline's rivals that have a score, the best first."""
    sign = 1.0 if result.metric.higher_is_better else -1.0
    values = {label: one.estimate.value for label, one in result.scores.items() if label in result.comparisons}
    known = {label: sign * value for label, value in values.items() if value is not None}
    return sorted(known, key=lambda label: -known[label])


def _kept(label: str, knowledge: Result) -> bool:
    comparison = knowledge.comparisons.get(label)
    return comparison is not None and is_kept(comparison)


def _lost(label: str, knowledge: Result) -> bool:
    comparison = knowledge.comparisons.get(label)
    return comparison is None or comparison.worse


def _named(lead: str, label: str, result: Result, block: Block, mood: Mood) -> Statement:
    """The method with its score, its knowledge and its cost."""
    own = result.scores[label]
    shown = f"{label}, {score(own.estimate.value, result.percent)}{' %' if result.percent else ''}"
    parts = [f"{shown} {interval(own.estimate.low, own.estimate.high, result.percent)}".strip()]
    if own.rank is not None:
        ranked = sum(other.rank is not None for other in result.scores.values())
        parts[0] += f" ({rank(*own.rank)} of {ranked})"
    kept = block.kept.get(label)
    if kept is not None and kept.difference is not None and kept.difference.value is not None:
        change = interval(kept.difference.low, kept.difference.high, kept.percent, "+")
        unit = " points" if kept.percent else ""
        parts.append(f"knowledge {signed(kept.difference.value, kept.percent)} {change}{unit}")
    return Statement(lead, "; ".join([*parts, *_cost(block.costs.get(label, MethodCost()))]), mood)


def _cost(cost: MethodCost) -> Iterator[str]:
    if cost.trained == 0 and cost.shared_fit_seconds:
        yield "no parameters of its own trained"
    elif cost.trained is not None:
        portion = f" ({100 * cost.trained / cost.total:.3g} %)" if cost.total else ""
        yield f"{count(cost.trained)} parameters trained{portion}"
    if cost.seconds is not None:
        yield f"{seconds(cost.seconds)} s to fit"
    if cost.overhead is not None:
        yield f"{cost.overhead:.2f} x the base's decoding time"
