"""GSM-Symbolic's template files: a question with slots, their domains, conditions, and the formula of the answer.

    {name,Ann} has {n,3} dogs and {m,2} cats. How many pets has {name,Ann}?   a slot is {variable,original text}

    #init:
    - name = sample(names)            words
    - $n = range(2, 10)               numbers carry a dollar sign
    - $m = range(2, 10)
    #conditions:
    - m < n
    #answer: n + m

The worked solution (`answer_annotated`) repeats the formula at its end, as `#### {n + m}`, which is preferred: in one
published template (GSM8K 456) it gives the original's answer and the line #answer does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Any

from harness.errors import UserError
from harness.scoring.answers.numbers import final_number
from harness.scoring.variants.domains import ARITHMETIC, Domain, domain_of
from harness.scoring.variants.expressions import ExpressionError, Worked, exact, worked

HEADING = re.compile(r"^\s*#(init|conditions|answer)\s*[:=]?[ \t]*", re.M)
SLOT = re.compile(r"\{\s*(\w+)\s*(?:,([^{}]*))?\}")
DIGITS = re.compile(r"[0-9]+(?:\.[0-9]+)?")
LEAST_ALIKE = 0.7
"""Share of equal words of the question and the template with its own values; published ones differ in a few words."""
FIX = "Correct the template or remove it from the folder; harness/scoring/variants/templates.py shows the format."


@dataclass(frozen=True)
class Condition:
    """A condition on variables; `gives` has, for `variable == expression`, the expression."""

    text: str
    holds: Worked
    names: frozenset[str]
    gives: Mapping[str, Worked] = field(default_factory=dict)


@dataclass(frozen=True)
class Template:
    """A problem whose numbers can be redrawn; `question` and `answer` are the original's."""

    id: str
    question: str
    answer: str
    slotted: str
    domains: tuple[Domain, ...]
    conditions: tuple[Condition, ...]
    formula: Condition


def template_of(row: Mapping[str, Any], where: str) -> Template:
    """The template in a row of a file. Raises UserError with the line that cannot be read."""
    texts = [row.get(name) for name in ("question", "answer", "question_annotated")]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(
            "it has no texts question, answer and question_annotated", where=where, fix="Name the folder of templates."
        )
    question, answer, annotated = map(str, texts)
    slotted, parts = _parts(annotated, where)
    domains = tuple(_domain(line, where) for line in _lines(parts.get("init", "")))
    declared = [name for domain in domains for name in domain.names]
    if twice := sorted({name for name in declared if declared.count(name) > 1}):
        raise UserError(f"the variable {twice[0]} has two lines under #init", where=where, fix=FIX)
    known = set(declared)
    for slot in SLOT.finditer(slotted):
        if slot[1] not in known:
            raise UserError(f"the slot {slot[0]} has no line under #init", where=where, fix=FIX)
    conditions = tuple(_condition(line, known, where) for line in _lines(parts.get("conditions", "")))
    formula = _condition(_closing(row.get("answer_annotated")) or parts["answer"].strip().strip("{}"), known, where)
    # the original's id, or the question itself: a file's place in its folder may change
    id = f"gsm8k-{row['id_orig']}" if isinstance(row.get("id_orig"), int) else question
    return Template(id, question, answer, slotted, domains, conditions, formula)


def require_own_text(template: Template, where: str) -> None:
    """Raise UserError where the original is not the template with its own values: they would be no pair."""
    own = SLOT.sub(lambda slot: slot[2] or slot[1], template.slotted)
    if SequenceMatcher(None, own.lower().split(), template.question.lower().split(), False).ratio() < LEAST_ALIKE:
        raise UserError(
            f"the question is not the template with its own values: {own.strip()[:80]!r}", where=where, fix=FIX
        )


def require_own_answer(template: Template, where: str) -> None:
    """Raise UserError where the formula gives another answer than the original's for the original's values."""
    found, right = _own_answer(template), final_number(template.answer)
    if found is not None and right is not None and found != right:
        raise UserError(
            f"with its own values the formula gives {found}, but the original's answer is {right}", where=where, fix=FIX
        )


def _own_answer(template: Template) -> Any:
    """The formula's value for the original; None where a number is in words or the formula has no value."""
    given = {slot[1]: (slot[2] or "").strip() for slot in SLOT.finditer(template.slotted)}
    digits = {name: exact(Fraction(text)) for name, text in given.items() if DIGITS.fullmatch(text)}
    try:
        return exact(template.formula.holds(digits)) if template.formula.names <= set(digits) else None
    except ExpressionError:
        return None


def _closing(solution: Any) -> str:
    """The formula at the end of a worked solution, or ""."""
    last = solution.rpartition("####")[2].strip() if isinstance(solution, str) else ""
    return last[1:-1] if last[:1] == "{" and last[-1:] == "}" and last.count("{") == 1 else ""


def _parts(annotated: str, where: str) -> tuple[str, dict[str, str]]:
    slotted, *rest = HEADING.split(annotated)
    parts = dict(zip(rest[::2], rest[1::2], strict=True))
    if not parts.get("answer", "").strip():
        raise UserError("the template has no #answer", where=where, fix=FIX)
    return slotted.strip(), parts


def _lines(part: str) -> Iterator[str]:
    for line in part.splitlines():
        if line.strip():
            yield line.strip().removeprefix("-").strip()


def _domain(line: str, where: str) -> Domain:
    left, equals, right = line.partition("=")
    names = [name.strip().removeprefix("$") for name in left.split(",")]
    if not equals or not all(name.isidentifier() for name in names):
        raise UserError(f"{line!r} is not a line `variable = choices`", where=where, fix=FIX)
    try:
        return domain_of(names, right)
    except ExpressionError as error:
        raise UserError(f"{line!r}: {error}", where=where, fix=FIX) from error


def _condition(line: str, known: set[str], where: str) -> Condition:
    # half of the templates write frac[1] for the number in a pair (text, number)
    text = re.sub(r"\$(?=\w)|(?<=\w)\[1\]", "", line)
    try:
        holds, names = worked(text, ARITHMETIC)
    except ExpressionError as error:
        raise UserError(f"{line!r}: {error}", where=where, fix=FIX) from error
    if names - known:
        raise UserError(f"{line!r}: {sorted(names - known)[0]} has no line under #init", where=where, fix=FIX)
    return Condition(text, holds, names, _equation(text))


def _equation(text: str) -> dict[str, Worked]:
    """{"total": a + b} for `total == a + b`."""
    sides = text.split("==")
    if len(sides) != 2:
        return {}
    pairs = ((sides[0].strip(), sides[1]), (sides[1].strip(), sides[0]))
    try:
        found = {name: worked(side, ARITHMETIC) for name, side in pairs if name.isidentifier()}
    except ExpressionError:  # the equation is part of something larger
        return {}
    return {name: work for name, (work, others) in found.items() if name not in others}
