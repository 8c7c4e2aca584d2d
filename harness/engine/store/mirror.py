"""A store behind a URL (s3://, gs://, hf://), with a local copy in which methods and benchmarks read and write.

    URL/state/AREA/KEY           the marker of a finished entry: the digest of each of its files
    URL/state/failures/KEY       why a key failed
    URL/state/leases/KEY.NUMBER  see leases.py
    URL/files/AREA/KEY/SHA256    a file of an entry, named by its digest

An entry is made in the local copy as in any store, then its files are sent and its marker last: an entry without a
marker does not exist there, whatever broke. A file has its digest for a name, so nothing that is written twice, or by
two machines, spoils an entry that is marked. What arrives is checked against the digests before it enters the copy.
A run begins and ends by sending what the copy has and the URL lacks: what a broken connection or a kill held back.
Blocks of cells that are not done stay in the copy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256 as digest_of
from pathlib import Path, PurePosixPath
from typing import Any

from harness.engine.store.keys import key_of
from harness.engine.store.leases import FOLDER, SECONDS, Leases, in_force
from harness.engine.store.remote import RemoteFiles
from harness.engine.store.store import MARKER, Area, Place, Store, StoreBroken, disk_errors, this_process
from harness.files import read_sealed, sha256, write_sealed

AREAS: tuple[Area, ...] = ("artifacts", "outcomes", "joint")
FRESH = 5.0
"""Seconds for which a listing of the remote store is believed, or twenty times what it took."""
LEASES_FRESH = 1.0
"""The same for the leases, of which there are few."""
AT_ONCE = 8
"""Entries that are fetched at once."""


class MirroredStore(Store):
    """A store behind a URL. Raises UserError where the URL cannot be one, StoreBroken where it does not answer.

    copy  the folder of the local copy
    """

    def __init__(self, remote: RemoteFiles, copy: Path, lease_seconds: float = SECONDS) -> None:
        super().__init__(copy)
        self.remote, self.name = remote, remote.url
        self._shared: Leases | None = None
        self._lease_seconds = lease_seconds
        self._damaged: dict[tuple[Area, str], str] = {}
        self._asked: dict[str, bool] = {}  # keys whose lock is held: whether their marker was asked for
        self._newest: dict[str, str] = {}
        self._owners: dict[str, str | None] = {}
        self._leases_fresh_until = 0.0
        self._list()

    # ---- what is there

    def _list(self) -> None:
        began = time.monotonic()
        self._names = set(self.remote.listed("state"))
        self._listed = time.monotonic()
        self._fresh_for = max(FRESH, 20 * (self._listed - began))

    def _known(self) -> set[str]:
        """The names under `state`, as of some seconds ago; where the store does not answer, as of the last answer."""
        if time.monotonic() - self._listed > self._fresh_for:
            try:
                self._list()
            except StoreBroken:
                self._listed = time.monotonic()
        return self._names

    def _marked(self, area: Area, key: str) -> bool:
        """Whether the remote store has it; of a key whose lock is held, as of now."""
        if (area, key) in self._damaged:
            return False
        name = f"{area}/{key}"
        if name not in self._known() and self._asked.get(key) is False:
            self._asked[key] = True
            with suppress(StoreBroken):
                if self.remote.read(f"state/{name}") is not None:
                    self._names.add(name)
        return name in self._names

    def done(self, area: Area, key: str) -> bool:
        """Whether it is finished, here or there."""
        return super().done(area, key) or self._marked(area, key)

    def damage(self, area: Area, key: str, *, ledger_only: bool = False) -> str:
        """The damage of the entry in the local copy; where it has none, of what was fetched."""
        found = super().damage(area, key, ledger_only=ledger_only)
        return found or ("" if (self._here(area, key) / "done").exists() else self._damaged.get((area, key), ""))

    def intact(self, area: Area, key: str) -> bool:
        """Whether it is finished and in the local copy with all its bytes; it is fetched where it is only there."""
        return self._whole_here(area, key) or (self._marked(area, key) and self._fetch(area, key))

    def _whole_here(self, area: Area, key: str) -> bool:
        return super().done(area, key) and not self.damage(area, key)

    def place(self, area: Area, key: str) -> str:
        return super().place(area, key) if super().done(area, key) else f"{self.name}/files/{area}/{key}"

    def folder(self, area: Area, key: str) -> Path:
        """The folder of that key's files in the local copy, fetched first where only the remote store has it."""
        if not super().done(area, key) and self._marked(area, key) and not self._fetch(area, key):
            raise self._lost(area, key)
        return self._here(area, key)

    def _lost(self, area: Area, key: str) -> StoreBroken:
        what = self._damaged.get((area, key), f"{area}/{key} did not arrive whole")
        return StoreBroken(what, where=self.name, fix="`bakeoff run` makes it again.")

    def bring(self, area: Area, keys: Iterable[str]) -> None:
        """Fetch those that only the remote store has, several at once; one that is damaged there is not done."""

        def fetch(key: str) -> None:
            if not super(MirroredStore, self).done(area, key) and self._marked(area, key):
                self._fetch(area, key)

        with ThreadPoolExecutor(AT_ONCE) as several:
            list(several.map(fetch, dict.fromkeys(keys)))

    def document(self, area: Area, key: str) -> dict[str, Any]:
        return self._small(area, key, "key.json")

    def cost(self, area: Area, key: str) -> dict[str, Any]:
        return self._small(area, key, "cost.json")

    def _small(self, area: Area, key: str, name: str) -> dict[str, Any]:
        """A ledger of an entry, without the rest of it where it is not here."""
        if super().done(area, key) or not self._marked(area, key):
            return super().cost(area, key) if name == "cost.json" else super().document(area, key)
        digest = self._digests(area, key).get(name, "")
        for _ in range(2):
            held = self.remote.read(f"files/{area}/{key}/{digest}")
            if held is not None and digest_of(held).hexdigest() == digest:
                return dict(json.loads(held))
        raise self._lost(area, key)

    def documents(self, area: Area) -> Iterator[tuple[str, dict[str, Any]]]:
        here = dict(super().documents(area))
        yield from here.items()
        there = [name.split("/")[1] for name in sorted(self._known()) if name.startswith(f"{area}/")]
        for key in (key for key in there if key not in here):
            with suppress(StoreBroken):  # it explains less, and that is all
                yield key, self.document(area, key)

    def _digests(self, area: Area, key: str) -> dict[str, str]:
        """The marker: the digest of each file; empty where it is missing or damaged."""
        for _ in range(2):
            held = self.remote.read(f"state/{area}/{key}")
            told = _parsed(held)
            files = told.get("files")
            if held is None or (isinstance(files, dict) and told.get("seal") == key_of(files)):
                return files or {}
        return {}

    # ---- fetching

    def _fetch(self, area: Area, key: str, *, anew: bool = False) -> bool:
        """Bring an entry into the local copy, whole and checked, or not at all; whether it is there now.

        anew  whether it replaces one of the copy
        """
        with super().lock(f"{key}-fetch", lambda process: None):
            if not anew and self._whole_here(area, key):
                return True
            aside = self.root / "temporary" / f"{key}-fetch.{os.getpid()}.{socket.gethostname()}"
            try:
                with disk_errors(self.root):
                    shutil.rmtree(aside, ignore_errors=True)
                    aside.mkdir(parents=True)
                    wrong = self._fill(area, key, aside)
                    if not wrong:
                        self._install(area, key, aside)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        if wrong:
            self._damaged[area, key] = f"{self.name}/files/{area}/{key}: {wrong}"
        return not wrong

    def _fill(self, area: Area, key: str, aside: Path) -> str:
        """Fetch the files of an entry into a folder; what is wrong with them, or ""."""
        digests = self._digests(area, key)
        if not digests:
            return "its marker is damaged"
        for name, digest in digests.items():
            if not _is_inside(name):
                return f"its marker names {name!r}, which is outside the entry"
            file = aside / name
            file.parent.mkdir(parents=True, exist_ok=True)
            for _ in range(2):  # what broke on the way arrives whole the second time
                found = self.remote.fetch(f"files/{area}/{key}/{digest}", file)
                if found and sha256(file) == digest:
                    break
            else:
                return f"{name} differs from its digest" if found else f"{name} is missing"
        write_sealed(aside / MARKER, digests)
        return ""

    # ---- sending

    def _publish(self, area: Area, key: str, aside: Path, document: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
        super()._publish(area, key, aside, document, cost)
        try:
            self._send(area, key)
        except StoreBroken as error:
            self.tell(f"not sent yet: {area}/{key} ({error.what}); it is kept in {self.root} and sent later")

    def _send(self, area: Area, key: str) -> None:
        """Send a finished entry, its marker last. Where another one is marked there, this process goes on with that."""
        digests = read_sealed(self._here(area, key) / "done")
        damaged = (area, key) in self._damaged
        if digests and (damaged or not self._digests(area, key)):
            self._send_files(area, key, digests)
            marker, content = f"state/{area}/{key}", _bytes({"files": digests, "seal": key_of(digests)})
            if not damaged:
                self.remote.create(marker, content)
            if damaged or not self._digests(area, key):
                self.remote.write(marker, content)
        self._damaged.pop((area, key), None)
        self._names.add(f"{area}/{key}")
        if digests and self._digests(area, key) != digests:
            self._fetch(area, key, anew=True)

    def _send_files(self, area: Area, key: str, digests: Mapping[str, str]) -> None:
        here, there = self._here(area, key), f"files/{area}/{key}"
        for name, digest in digests.items():
            self.remote.send(here / name, f"{there}/{digest}")
        arrived = self.remote.listed(there)
        for name, digest in digests.items():
            if arrived.get(digest) != (here / name).stat().st_size:
                raise StoreBroken(f"{area}/{key}: {name} did not arrive whole", where=self.name)

    def settle(self) -> None:
        """Send what is finished in the copy and not there. Raises StoreBroken where that fails."""
        for area in AREAS:
            for marker in sorted((self.root / area).glob("*/done")):
                key = marker.parent.name
                if f"{area}/{key}" not in self._known() and self._whole_here(area, key):
                    self._send(area, key)

    def check_writable(self) -> None:
        super().check_writable()
        self._own().measure_clock()

    # ---- failures

    def failure(self, key: str) -> str | None:
        if (why := super().failure(key)) or f"failures/{key}" not in self._known():
            return why
        with suppress(StoreBroken):
            if told := _parsed(self.remote.read(f"state/failures/{key}")):
                super().fail(key, str(told.get("why")), str(told.get("detail")))
        return super().failure(key)

    def fail(self, key: str, why: str, detail: str) -> None:
        super().fail(key, why, detail)
        with suppress(StoreBroken):
            self.remote.write(f"state/failures/{key}", _bytes({"why": why, "detail": detail}))
            self._names.add(f"failures/{key}")

    def forgive(self, key: str) -> None:
        super().forgive(key)
        if f"failures/{key}" in self._names:
            with suppress(StoreBroken):
                self.remote.remove(f"state/failures/{key}")
                self._names.discard(f"failures/{key}")

    # ---- who is at work

    @contextmanager
    def lock(self, key: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the key's lock in the local copy, and its lease; without an answer from the store, the lock alone."""
        with super().lock(key, waiting):
            self._asked[key] = False
            self._take(key, waiting)
            try:
                yield
            finally:
                self._asked.pop(key, None)
                self._own().release(key)

    def _take(self, key: str, waiting: Callable[[str], None]) -> None:
        told = False
        while True:
            try:
                owner = self._own().take(key)
            except StoreBroken as error:
                self.tell(f"{key} is made without a lease: {error.what}")
                return
            if owner is None:
                return
            if not told:
                waiting(owner)
                told = True
            time.sleep(min(FRESH, self._lease_seconds / 8) * random.uniform(0.5, 1.0))

    def holder(self, key: str) -> str | None:
        """The process that is making this key right now, here or on another machine, or None."""
        if process := super().holder(key):
            return process
        self._list_leases()
        if key in self._newest and key not in self._owners:
            lease = None
            with suppress(StoreBroken):
                lease = self._own().look(self._newest[key])
            # the lock here is free, so an owner with this copy is gone
            alive = lease and lease.alive and lease.copy != self._own().copy
            self._owners[key] = lease.owner if lease and alive else None
        return self._owners.get(key)

    def _list_leases(self) -> None:
        """Know the leases of the last second: what others take is what this process should not begin with."""
        began = time.monotonic()
        if began > self._leases_fresh_until:
            with suppress(StoreBroken):
                self._newest, self._owners = in_force(self.remote.listed(FOLDER)), {}
            took = time.monotonic() - began
            self._leases_fresh_until = began + took + max(LEASES_FRESH, took)

    def _own(self) -> Leases:
        if self._shared is None:
            self.root.mkdir(parents=True, exist_ok=True)
            self._shared = Leases(self.remote, this_process(), _identity(self.root), self._lease_seconds)
        return self._shared


def open_store(place: Place) -> Store:
    """The store in a folder, or behind a URL. Raises UserError where there can be none."""
    if isinstance(place, Path):
        return Store(place)
    from harness.engine.progress import seconds_between

    return MirroredStore(RemoteFiles(place), local_folder_of(place), seconds_between("BAKEOFF_LEASE_SECONDS", SECONDS))


def local_folder_of(place: Place) -> Path:
    """The folder of a store; of a URL that of its local copy, in BAKEOFF_CACHE or else in ~/.cache/bakeoff."""
    if isinstance(place, Path):
        return place
    whole = place.rstrip("/")
    words = "".join(letter if letter.isalnum() else "-" for letter in whole.split("://", 1)[-1])[-40:].strip("-")
    cache = Path(os.environ.get("BAKEOFF_CACHE") or Path.home() / ".cache" / "bakeoff")
    return cache / f"{words}-{digest_of(whole.encode()).hexdigest()[:8]}"


def _identity(folder: Path) -> str:
    """A name of this folder of this machine, and no other: the kernel's boot, the device and the inode."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    found = folder.stat()
    return f"{boot.read_text().strip() if boot.exists() else this_process()} {found.st_dev} {found.st_ino}"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def _bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _parsed(held: bytes | None) -> dict[str, Any]:
    """The JSON object in these bytes; empty where there is none, or where it is damaged."""
    try:
        value = json.loads(held or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
