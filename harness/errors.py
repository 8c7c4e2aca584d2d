"""The error that a user's mistake raises: what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake that the user can correct. The command line prints it without a traceback and exits with 2.

    what   one sentence on what is wrong, with the offending value
    where  file and line, or file and key ("" if unknown)
    fix    what would be right, with an example

    Each is cut where it is long: a value may be a whole text.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = shortened(what, 1000)
        self.where = shortened(where, 1000)
        self.fix = shortened(fix, 2000)
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.fix:
            parts.append(self.fix)
        return "\n  ".join(parts)


class Unreachable(UserError):
    """A thing on another machine that cannot be had now: it costs the cells that need it and not the run."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known word, then all of them: the `fix` of an unknown-name error."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}Known: {', '.join(known) or 'none'}."


def shortened(text: str, most: int = 300) -> str:
    """The text; of a longer one its beginning and its length."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for a message with room for one line."""
    return shortened((str(error).strip().splitlines() or [type(error).__name__])[0])
