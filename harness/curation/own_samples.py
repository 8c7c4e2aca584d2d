"""A model's completions read from a file, and found by a row's id or prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.data.readers import Faults, Placed, placed_rows
from harness.data.rows import as_prompt
from harness.errors import UserError
from harness.records import Message

Key = str | tuple[Message, ...]


@dataclass
class Samples:
    """Completions by id and by prompt; `used` has the keys that `of` has found."""

    drawn: dict[Key, list[str]] = field(default_factory=dict)
    used: set[Key] = field(default_factory=set)
    skipped: tuple[UserError, ...] = ()

    def of(self, id: str, prompt: tuple[Message, ...]) -> list[str]:
        """The distinct completions of a row, in the order of the file."""
        keys = [key for key in (id, prompt) if key in self.drawn]
        self.used.update(keys)
        return list(dict.fromkeys(text for key in keys for text in self.drawn[key]))

    def unused(self) -> int:
        """The number of ids or prompts in the file that belong to no row."""
        return len(self.drawn) - len(self.used)


def read_own_samples(name: str, on_error: str = "stop") -> Samples:
    """Rows with `id` or `prompt`, and `completion` (a text) or `completions` (a list of texts).

    An empty completion is valid: a model may answer nothing. Raises UserError naming a row that has none.
    """
    faults, samples = Faults(on_error), Samples()
    for placed in placed_rows(name, faults):
        try:
            key, texts = _row(placed)
        except UserError as error:
            faults.add(error)
            continue
        samples.drawn.setdefault(key, []).extend(texts)
    samples.skipped = tuple(faults.skipped)
    if not samples.drawn:
        raise UserError("it holds no completions", where=name, fix="Write rows of `id` or `prompt`, and `completions`.")
    return samples


def _row(placed: Placed) -> tuple[Key, Sequence[str]]:
    row, where = placed.row, placed.where
    given = row.get("completions", [row["completion"]] if "completion" in row else None)
    if not isinstance(given, list) or not given or not all(_is_text(one) for one in given):
        raise UserError("it has no completions", where=where, fix="Give `completions` as a list of texts.")
    return _key(row, where), given


def _key(row: Mapping[str, Any], where: str) -> Key:
    if row.get("id") not in (None, ""):
        return str(row["id"])
    if "prompt" in row:
        return as_prompt(row["prompt"], where)
    raise UserError("it has neither `id` nor `prompt`", where=where, fix="Say which row was answered.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)
