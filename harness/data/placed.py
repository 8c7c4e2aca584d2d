"""A row and where it stands, as every reader yields it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from harness.errors import UserError, did_you_mean

# one row of training text is far shorter; a line beyond this is a broken file, and would fill the memory
MAX_LINE_BYTES = 32 * 2**20


class Placed(NamedTuple):
    """A row, its number from 1, and where it stands."""

    number: int
    where: str
    row: Mapping[str, Any]


OnError = Literal["stop", "skip"]


class Faults:
    """The bad rows that were met. With `stop` the first one is raised, with `skip` each is kept in `skipped`."""

    def __init__(self, on_error: str = "stop") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError(f"on_error is {on_error!r}", fix=did_you_mean(on_error, ["stop", "skip"]))
        self.on_error = on_error
        self.skipped: list[UserError] = []

    def meet(self, error: UserError) -> None:
        """Raise the error, or keep it."""
        if self.on_error == "stop":
            raise error
        self.skipped.append(error)


def skipped_lines(skipped: Sequence[UserError], at_most: int = 20) -> list[str]:
    """What was skipped, for the terminal: the count, then place and reason of each."""
    if not skipped:
        return []
    lines = [f"rows skipped: {len(skipped):,}"]
    lines += [f"  {error.where}: {error.what}" for error in skipped[:at_most]]
    return lines + ([f"  and {len(skipped) - at_most} more"] if len(skipped) > at_most else [])
