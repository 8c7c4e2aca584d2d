"""Seeing what a plugin does besides computing: files that it opens for writing, and programs that it starts."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STARTING = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}
HARMLESS = {"uname", "lscpu", "ldconfig", "gcc", "cc", "c++", "g++", "nvidia-smi", "sh -c uname"}
"""Programs that libraries ask about the machine, or compile with."""


@dataclass
class Seen:
    """The paths that were opened for writing, relative paths that were opened at all, and programs started."""

    written: list[Path] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def outside(self, *allowed: Path) -> list[str]:
        """The written paths below none of these folders. Caches and devices do not count."""
        own = [*allowed, Path("/dev"), Path("/proc"), Path.home() / ".cache"]
        return [
            str(path)
            for path in self.written
            if "__pycache__" not in path.parts and not any(path.is_relative_to(folder) for folder in own)
        ]


_WATCHES: list[Seen] = []
_HOOKED: list[bool] = []


@contextmanager
def watched() -> Iterator[Seen]:
    """The events of this block, in this process: Python reports them to audit hooks (PEP 578)."""
    if not _HOOKED:  # a hook stays for good, and does nothing outside such blocks
        sys.addaudithook(_audit)
        _HOOKED.append(True)
    seen = Seen()
    _WATCHES.append(seen)
    try:
        yield seen
    finally:
        _WATCHES.remove(seen)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _WATCHES:
        return
    if event == "open":
        _opened(*arguments)
    elif event in STARTING:
        _started(event, arguments)


def _opened(path: Any, mode: Any, flags: Any) -> None:
    if not isinstance(path, (str, bytes, os.PathLike)):
        return
    name = os.fsdecode(path)
    for seen in _WATCHES:
        if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen.written.append(Path(name).absolute())
        if not os.path.isabs(name):
            seen.relative.append(name)


def _started(event: str, arguments: tuple[Any, ...]) -> None:
    command = arguments[1] if event == "subprocess.Popen" and arguments[1] else arguments[0]
    words = [os.fsdecode(word) for word in command] if isinstance(command, (list, tuple)) else [str(command)]
    if os.path.basename(words[0]) not in HARMLESS and not words[0].startswith("uname"):
        for seen in _WATCHES:
            seen.started.append(" ".join(words)[:80])


def scratch() -> Path:
    """The folder of temporary files."""
    return Path(tempfile.gettempdir()).resolve()
