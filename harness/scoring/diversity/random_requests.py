"""Requests to choose at random among listed options: a die, a weekday, rock, paper or scissors; or rows of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.placed import Faults
from harness.data.readers import placed_rows
from harness.errors import UserError
from harness.scoring.diversity.open_prompts import EMBEDDED

ENGLISH = "english"
FIX = 'Example: {"prompt": "Heads or tails?", "options": ["heads", "tails"]}'
GAME = "rock, paper, scissors"
CHOICES: dict[str, tuple[str, tuple[str, ...]]] = {
    "coin": ("Flip a coin", ("heads", "tails")),
    "die": ("Roll a die", ("1", "2", "3", "4", "5", "6")),
    GAME: ("Play rock, paper, scissors", ("rock", "paper", "scissors")),
    "1 to 3": ("Pick a random number from 1 to 3", ("1", "2", "3")),
    "1 to 5": ("Pick a random number from 1 to 5", ("1", "2", "3", "4", "5")),
    "1 to 9": ("Pick a random number from 1 to 9", tuple(str(number) for number in range(1, 10))),
    "digit": ("Pick a random digit", tuple(str(number) for number in range(10))),
    "even": ("Pick a random even digit", ("0", "2", "4", "6", "8")),
    "letter": ("Pick a random letter from A to F", ("A", "B", "C", "D", "E", "F")),
    "vowel": ("Pick a random vowel", ("a", "e", "i", "o", "u")),
    "weekday": ("Pick a random weekday", ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")),
    "season": ("Pick a random season", ("spring", "summer", "autumn", "winter")),
    "direction": ("Pick a random direction", ("north", "south", "east", "west")),
    "colour": ("Pick a random colour", ("red", "green", "blue", "yellow", "black")),
    "suit": ("Draw a card and name its suit", ("clubs", "diamonds", "hearts", "spades")),
    "fruit": ("Pick a random fruit", ("apple", "banana", "cherry", "grape", "orange")),
    "pet": ("Pick a random pet", ("cat", "dog", "fish", "hamster", "parrot")),
    "metal": ("Pick a random metal", ("copper", "gold", "iron", "silver", "tin")),
    "meal": ("Pick a random meal", ("breakfast", "dinner", "lunch")),
    "planet": ("Pick a random planet", ("Earth", "Jupiter", "Mars", "Saturn", "Venus")),
    "instrument": ("Pick a random instrument", ("drum", "flute", "guitar", "piano", "violin")),
    "shape": ("Pick a random shape", ("circle", "square", "star", "triangle")),
    "month": ("Pick a random month of spring", ("March", "April", "May")),
    "side": ("Pick a side at random", ("left", "right")),
}  # fmt: skip
"""Name of a kind -> the request and its options. No option begins another one, and 24 kinds are 24 clusters."""


@dataclass(frozen=True)
class RandomRequest:
    """A request and the answers among which it asks to choose; requests of one kind are a cluster."""

    id: str
    kind: str
    text: str
    options: tuple[str, ...]


def random_requests(name: str, split: str) -> list[RandomRequest]:
    """Those in English, the microworld's, or a file's. Raises UserError for options that cannot be told apart."""
    if name == ENGLISH:
        return [one for kind, (asked, options) in CHOICES.items() for one in _in_both_orders(kind, asked, options)]
    if name == EMBEDDED:
        return _embedded()
    found = [_request(placed.row, placed.where, placed.number) for placed in placed_rows(name, Faults(), split)]
    if not found:
        raise UserError("it contains no requests", where=name)
    return found


def _in_both_orders(kind: str, asked: str, options: Sequence[str]) -> list[RandomRequest]:
    """The options listed forwards and backwards, since models prefer what is named first or last."""
    return [
        RandomRequest(f"{kind}/{order}", kind, _worded(asked, listed), tuple(options))
        for order, listed in (("forwards", options), ("backwards", tuple(reversed(options))))
    ]


def _worded(asked: str, listed: Sequence[str]) -> str:
    return f"{asked}: {', '.join(listed[:-1])} or {listed[-1]}. Answer with that alone, and without a full stop."


def _embedded() -> list[RandomRequest]:
    """One member of each category that no training set asks for, in the sentence that the training sets teach."""
    from harness.microworld import phrases, word_lists
    from harness.microworld.splits import untrained_categories
    from harness.microworld.world import single, sort_of

    return [
        RandomRequest(
            f"{category}/{at}",
            category,
            wording.format(single=single(category)),
            tuple(
                phrases.CATEGORY_FACTS[sort_of(category)][1].format(category=category, member=member)
                for member in word_lists.CATEGORIES[category]
            ),
        )
        for category in untrained_categories()
        for at, wording in enumerate(phrases.OPEN_REQUESTS[:2])
    ]


def _request(row: Mapping[str, Any], where: str, number: int) -> RandomRequest:
    text, options = row.get("prompt"), row.get("options")
    if not isinstance(text, str) or not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise UserError("a row without a prompt and a list of options", where=where, fix=FIX)
    if len(set(options)) < max(2, len(options)):
        raise UserError("a row needs two or more different options", where=where, fix=FIX)
    pairs = [(one, other) for one in options for other in options if one != other and other.startswith(one)]
    for one, other in pairs[:1]:
        raise UserError(f"the option {other!r} begins with {one!r}: their chances overlap", where=where, fix=FIX)
    identity = str(row.get("id") or number)
    return RandomRequest(identity, str(row.get("kind") or identity), text, tuple(options))
