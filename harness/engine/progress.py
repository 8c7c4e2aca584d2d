"""The display of a run: one bar for the cells, one for the current piece of work."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from harness.engine.showable import clean


class Progress:
    """Bars on a terminal; on anything else one line per finished cell."""

    def __init__(self, console: Console, counted: str = "cells") -> None:
        self.console = console
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
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def start(self, total: int, done: int) -> None:
        """The number of cells, and how many were found done."""
        self.bars.update(self.cells, total=total, completed=done)

    def fitting(self, title: str) -> Callable[[int, int, str], None]:
        """Called by a method with (steps done, steps in all, note)."""
        self.say(f"fitting {title}")
        return self.working(f"fitting {title}")

    def working(self, on: str) -> Callable[[int, int, str], None]:
        """The same for any work, shown on the bar only."""
        self.bars.reset(self.work, description=clean(on), visible=True, note="")
        return lambda done, total, note: self.bars.update(self.work, completed=done, total=total, note=clean(note))

    def evaluating(self, title: str) -> Callable[[int], None]:
        """Called with the number of items done."""
        self.bars.reset(self.work, description=clean(f"scoring {title}"), total=None, visible=True, note="")
        return lambda done: self.bars.update(self.work, completed=done)

    def finished(self, title: str) -> None:
        """A cell is done."""
        self.advance()
        self.say(f"done    {title}")

    def advance(self) -> None:
        """One more cell is finished, whether or not it failed."""
        self.bars.advance(self.cells)
        self.bars.update(self.work, visible=False)

    def failed(self, title: str, why: str) -> None:
        """A cell failed; the run goes on."""
        self.bars.advance(self.cells)
        self.say(f"failed  {title}: {why}")

    def waiting(self, title: str, process: str) -> None:
        """Another process is making it."""
        self.say(f"waiting for {title}: {process} is making it")

    def say(self, text: str) -> None:
        """One line; it may contain model output."""
        print_line(self.console, text)


def print_line(console: Console, text: str) -> None:
    """Print a line without markup, colours or wrapping; what cannot be shown has a visible name."""
    console.print(clean(text), markup=False, highlight=False, soft_wrap=True)
