"""Blocks of results: what a policy has computed of a cell that is not done, so that a killed run goes on from there.

    STORE/blocks/KEY/NUMBER.json   the batches that were finished in at least `every` seconds, sealed by a digest

KEY is that of the cell's outcomes, which decides all results. A benchmark asks a policy in a fixed order, so results
are known by the number of the request and the place in it; the request's digest must be the same, otherwise, as where a
file is damaged, they are computed again. A block has whole batches, so that where it ends changes no result. Once the
cell is done its blocks are removed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.engine.store.store import Store
from harness.files import read_sealed, remember, write_sealed
from harness.policy.finished import PolicyRequest, Result, Watcher, watched_by

EVERY = 10.0
"""Seconds between two blocks: a short cell needs none, and a file takes milliseconds."""
SHOWN = 0.2
"""Seconds between two reports of how far a batch is."""
Tell = Callable[[str, int, int, int], None]
"""Called with what is counted, how many are finished, of how many, and how many of these were known before."""


@dataclass
class _Request:
    """A request to a policy: its results that are in no block yet."""

    number: int
    asked: PolicyRequest
    done: int = 0
    known: int = 0
    new: list[Result] = field(default_factory=list)

    @cached_property
    def digest(self) -> str:
        return self.asked.digest()


class Blocks(Watcher):
    """Keeps the results of one cell in blocks, and hands back those of an earlier run.

    seconds  the time that the results handed back once took
    found    how many they are
    """

    def __init__(
        self, store: Store, key: str, tell: Tell, *, every: float = EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.key, self.tell, self.every, self.clock = blocks_folder(store, key), key, tell, every, clock
        self.seconds, self.found = 0.0, 0
        self._requests: list[_Request] = []
        self._begins = 0
        self._begun = self._told = clock()
        self._kept: dict[int, list[tuple[str, list[Result]]]] = {}
        self._next = 0
        for path in _files(self.folder):
            self._next = int(path.stem) + 1
            self._read(path)

    def _read(self, path: Path) -> None:
        held = read_sealed(path)
        if not held or held["cell"] != self.key:
            return
        self.seconds += held["seconds"]
        for number, digest, rows in json.loads(held["results"]):
            self._kept.setdefault(number, []).append((digest, rows))

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follow what is computed in the block; where it ends with an error, all finished batches are kept."""
        try:
            with watched_by(self):
                yield
        except BaseException:
            if any(one.new for one in self._requests):
                self._keep(remember)
            raise

    def begin(self, asked: PolicyRequest) -> Mapping[int, Any]:
        """The results of this request, the next one of the cell, that are in blocks."""
        request = _Request(self._begins, asked)
        self._begins += 1
        kept = self._kept.pop(request.number, [])
        known = {place: result for digest, rows in kept if digest == request.digest for place, result in rows}
        request.done = request.known = len(known)
        self.found += len(known)
        self._requests = [*(one for one in self._requests if one.new), request]
        self._tell(0)
        return known

    def reached(self, rows: int) -> None:
        """Tell how far the batch in hand is."""
        if self.clock() - self._told >= SHOWN:
            self._tell(rows)

    def finished(self, results: Sequence[Result]) -> None:
        """Tell it, and write a block where the last one is long ago."""
        request = self._requests[-1]
        request.new.extend(results)
        request.done += len(results)
        self._tell(0)
        if self.clock() - self._begun >= self.every:
            self._keep(write_sealed)

    def remove(self) -> None:
        """Forget the blocks: the cell is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tell(self, rows: int) -> None:
        request, self._told = self._requests[-1], self.clock()
        self.tell(request.asked.unit, request.done + rows, request.asked.rows, request.known)

    def _keep(self, write: Callable[[Path, Any], None]) -> None:
        results = [(one.number, one.digest, one.new) for one in self._requests if one.new]
        now = self.clock()
        # as one text: a line for each number would take longer to write
        block = {"cell": self.key, "seconds": now - self._begun, "results": json.dumps(results)}
        write(self.folder / f"{self._next:06}.json", block)
        self._next, self._begun = self._next + 1, now
        for one in self._requests:
            one.new = []


def blocks_folder(store: Store, key: str) -> Path:
    """Where a cell's blocks are."""
    return store.root / "blocks" / key


def kept_results(store: Store, key: str) -> int:
    """How many results are kept for a cell that is not done; damaged blocks do not count."""
    held = filter(None, map(read_sealed, _files(blocks_folder(store, key))))
    return sum(len(rows) for one in held for _, _, rows in json.loads(one["results"]))


def blocks_of(store: Store) -> Iterator[tuple[str, Path]]:
    """Each cell's key that has blocks, with their folder."""
    for folder in sorted((store.root / "blocks").glob("*")):
        yield folder.name, folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.stem.isdigit())
