"""The equations of a worked answer: extraction, verification, and the reasoning path that they form."""

from __future__ import annotations

import re
from itertools import pairwise

from harness.scoring.variants.expressions import ExpressionError, worked

MARKED = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_DIGITS = r"\d+(?:[,.]\d+)*"
LEFT = re.compile(rf"[-(]*\s*{_DIGITS}(?:[\s()]*[-+*/][-+*/\s()]*{_DIGITS})+[\s)]*$")
RIGHT = re.compile(rf"\s*(-?{_DIGITS})")
LONGEST_SIDE = 100
TOLERANCE = 1e-3
OTHER = re.compile(r"""\*\*|//|[%'"\[\]]""")  # more than sums, products and quotients of numbers


def equations_of(text: str) -> list[tuple[str, str]]:
    """The equations of a worked answer in their order, as (left, right) without spaces.

    Those marked `<<48/2=24>>` as in GSM8K, or, where none is marked, plain ones such as `48 / 2 = 24`.
    """
    found = MARKED.findall(text) or _plain_equations(text)
    return [("".join(left.split()), "".join(right.split())) for left, right in found]


def _plain_equations(text: str) -> list[tuple[str, str]]:
    """Looks only near each `=`: a search of the whole text would take quadratic time."""
    pieces = text.split("=")
    sides = [
        (LEFT.search(before[-LONGEST_SIDE:]), RIGHT.match(after[:LONGEST_SIDE])) for before, after in pairwise(pieces)
    ]
    return [(left[0], right[1]) for left, right in sides if left and right]


def reasoning_path(text: str) -> str:
    """The equations as one key, "" for none. A different order is a different path (Yuan et al. 2023, 2308.01825)."""
    return "|".join(f"{left}={right}" for left, right in equations_of(text))


def equations_hold(text: str) -> bool:
    """Whether both sides of every equation agree within 1e-3."""
    return all(_holds(left, right) for left, right in equations_of(text))


def _holds(left: str, right: str) -> bool:
    if max(len(left), len(right)) > LONGEST_SIDE or OTHER.search(left + " " + right):
        return False
    try:
        values = [float(worked(side.replace(",", ""), {})[0]({})) for side in (left, right)]
    except (ExpressionError, TypeError, ValueError, OverflowError):
        return False
    return abs(values[0] - values[1]) <= TOLERANCE
