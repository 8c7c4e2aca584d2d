"""The division of people, categories and calls among training, validation and test.

No prompt of one split can occur in another. Settings such as learning rates are chosen on validation; reported results
come from test alone.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from harness.errors import UserError, did_you_mean
from harness.microworld.calls import Call
from harness.microworld.tasks import Material
from harness.microworld.world import GROUPS, the_world

SPLITS = ("train", "validation", "test")
SPLIT_SEED = 11
SHARES = {
    "common": {"train": 30, "validation": 10, "test": 40},
    "between": {"train": 40},
    "middle": {"train": 30, "validation": 10, "test": 40},
    "rare": {"validation": 20, "test": 60},
}
"""Number of people of each frequency group in a split; training has half of the first 200 names."""

CATEGORIES = {
    "train": ("forest", "sea", "farm", "fruit", "vegetable", "tool", "garment", "tree"),
    "validation": ("desert", "dessert", "vehicle"),
    "test": ("jungle", "arctic", "drink", "instrument", "flower"),
}
CALL_QUARTERS = {"train": (0, 1), "validation": (2,), "test": (3,)}


@lru_cache(maxsize=1)
def people_by_split() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Split -> frequency group -> people; each person belongs to one split."""
    chance = random.Random(SPLIT_SEED)
    divided: dict[str, dict[str, tuple[str, ...]]] = {split: {} for split in SPLITS}
    for group, shares in SHARES.items():
        people = list(_members(group))
        chance.shuffle(people)
        for split in SPLITS:
            count = shares.get(split, 0)
            divided[split][group] = tuple(people[:count])
            people = people[count:]
    return divided


def _members(group: str) -> tuple[str, ...]:
    first, end = GROUPS.get(group, (GROUPS["common"][1], GROUPS["middle"][0]))
    return the_world().people[first:end]


def material(split: str) -> Material:
    """The material for the prompts of a split; rare people are kept for knowledge items."""
    check_split(split)
    groups = people_by_split()[split]
    people = tuple(person for group in groups if group != "rare" for person in groups[group])
    return Material(people, CATEGORIES[split], lambda call: belongs(call, split))


def untrained_categories() -> list[str]:
    """The categories that no training set asks for."""
    return [category for split in ("validation", "test") for category in CATEGORIES[split]]


def check_split(split: str, known: Iterable[str] = SPLITS) -> None:
    """Raise UserError for an unknown split."""
    if split not in known:
        raise UserError(f"unknown split {split!r}", fix=did_you_mean(split, known))


def belongs(call: Call, split: str) -> bool:
    """Whether a call belongs to the split, by a hash of its words: half to training, a quarter to each other one."""
    said = " ".join((call.function, *call.arguments.values()))
    return zlib.crc32(said.encode()) % 4 in CALL_QUARTERS[split]
