"""Leases: which process makes a key, where processes share no file system. A lease ends by itself when its owner dies.

    URL/state/leases/KEY.NUMBER   who has it, and for how many seconds since the object was last written

The lease with the highest number is the one in force. It is taken by creating the next number, which at most one
process can do where the backend writes "only if there is none" (S3, Google Cloud Storage); elsewhere the last writer
has it. Its owner writes it again long before it ends, and deletes it when the work is done. Age is told by the
server's clock, measured once, so that the clocks of machines may differ. A lease saves work and nothing depends on it:
two processes that make one key by accident leave one whole entry.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from harness.engine.store.remote import RemoteFiles
from harness.engine.store.store import StoreBroken

FOLDER = "state/leases"
SECONDS = 120.0
"""How long a lease holds that its owner does not renew."""
SETTLE = 1.0
"""Seconds after which a lease is read back where the backend cannot refuse to write over an object."""
EXCLUSIVE = {"s3", "s3a", "gs", "gcs", "memory"}


@dataclass(frozen=True)
class Lease:
    """A lease as it stands there: its object's name, whose it is, and whether it is in force."""

    name: str
    owner: str
    token: str
    copy: str
    alive: bool


class Leases:
    """The leases of one process.

    owner    its name, for others that wait
    copy     which local copy of the store it works on: a process that has locked a key there knows that an earlier
             owner with this copy is gone
    seconds  how long a lease holds without being renewed
    """

    def __init__(self, remote: RemoteFiles, owner: str, copy: str, seconds: float = SECONDS) -> None:
        self.remote, self.owner, self.copy, self.seconds = remote, owner, copy, seconds
        self.settle = 0.0 if remote.url.split("://")[0] in EXCLUSIVE else SETTLE
        self.token = uuid.uuid4().hex
        self._ahead: float | None = None  # seconds that the server's clock is ahead of ours
        self._held: dict[str, str] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def measure_clock(self) -> None:
        """Learn the server's time from a small object, which also shows that this process may write there."""
        name = f"state/clocks/{self.token}"
        before = time.time()
        self.remote.write(name, b"{}")
        told, after = self.remote.changed(name), time.time()
        self.remote.remove(name)
        self._ahead = told - (before + after) / 2 if told is not None else 0.0

    def take(self, key: str) -> str | None:
        """Take the lease; the owner's name where another process has it. Raises StoreBroken."""
        if self._ahead is None:
            self.measure_clock()
        known = sorted((name for name in self.remote.listed(FOLDER) if _key(name) == key), key=_number)
        newest = self.look(known[-1]) if known else None
        if newest and newest.alive and newest.token != self.token and newest.copy != self.copy:
            return newest.owner
        name = f"{key}.{_number(known[-1]) + 1 if known else 0}"
        self.remote.create(f"{FOLDER}/{name}", self._content())
        time.sleep(self.settle)
        written = self.look(name)
        if written and not written.token:  # the connection broke half way through it
            self.remote.write(f"{FOLDER}/{name}", self._content())
            time.sleep(self.settle)
            written = self.look(name)
        if written is None or written.token != self.token:
            return written.owner if written else "another process"
        with self._guard:
            self._held[key] = name
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew, daemon=True, name="leases")
                self._thread.start()
        for old in known:
            with suppress(StoreBroken):
                self.remote.remove(f"{FOLDER}/{old}")
        return None

    def release(self, key: str) -> None:
        """Give it back; where that fails it ends by itself."""
        with self._guard:
            name = self._held.pop(key, None)
        if name:
            with suppress(StoreBroken):
                self.remote.remove(f"{FOLDER}/{name}")

    def look(self, name: str) -> Lease | None:
        """The lease in an object; None where there is none. One that is being written is judged by its age alone."""
        held = self.remote.read(f"{FOLDER}/{name}")
        if held is None:
            return None
        try:
            told: dict[str, Any] = json.loads(held)
            written, seconds = float(told["written"]), float(told["seconds"])
            owner, token, copy = (str(told[part]) for part in ("owner", "token", "copy"))
        except (ValueError, KeyError, TypeError):
            written, seconds, owner, token, copy = 0.0, self.seconds, "another process", "", ""
        changed = self.remote.changed(f"{FOLDER}/{name}")
        now = time.time() + (self._ahead or 0.0) if changed is not None else time.time()
        return Lease(name, owner, token, copy, now - (written if changed is None else changed) <= seconds)

    def _content(self) -> bytes:
        told = {"owner": self.owner, "token": self.token, "copy": self.copy, "seconds": self.seconds}
        return json.dumps({**told, "written": time.time()}).encode()

    def _renew(self) -> None:
        """Write the leases again for as long as any is held; those given back meanwhile must not come to life again."""
        while True:
            time.sleep(self.seconds / 4)
            with self._guard:
                held = set(self._held.values())
                if not held:
                    self._thread = None
                    return
            for name in held:
                with suppress(StoreBroken):
                    self.remote.write(f"{FOLDER}/{name}", self._content())
            with self._guard:
                gone = held - set(self._held.values())
            for name in gone:
                with suppress(StoreBroken):
                    self.remote.remove(f"{FOLDER}/{name}")


def in_force(names: Iterable[str]) -> dict[str, str]:
    """Key -> the name of its newest lease."""
    return {_key(name): name for name in sorted(names, key=_number)}


def _key(name: str) -> str:
    return name.rpartition(".")[0]


def _number(name: str) -> int:
    number = name.rpartition(".")[2]
    return int(number) if number.isdecimal() else -1
