"""The exceptions with which a clause says that it is broken, or that it does not apply."""

from __future__ import annotations


class Broken(AssertionError):
    """A promise is not kept.

    expected, found  one sentence each, without a full stop
    """

    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"expected {expected}; found {found}")


class NotApplicable(Exception):
    """The clause does not concern this method; the message says why."""


def expect(kept: bool, expected: str, found: str) -> None:
    """Raise Broken unless the promise is kept."""
    if not kept:
        raise Broken(expected, found)
