"""Verifiers by name: the requirements of a problem's reference that an answer misses.

A problem names its verifier; `missed(name, answer, reference)` lists in words what the answer misses, and nothing where
it is right. Another package registers verifiers through the entry point `bakeoff.verifiers`: functions of
(answer, reference) that return such a list.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import entry_points
from typing import Any

from harness.errors import UserError, did_you_mean
from harness.policy.thoughts import split_thoughts
from harness.records import Problem
from harness.scoring.answers.finders import FINDERS, Finder
from harness.scoring.calls.answers import calls_in
from harness.scoring.calls.failures import NO_CALL, failure_of
from harness.scoring.calls.notations import Calling, parsed_json, read_calls, same_calls

RUNS = "unit_tests"
"""The verifier that runs what a model wrote, in the sandbox."""
RATED = "reward"
"""The verifier that needs a reward model, which the method names."""
WORD = re.compile(r"[\w.\-]+")
Verifier = Callable[[str, str], Sequence[str]]


def missed(verifier: str, answer: str, reference: str) -> Sequence[str]:
    """The requirements that the answer, without its thoughts, misses; empty where it is right.

    Raises UserError for an unknown verifier and for a reference that it cannot read.
    """
    require_verifier(verifier)
    return _known()[verifier](split_thoughts(answer)[1], reference)


def verifies(problem: Problem, answer: str) -> bool:
    """Whether an answer is right. Raises UserError, naming the problem, where its reference cannot be read."""
    try:
        return not missed(problem.verifier, answer, problem.reference)
    except UserError as error:
        raise UserError(error.what, where=f"problem {problem.id}", fix=error.fix) from None


def require_verifier(name: str) -> None:
    """Raise UserError for an unknown name."""
    if name not in _known():
        raise UserError(f"unknown verifier {name!r}", fix=did_you_mean(name, _known()))


@cache
def _known() -> dict[str, Verifier]:
    outside = {point.name: point for point in entry_points(group="bakeoff.verifiers")}
    return {**{name: point.load() for name, point in outside.items()}, **VERIFIERS}


def _same_answer(finder: Finder) -> Verifier:
    """Compares the answer found in the text with that in the reference, each in its canonical form."""

    def verify(answer: str, reference: str) -> Sequence[str]:
        wanted = finder.reference(reference)
        if wanted is None:
            raise UserError(
                f"its reference {reference[:80]!r} contains no answer", fix="Correct it, or name another verifier."
            )
        return [] if finder.answer(answer) == wanted else ["the right answer"]

    return verify


def _contains(answer: str, reference: str) -> Sequence[str]:
    return [] if reference.casefold().strip() in answer.casefold() else ["the reference within the answer"]


def _function_call(answer: str, reference: str) -> Sequence[str]:
    right = _read(reference, set(WORD.findall(reference)))
    if right is None:
        raise UserError(f"the reference {reference[:80]!r} is not a function call", fix='Write {"name", "arguments"}.')
    texts = [
        (call.name, key) for call in right.calls for key, value in call.arguments.items() if isinstance(value, str)
    ]
    said = _read(answer, [call.name for call in right.calls], texts)
    if said is not None and same_calls(right, said):
        return []
    return [failure_of(right, answer) or "the exact spelling" if said else failure_of(right, answer) or NO_CALL]


def _read(text: str, known: Collection[str], texts: Collection[tuple[str, str]] = ()) -> Calling | None:
    """The calls of a text in any notation."""
    calls = calls_in(text, known, texts)
    return read_calls(text) or (Calling(text, calls, lambda wanted: text) if calls else None)


def _instructions(answer: str, reference: str) -> Sequence[str]:
    """The reference is JSON: [{"name": "ends_with", "arguments": {"marker": "alpha"}}, ...]."""
    from harness.microworld.rules import Instruction, follows

    wanted = [Instruction(one["name"], one.get("arguments", {})) for one in _listed(reference)]
    return [one.name for one in wanted if not follows(one, answer)]


def failed_tests(answer: str, reference: str) -> Sequence[str]:
    """The verifier unit_tests, for callers whose user has agreed that answers are run, in the sandbox.

    The reference is Python that tests the names of a program: the longest block of code in the answer, or all of it.
    The program never sees its tests (harness/scoring/code/sandbox.py).
    """
    from harness.scoring.code.humaneval import FENCED, LONGEST

    try:
        ast.parse(reference)
    except (SyntaxError, ValueError) as error:
        raise UserError(
            f"its tests {reference[:80]!r} are not Python: {error}", fix="Write assertions: assert double(2) == 4"
        ) from None
    said = split_thoughts(answer)[1][:LONGEST]
    code = max(FENCED.findall(said), key=len, default=said)
    how = _ended(code, reference) if code.strip() else "no program"
    return [] if how == "passed" else [f"passing its tests: {how}"]


@lru_cache(maxsize=1 << 12)
def _ended(code: str, tests: str) -> str:
    from harness.scoring.code.sandbox import Limits, Program, run_programs

    return run_programs([Program(code, tests=tests)], Limits())[0].how


def _unit_tests(answer: str, reference: str) -> Sequence[str]:
    raise UserError(
        "the verifier unit_tests runs programs that a model wrote", fix="Use it with rft or grpo and execute: true."
    )


def _reward(answer: str, reference: str) -> Sequence[str]:
    raise UserError(
        "the verifier reward needs a reward model, and none is named",
        fix="Give the method reward_model and threshold, or name another verifier.",
    )


def _listed(reference: str) -> list[Mapping[str, Any]]:
    value = parsed_json(reference)
    if not isinstance(value, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in value
    ):
        raise UserError(
            f"the reference {reference[:80]!r} is not a list of instructions", fix='Write [{"name", "arguments"}].'
        )
    return value


VERIFIERS: dict[str, Verifier] = {
    **{kind: _same_answer(finder) for kind, finder in FINDERS.items()},
    "contains": _contains,
    "function_call": _function_call,
    "instructions": _instructions,
    RUNS: _unit_tests,
    RATED: _reward,
}
