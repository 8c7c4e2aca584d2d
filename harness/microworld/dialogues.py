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
from harness.microworld.world import the_world, upper

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
    chance, world = random.Random(f"{DIALOGUE_SEED} {identity}"), the_world()
    people = chance.sample(list(material(split).people), TURNS)
    attributes = [chance.choice(word_lists.ATTRIBUTES) for _ in people]
    marker = chance.choice(word_lists.MARKERS)
    pairs = list(zip(people, attributes, strict=True))
    questions = [phrases.QUESTIONS[attribute][0].format(person=person) for person, attribute in pairs]
    sentences = [world.statement(person, attribute) for person, attribute in pairs]
    values = [world.facts[person][attribute] for person, attribute in pairs]
    how, instruction = _asked(kind, marker)
    turns = (f"{questions[0]} {phrases.REPLY} {how} {LASTING}", *questions[1:])
    if kind == "upper":
        return Dialogue(identity, kind, turns, instruction, tuple(map(str.upper, values)), tuple(map(upper, sentences)))
    told = tuple(f"{marker} {text}" if kind == "start" else f"{text} {marker}" for text in sentences)
    return Dialogue(identity, kind, turns, instruction, tuple(values), told)


def _asked(kind: str, marker: str) -> tuple[str, Instruction]:
    if kind == "upper":
        return phrases.UPPER[0], Instruction("upper_case")
    verb = (phrases.STARTS if kind == "start" else phrases.ENDS)[0]
    return f"with a note that {verb} {marker}", Instruction(f"{kind}s_with", {"marker": marker})
