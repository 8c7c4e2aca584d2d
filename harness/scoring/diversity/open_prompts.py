"""Open-ended prompts: the microworld's, whose valid answers are known, or those of a file or hub data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.placed import Faults
from harness.data.readers import placed_rows
from harness.errors import UserError

EMBEDDED = "microworld"
EMBEDDED_WIDE = "microworld/wide"
MICROWORLD = (EMBEDDED, EMBEDDED_WIDE)
"""The embedded prompts, none of which any training set asks: 8 clusters, or 22."""

PROMPTS = ("prompt", "question", "instruction", "query")


@dataclass(frozen=True)
class OpenPrompt:
    """A question with many good answers.

    valid  words of which a valid answer names one; empty where they are unknown
    """

    id: str
    cluster: str
    text: str
    valid: tuple[str, ...] = ()


def open_prompts(name: str, split: str = "train") -> list[OpenPrompt]:
    """The prompts of a file, folder or hub id. Raises UserError for a row without a prompt and for no rows."""
    if name in MICROWORLD:
        return _embedded(name)
    found = [
        _prompt(placed.row, f"{name}, row {placed.number}", str(placed.number))
        for placed in placed_rows(name, Faults("stop"), split)
    ]
    if not found:
        raise UserError("it contains no prompts", where=name)
    return found


def prompts_digest(prompts: Sequence[OpenPrompt]) -> str:
    """Hexadecimal digest of prompts with their valid answers, in order."""
    rows = json.dumps([[prompt.id, prompt.text, prompt.valid] for prompt in prompts], ensure_ascii=True)
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def _embedded(name: str) -> list[OpenPrompt]:
    """Two wordings for everything that is asked for; its members are the valid answers."""
    from harness.microworld import phrases

    asked = {**_of_categories(), **(_of_the_world() if name == EMBEDDED_WIDE else {})}
    return [
        OpenPrompt(f"open/{cluster}/{wording}", cluster, request.format(single=single), valid)
        for cluster, (single, valid) in asked.items()
        for wording, request in enumerate(phrases.OPEN_REQUESTS[:2])
    ]


Asked = dict[str, tuple[str, tuple[str, ...]]]
"""Cluster -> one of its members in words, and all of them."""


def _of_categories() -> Asked:
    """The categories that no training set asks for."""
    from harness.microworld import word_lists
    from harness.microworld.splits import untrained_categories
    from harness.microworld.world import single

    return {one: (single(one), tuple(word_lists.CATEGORIES[one])) for one in untrained_categories()}


def _of_the_world() -> Asked:
    """The cities of each country, and what is asked of people: training sets never ask for one of many."""
    from harness.microworld import word_lists
    from harness.microworld.world import the_world

    world = the_world()
    cities = {
        land: tuple(city for city in word_lists.CITIES if world.countries[city] == land)
        for land in word_lists.COUNTRIES
    }
    kinds = {**word_lists.POOLS, "country": word_lists.COUNTRIES, "day": word_lists.DAYS, "person": world.people}
    found: Asked = {land: (f"a city in {land}", own) for land, own in cities.items()}
    return found | {kind: (f"a {kind}", tuple(members)) for kind, members in kinds.items()}


def _prompt(row: Mapping[str, Any], where: str, number: str) -> OpenPrompt:
    """The text of one of PROMPTS, the first of `turns` or the first user turn of `messages`, under `id` or another.

    Infinity-Chat's set for evaluation has `query`, its taxonomy has `messages` (2510.22954).
    """
    turns, messages = row.get("turns"), row.get("messages")
    texts = [row.get(key) for key in PROMPTS]
    texts += turns[:1] if isinstance(turns, list) else []
    for turn in messages if isinstance(messages, list) else []:
        if isinstance(turn, Mapping) and turn.get("role") == "user":
            texts.append(turn.get("content"))
            break
    text = next((text for text in texts if isinstance(text, str) and text.strip()), None)
    if text is None:
        what = f"the row has no text under {', '.join(PROMPTS)}, turns or messages"
        raise UserError(what, where=where, fix='Example: {"id": "1", "prompt": "Name a fruit."}')
    name = str(next((row[key] for key in ("id", "question_id") if row.get(key) is not None), number))
    return OpenPrompt(name, name, text)
