"""The display of a run: one bar for the cells, one for the current piece of work of each worker.

On anything but a terminal a line is printed for each finished cell, and one at least every minute of work: how much of
it is done, how fast, and when it is expected to end.
"""

from __future__ import annotations

import copy
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from harness.engine.showable import clean, folded
from harness.errors import UserError

EVERY_MINUTE = 60.0


@dataclass
class _Work:
    """The piece of work in hand.

    began  when it was begun, or when another kind of things began to be counted
    known  how many of `done` took no time: they were kept from an earlier run
    """

    title: str
    began: float
    unit: str = ""
    done: int = 0
    total: int | None = None
    known: int = 0

    def line(self, now: float, at: float) -> str:
        """How much of it is done, the rate, and the expected end, on a clock that shows `at`."""
        passed = now - self.began
        if not self.unit:
            return f"{self.title}, for {spelled(passed)} now"
        counted = f"{self.done:,} {self.unit}" if self.total is None else f"{self.done:,} of {self.total:,} {self.unit}"
        new = self.done - self.known
        if new <= 0 or passed <= 0:
            return f"{self.title}: {counted} after {spelled(passed)}"
        rate = new / passed
        speed = f"{rate:.2g} a second" if rate >= 0.1 else f"one every {spelled(passed / new)}"
        if self.total is None:
            return f"{self.title}: {counted}, {speed}"
        left = (self.total - self.done) / rate
        end = time.strftime("%H:%M", time.localtime(at + left))
        return f"{self.title}: {counted}, {speed}, about {spelled(left)} left (until {end})"


def spelled(seconds: float) -> str:
    """A time as a reader says it: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def seconds_between(variable: str, default: float) -> float:
    """The seconds that a variable of the environment gives; raises UserError where it gives something else."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{variable} is {text!r}", fix=f"Give seconds, such as {variable}={default:g}, or unset it.")
    return seconds


class Progress:
    """Bars on a terminal; on anything else lines.

    clock  seconds, for rates; `now` is the time of day
    """

    def __init__(
        self,
        console: Console,
        counted: str = "cells",
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.console, self.clock, self.now = console, clock, now
        self.every = seconds_between("BAKEOFF_LOG_SECONDS", EVERY_MINUTE)
        self.name = ""
        self.in_hand: _Work | None = None
        self.lanes: list[Progress] = [self]
        self._told = set[str]()  # the cells that have ended
        self._over = threading.Event()
        self._lines = threading.Thread(target=self._say_lines, daemon=True)
        self.bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            transient=True,
        )
        self.cells = self.bars.add_task(counted, total=None, note="")
        self.work = self.bars.add_task("", total=None, note="", visible=False)

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self.bars.start()
        else:
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()
        if self._lines.is_alive():
            self._over.set()
            self._lines.join()

    def lane(self, name: str) -> Progress:
        """A part of this display for the work of one worker; what it ends counts in the bar of all cells."""
        lane = copy.copy(self)
        lane.name, lane.in_hand = name, None
        lane.work = self.bars.add_task("", total=None, note="", visible=False)
        self.lanes.append(lane)
        return lane

    def _say_lines(self) -> None:
        # not from the work itself, which may be within one call of a library for minutes
        while not self._over.wait(max(self.every, 0.01)):
            for lane in list(self.lanes):
                if line := lane.line():
                    print_line(self.console, line)

    def line(self) -> str:
        """How far the work in hand is; "" where there is none."""
        work = self.in_hand
        line = work.line(self.clock(), self.now()) if work else ""
        return f"{self.name}: {line}" if line and self.name else line

    def start(self, total: int, done: int) -> None:
        """The number of cells, and how many were found done."""
        self.bars.update(self.cells, total=total, completed=done)

    def fitting(self, title: str) -> Callable[[int, int, str], None]:
        """Called by a method with (steps done, steps in all, note)."""
        self.say(f"fitting {title}")
        return self.working(f"fitting {title}")

    def working(self, on: str) -> Callable[[int, int, str], None]:
        """The same for any work, which has no line of its own."""
        self.begin(on, "steps")
        return self.stepped

    def evaluating(self, title: str) -> Callable[[int], None]:
        """Called with the number of items done."""
        self.begin(f"scoring {title}", "items")
        return lambda done: self.counted("items", done, None, 0)

    def answering(self, title: str) -> Callable[[str, int, int, int], None]:
        """Called with what a policy computes of a cell, how much is done, of how much, and what was known before."""
        if not self.in_hand:
            self.begin(f"scoring {title}", "answers")
        return self.counted

    def making(self, key: str) -> None:
        """This process begins to make what has that key; only a worker tells it."""

    def begin(self, title: str, unit: str) -> None:
        """A piece of work is begun, which is counted in such units ("": in none)."""
        self.in_hand = _Work(title, self.clock(), unit)
        if unit:
            self.bars.reset(self.work, description=clean(title), total=None, visible=True, note="")

    def stepped(self, done: int, total: int, note: str) -> None:
        """So many steps of the work in hand are done."""
        if work := self.in_hand:
            work.done, work.total = done, total
            self.bars.update(self.work, completed=done, total=total, note=clean(note))

    def counted(self, unit: str, done: int, total: int | None, known: int) -> None:
        """So much of the work in hand is done, of `total`; `known` took no time."""
        if not (work := self.in_hand):
            return
        if (unit, total) != (work.unit, work.total) or done < work.done:
            work.began = self.clock()
        work.unit, work.done, work.total, work.known = unit, done, total, known
        self.bars.update(self.work, completed=done, total=total, note=unit)

    def finished(self, title: str, identity: str = "") -> None:
        """A cell is done; one with an identity is told once, whoever tells it."""
        if self._is_new(identity):
            self.advance()
            self.say(f"done    {title}")

    def failed(self, title: str, why: str, identity: str = "") -> None:
        """A cell failed; the run goes on."""
        if self._is_new(identity):
            self.advance()
            self.say(f"failed  {title}: {why}")

    def _is_new(self, identity: str) -> bool:
        new = not identity or identity not in self._told
        self._told.add(identity)
        return new

    def advance(self) -> None:
        """One more cell is finished, whether or not it failed."""
        self.rest()
        self.bars.advance(self.cells)

    def rest(self) -> None:
        """Nothing is in hand."""
        self.in_hand = None
        self.bars.update(self.work, visible=False)

    def waiting(self, title: str, process: str) -> None:
        """Another process is making it."""
        self.begin(f"waiting for {title}", "")
        self.say(f"waiting for {title}: {process} is making it")

    def say(self, text: str) -> None:
        """One line; it may contain model output."""
        print_line(self.console, text)


def print_line(console: Console, text: str) -> None:
    """Print a line without markup or colours; what cannot be shown has a visible name.

    A terminal, or the variable COLUMNS, gives a width at which lines are folded between words. A pipe has none: there
    every line is whole.
    """
    lines = clean(text).split("\n")
    if has_width(console):
        lines = [part for line in lines for part in folded(line, console.width)]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def has_width(console: Console) -> bool:
    """Whether what reads the output has a width of its own."""
    return console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
