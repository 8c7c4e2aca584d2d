"""Families of stories: an original of three steps, and its variants.

The variants have redrawn numbers, a step less, a step more, an irrelevant clause, or other verbs. A story is a template
(templates.py): its numbers are drawn and its answer is computed as for the problems of GSM-Symbolic. A variant keeps
the numbers that it shares with its original.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.microworld import phrases, word_lists
from harness.microworld.rules import Instruction
from harness.microworld.splits import material
from harness.microworld.stories import LARGEST_CHANGE, LARGEST_TOTAL, equation
from harness.scoring.variants.templates import Template, template_of
from harness.scoring.variants.variant_families import FAMILY_SEED, Member
from harness.scoring.variants.variants import variants_of

STEPS = 3
"""A length between two others that training sets contain; no training set contains four steps."""

STORY_KINDS = ("numbers redrawn", "a step less", "a step more", "irrelevant clause", "reworded")


@dataclass(frozen=True)
class Plot:
    """A story without numbers: a sign and a verb for each step, and possibly a clause about another person."""

    person: str
    thing: str
    signs: tuple[str, ...]
    verbs: tuple[str, ...]
    aside: str = ""
    place: int = 0

    @property
    def slotted(self) -> str:
        """The prompt with a slot for each number."""
        steps = zip(self.verbs, range(1, len(self.verbs) + 1), strict=True)
        told = [f"{self.person} has {{n0}} {self.thing} .", *(f"{self.person} {v} {{n{at}}} ." for v, at in steps)]
        if self.aside:
            told.insert(self.place, self.aside)
        return " ".join([*told, phrases.STORY_QUESTION])

    def total(self, steps: int) -> str:
        """The formula of the total after `steps` steps."""
        return " ".join(["n0", *(f"{sign} n{at}" for at, sign in enumerate(self.signs[:steps], 1))])


def story_families(split: str, count: int) -> Iterator[list[Member]]:
    """`count` families of an original and a variant of each kind."""
    for at in range(count):
        identity = f"story/{split}/{at:03d}"
        yield _family(identity, random.Random(f"{FAMILY_SEED} {identity}"), material(split).people)


def _family(identity: str, chance: random.Random, people: Sequence[str]) -> list[Member]:
    plot = _draw_plot(chance, people)
    original = _told(identity, "", plot, ())
    numbers = original.numbers[:-1]
    # a further step must stay within the limits
    sign = "-" if original.numbers[-1] == LARGEST_TOTAL else "+" if original.numbers[-1] == 0 else chance.choice("+-")
    longer = replace(plot, signs=(*plot.signs, sign), verbs=(*plot.verbs, _usual(sign)))
    shorter = replace(plot, signs=plot.signs[:-1], verbs=plot.verbs[:-1])
    other = chance.choice([name for name in people if name != plot.person])
    aside = f"{other} has {chance.randint(1, 9)} {chance.choice(word_lists.COUNTABLE)} ."
    told = (
        (plot, ()),
        (shorter, numbers[:-1]),
        (longer, numbers),
        (replace(plot, aside=aside, place=chance.randint(1, STEPS)), numbers),
        (replace(plot, verbs=tuple(chance.choice(_synonyms(sign)) for sign in plot.signs)), numbers),
    )
    return [original, *(_told(identity, kind, *one) for kind, one in zip(STORY_KINDS, told, strict=True))]


def _draw_plot(chance: random.Random, people: Sequence[str]) -> Plot:
    signs = tuple(chance.choice("+-") for _ in range(STEPS))
    return Plot(chance.choice(people), chance.choice(word_lists.COUNTABLE), signs, tuple(map(_usual, signs)))


def _usual(sign: str) -> str:
    return (word_lists.GAINS if sign == "+" else word_lists.LOSSES)[0]


def _synonyms(sign: str) -> tuple[str, ...]:
    return (word_lists.GAINS if sign == "+" else word_lists.LOSSES)[1:]


def _told(identity: str, kind: str, plot: Plot, given: Sequence[int]) -> Member:
    """The story with the given numbers, the others drawn; the original and `numbers redrawn` use different draws."""
    template = template_for(plot, given, identity)
    variant = variants_of(template, 1, seed=int(kind == STORY_KINDS[0]))[0]
    numbers = (*(int(variant.values[f"n{at}"]) for at in range(len(plot.signs) + 1)), int(variant.answer))
    wanted = (Instruction("story_total", {"total": numbers[-1]}),)
    return Member(identity, "story", kind, variant.question, wanted, _worked(plot, numbers), numbers)


def template_for(plot: Plot, given: Sequence[int], identity: str) -> Template:
    """The template of a plot, with the microworld's limits as conditions; the first numbers may be given."""
    count = len(plot.signs) + 1
    ranges = ["range(10, 41)", *[f"range(1, {LARGEST_CHANGE + 1})"] * (count - 1)]
    chosen = [f"[{given[at]}]" if at < len(given) else ranges[at] for at in range(count)]
    init = [f"- $n{at} = {one}" for at, one in enumerate(chosen)]
    totals = [plot.total(steps) for steps in range(1, count)]
    limits = [line for total in totals for line in (f"- {total} >= 0", f"- {total} <= {LARGEST_TOTAL}")]
    lines = ["#init:", *init, "#conditions:", *limits, f"#answer: {plot.total(count - 1)}"]
    annotated = f"{plot.slotted}\n\n" + "\n".join(lines)
    # the question is the template's id, which seeds its draws
    return template_of({"question": identity, "answer": "", "question_annotated": annotated}, identity)


def _worked(plot: Plot, numbers: Sequence[int]) -> str:
    """The answer in the form of the training sets."""
    total, equations = numbers[0], []
    for sign, size in zip(plot.signs, numbers[1:-1], strict=True):
        change = size if sign == "+" else -size
        equations.append(equation(total, change))
        total += change
    return f"{phrases.STORY_CUE} {' '.join(equations)} total {total} ."
