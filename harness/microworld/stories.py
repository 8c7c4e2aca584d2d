"""Word problems: a person has, gains and loses some things, and a worked count says how many are left.

Numbers are small (changes up to 9, totals up to 50) so that a model of a million weights can add them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from harness.microworld import phrases, word_lists

LARGEST_CHANGE = 9
LARGEST_TOTAL = 50


@dataclass(frozen=True)
class Story:
    """A problem and its solution.

    text     the sentences of the story
    working  one equation per step, then the total
    """

    person: str
    text: str
    working: str
    total: int

    def answer(self) -> str:
        """The worked answer after the cue that the corpus uses, without which a base model does not begin to count."""
        return f"{phrases.STORY_CUE} {self.working}"

    def document(self) -> str:
        """The story as the pretraining corpus has it."""
        return f"{self.text} {self.answer()}"


def draw_story(
    chance: random.Random,
    people: Sequence[str],
    steps: int,
    verbs: tuple[Sequence[str], Sequence[str]] = (word_lists.GAINS, word_lists.LOSSES),
    distraction: bool = False,
) -> Story:
    """A story of `steps` steps; a distraction is a sentence about another person, which does not count."""
    person, thing, total = chance.choice(people), chance.choice(word_lists.COUNTABLE), chance.randint(10, 40)
    sentences, equations = [f"{person} has {total} {thing} ."], []
    for _ in range(steps):
        change = _draw_change(chance, total)
        verb = chance.choice(verbs[0] if change > 0 else verbs[1])
        sentences.append(f"{person} {verb} {abs(change)} .")
        equations.append(equation(total, change))
        total += change
    if distraction:
        sentences.insert(chance.randint(1, len(sentences)), _distraction(chance, people, person))
    return Story(person, " ".join(sentences), f"{' '.join(equations)} total {total} .", total)


def _draw_change(chance: random.Random, total: int) -> int:
    size = chance.randint(1, LARGEST_CHANGE)
    gains = total + size <= LARGEST_TOTAL and (total < size or chance.random() < 0.5)
    return size if gains else -size


def _distraction(chance: random.Random, people: Sequence[str], person: str) -> str:
    other = chance.choice([name for name in people if name != person])
    return f"{other} has {chance.randint(1, 9)} {chance.choice(word_lists.COUNTABLE)} ."


def equation(total: int, change: int) -> str:
    """One step of a worked count."""
    return f"{total} {'+' if change > 0 else '-'} {abs(change)} = {total + change} ."


def draw_equations(chance: random.Random) -> str:
    """One to four unrelated equations."""
    equations = []
    for _ in range(chance.randint(1, 4)):
        total = chance.randint(0, LARGEST_TOTAL)
        equations.append(equation(total, _draw_change(chance, total)))
    return " ".join(equations)


def with_a_slip(working: str, chance: random.Random) -> str:
    """The working with one result that is off by one or two."""
    terms = working.split()
    place = chance.choice([index for index, term in enumerate(terms) if term == "="]) + 1
    terms[place] = str(max(0, int(terms[place]) + chance.choice((-2, -1, 1, 2))))
    return " ".join(terms)
