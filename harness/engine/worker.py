"""A worker process: it does the portions that a run hands to it, or a whole plan, and writes only to the store.

With `events`, the number of an open pipe, it waits for portions on its standard input, one line of JSON each, and tells
the run that started it what it does; it ends at once when that input closes, even where the run was killed. A worker
without them goes through the whole plan, and locks divide the work among several.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.engine.config import load_experiment
from harness.engine.experiment import Experiment
from harness.engine.plan import Plan
from harness.engine.progress import Progress, print_line
from harness.engine.results.looked import looked_of
from harness.engine.run import portion_runner, run_plan
from harness.engine.stopping import due
from harness.engine.store.mirror import open_store
from harness.engine.store.store import Store, place_of
from harness.engine.tuning import plans
from harness.errors import UserError

TAKEN_AWAY = (75, -signal.SIGTERM, -signal.SIGUSR1)
"""Exit codes of a worker that was told to end, as by a scheduler that takes its machine away; the first is its own."""
MISTAKE = 2
"""The exit code of a worker whose work no other one could do either: the store is full, or a file has gone."""
SELDOM = 0.2
"""Seconds between two events on how far a piece of work is."""
Tell = Callable[..., None]


@dataclass(frozen=True)
class WorkerRequest:
    """A worker's request.

    stage   which plan of the experiment: 0 that of its trials, where it tunes; None: one after another
    looked  the looks of a run that may stop, as `recorded` writes them: what is due at the next one is done
    turn    the number of this worker among those that go through one plan
    order   the keys of the artifacts in the order in which they are done; those that are not named come after
    events  the pipe to write events to
    """

    file: str
    store: str
    settings: list[str]
    stage: int | None = None
    looked: dict[str, Any] | None = None
    turn: int = 0
    order: tuple[str, ...] = ()
    events: int | None = None

    def command(self) -> list[str]:
        """The command line of such a worker."""
        return [sys.executable, "-m", "harness.engine.worker", json.dumps(asdict(self))]


class Telling(Progress):
    """The progress of a worker: lines in its log, and events for the display of the run that started it."""

    def __init__(self, console: Console, tell: Tell) -> None:
        super().__init__(console)
        self.tell, self.told = tell, 0.0

    def say(self, text: str) -> None:
        super().say(text)
        self.tell("say", text)

    def begin(self, title: str, unit: str) -> None:
        super().begin(title, unit)
        self.tell("begin", title, unit)

    def stepped(self, done: int, total: int, note: str) -> None:
        super().stepped(done, total, note)
        self._seldom("stepped", done, total, note)

    def counted(self, unit: str, done: int, total: int | None, known: int) -> None:
        super().counted(unit, done, total, known)
        self._seldom("counted", unit, done, total, known)

    def _seldom(self, *event: Any) -> None:
        if (now := time.monotonic()) - self.told >= SELDOM:
            self.told = now
            self.tell(*event)

    def making(self, key: str) -> None:
        self.tell("making", key)

    def finished(self, title: str, identity: str = "") -> None:
        self.rest()
        print_line(self.console, f"done    {title}")
        self.tell("finished", title, identity)

    def failed(self, title: str, why: str, identity: str = "") -> None:
        self.rest()
        print_line(self.console, f"failed  {title}: {why}")
        self.tell("failed", title, why, identity)


def end_with_the_run() -> None:
    """Wait until standard input is closed, and end at once: the store stays consistent at any moment.

    The descriptor is read without Python's buffer: its lock, held by a waiting thread, would abort a worker that has
    finished and is closing its files.
    """
    for _ in _lines():
        pass
    os._exit(0)


def _lines() -> Iterator[bytes]:
    """The lines of standard input."""
    rest = b""
    while part := os.read(0, 65536):
        *whole, rest = (rest + part).split(b"\n")
        yield from whole


def worker_main() -> None:
    """The work of this process; the one argument is JSON: the fields of `WorkerRequest`."""
    asked = WorkerRequest(**json.loads(sys.argv[1]))
    tell = _teller(asked.events)
    try:
        if asked.events is not None:
            _serve(asked, tell)
        else:
            _go_through(asked)
    except KeyboardInterrupt:
        sys.exit(TAKEN_AWAY[0])
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        tell("mistake", error.what, error.where, error.fix)
        sys.exit(MISTAKE)


def _teller(pipe: int | None) -> Tell:
    """A function that writes events to the run that started this process, if there is one."""

    def tell(*event: Any) -> None:
        with suppress(BrokenPipeError):  # the run was killed, and so this process ends
            if pipe is not None:
                os.write(pipe, json.dumps(event).encode() + b"\n")

    return tell


def _go_through(asked: WorkerRequest) -> None:
    """Do all that is left of the experiment, next to others that do so."""
    threading.Thread(target=end_with_the_run, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.default_int_handler)
    store, experiment = open_store(place_of(asked.store)), _experiment(asked)
    for plan in _plans(asked, experiment, store):
        if experiment.tune is None:
            require_same(plan, asked.order)
        with Progress(Console(soft_wrap=True)) as progress:
            run_plan(plan, store, progress, order=asked.order, turn=asked.turn)


def require_same(plan: Plan, order: Collection[str]) -> None:
    """Raise UserError where this machine plans other artifacts than the run that asks for those of `order`."""
    if missing := [key for key in order if key not in plan.by_node]:
        what = f"{len(missing)} of {len(order)} artifacts have other content keys on this machine, such as {missing[0]}"
        fix = "Give all machines the same bakeoff, libraries, models and data, and name the `device` of each base."
        raise UserError(what, where=str(plan.experiment.file), fix=fix)


def _experiment(asked: WorkerRequest) -> Experiment:
    return load_experiment(Path(asked.file), asked.settings)


def _plans(asked: WorkerRequest, experiment: Experiment, store: Store) -> Iterator[Plan]:
    """The plans that are asked for, each to be filled before the next."""
    first, last = (None, None) if asked.stage is None else (asked.stage, asked.stage + 1)
    for plan in islice(plans(experiment, store.root, store=store), first, last):
        if asked.looked and plan.experiment.stop:
            looked = looked_of(asked.looked)
            yield due(plan, looked.reached + 1, looked.releases)
        else:
            yield plan


def _serve(asked: WorkerRequest, tell: Tell) -> None:
    """Do portion after portion, until standard input closes."""
    portions: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(portions,), daemon=True).start()
    store = open_store(place_of(asked.store))
    (plan,) = _plans(asked, _experiment(asked), store)
    with Telling(Console(soft_wrap=True), tell) as progress:
        do = portion_runner(plan, store, progress)
        while True:
            tell("idle")
            given = portions.get()
            do(given["key"], given["helps"])


def _receive(portions: queue.SimpleQueue[Any]) -> None:
    for line in _lines():
        portions.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    worker_main()
