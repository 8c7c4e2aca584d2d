"""A check that the microworld's splits share no prompt, person or category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.microworld import word_lists
from harness.microworld.splits import SPLITS, Key
from harness.microworld.world import the_world


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
    from harness.microworld import datasets, items

    return {split: [*datasets.dataset_keys(split), *items.item_keys(split)] for split in SPLITS}
