"""The interval that is shown beside a word for how sure an answer is: the one that the word rests on, or none.

The words come from two families of tests after their corrections: differences against 0 by max-t, and losses of the
margin of knowledge by Holm. An interval here ends where these tests decide. It leaves out 0 exactly where a difference
is established (it touches 0 where only the step-down test decides), and on a metric of knowledge a loss of the margin
exactly where that is rejected; such bounds of a step-down test are those of Guilbaud, Biometrical Journal 50, 2008.
"""

from __future__ import annotations

from harness.report.collect import Block
from harness.report.numbers.comparisons import Comparison, Result, is_kept
from harness.report.numbers.matrix import Matrix
from harness.report.render.bands import Ends, counted

UNTESTED = "no corrected interval: too few seeds"


def change_of(label: str, result: Result, matrix: Matrix) -> Ends | None:
    """(low, value, high) of a difference to the baseline; None where no corrected interval exists."""
    pair = result.comparisons.get(label)
    if pair is None or pair.adjusted is None:
        return None
    low, value, high = pair.estimate.low, pair.estimate.value, pair.estimate.high
    if low is None or value is None or high is None:
        return None
    if result.metric.role == "knowledge" and matrix.margin > 0:
        if result.metric.higher_is_better:
            low = (max if is_kept(pair) else min)(low, -matrix.margin)
        else:
            high = (min if is_kept(pair) else max)(high, matrix.margin)
    return low, value, high


def mean_change(label: str, result: Result) -> float | None:
    """The difference to the baseline, whether or not it has an interval."""
    pair = result.comparisons.get(label)
    return None if pair is None else pair.estimate.value


def why_none(label: str, result: Result) -> str:
    """Why a difference has no corrected interval."""
    pair = result.comparisons.get(label)
    return "not measured" if pair is None else pair.estimate.reason or UNTESTED


def knowledge_of(label: str, block: Block, matrix: Matrix) -> Result | None:
    """The metric of knowledge that decides about a method; None where none is compared with the baseline.

    Of several with one unit it is one on which knowledge is shown to be lost, or else the one with the lowest interval.
    """
    results = [result for result in block.of_role("knowledge") if result.comparisons]
    alike = [result for result in results if _unit(result) == _unit(results[0])]

    def place(result: Result) -> tuple[bool, float]:
        change = change_of(label, result, matrix)
        if change is None:  # what has no interval keeps the answer open
            return not is_lost(result.comparisons.get(label)), -float("inf")
        return not is_lost(result.comparisons[label]), change[0] if result.metric.higher_is_better else -change[2]

    return min(alike, key=place, default=None)


def is_lost(pair: Comparison | None) -> bool:
    """Whether it is shown worse, and not shown to stay within the margin."""
    return pair is not None and pair.worse and not is_kept(pair)


def _unit(result: Result) -> tuple[bool, bool, str]:
    return result.percent, result.metric.higher_is_better, result.metric.unit


def knowledge_change(label: str, block: Block, matrix: Matrix) -> Ends | None:
    """(low, value, high) of the change on the metric of `knowledge_of`."""
    result = knowledge_of(label, block, matrix)
    return None if result is None else change_of(label, result, matrix)


def interval_words(block: Block) -> str:
    """A name for the intervals, in a few words."""
    if block.tests < 2:
        return "95 % interval"
    return f"95 % interval, corrected for all {counted(block.tests, 'test')}"
