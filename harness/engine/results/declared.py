"""The contrasts that an experiment declares, recorded in its results folder before the first cell is scored.

declared.json holds a list, the last entry being the one that counts:

    contrasts  the differences, as `A - B`
    digest     of them
    scored     how many of the plan's cells were done when a run first saw this declaration; cells: of how many

A changed declaration is another entry, so that the report can say what was declared and when. No times are recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.engine.results.schema import DECLARED_FILE, SCHEMA_VERSION
from harness.files import read_json, write_json


def declare(folder: Path, contrasts: Sequence[tuple[str, str]], scored: int, cells: int) -> None:
    """Record the contrasts, unless they are the ones recorded last; `scored` of `cells` are done."""
    known, said = declarations(folder), contrast_texts(contrasts)
    if said == (known[-1]["contrasts"] if known else []):
        return
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"contrasts": said, "digest": contrasts_digest(said), "scored": scored, "cells": cells}
    write_json(folder / DECLARED_FILE, {"schema": SCHEMA_VERSION, "declared": [*known, entry]})


def declarations(folder: Path) -> list[dict[str, Any]]:
    """Every declaration of a results folder, the oldest first."""
    path = folder / DECLARED_FILE
    return list(read_json(path)["declared"]) if path.is_file() else []


def contrast_texts(contrasts: Sequence[tuple[str, str]]) -> list[str]:
    """The contrasts as an experiment writes them."""
    return [f"{first} - {second}" for first, second in contrasts]


def contrasts_digest(said: Sequence[str]) -> str:
    """A digest of the contrasts in their order."""
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:24]
