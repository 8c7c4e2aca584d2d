"""Verifiers by name: what counts as the answer within a text, and whether it is the reference's.

A problem names its verifier. Rejection sampling keeps samples that verify; a majority vote counts answers.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from harness.data.records import Problem
from harness.errors import UserError, did_you_mean

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
MARKED = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_DIGITS = r"\d+(?:[,.]\d+)*"
LEFT = re.compile(rf"[-(]*\s*{_DIGITS}(?:[\s()]*[-+*/][-+*/\s()]*{_DIGITS})+[\s)]*$")
RIGHT = re.compile(rf"\s*(-?{_DIGITS})")
LONGEST_SIDE = 100
TOLERANCE = 1e-3
STORY_TOTAL = re.compile(r"total (\d+) \.\s*$")


@dataclass(frozen=True)
class Verifier:
    """How an answer is found in a completion, and in a reference; None where there is none."""

    answer: Callable[[str], str | None]
    reference: Callable[[str], str | None]


def answer_of(verifier: str, text: str) -> str | None:
    """The answer in a completion, written in one way only, or None."""
    return _named(verifier).answer(text)


def verifies(problem: Problem, completion: str) -> bool:
    """Whether a completion's answer is the problem's. Raises UserError where the reference itself has none."""
    verifier = _named(problem.verifier)
    reference = verifier.reference(problem.reference)
    if reference is None:
        raise UserError(
            f"problem {problem.id}: its reference {problem.reference!r} holds no answer that the verifier"
            f" {problem.verifier!r} can find",
            fix="Correct the reference, or name another verifier.",
        )
    return verifier.answer(completion) == reference


def require_verifier(name: str) -> None:
    """Raise UserError for an unknown name."""
    _named(name)


def equations_of(text: str) -> list[tuple[str, str]]:
    """The equations of a worked answer in their order, as (left, right) without spaces.

    Those marked `<<48/2=24>>` as in GSM8K, or, where none is marked, plain ones such as `48 / 2 = 24`.
    """
    found = MARKED.findall(text) or _plain_equations(text)
    return [("".join(left.split()), "".join(right.split())) for left, right in found]


def _plain_equations(text: str) -> list[tuple[str, str]]:
    """Around every `=`, within reach: a search of the whole text would take the square of its length."""
    pieces = text.split("=")
    sides = [
        (LEFT.search(before[-LONGEST_SIDE:]), RIGHT.match(after[:LONGEST_SIDE])) for before, after in pairwise(pieces)
    ]
    return [(left[0], right[1]) for left, right in sides if left and right]


def reasoning_path(text: str) -> str:
    """The equations as one key; "" for an answer without any. Another order is another path (2308.01825)."""
    return "|".join(f"{left}={right}" for left, right in equations_of(text))


def equations_hold(text: str) -> bool:
    """Whether the left of every equation comes to its right, within 1e-3."""
    return all(_holds(left, right) for left, right in equations_of(text))


def _holds(left: str, right: str) -> bool:
    if max(len(left), len(right)) > LONGEST_SIDE:
        return False
    try:
        values = [_value(ast.parse(side.replace(",", ""), mode="eval").body) for side in (left, right)]
    except (SyntaxError, ValueError, ArithmeticError, RecursionError):
        return False
    return abs(values[0] - values[1]) <= TOLERANCE


def _value(node: ast.expr) -> float:
    """The value of sums, products and quotients of numbers; anything else is a ValueError."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        return -_value(node.operand) if isinstance(node.op, ast.USub) else _value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError(ast.dump(node))


def _named(name: str) -> Verifier:
    if name not in VERIFIERS:
        raise UserError(f"there is no verifier {name!r}", fix=did_you_mean(name, VERIFIERS))
    return VERIFIERS[name]


def _whole(text: str) -> str | None:
    """All words, however they are spaced."""
    return " ".join(text.split()) or None


def _last_number(text: str) -> str | None:
    """The last number, as GSM8K's answers are read: 1,200.50 is 1200.5, 18 is 18.0."""
    found = NUMBER.findall(text)
    return str(Decimal(found[-1].replace(",", "")).normalize()) if found else None


def _last_word(text: str) -> str | None:
    """The last word, without what ends a sentence."""
    words = text.strip().rstrip(".!?").split()
    return words[-1].lower() if words else None


def _story_total(text: str) -> str | None:
    """What a worked count closes with: `total 18 .`."""
    found = STORY_TOTAL.search(text)
    return found[1] if found else None


VERIFIERS = {
    "exact": Verifier(_whole, _whole),
    "number": Verifier(_last_number, _last_number),
    "last_word": Verifier(_last_word, _last_word),
    "story_total": Verifier(_story_total, _whole),
}
OPERATIONS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
