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
    if name == EMBEDDED:
        return _embedded()
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


def _embedded() -> list[OpenPrompt]:
    """Two wordings for every category that no training set asks for; its members are the valid answers."""
    from harness.microworld import phrases, word_lists
    from harness.microworld.splits import material
    from harness.microworld.world import single

    categories = [category for split in ("validation", "test") for category in material(split).categories]
    return [
        OpenPrompt(
            f"open/{category}/{wording}",
            category,
            request.format(single=single(category)),
            tuple(word_lists.CATEGORIES[category]),
        )
        for category in categories
        for wording, request in enumerate(phrases.OPEN_REQUESTS[:2])
    ]


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
