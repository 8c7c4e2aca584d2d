"""Which training data a cell used: a point on the experiment's two axes of data."""

from __future__ import annotations

from typing import NamedTuple


class DataChoice(NamedTuple):
    """quality: one of the named sets, "" without that axis; size: rows drawn from it, 0 for all of them."""

    quality: str = ""
    size: int = 0

    @property
    def title(self) -> str:
        """In words; empty where the experiment has neither axis."""
        return " ".join([self.quality, f"{self.size:,} training examples" if self.size else ""]).strip()
