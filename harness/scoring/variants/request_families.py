"""Families of requests: an original with one instruction of a type in the training sets, and its variants.

The variants ask about another person or category, are reworded, have one instruction more, or have an instruction of a
type that occurs in no training set. `about another` is the control: its change shows the effect of a redraw alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from harness.microworld import phrases, word_lists
from harness.microworld.rules import Instruction
from harness.microworld.splits import material
from harness.microworld.tasks import Fact, Material
from harness.microworld.world import bullets, draw_members, heads, upper
from harness.scoring.variants.variant_families import FAMILY_SEED, Member

REQUEST_KINDS = ("about another", "reworded", "an instruction more", "unseen instruction")
Wish = tuple[str, tuple[Instruction, ...], str]
"""A prompt, the instructions that a right answer follows, and a right answer."""


def request_families(split: str, count: int) -> Iterator[list[Member]]:
    """`count` families of each sort of request."""
    for sort, write in SORTS.items():
        for at in range(count):
            identity = f"{sort}/{split}/{at:03d}"
            wishes = write(material(split), random.Random(f"{FAMILY_SEED} {identity}"))
            yield [Member(identity, "request", kind, *wish) for kind, wish in wishes.items()]


def _two_facts(stuff: Material, chance: random.Random) -> tuple[Fact, Fact]:
    """Facts about two people."""
    people = chance.sample(list(stuff.people), 2)
    return Fact(people[0], chance.choice(word_lists.ATTRIBUTES)), Fact(people[1], chance.choice(word_lists.ATTRIBUTES))


def _named(*wishes: Wish) -> dict[str, Wish]:
    """Kind of change -> request; the original comes first."""
    return dict(zip(("", *REQUEST_KINDS), wishes, strict=False))


def _upper(stuff: Material, chance: random.Random) -> dict[str, Wish]:
    (fact, other), marker = _two_facts(stuff, chance), chance.choice(word_lists.MARKERS)
    plain, synonym = phrases.UPPER
    wish, ends = Instruction("upper_case"), Instruction("ends_with", {"marker": marker.upper()})
    more = f"{plain} with a note that {phrases.ENDS[0]} {marker}"
    alone = Instruction("one_word", {"word": fact.value})
    return _named(
        (fact.asks(plain), (wish,), upper(fact.sentence)),
        (other.asks(plain), (wish,), upper(other.sentence)),
        (fact.asks(synonym), (wish,), upper(fact.sentence)),
        (fact.asks(more), (wish, ends), f"{upper(fact.sentence)} {marker.upper()}"),
        (fact.asks("in one word"), (alone,), fact.value),
    )


def _start(stuff: Material, chance: random.Random) -> dict[str, Wish]:
    return _note(stuff, chance, phrases.STARTS, "starts_with", lambda text, marker: f"{marker} {text}", framed=True)


def _end(stuff: Material, chance: random.Random) -> dict[str, Wish]:
    return _note(stuff, chance, phrases.ENDS, "ends_with", lambda text, marker: f"{text} {marker}", framed=False)


def _note(
    stuff: Material,
    chance: random.Random,
    verbs: tuple[str, str],
    name: str,
    answer: Callable[[str, str], str],
    framed: bool,
) -> dict[str, Wish]:
    """Notes with a marker at one end; the further instruction is a marker at the other end."""
    (fact, other), (marker, second) = _two_facts(stuff, chance), chance.sample(word_lists.MARKERS, 2)
    wish = Instruction(name, {"marker": marker})
    ask = "with a note that {verb} {marker}".format
    first, last = (marker, second) if name == "starts_with" else (second, marker)
    both = (Instruction("starts_with", {"marker": first}), Instruction("ends_with", {"marker": last}))
    more = f"with a note that {phrases.STARTS[0]} {first} and {phrases.ENDS[0]} {last}"
    return _named(
        (fact.asks(ask(verb=verbs[0], marker=marker)), (wish,), answer(fact.sentence, marker)),
        (other.asks(ask(verb=verbs[0], marker=marker)), (wish,), answer(other.sentence, marker)),
        (fact.asks(ask(verb=verbs[1], marker=marker)), (wish,), answer(fact.sentence, marker)),
        (fact.asks(more), both, f"{first} {fact.sentence} {last}"),
        _framed(fact, marker) if framed else _twice(fact),
    )


def _framed(fact: Fact, marker: str) -> Wish:
    how = f"with a note that has {marker} as first and last word"
    return fact.asks(how), (Instruction("framed", {"marker": marker}),), f"{marker} {fact.sentence} {marker}"


def _twice(fact: Fact) -> Wish:
    wish = Instruction("twice", {"word": fact.value})
    return fact.asks("and say it again"), (wish,), f"{fact.sentence} {fact.sentence}"


def _list(stuff: Material, chance: random.Random) -> dict[str, Wish]:
    """Lists have no unseen type; the further instruction is upper case, which training sets ask only of sentences."""
    category, other = chance.sample(list(stuff.categories), 2)
    count = chance.choice(list(word_lists.COUNTS))
    wishes = (Instruction("bullet_list"), Instruction("item_count", {"count": count}))
    shown = bullets(draw_members(category, count, chance))
    usual, synonym = phrases.LIST_REQUESTS[0], phrases.LIST_REQUESTS[2]

    def ask(wording: str, members: str) -> str:
        return wording.format(count=word_lists.COUNTS[count], heads=heads(members))

    more = (*wishes, Instruction("upper_bullets"))
    return _named(
        (ask(usual, category), wishes, shown),
        (ask(usual, other), wishes, bullets(draw_members(other, count, chance))),
        (ask(synonym, category), wishes, shown),
        (f"{ask(usual, category)} {phrases.UPPER[0]}", more, upper(shown)),
    )


SORTS: dict[str, Callable[[Material, random.Random], dict[str, Wish]]] = {
    "upper": _upper,
    "start": _start,
    "end": _end,
    "list": _list,
}
