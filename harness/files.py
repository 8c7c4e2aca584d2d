"""Writing what the data verbs make: rows as JSON lines and cards, each file whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError

HARNESS = Path(__file__).parent  # the package that holds every room


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line, in the order given: equal rows, equal bytes."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def sibling_file(path: Path, ending: str) -> Path:
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


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, atomically: equal values, equal bytes."""
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    """Read a JSON file of a results folder; a missing one is the user's mistake."""
    if not path.exists():
        raise UserError("no such results file", where=str(path), fix="Run `bakeoff run EXPERIMENT` first.")
    return json.loads(path.read_text(encoding="utf-8"))
