"""How sure is it that a method improves the baseline and keeps its knowledge: one of six words for each method.

shown      better than the baseline on a gain metric and worse on none, and a loss of the margin is rejected: all after
           the corrections, as in the verdict
likely     the same by the intervals that are each method's own, but not after the corrections
undecided  better on a gain metric and worse on none, and whether it loses the margin is open
worse      shown worse on a gain metric, or in knowledge without being shown to stay within the margin
idle       shown better on no gain metric
missing    its gain, or its knowledge, was not measured

Gain metrics are the primary metrics of quality; without any, all other primary metrics but those of knowledge.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.collect import Block
from harness.report.findings.drawn_intervals import is_lost, knowledge_change, knowledge_of, mean_change
from harness.report.numbers.comparisons import Comparison, Result, is_kept
from harness.report.numbers.matrix import Matrix
from harness.report.render.document import Sure

MOST_CANDIDATES = 5
ORDER: tuple[Sure, ...] = ("shown", "likely", "undecided", "idle", "worse", "missing")


def gains_of(block: Block) -> list[Result]:
    """The metrics on which a method may improve the baseline."""
    compared = [result for result in block.of_role("quality") if result.comparisons]
    return compared or [result for result in block.of_role("other") if result.comparisons]


def sure_of(label: str, block: Block, matrix: Matrix) -> Sure:
    """The word for one method of a block."""
    gains = [result.comparisons[label] for result in gains_of(block) if label in result.comparisons]
    results = [result for result in block.of_role("knowledge") if result.comparisons]
    knowledge = [result.comparisons.get(label) for result in results]
    if not any(known(pair) for pair in gains):
        return "missing" if gains or not any(known(pair) for pair in knowledge) else "idle"
    if any(is_lost(pair) for pair in knowledge) or any(pair.worse for pair in gains):
        return "worse"
    better = any(pair.better for pair in gains)
    if not all(known(pair) for pair in knowledge):
        return "missing" if better else "idle"
    if better and all(pair is not None and is_kept(pair) for pair in knowledge):
        return "shown"
    near = all(within(pair, result, matrix) for pair, result in zip(knowledge, results, strict=True))
    own = better or any(points_up(result.comparisons.get(label), result) for result in gains_of(block))
    down = any(points_down(result.comparisons.get(label), result) for result in gains_of(block))
    if own and near and not down:
        return "likely"
    return "undecided" if better else "idle"


def known(pair: Comparison | None) -> bool:
    """Whether the difference has an interval."""
    return pair is not None and pair.estimate.value is not None and pair.pointwise is not None


def within(pair: Comparison | None, result: Result, matrix: Matrix) -> bool:
    """Whether the own interval of a difference in knowledge leaves out a loss of the margin."""
    if pair is None or pair.pointwise is None or not matrix.margin > 0:
        return False
    low, high = pair.pointwise
    return low > -matrix.margin if result.metric.higher_is_better else high < matrix.margin


def points_up(pair: Comparison | None, result: Result) -> bool:
    """Whether the own interval of a difference leaves out 0 on the good side."""
    if pair is None or pair.pointwise is None:
        return False
    return pair.pointwise[0] > 0 if result.metric.higher_is_better else pair.pointwise[1] < 0


def points_down(pair: Comparison | None, result: Result) -> bool:
    """Whether the own interval of a difference leaves out 0 on the bad side."""
    if pair is None or pair.pointwise is None:
        return False
    return pair.pointwise[1] < 0 if result.metric.higher_is_better else pair.pointwise[0] > 0


def at_chance(block: Block, matrix: Matrix) -> bool:
    """Whether the baseline's knowledge is not told apart from random answers, so that none can be lost."""
    found = []
    for result in block.of_role("knowledge"):
        score, chance = result.scores.get(str(matrix.baseline)), result.metric.chance
        if score is not None and chance is not None and score.estimate.low is not None:
            found.append(score.estimate.low <= chance)
    return bool(found) and all(found)


def in_order(block: Block, matrix: Matrix, labels: Sequence[str]) -> list[str]:
    """The surest first; of equally sure ones, those better on more metrics, not dominated, and safer in knowledge."""
    gains = gains_of(block)
    at = {label: ORDER.index(sure_of(label, block, matrix)) for label in labels}
    means = {label: _means(label, block, gains, matrix) for label in labels}

    def dominated(label: str) -> bool:
        others = [means[other] for other in labels if other != label and at[other] == at[label]]
        return any(_beats(other, means[label]) for other in others)

    def place(label: str) -> tuple[float, ...]:
        better = sum(label in result.comparisons and result.comparisons[label].better for result in gains)
        knowledge, change = knowledge_of(label, block, matrix), knowledge_change(label, block, matrix)
        total = sum(value for value in means[label][:-1] if value is not None)
        higher = knowledge is None or knowledge.metric.higher_is_better
        safe = 0.0 if change is None else change[0] if higher else -change[2]
        return (at[label], -better, dominated(label), *((-total, -safe) if at[label] == 0 else (-safe, -total)))

    return sorted(labels, key=place)


def _means(label: str, block: Block, gains: Sequence[Result], matrix: Matrix) -> list[float | None]:
    """Its changes on the gain metrics, oriented so that more is better, and its change of knowledge."""
    found: list[float | None] = []
    for result in [*gains, knowledge_of(label, block, matrix)]:
        mean = None if result is None else mean_change(label, result)
        found.append(None if result is None or mean is None else mean * result.metric.sign)
    return found


def _beats(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    """Whether `one` is better in every mean that both have."""
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]
    return bool(pairs) and all(a > b for a, b in pairs)


def rivals_of(block: Block, matrix: Matrix) -> list[str]:
    """The methods that a user may choose, in the order of `in_order`: the baseline and controls are none of them.

    An experiment that compares nothing but controls has these.
    """
    rivals = [method.label for method in block.methods if method.label != matrix.baseline]
    return in_order(block, matrix, [label for label in rivals if label not in matrix.controls] or rivals)


def candidates_of(block: Block, matrix: Matrix) -> list[str]:
    """At most five methods for the first screen, the surest first, and controls after them where there is room."""
    order = rivals_of(block, matrix)
    chosen = chosen_of(order, {label: sure_of(label, block, matrix) for label in order})
    controls = [one.label for one in block.methods if one.label in matrix.controls and one.label not in order]
    controls = [label for label in controls if label != matrix.baseline]
    return [*sorted(chosen, key=order.index), *controls][:MOST_CANDIDATES]


def worse_on(label: str, block: Block) -> list[Result]:
    """The primary metrics on which a method is shown worse, but not knowledge that is shown to be within the margin."""
    found, gains = [], gains_of(block)
    others = [*block.of_role("knowledge"), *(one for one in block.of_role("other") if one not in gains)]
    for result in [*gains, *others]:
        pair = result.comparisons.get(label)
        if pair is not None and (is_lost(pair) if result.metric.role == "knowledge" else pair.worse):
            found.append(result)
    return found


def chosen_of(order: Sequence[str], sure: dict[str, Sure]) -> list[str]:
    """At most five: the surest, and the best of those shown to be worse, for contrast."""
    first = [label for label in order if sure[label] not in ("worse", "missing")]
    worse = [label for label in order if sure[label] == "worse"]
    rest = [label for label in order if sure[label] == "missing"]
    promising = [label for label in first if sure[label] != "idle"]
    if worse and len(promising) >= MOST_CANDIDATES - 1:
        return [*promising[: MOST_CANDIDATES - 1], worse[0]]
    return [*promising, *worse, *[label for label in first if sure[label] == "idle"], *rest][:MOST_CANDIDATES]
