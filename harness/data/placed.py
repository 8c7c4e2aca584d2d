"""A row and where it stands, as every reader yields it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

# one row of training text is far shorter; a line beyond this is a broken file, and would fill the memory
MAX_LINE_BYTES = 32 * 2**20


class Placed(NamedTuple):
    """A row, its number from 1, and where it stands."""

    number: int
    where: str
    row: Mapping[str, Any]
