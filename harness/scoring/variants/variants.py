"""Variants of a template: every slot redrawn under the template's conditions, and the answer recomputed.

Draws that break a condition are rejected, so all allowed sets of values are equally likely. Variables that share no
condition are drawn separately, and a condition is tested as soon as its variables are known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Any

from harness.errors import UserError
from harness.scoring.variants.domains import Choice, Domain, written
from harness.scoring.variants.expressions import ExpressionError, Worked, exact
from harness.scoring.variants.templates import SLOT, Condition, Template

MOST_TRIES = 500_000


@dataclass(frozen=True)
class Variant:
    """A drawn problem with the values of its variables and the answer by the formula."""

    question: str
    answer: int | Fraction
    values: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """The answer in digits."""
        return written(self.answer)


def variants_of(template: Template, count: int, seed: int) -> list[Variant]:
    """`count` different variants, the same for the same seed. Raises UserError where the template allows too few."""
    rng, parts = Random(f"{seed}/{template.id}"), _parts_of(template)
    found: dict[str, Variant] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        variant = _variant(template, parts, rng)
        found.setdefault(variant.question, variant)
    if len(found) < count:
        raise UserError(
            f"the template {template.id} gave {len(found)} different questions, not {count}",
            fix="Ask for fewer variants.",
        )
    return list(found.values())


def _variant(template: Template, parts: Sequence[Part], rng: Random) -> Variant:
    choices: dict[str, Choice] = {}
    for part in parts:
        choices.update(_drawn(template, part, rng))
    values = {name: choice.value for name, choice in choices.items()}
    try:
        answer = exact(template.formula.holds(values))
    except ExpressionError as error:
        raise UserError(f"the answer of {template.id} has no value: {error}", fix="Correct the template.") from error
    if isinstance(answer, bool) or not isinstance(answer, (int, Fraction)):
        raise UserError(f"the answer of {template.id} is {answer!r}, not a number", fix="Correct the template.")
    if "/" in written(answer):
        raise UserError(
            f"the answer of {template.id} may be {answer}, which has no finite decimal",
            fix="Add a condition is_int(...).",
        )
    return Variant(_filled(template.slotted, choices), answer, values)


def _filled(slotted: str, choices: Mapping[str, Choice]) -> str:
    """The question with its slots filled; sentences start with a capital, and money has two decimals or none."""
    text, at = "", 0
    for slot in SLOT.finditer(slotted):
        text += slotted[at : slot.start()]
        words = choices[slot[1]].text
        if text.endswith(("$", "€", "£")) and words[-2:-1] == ".":
            words += "0"
        opens = not text.strip() or (text.rstrip()[-1] in ".?!" and text[-1].isspace())
        text += words[:1].upper() + words[1:] if opens else words
        at = slot.end()
    return text + slotted[at:]


@dataclass(frozen=True)
class DrawingStep:
    """A domain, the conditions that can be tested once it is drawn, and the equation that determines it, if any."""

    domain: Domain
    conditions: tuple[Condition, ...]
    given: Worked | None = None
    by_value: Mapping[Any, Choice] = field(default_factory=dict)

    def drawn(self, rng: Random, values: Mapping[str, Any]) -> Sequence[Choice]:
        """A choice for each name; none where the equation gives a value outside the domain."""
        if self.given is None:
            return self.domain.drawn(rng)
        try:
            found = self.by_value.get(exact(self.given(values)))
        except ExpressionError:
            return ()
        return (found,) if found else ()


Part = tuple[DrawingStep, ...]


def _drawn(template: Template, part: Part, rng: Random) -> dict[str, Choice]:
    for _ in range(MOST_TRIES):
        choices: dict[str, Choice] = {}
        values: dict[str, Any] = {}
        for step in part:
            found = step.drawn(rng, values)
            if not found:
                break
            for name, choice in zip(step.domain.names, found, strict=True):
                choices[name], values[name] = choice, choice.value
            if step.conditions and not _all_hold(step.conditions, values):
                break
        else:
            return choices
    raise UserError(
        f"no values of {template.id} met its conditions in {MOST_TRIES:,} tries", fix="Correct the conditions."
    )


def _all_hold(conditions: Sequence[Condition], values: Mapping[str, Any]) -> bool:
    """Whether all conditions hold; one without a value (a division by zero) does not."""
    try:
        for condition in conditions:
            if not condition.holds(values):
                return False
    except ExpressionError:
        return False
    return True


def _parts_of(template: Template) -> tuple[Part, ...]:
    groups: list[tuple[set[str], list[Domain]]] = [(set(one.names), [one]) for one in template.domains]
    for condition in template.conditions:
        tied = [group for group in groups if group[0] & condition.names]
        groups = [group for group in groups if not group[0] & condition.names]
        groups.append((set().union(*(names for names, _ in tied)), [one for _, inner in tied for one in inner]))
    return tuple(_steps(inner, template.conditions) for _, inner in groups)


def _steps(domains: Sequence[Domain], conditions: Sequence[Condition]) -> Part:
    """The domains in the order that tests conditions soonest; variables determined by an equation come last."""
    rest, known, steps = list(domains), set[str](), list[DrawingStep]()
    waiting = [condition for condition in conditions if any(condition.names & set(one.names) for one in domains)]
    while rest:
        nearest = min(waiting, key=lambda condition: len(condition.names - known), default=None)
        wanted = nearest.names - known if nearest else set(rest[0].names)
        given = nearest.gives if nearest else {}
        for domain in sorted((one for one in rest if wanted & set(one.names)), key=lambda one: one.names[0] in given):
            rest.remove(domain)
            known |= set(domain.names)
            ready = [condition for condition in waiting if condition.names <= known]
            waiting = [condition for condition in waiting if not condition.names <= known]
            steps.append(_step(domain, ready))
    return tuple(steps)


def _step(domain: Domain, conditions: Sequence[Condition]) -> DrawingStep:
    own = [condition for condition in conditions if condition.names <= set(domain.names)]
    shared = tuple(condition for condition in conditions if condition not in own)
    domain = _narrowed(domain, own)
    conditions = shared if len(domain.names) == 1 else tuple(conditions)
    by_value = {choice.value: choice for choice in domain.choices} if len(domain.names) == 1 else {}
    given = next((one.gives[domain.names[0]] for one in shared if domain.names[0] in one.gives), None)
    # an equation would draw repeated values too rarely
    return DrawingStep(domain, conditions, given if len(by_value) == len(domain.choices) else None, by_value)


def _narrowed(domain: Domain, conditions: Sequence[Condition]) -> Domain:
    """The domain without choices that conditions on this variable alone forbid."""
    (name, *others) = domain.names
    if others or not conditions:
        return domain
    kept = [one for one in domain.choices if _all_hold(conditions, {name: one.value})]
    if not kept:
        raise UserError(f"no choice of {name} meets its own conditions", fix="Correct the template.")
    return Domain(domain.names, tuple(kept))


@dataclass(frozen=True)
class Reached:
    """The score of an item (1 or 0) and the magnitude of its numbers, None without numbers."""

    correct: float
    magnitude: float | None = None


def magnitude(numbers: Iterable[Fraction | int]) -> float:
    """The mean of log10(1 + |number|)."""
    sizes = [math.log10(1 + abs(float(number))) for number in numbers]
    return sum(sizes) / len(sizes)


def changes(original: Reached, variant: Reached) -> dict[str, float]:
    """The metrics `change` (variant minus original) and, where numbers are not larger, `change_no_larger`."""
    change = variant.correct - original.correct
    if original.magnitude is None or variant.magnitude is None or variant.magnitude > original.magnitude:
        return {"change": change}
    return {"change": change, "change_no_larger": change}
