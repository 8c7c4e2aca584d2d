"""Conversations of three turns whose first asks for a form that holds from then on.

The later turns only ask, each about another fact, so an answer cannot be copied from an earlier one. Only the training
set `with-turns-1k` has such conversations. No other set has a second turn: a policy trained on one of those that keeps
the form has generalised.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.microworld import phrases, word_lists
from harness.microworld.rules import Instruction
from harness.microworld.splits import material
from harness.microworld.tasks import Fact
from harness.microworld.world import upper

DIALOGUE_SEED = 4000
TURNS = 3
LASTING = "from now"
KINDS = ("upper", "start", "end")


@dataclass(frozen=True)
class Dialogue:
    """The user's turns, the instruction that every answer must follow, and the word that each answer must contain."""

    id: str
    kind: str
    turns: tuple[str, ...]
    instruction: Instruction
    values: tuple[str, ...]
    references: tuple[str, ...]


def dialogues(split: str, count: int) -> list[Dialogue]:
    """`count` of each kind."""
    return [_dialogue(kind, f"{kind}/{split}/{at:03d}", split) for kind in KINDS for at in range(count)]


def _dialogue(kind: str, identity: str, split: str) -> Dialogue:
    chance = random.Random(f"{DIALOGUE_SEED} {identity}")
    people = chance.sample(list(material(split).people), TURNS)
    facts = [Fact(person, chance.choice(word_lists.ATTRIBUTES)) for person in people]
    marker = chance.choice(word_lists.MARKERS)
    how, instruction = _asked(kind, marker)
    turns = (facts[0].asks(f"{how} {LASTING}"), *(fact.question for fact in facts[1:]))
    values, sentences = tuple(fact.value for fact in facts), tuple(fact.sentence for fact in facts)
    if kind == "upper":
        return Dialogue(identity, kind, turns, instruction, tuple(map(str.upper, values)), tuple(map(upper, sentences)))
    told = tuple(f"{marker} {text}" if kind == "start" else f"{text} {marker}" for text in sentences)
    return Dialogue(identity, kind, turns, instruction, values, told)


def _asked(kind: str, marker: str) -> tuple[str, Instruction]:
    if kind == "upper":
        return phrases.UPPER[0], Instruction("upper_case")
    verb = (phrases.STARTS if kind == "start" else phrases.ENDS)[0]
    return f"with a note that {verb} {marker}", Instruction(f"{kind}s_with", {"marker": marker})
