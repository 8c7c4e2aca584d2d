"""The answer in a text, which a majority vote counts and a verifier compares with the reference's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from harness.errors import UserError, did_you_mean
from harness.scoring.answers.numbers import LAST, canonical, final_number, last_number, plain

STORY_TOTAL = re.compile(r"total (\d+) \.\s*$")


@dataclass(frozen=True)
class Finder:
    """How to find the answer in a completion and in a reference; None where there is none."""

    answer: Callable[[str], str | None]
    reference: Callable[[str], str | None]


def answer_of(kind: str, text: str) -> str | None:
    """The answer in a completion in its canonical form, or None. Raises UserError for an unknown kind."""
    require_kind(kind)
    return FINDERS[kind].answer(text)


def require_kind(kind: str) -> None:
    """Raise UserError for an unknown kind of answer."""
    if kind not in FINDERS:
        raise UserError(f"unknown kind of answer {kind!r}", fix=did_you_mean(kind, FINDERS))


def _whole(text: str) -> str | None:
    """All words, whatever the space between them."""
    return " ".join(text.split()) or None


def _last_number(text: str) -> str | None:
    """The last number wherever it is: 1,200.50 equals 1200.5, and 18 equals 18.0."""
    found = last_number(plain(text[-LAST:]))
    if found is None or 10**20 % found.denominator:
        return None if found is None else canonical(found)
    return str((Decimal(found.numerator) / found.denominator).normalize())


def _final_number(text: str) -> str | None:
    """The number after `####`, in a box or after "answer is", else the last; a more careful reading than `number`."""
    found = final_number(text)
    return None if found is None else canonical(found)


def _last_word(text: str) -> str | None:
    """The last word, without the mark that ends its sentence."""
    words = text.strip().rstrip(".!?").split()
    return words[-1].lower() if words else None


def _story_total(text: str) -> str | None:
    """The total at the end of a worked count: `total 18 .`."""
    found = STORY_TOTAL.search(text)
    return found[1] if found else None


FINDERS = {
    "exact": Finder(_whole, _whole),
    "number": Finder(_last_number, _last_number),
    "final_number": Finder(_final_number, _final_number),
    "last_word": Finder(_last_word, _last_word),
    "story_total": Finder(_story_total, _whole),
}
