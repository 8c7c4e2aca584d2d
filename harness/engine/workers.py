"""Worker processes on one machine: the run hands each of them one portion at a time, and shows what all of them do.

A worker writes only to the store. One that dies is replaced, and what it was making is tried once more, alone on its
device; where that ends a worker again, it has failed. Workers end with the run that started them, even when it is
killed, because their standard input closes. On a CPU each uses the experiment's own number of threads, so that bytes
stay the same.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.engine.placement import Device, Room, devices_of
from harness.engine.plan import Plan
from harness.engine.portions import Portion, portions_of
from harness.engine.progress import Progress
from harness.engine.run import Tally, prepare
from harness.engine.showable import counted
from harness.engine.store.store import Store, disk_errors
from harness.engine.worker import WorkerRequest
from harness.errors import UserError

SHOWN = frozenset({"say", "begin", "stepped", "counted", "finished", "failed"})
"""Events that are calls of a worker's part of the display."""
TRIES = 2
"""How often a worker may die of one artifact or cell."""
LOG_LINES = 5


def run_by_workers(count: int, plan: Plan, store: Store, asked: WorkerRequest, progress: Progress) -> Tally:
    """Have so many processes, or fewer where there are fewer cells, do what is not done; how much they made.

    What they leave undone, the run that called this does itself. Raises UserError for a count below 1.
    """
    if count < 1:
        raise UserError(f"{count} workers", fix="Give 1 or more.")
    prepare(plan, store)
    before = done_keys(plan, store)
    cells = [cell for cell in plan.cells if not cell.why]
    progress.start(len(cells), sum(cell.key in before for cell in cells))
    if left := {cell.key for cell in cells} - before:
        with _Pool(min(count, len(left)), plan, store, asked, progress) as pool:
            pool.work()
    return tally_since(before, plan, store)


def done_keys(plan: Plan, store: Store) -> set[str]:
    """The keys of the plan's artifacts and cells that are done."""
    nodes = {key for node, _ in plan.groups() for key in (node.key, *node.beneath)}
    cells = {cell.key for cell in plan.cells if not cell.why}
    artifacts = {key for key in nodes if store.done("artifacts", key)}
    return artifacts | {key for key in cells if store.done("outcomes", key)}


def tally_since(before: set[str], plan: Plan, store: Store) -> Tally:
    """How much other processes have made since `before` were the keys that are done."""
    made = done_keys(plan, store) - before
    cells = {cell.key for cell in plan.cells}
    return Tally(fitted=len(made - cells), evaluated=len(made & cells))


@dataclass(eq=False)
class _Worker:
    """A process with its part of the display, and the portion that it has in hand.

    making  the key of what it makes right now
    ready   whether it has asked for a portion yet
    """

    number: int
    device: Device
    process: subprocess.Popen[bytes]
    log: Path
    lane: Progress
    portion: Portion | None = None
    making: str = ""
    ready: bool = False
    helps: bool = False

    def give(self, portion: Portion, *, helps: bool) -> None:
        """Hand it a portion; one that helps begins with the last cell of another worker's portion."""
        self.portion, self.helps, self.making = portion, helps, ""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has just died, which its pipe tells next
            self.process.stdin.write(json.dumps({"key": portion.node.key, "helps": helps}).encode() + b"\n")
            self.process.stdin.flush()


