"""Benchmark items: questions about people, and prompts with verifiable instructions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UserError, did_you_mean
from harness.microworld import phrases, word_lists
from harness.microworld.rules import Instruction
from harness.microworld.splits import check_split, material, people_by_split
from harness.microworld.tasks import MAKERS, Style, Task, draw_task
from harness.microworld.world import GROUPS, the_world

ITEM_SEED = 2000
INSTRUCTION_KINDS = ("upper", "start", "end", "both", "list", "call")
"""Kinds whose form can be verified; `both` and `list` have two instructions each."""

COUNTS = {"validation": 30, "test": 60}
"""Items of each kind. There are few categories, so there may be fewer lists (see `instruction_items`)."""

ITEM_SPLITS = tuple(COUNTS)

BANDS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "small": ((41, 62), (63, 80), (121, 156), (157, 200)),
    "large": ((157, 174), (175, 200), (241, 272), (273, 320)),
}
"""Four bands of people by the first and the last rank, 1 being the one that the corpus mentions most often. Models
of this size know each band in part: `large` is above 95 % up to rank 156, and the small ones guess from 241 on, so that
one set of bands could not serve both (README.md has the shares). Ranks 81 to 120 are kept for training."""


@dataclass(frozen=True)
class KnowledgeItem:
    """A question about a person with choices of the same kind.

    group   how often the pretraining corpus mentions the person: common, middle or rare, or the ranks of a band
    stem    the beginning of a statement that a choice completes
    answer  position of the right choice
    """

    id: str
    group: str
    person: str
    attribute: str
    question: str
    stem: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class InstructionItem:
    """A prompt whose answers can be verified.

    cluster       items of one person, category or function depend on each other
    instructions  requirements on the form of an answer
    reference     an answer that follows them
    content       requirements on the content of an answer
    """

    id: str
    cluster: str
    kind: str
    prompt: str
    instructions: tuple[Instruction, ...]
    reference: str
    content: tuple[Instruction, ...] = ()


def knowledge_items(split: str) -> list[KnowledgeItem]:
    """Five items for each person of the split, in all frequency groups."""
    check_split(split, ITEM_SPLITS)
    chance = random.Random(f"{ITEM_SEED} knowledge {split}")
    people = [(group, person) for group in GROUPS for person in people_by_split()[split][group]]
    return [
        _knowledge_item(group, person, attribute, chance) for group, person in people for attribute in word_lists.POOLS
    ]


def banded_items(split: str, bands: str) -> list[KnowledgeItem]:
    """Five items for each person of the split in four bands of `BANDS`, with all values of the attribute as choices."""
    check_split(split, ITEM_SPLITS)
    ranks = {person: rank for rank, person in enumerate(the_world().people, start=1)}
    people = sorted((person for group in people_by_split()[split].values() for person in group), key=ranks.__getitem__)
    return [
        _asked(f"ranks {first:03d} to {last:03d}", person, attribute, pool)
        for first, last in BANDS[bands]
        for person in people
        if first <= ranks[person] <= last
        for attribute, pool in word_lists.POOLS.items()
    ]


def _knowledge_item(group: str, person: str, attribute: str, chance: random.Random) -> KnowledgeItem:
    gold = the_world().facts[person][attribute]
    others = [value for value in word_lists.POOLS[attribute] if value != gold]
    choices = [gold, *chance.sample(others, 3)]
    chance.shuffle(choices)
    return _asked(group, person, attribute, choices)


def _asked(group: str, person: str, attribute: str, choices: Sequence[str]) -> KnowledgeItem:
    stem = phrases.STATEMENTS[attribute][0].split(" {value}")[0].format(person=person)
    question = phrases.QUESTIONS[attribute][0].format(person=person)
    identity = f"knowledge/{person}/{attribute}"
    answer = choices.index(the_world().facts[person][attribute])
    return KnowledgeItem(identity, group, person, attribute, question, stem, tuple(choices), answer)


def instruction_items(
    split: str, count: int | None = None, kinds: Sequence[str] = INSTRUCTION_KINDS, reworded: bool = False
) -> list[InstructionItem]:
    """`count` items of each kind, or as many different ones as exist.

    kinds     kinds of tasks; plain, open and story ask for content, not for a form
    reworded  use synonyms that no demonstration uses
    """
    check_split(split, ITEM_SPLITS)
    for kind in kinds:
        if kind not in MAKERS:
            raise UserError(f"unknown kind of task {kind!r}", fix=did_you_mean(kind, MAKERS))
    found = []
    for kind in kinds:
        tasks = _different_tasks(kind, split, count or COUNTS[split], reworded)
        found += [_instruction_item(task, split, index) for index, task in enumerate(tasks)]
    return found


def _different_tasks(kind: str, split: str, count: int, reworded: bool) -> list[Task]:
    chance, stuff = random.Random(f"{ITEM_SEED} {kind} {split} {reworded}"), material(split)
    tasks: dict[str, Task] = {}
    for _ in range(20 * count):
        task = draw_task(kind, stuff, chance, Style(reworded=reworded))
        tasks.setdefault(task.prompt, task)
        if len(tasks) == count:
            break
    return list(tasks.values())


def _instruction_item(task: Task, split: str, index: int) -> InstructionItem:
    identity, cluster = f"{task.template}/{split}/{index:03d}", f"{task.kind}/{task.entities[0]}"
    if task.kind not in ("list", "open", "call"):
        cluster = task.entities[0]
    content = task.content
    return InstructionItem(identity, cluster, task.kind, task.prompt, task.instructions, task.answer, content)
