"""A declared pipeline from raw examples to a set, with a funnel that adds up.

    curated = curate(examples, parse_steps(["exact_duplicates", {"diverse": {"n": 1000}}]), seed=0)

Every row that goes in comes out or is listed with the step and the reason that removed it. Equal input, steps and
seed give equal output.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.curation.step_kinds import STEPS, StepResult
from harness.data.examples import Example
from harness.errors import UserError, did_you_mean


@dataclass(frozen=True)
class CurationStep:
    """One step of a pipeline: its name and its options."""

    name: str
    options: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={value}" for key, value in self.options.items())


@dataclass(frozen=True)
class FunnelLine:
    """The effect of one step: rows in, out and changed, and how many it removed for each reason."""

    step: str
    rows_in: int
    rows_out: int
    changed: int
    removed: Mapping[str, int]


@dataclass(frozen=True)
class Removed:
    """A removed row: the step and the reason."""

    example: Example
    step: str
    reason: str


@dataclass(frozen=True)
class Curated:
    """The set, its funnel and all removed rows."""

    examples: tuple[Example, ...]
    funnel: tuple[FunnelLine, ...]
    removed: tuple[Removed, ...]


def parse_steps(declared: Sequence[Any], where: str = "") -> list[CurationStep]:
    """Steps from a list of names and {name: options}; an unknown step or option raises UserError."""
    if not isinstance(declared, Sequence) or isinstance(declared, str):
        raise UserError(f"the steps are {declared!r}", where=where, fix="Write a list of steps.")
    return [_step(item, where) for item in declared]


def _step(item: Any, where: str) -> CurationStep:
    given = {item: {}} if isinstance(item, str) else item
    if not isinstance(given, Mapping) or len(given) != 1:
        raise UserError(f"{item!r} is not a step", where=where, fix="Write a name, or {name: {option: value}}.")
    ((name, options),) = given.items()
    if name not in STEPS:
        raise UserError(f"unknown step {name!r}", where=where, fix=did_you_mean(str(name), STEPS))
    known = _options_of(STEPS[name])
    options = options or {}
    if not isinstance(options, Mapping):
        raise UserError(f"{name} is given {options!r}", where=where, fix=f"Options: {', '.join(known) or 'none'}.")
    for key, value in options.items():
        if key not in known:
            raise UserError(f"{name} has no option {key!r}", where=where, fix=did_you_mean(str(key), known))
        if not _typed(value, known[key]):
            raise UserError(f"{name}.{key} is {value!r}", where=where, fix=f"Give a {known[key]}.")
    missing = [
        key for key, of in inspect.signature(STEPS[name]).parameters.items() if _required(of) and key not in options
    ]
    if missing:
        raise UserError(
            f"{name} needs {', '.join(missing)}", where=where, fix=f"Write {{{name}: {{{missing[0]}: ...}}}}."
        )
    return CurationStep(name, dict(options))


def _options_of(step: Callable[..., StepResult]) -> dict[str, str]:
    """The step's options and the names of their types."""
    parameters = inspect.signature(step).parameters.values()
    return {one.name: str(one.annotation) for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "seed"}


def _required(parameter: inspect.Parameter) -> bool:
    keyword = parameter.kind is parameter.KEYWORD_ONLY and parameter.name != "seed"
    return keyword and parameter.default is parameter.empty


def _typed(value: Any, type_name: str) -> bool:
    if isinstance(value, bool):
        return False
    wanted: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
    return isinstance(value, wanted[type_name])


def curate(examples: Sequence[Example], steps: Sequence[CurationStep], seed: int = 0) -> Curated:
    """Run the steps in order. Raises UserError where a step leaves no rows, or cannot give the number it promises."""
    rows, funnel, removed = tuple(examples), list[FunnelLine](), list[Removed]()
    for step in steps:
        outcome = STEPS[step.name](rows, seed=seed, **step.options)
        reasons = Counter(reason for _, reason in outcome.removed)
        if len(outcome.kept) + len(outcome.removed) != len(rows):
            raise AssertionError(
                f"{step}: {len(rows)} rows in, {len(outcome.kept)} out, {len(outcome.removed)} removed"
            )
        funnel.append(FunnelLine(str(step), len(rows), len(outcome.kept), outcome.changed, dict(reasons.most_common())))
        removed += [Removed(example, str(step), reason) for example, reason in outcome.removed]
        rows = outcome.kept
        if not rows:
            raise UserError(f"the step {step} leaves no row", fix=f"It removed: {dict(reasons)}. Loosen it.")
    return Curated(rows, tuple(funnel), tuple(removed))