class _Pool:
    def __init__(self, count: int, plan: Plan, store: Store, asked: WorkerRequest, progress: Progress) -> None:
        self.plan, self.store, self.asked, self.progress = plan, store, asked, progress
        self.room = Room(devices_of(plan), count)
        self.lanes = [progress.lane(f"worker {number}") for number in range(1, count + 1)]
        self.workers: dict[int, _Worker] = {}
        self.events: queue.SimpleQueue[tuple[_Worker, Sequence[Any]]] = queue.SimpleQueue()
        self.deaths = Counter[str]()
        self.waiting: list[Portion] = []

    def __enter__(self) -> _Pool:
        for number in range(1, len(self.lanes) + 1):
            self._start(number)
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers.values():
            assert worker.process.stdin
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        for worker in self.workers.values():
            worker.process.wait()
            worker.lane.rest()

    def _start(self, number: int) -> None:
        """Start a process, and a thread that passes on its events.

        Its log goes on where an earlier one ended: `KEY.where` of the store names it also after later looks and runs.
        """
        log = self.store.root / "logs" / f"worker-{number}.log"
        device, lane = self.room.devices[number - 1], self.lanes[number - 1]
        reading, writing = os.pipe()
        with disk_errors(self.store.root):
            log.parent.mkdir(parents=True, exist_ok=True)
            written = log.open("ab")
        with written:
            process = subprocess.Popen(
                replace(self.asked, events=writing).command(),
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                pass_fds=[writing],
                start_new_session=True,  # Ctrl-C is for the run, which then closes their input
                env={**os.environ, **device.seen(), "BAKEOFF_LOG": str(log)},
            )
        os.close(writing)
        self.workers[number] = worker = _Worker(number, device, process, log, lane)
        threading.Thread(target=self._listen, args=(worker, reading), daemon=True).start()

    def _listen(self, worker: _Worker, pipe: int) -> None:
        with os.fdopen(pipe, "rb") as events:
            for line in events:
                with suppress(ValueError):  # a line that its death cut short
                    self.events.put((worker, json.loads(line)))
        self.events.put((worker, ["gone"]))

    def work(self) -> None:
        """Hand out portions until all are done, or no worker is left."""
        self.progress.begin(f"starting {counted(len(self.lanes), 'worker')} and estimating the work", "")
        self.waiting = portions_of(self.plan, self.store)
        self.progress.rest()
        while self.workers and (self.waiting or self._in_hand()):
            self._hear(*self.events.get())
            self._hand_out()
            if not self._in_hand() and all(worker.ready for worker in self.workers.values()):
                return  # what is left fits on no device that has a worker

    def _in_hand(self) -> list[_Worker]:
        return [worker for worker in self.workers.values() if worker.portion]

    def _hear(self, worker: _Worker, event: Sequence[Any]) -> None:
        name, *given = event
        if name in SHOWN:
            getattr(worker.lane, name)(*given)
        elif name == "making":
            worker.making = given[0]
        elif name == "idle":
            worker.ready, worker.portion = True, None
            worker.lane.rest()
        elif name == "mistake":
            mistake = UserError(given[0], where=given[1], fix=given[2])
            if worker.ready:
                raise mistake
            self.progress.say(f"worker {worker.number} cannot begin: {mistake}")
        else:
            self._gone(worker)

    # ---- who does what

    def _hand_out(self) -> None:
        """Give portions to those who wait for one, the longest that fits first."""
        for worker in self.workers.values():
            if worker.ready and not worker.portion:
                if found := next((portion for portion in self.waiting if self._may(worker, portion)), None):
                    self.waiting.remove(found)
                    self._tell_of_size(found)
                    worker.give(found, helps=False)
                elif other := self._to_help(worker):
                    worker.give(other, helps=True)

    def _tell_of_size(self, portion: Portion) -> None:
        most = self.room.largest()
        if portion.memory is not None and portion.memory > most:
            needs = f"{portion.memory / 1e9:.1f} GB by the estimate, more than is free ({most / 1e9:.1f} GB)"
            self.progress.say(f"{portion.node.title}: needs {needs}; nothing else runs beside it")

    def _may(self, worker: _Worker, portion: Portion) -> bool:
        """Whether the portion fits on the worker's device, and no other worker makes an artifact that it needs."""
        needed = portion.artifacts(self.store)
        busy = any(needed & other.portion.artifacts(self.store) for other in self._in_hand() if other.portion)
        return not busy and self._fits(worker, portion)

    def _fits(self, worker: _Worker, portion: Portion) -> bool:
        beside = [other.portion.memory for other in self._in_hand() if other.portion and other.device == worker.device]
        return self.room.fits(portion.memory, worker.device, beside)

    def _to_help(self, worker: _Worker) -> Portion | None:
        """A portion in hand whose artifact is made, and of which a cell is left that no process has begun."""
        hands = Counter(id(other.portion) for other in self._in_hand())
        for other in self._in_hand():
            portion = other.portion
            if portion and hands[id(portion)] == 1 and self._fits(worker, portion):
                made = self.store.done("artifacts", portion.node.key)
                if made and any(not self.store.holder(cell.key) for cell in portion.undone(self.store)):
                    return portion
        return None

    # ---- deaths

    def _gone(self, worker: _Worker) -> None:
        """Replace a worker that died; what it was making is tried again, and has failed at the second death."""
        how = how_it_ended(worker.process.wait())
        worker.lane.rest()
        if not worker.ready:  # another one would not start either
            del self.workers[worker.number]
            self.progress.say(f"worker {worker.number} {how} before it began. Its log is {worker.log}")
            return
        if portion := worker.portion:
            worker.portion = None
            self._count_death(worker, portion, how)
            if not worker.helps and portion.undone(self.store):
                self.waiting.insert(0, portion)
        if self.waiting or self._in_hand():
            self._start(worker.number)
        else:
            del self.workers[worker.number]

    def _count_death(self, worker: _Worker, portion: Portion, how: str) -> None:
        titles = {key: node.title for key, node in {**portion.node.beneath, portion.node.key: portion.node}.items()}
        titles |= {cell.key: cell.title for cell in portion.cells}
        left = [*portion.artifacts(self.store), *(cell.key for cell in portion.undone(self.store))]
        key = worker.making if worker.making in left else next(iter(left), "")
        if not key:
            return
        self.deaths[key] += 1
        title = titles[key]
        if self.deaths[key] < TRIES:
            portion.memory = self.room.largest()
            self.progress.say(f"worker {worker.number} {how} as it made {title}; it is tried once more")
            return
        self.store.fail(key, f"its worker {how}, {TRIES} times", last_lines(worker.log))
        for cell in portion.cells:
            if cell.key == key:
                worker.lane.failed(cell.title, self.store.failure(key) or "", cell.identity)


def last_lines(log: Path) -> str:
    """The details of a failure: where the worker's log is, and how it ends."""
    lines = log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
    return "\n".join([f"The log is {log}. Its last lines:", *lines])


def how_it_ended(code: int) -> str:
    """How a process ended, from its exit code."""
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + (" (memory ran out?)" if name == "SIGKILL" else "")
