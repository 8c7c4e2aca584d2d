"""A check that the microworld's splits share no prompt, person or category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.microworld import datasets, dialogues, items, word_lists
from harness.microworld.dialogues import Dialogue
from harness.microworld.splits import SPLITS
from harness.microworld.tasks import MAKERS, Task
from harness.microworld.world import the_world

Key = tuple[str, tuple[str, ...]]
"""What makes a prompt: its template and the entities in it."""


class SplitOverlap(ValueError):
    """Something belongs to two splits."""


def check_disjoint(keys: Mapping[str, Iterable[Key]] | None = None) -> None:
    """Raise SplitOverlap where two splits share a prompt, a person or a category.

    keys  split -> its keys; by default those of all training sets and items of this package
    """
    owners: dict[str | Key, str] = {}
    for split, found in (_all_keys() if keys is None else keys).items():
        for key in found:
            things: list[str | Key] = [key, *_divided_entities(key)]
            for thing in things:
                if owners.setdefault(thing, split) != split:
                    raise SplitOverlap(f"{thing!r} is in {owners[thing]} and in {split}")


def _divided_entities(key: Key) -> list[str]:
    people = the_world().facts
    return [entity for entity in key[1] if entity in word_lists.CATEGORIES or entity in people]


def _all_keys() -> dict[str, list[Key]]:
    return {split: [*dataset_keys(split), *item_keys(split)] for split in SPLITS}


def dataset_keys(split: str) -> list[Key]:
    """The keys of the prompts of all training sets in a split."""
    known = [name for name in datasets.dataset_names() if split in datasets._SETS[name].rows]
    asked = [_task_key(task) for name in known for task, _ in datasets.tasks_of(name, split)]
    return [*asked, *(dialogue_key(one) for name in known for one in datasets._dialogues(name, split))]


def item_keys(split: str) -> list[Key]:
    """The keys of the items of a split; training has none."""
    if split not in items.ITEM_SPLITS:
        return []
    count = items.COUNTS[split]
    known = [("plain/0", (item.person, item.attribute)) for item in items.knowledge_items(split)]
    tasks = [
        task
        for reworded in (False, True)
        for kind in MAKERS
        for task in items._different_tasks(kind, split, count, reworded)
    ]
    told = dialogues.dialogues(split, count)
    return [*known, *(_task_key(task) for task in tasks), *(dialogue_key(one) for one in told)]


def _task_key(task: Task) -> Key:
    return task.template, task.entities


def dialogue_key(dialogue: Dialogue) -> Key:
    """Its kind and the people that it asks about."""
    people = [word for turn in dialogue.turns for word in turn.split() if word in the_world().facts]
    return f"dialogue/{dialogue.kind}", tuple(people)
