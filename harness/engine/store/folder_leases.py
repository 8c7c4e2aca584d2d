"""Leases in a folder that several machines mount: who makes a key, where locks of the file system may not hold.

    STORE/leases/KEY.NUMBER   the owner's name; its owner touches it, and it is in force for some seconds after that

A lease is taken by linking a finished file to the next number, which one process alone can do, on NFS too (link(2)
fails where the name exists). A folder is not listed in one moment, so the new owner looks once more, and withdraws
where another lease is in force. A process that dies leaves its lease, which then runs out; on the owner's own machine
it ends with the process. Age is told by the clock of the server, measured once, so that the clocks of machines may
differ. Work is saved by a lease and nothing depends on it: two processes that make one key by accident leave one whole
entry, with equal bytes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SECONDS = 120.0
"""How long a lease holds that its owner does not touch; NFS clients may see a change a minute late."""


class FolderLeases:
    """The leases of one process, which is called `owner`: process PID on HOST."""

    def __init__(self, folder: Path, owner: str, seconds: float = SECONDS) -> None:
        self.folder, self.owner, self.seconds = folder, owner, seconds
        self._ahead: float | None = None  # seconds that the server's clock is ahead of ours
        self._held: dict[str, Path] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def take(self, key: str) -> str | None:
        """Take the lease; the owner's name where another process has it. Raises OSError."""
        if owner := self.owner_of(key):
            return owner
        known = self._known(key)
        path = self.folder / f"{key}.{_number(known[-1]) + 1 if known else 0}"
        new = self.folder / f"new-{key}-{self._place()}"
        new.write_text(self.owner, "utf-8")
        try:
            os.link(new, path)
        except FileExistsError:
            return self.owner_of(key) or "another process"
        finally:
            new.unlink()
        if owner := next(filter(None, (self._in_force(one) for one in self._known(key) if one != path)), None):
            path.unlink(missing_ok=True)
            return owner
        with self._guard:
            self._held[key] = path
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, daemon=True, name="leases")
                self._thread.start()
        for old in known:
            old.unlink(missing_ok=True)
        return None

    def release(self, key: str) -> None:
        """Give it back; where that fails it runs out."""
        with self._guard:
            path = self._held.pop(key, None)
        if path:
            with suppress(OSError):
                path.unlink()

    def owner_of(self, key: str) -> str | None:
        """The process that has the lease in force, or None. It works in a folder that may only be read."""
        return next(filter(None, map(self._in_force, self._known(key)[::-1])), None)

    def keys(self) -> Iterator[str]:
        """The keys of all leases, in force or not."""
        with suppress(OSError):
            yield from sorted({name.rpartition(".")[0] for name in os.listdir(self.folder) if _is_lease(name)})

    def _known(self, key: str) -> list[Path]:
        """The files of a key's leases, the newest last."""
        with suppress(OSError):
            own = (name for name in os.listdir(self.folder) if _is_lease(name) and name.rpartition(".")[0] == key)
            return sorted((self.folder / name for name in own), key=_number)
        return []

    def _in_force(self, path: Path) -> str | None:
        """The owner of that lease, unless it has run out or its owner died on this machine."""
        try:
            with path.open(encoding="utf-8") as file:  # opened, since attributes alone may come from a cache
                owner, touched = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        return owner if self._now() - touched <= self.seconds and not _died_here(owner, self.owner) else None

    def _now(self) -> float:
        """The time of the server's clock."""
        if self._ahead is None:
            clock = self.folder / f"clock-{self._place()}"
            try:
                before = time.time()
                clock.touch()
                self._ahead = clock.stat().st_mtime - (before + time.time()) / 2
                clock.unlink()
            except OSError:  # a folder that may only be read
                self._ahead = 0.0
        return time.time() + self._ahead

    def _place(self) -> str:
        return self.owner.replace(" ", "-").replace("/", "-")

    def _renew(self) -> None:
        """Touch the leases for as long as any is held."""
        while True:
            time.sleep(self.seconds / 4)
            with self._guard:
                held = list(self._held.values())
                if not held:
                    self._thread = None
                    return
            for path in held:
                with suppress(OSError):
                    os.utime(path)


def _died_here(owner: str, me: str) -> bool:
    """Whether a process of this machine is gone; of other machines that is not known."""
    _, number, _, host = owner.split(" ", 3)
    return host == me.split(" ", 3)[3] and not Path(f"/proc/{number}").exists() and Path("/proc/self").exists()


def _is_lease(name: str) -> bool:
    return name.rpartition(".")[2].isdecimal() and not name.startswith(("new-", "clock-"))


def _number(path: Path) -> int:
    return int(path.name.rpartition(".")[2])
