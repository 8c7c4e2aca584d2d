"""The ends of a piece of work other than its result: its time is over, its memory, or it raised an error."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from harness.errors import UserError, first_line
from harness.policy.batching import out_of_memory

SIGNAL = signal.SIGUSR2  # libraries use SIGALRM for limits of their own
AGAIN = 1.0  # seconds until the signal is repeated: an error raised within a callback of C code may be swallowed


class TimeOverError(BaseException):
    """The time limit is reached. Not an Exception, so that no `except Exception` of a plugin takes it."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimeOverError in the block once so many seconds have passed; None: never.

    Python looks for signals between its own instructions, so a single call of a library that never returns is not
    ended. Only the main thread can be limited.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    over, main = threading.Event(), threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        wait = seconds
        while not over.wait(wait):
            signal.pthread_kill(main, SIGNAL)
            wait = AGAIN

    def reached(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            raise TimeOverError(f"the time limit of {seconds:g} seconds is reached (time_limit)")

    before = signal.signal(SIGNAL, reached)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(SIGNAL, before)


def failure_reason(error: BaseException) -> str:
    """Why a cell failed, in one line."""
    if isinstance(error, UserError):
        return str(error).replace("\n  ", ". ")
    if isinstance(error, TimeOverError):
        return str(error)
    if out_of_memory(error):
        return "out of memory even with one row at a time"
    return f"{type(error).__name__}: {first_line(error)}"
