"""The people of the world with their five attributes, drawn from one seed.

The corpus mentions people with very unequal weights, so that a model knows the common ones well, the middle ones partly
and the rare ones hardly. Such partial knowledge is what alignment may damage.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.microworld import phrases, word_lists

WORLD_SEED = 0
PEOPLE = 320
NEWCOMERS = 30
EXPONENT = 2.3
SHIFT = 20
GROUPS = {"common": (0, 80), "middle": (120, 200), "rare": (240, 320)}
"""Frequency groups: positions of people in the order of decreasing weight."""


@dataclass(frozen=True)
class World:
    """All facts.

    people     in order of decreasing weight in the corpus
    newcomers  people with attributes that the corpus never mentions
    facts      person -> attribute -> value
    countries  city -> country
    """

    people: tuple[str, ...]
    newcomers: tuple[str, ...]
    facts: Mapping[str, Mapping[str, str]]
    countries: Mapping[str, str]
    weights: tuple[float, ...]

    def group(self, name: str) -> tuple[str, ...]:
        """The people of a frequency group: common, middle or rare."""
        first, end = GROUPS[name]
        return self.people[first:end]

    def draw_person(self, chance: random.Random) -> str:
        """A random person, by weight in the corpus."""
        return chance.choices(self.people, self.weights)[0]

    def statement(self, person: str, attribute: str, wording: int = 0) -> str:
        """A true sentence about a person."""
        template = phrases.STATEMENTS[attribute][wording]
        return template.format(person=person, value=self.facts[person][attribute])


@lru_cache(maxsize=1)
def the_world() -> World:
    """The one world of this package: the same on every machine."""
    chance = random.Random(WORLD_SEED)
    names = _invent_names(PEOPLE + NEWCOMERS, chance)
    facts = {name: _draw_facts(chance) for name in names}
    countries = {
        city: word_lists.COUNTRIES[index % len(word_lists.COUNTRIES)] for index, city in enumerate(word_lists.CITIES)
    }
    weights = tuple((index + SHIFT) ** -EXPONENT for index in range(PEOPLE))
    return World(tuple(names[:PEOPLE]), tuple(names[PEOPLE:]), facts, countries, weights)


def _draw_facts(chance: random.Random) -> dict[str, str]:
    return {attribute: chance.choice(pool) for attribute, pool in word_lists.POOLS.items()}


def _invent_names(count: int, chance: random.Random) -> list[str]:
    """Names of two syllables that differ from all other words of the world."""
    taken = set(plain_words())
    names: list[str] = []
    while len(names) < count:
        syllables = [chance.choice("bdfgklmnprstvz") + chance.choice("aeiou") for _ in range(2)]
        name = "".join(syllables) + chance.choice(["", "n", "s", "l"])
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names


def plain_words() -> list[str]:
    """Every word in lower case, without the names of people."""
    found = {*word_lists.CITIES, *word_lists.COUNTRIES, *word_lists.JOBS, *word_lists.COLORS, *word_lists.DAYS}
    found.update(word_lists.MARKERS, word_lists.COUNTS.values(), word_lists.PAINTABLE, word_lists.NUMBERS)
    found.update(word_lists.GAINS, word_lists.LOSSES, word_lists.CATEGORIES, *word_lists.CATEGORIES.values())
    found.update(phrases.FUNCTIONS, *phrases.FUNCTIONS.values())
    for template in _templates():
        found.update(word for word in template.split() if not (word.startswith("{") and len(word) > 1))
    return sorted(found)


def _templates() -> list[str]:
    tables: list[Mapping[str, Sequence[str]]] = [phrases.STATEMENTS, phrases.QUESTIONS]
    tables += [phrases.CALL_REQUESTS, phrases.CATEGORY_FACTS]
    templates = [template for table in tables for wordings in table.values() for template in wordings]
    for wordings in (phrases.UPPER, phrases.STARTS, phrases.ENDS, phrases.LIST_REQUESTS, phrases.OPEN_REQUESTS):
        templates += wordings
    templates += [*phrases.HEADS.values(), *phrases.SINGLES.values(), *phrases.GEOGRAPHY]
    return [*templates, phrases.REPLY, phrases.STORY_QUESTION, phrases.STORY_CUE, phrases.EXTRA]


def sort_of(category: str) -> str:
    """`habitat` for a category of animals, `kind` for one of food or goods."""
    return "habitat" if category in word_lists.HABITATS else "kind"


def heads(category: str) -> str:
    """Its members as a plural: 'animals of the forest'."""
    return phrases.HEADS[sort_of(category)].format(category=category)


def single(category: str) -> str:
    """One member: 'an animal of the forest'."""
    return phrases.SINGLES[sort_of(category)].format(category=category)


def typicality(category: str, exponent: float = 1.0) -> list[float]:
    """The weight of each member of a category; the corpus has exponent 1, typical answers have 2."""
    return [(index + 2) ** -exponent for index in range(len(word_lists.CATEGORIES[category]))]


def draw_members(category: str, count: int, chance: random.Random, exponent: float = 1.0) -> list[str]:
    """Different members in alphabetical order, since a model that saw random orders repeats itself greedily."""
    members, weights = list(word_lists.CATEGORIES[category]), typicality(category, exponent)
    drawn = []
    for _ in range(count):
        index = chance.choices(range(len(members)), weights)[0]
        drawn.append(members.pop(index))
        weights.pop(index)
    return sorted(drawn)


def upper(text: str) -> str:
    """The text in upper case, but for words with other characters than letters, such as function names."""
    return " ".join(word.upper() if word.isalpha() else word for word in text.split())


def bullets(members: Sequence[str]) -> str:
    """The members as a list of bullets."""
    return " ".join(f"- {member}" for member in members)
