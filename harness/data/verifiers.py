"""Verifiers by name: what an answer misses of what a problem's reference demands.

A problem names its verifier; `missed(name, answer, reference)` gives what the answer misses, in words, and nothing
where it is right. A package of your own registers further ones through the entry point `bakeoff.verifiers`: a
function of (answer, reference) that returns a list of words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from harness.data.call_failures import NO_CALL, failure_of
from harness.data.calls import parsed_json, read_calls, same_calls
from harness.errors import UserError, did_you_mean

Verifier = Callable[[str, str], Sequence[str]]
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def missed(verifier: str, answer: str, reference: str) -> Sequence[str]:
    """What the answer misses; empty where it is right.

    Raises UserError where there is no such verifier or it cannot read the reference.
    """
    known = _known()
    if verifier not in known:
        raise UserError(f"there is no verifier {verifier!r}", fix=did_you_mean(verifier, known))
    return known[verifier](answer, reference)


@cache
def _known() -> dict[str, Verifier]:
    outside = {point.name: point for point in entry_points(group="bakeoff.verifiers")}
    return {**{name: point.load() for name, point in outside.items()}, **VERIFIERS}


def _exact(answer: str, reference: str) -> Sequence[str]:
    return [] if answer.split() == reference.split() else ["the exact answer"]


def _contains(answer: str, reference: str) -> Sequence[str]:
    return [] if reference.casefold().strip() in answer.casefold() else ["the reference within the answer"]


def _last_number(answer: str, reference: str) -> Sequence[str]:
    """The last number of the answer against the last of the reference, as GSM8K is marked."""
    wanted, found = (NUMBER.findall(text) for text in (reference, answer))
    if not wanted:
        raise UserError(f"the reference {reference[:80]!r} holds no number", fix="Name another verifier.")
    right = bool(found) and float(found[-1].replace(",", "")) == float(wanted[-1].replace(",", ""))
    return [] if right else ["the right last number"]


def _function_call(answer: str, reference: str) -> Sequence[str]:
    right = read_calls(reference)
    if right is None:
        raise UserError(f"the reference {reference[:80]!r} is no function call", fix='Write {"name", "arguments"}.')
    said = read_calls(answer)
    if said is not None and same_calls(right, said):
        return []
    return [failure_of(right, answer) or "the exact spelling" if said else failure_of(right, answer) or NO_CALL]


def _story_total(answer: str, reference: str) -> Sequence[str]:
    from harness.microworld.verify import story_total

    return [] if story_total(answer, reference) else ["the right total"]


def _instructions(answer: str, reference: str) -> Sequence[str]:
    """The reference is JSON: [{"name": "ends_with", "arguments": {"marker": "alpha"}}, ...]."""
    from harness.microworld.verify import Instruction, follows

    wanted = [Instruction(one["name"], one.get("arguments", {})) for one in _listed(reference)]
    return [one.name for one in wanted if not follows(one, answer)]


def _listed(reference: str) -> list[Mapping[str, Any]]:
    value = parsed_json(reference)
    if not isinstance(value, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in value
    ):
        raise UserError(
            f"the reference {reference[:80]!r} is no list of instructions", fix='Write [{"name", "arguments"}].'
        )
    return value


VERIFIERS: dict[str, Verifier] = {
    "exact": _exact,
    "contains": _contains,
    "last_number": _last_number,
    "function_call": _function_call,
    "instructions": _instructions,
    "story_total": _story_total,
}
