"""Answers and scores as they are finished: told batch by batch, and kept so that a killed run goes on after them.

A policy computes what it is asked for in batches that depend on the requests alone, and a batch may take rows from the
next ones before it ends. Under `watched_by`, each finished batch is handed to a `Watcher`, with the rows that it took.
One that hands results back from an earlier run saves their computation: the remaining rows form the batches that they
formed before, so results are equal to the bit, wherever the earlier run ended.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from harness.policy.batching import Waiting, halving

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded
    from harness.policy.policy import Steps

Row = TypeVar("Row")
Result = tuple[int, Any]
"""The place of a row among all rows of its request, and what was computed for it, as JSON can hold it."""


@dataclass(frozen=True)
class PolicyRequest:
    """One request of a benchmark to a policy.

    rows    how many results it has
    unit    what they are, for a reader: "answers"
    digest  names all that decides the results, given the policy
    """

    rows: int
    unit: str
    digest: Callable[[], str]


class Watcher(ABC):
    """Follows the requests of one evaluation."""

    @abstractmethod
    def begin(self, asked: PolicyRequest) -> Mapping[int, Any]:
        """A request begins, or a part of one; the results that are known from an earlier run, by place."""

    @abstractmethod
    def reached(self, rows: int) -> None:
        """So many rows of the batch in hand are finished."""

    @abstractmethod
    def finished(self, results: Sequence[Result]) -> None:
        """A batch is finished."""


_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Whatever policies compute in the block, the watcher follows."""
    before = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(before)


def watcher() -> Watcher | None:
    """The watcher of the block that this is called in."""
    return _WATCHER.get()


def in_batches(
    policies: Sequence[Steps],
    batches: Iterable[Sequence[Row]],
    do: Callable[[list[Row], Waiting[Row]], Iterable[Result]],
    place: Callable[[Row], int],
    asked: PolicyRequest,
) -> Iterator[Result]:
    """The result of each row, in no order: those that the watcher hands back, and those of `do` on the other rows.

    do  computes the rows of a batch, and those that it takes from the first batches that wait
    """
    watching = watcher()
    if watching is None:
        yield from halving(policies, batches, do)
        return
    known = watching.begin(asked)
    yield from known.items()

    def watched(batch: list[Row], waiting: Waiting[Row]) -> list[Result]:
        results = list(do(batch, waiting))
        watching.finished(results)
        return results

    left = ([row for row in batch if place(row) not in known] for batch in batches)
    yield from halving(policies, filter(None, left), watched)


def requests_digest(requests: Iterable[Encoded], *more: object) -> str:
    """A digest of the token ids of requests and of what else decides their results."""
    hasher = hashlib.sha256(repr(more).encode("utf-8", "surrogatepass"))
    for request in requests:
        for ids in (request.prompt, request.prefix, request.completion):
            hasher.update(array("q", (len(ids), *ids)).tobytes())
    return hasher.hexdigest()[:24]
