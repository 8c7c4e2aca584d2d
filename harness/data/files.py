"""Writing what the data verbs make: rows as JSON lines and cards, each file whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.card import card_markdown
from harness.errors import UserError


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line, in the order given: equal rows, equal bytes."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_card(path: Path, card: Mapping[str, Any]) -> None:
    """PATH.card.json and PATH.card.md beside the set."""
    write_text(beside(path, "card.json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_text(beside(path, "card.md"), card_markdown(card, path.stem))


def beside(path: Path, ending: str) -> Path:
    """The file of the set's name with another ending."""
    return path.with_name(f"{path.stem}.{ending}")


def check_out(out: Path, inputs: Sequence[str]) -> None:
    """Refuse an output that would overwrite an input, or that could not be read back."""
    if out.suffix != ".jsonl":
        raise UserError(f"--out is {out}", fix="Name a .jsonl file.")
    if any(Path(name).resolve() == out.resolve() for name in inputs):
        raise UserError(f"--out {out} is an input as well", fix="Name another file.")


def write_text(path: Path, text: str) -> None:
    """The file appears whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8", newline="\n")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"it cannot be written: {error.strerror}", where=str(path), fix="Choose another --out."
        ) from error
