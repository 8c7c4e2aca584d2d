"""The sample browser: what its prompts can be narrowed to, and where an answer differs from the baseline's.

It works without a script, by style rules on the checked buttons: the report allows none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from harness.report.numbers.model import Answer, ShownItem

IN_TEXT = 8  # so many prompts in Markdown, which nobody can narrow
MOST_WORDS = 500  # comparing longer answers takes longer than reading them
LEAST_ALIKE = 0.3  # below it almost everything differs, and marks would say nothing

CHANGES = {"gained": "baseline wrong, another right", "lost": "baseline right, another wrong"}


class MarkedText(NamedTuple):
    """A piece of an answer; `own`: the answer beside it does not have it."""

    text: str
    own: bool


def benchmarks_of(examples: Sequence[ShownItem]) -> list[str]:
    """The benchmarks to choose from, in their order."""
    return list(dict.fromkeys(example.benchmark for example in examples))


def changes_of(examples: Sequence[ShownItem], baseline: str | None) -> list[str]:
    """The kinds of change that occur, in the order of CHANGES."""
    return [kind for kind in CHANGES if any(kind in kinds_of(example, baseline) for example in examples)]


def kinds_of(example: ShownItem, baseline: str | None) -> list[str]:
    """What other methods make of the item that the baseline answers right or wrong."""
    start = next((answer.correct for answer in example.answers if answer.method == baseline), None)
    if start is None:
        return []
    others = {answer.correct for answer in example.answers if answer.method != baseline}
    return [kind for kind, was in (("gained", False), ("lost", True)) if start is was and (not was) in others]


def compared_text(example: ShownItem, answer: Answer, baseline: str | None) -> str | None:
    """The text that an answer is compared with: the baseline's first; None for the baseline's own."""
    if answer.method == baseline:
        return None
    start = next((one for one in example.answers if one.method == baseline and one.completions), None)
    return start.completions[0] if start else None


def marked_texts(own: str, other: str | None) -> list[MarkedText]:
    """`own` in pieces, those words marked that `other` does not have; one unmarked piece where marks say nothing."""
    if other is None or own == other:
        return [MarkedText(own, False)]
    first, second = (re.findall(r"\w+\s*|[^\w\s]\s*|\s+", text) for text in (other, own))
    if max(len(first), len(second)) > MOST_WORDS:
        return [MarkedText(own, False)]
    bare = [[word.strip() for word in words] for words in (first, second)]
    matcher = SequenceMatcher(None, bare[0], bare[1], autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return [MarkedText(own, False)]
    pieces = [(second[low:high], kind != "equal") for kind, _, _, low, high in matcher.get_opcodes() if high > low]
    return [MarkedText("".join(words), new) for words, new in pieces]
