"""Documents of the pretraining corpus's kinds that no model of the microworld was trained on.

They are drawn as the corpus draws, from a seed that no model has. What can be drawn is finite: a short document (an
equation, a line of geography) may stand in the corpus too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.microworld.corpus import WRITERS
from harness.microworld.splits import check_split
from harness.microworld.world import the_world

HELD_OUT_SEEDS = {"validation": 7000, "test": 8000}
KINDS = ("facts", "categories", "upper-case", "note", "call", "equations", "repetition", "story")
"""Without the forum, whose control tokens are no text, and without kinds that are one in fifty documents or fewer."""


@dataclass(frozen=True)
class Document:
    """A text, its kind, and whom or what it is about: documents about one person depend on each other."""

    id: str
    kind: str
    about: str
    text: str


def held_out(split: str, count: int) -> list[Document]:
    """`count` different documents of each kind."""
    check_split(split, HELD_OUT_SEEDS)
    return [document for kind in KINDS for document in _of_kind(kind, split, count)]


def _of_kind(kind: str, split: str, count: int) -> list[Document]:
    chance, world = random.Random(f"{HELD_OUT_SEEDS[split]} {kind}"), the_world()
    texts: dict[str, None] = {}
    for _ in range(20 * count):
        texts.setdefault(WRITERS[kind](world, chance))
        if len(texts) == count:
            break
    return [_document(f"{kind}/{split}/{at:03d}", kind, text) for at, text in enumerate(texts)]


def _document(identity: str, kind: str, text: str) -> Document:
    people = the_world().facts
    return Document(identity, kind, next((word for word in text.split() if word in people), identity), text)
