"""The store: artifacts and outcomes by content key. A folder with a `done` marker is complete, whatever was killed.

    STORE/artifacts/KEY/   the files a fit wrote, key.json (the document behind the key), cost.json, done
    STORE/outcomes/KEY/    outcomes.jsonl, key.json, cost.json, done
    STORE/joint/KEY/       joint.jsonl (outcomes of several policies compared), key.json, cost.json, done
    STORE/blocks/KEY/      results of a cell that is not done: see kept.py
    STORE/failures/KEY.json
    STORE/locks/KEY.lock   held while a process makes KEY; the system frees it when that process dies
    STORE/leases/          in place of locks, where several machines share the store: see folder_leases.py
    STORE/logs/            what worker processes print; KEY.where names the log of the worker that made KEY
    STORE/temporary/       folders that are being written

A folder is written in `temporary`, synced and renamed; the `done` marker comes last, so its presence means that
everything else is on disk. The marker holds the digest of every file: a folder that differs from its marker is
damaged, and counts as not done. So does one without digests, which an older bakeoff made.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from harness.engine.store.folder_leases import SECONDS, FolderLeases
from harness.engine.store.keys import key_of
from harness.errors import UserError
from harness.files import read_sealed, sha256, sync, write_sealed

Area = Literal["artifacts", "outcomes", "joint"]
Place = Path | str
"""Where a store is: a folder, or a URL."""
DEFAULT_STORE = Path(".bakeoff")
LEDGER = ("key.json", "cost.json")
MARKER = "done.partial"  # the marker's name until everything else is in place
UNUSABLE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.EPERM,
    errno.ENOENT,
    errno.EISDIR,
    errno.ENOTEMPTY,
    errno.EIO,
    errno.ELOOP,
}


class Store:
    """One store folder, safe for several processes at once. Raises UserError where it cannot be a folder."""

    def __init__(self, root: Path) -> None:
        try:
            found = stat.S_ISDIR(root.stat().st_mode) or "it is not a folder"
        except FileNotFoundError:
            found = True  # it is made by the first run
        except OSError as error:
            found = str(error.strerror)
        if found is not True:
            raise UserError(f"no store can be there: {found}", where=str(root), fix="Name another folder with --store.")
        self.root, self.name = root, str(root)
        self.tell: Callable[[str], None] = lambda line: None  # what a run should say about the store
        self._leases: FolderLeases | None = None
        self._checked: dict[tuple[Area, str, bool], int] = {}  # the times of the markers that were found true

    def folder(self, area: Area, key: str) -> Path:
        """The folder of that key's files, which may not exist yet."""
        return self._here(area, key)

    def _here(self, area: Area, key: str) -> Path:
        return self.root / area / key

    def place(self, area: Area, key: str) -> str:
        """Where a finished key is, in words."""
        return str(self._here(area, key))

    def done(self, area: Area, key: str) -> bool:
        """Whether it is finished and undamaged. Of an artifact only the ledger is read: see `damage`."""
        marked = os.path.exists(self._here(area, key) / "done")  # False, too, where the folder may not be read
        return marked and not self.damage(area, key, ledger_only=area == "artifacts")

    def intact(self, area: Area, key: str) -> bool:
        """Whether it is done and every file of it has its bytes: what is loaded next."""
        return self.done(area, key) and not self.damage(area, key)

    def damage(self, area: Area, key: str, *, ledger_only: bool = False) -> str:
        """Differences from the digests in the marker of a finished key, in words; "" where nothing does.

        Each marker is checked once per run.
        """
        folder = self._here(area, key)
        try:
            written = (folder / "done").stat().st_mtime_ns
            if self._checked.get((area, key, ledger_only)) == written:
                return ""
            for name, digest in read_sealed(folder / "done").items():
                if (name in LEDGER or not ledger_only) and sha256(folder / name) != digest:
                    return f"{folder / name} differs from its digest"
            if key_of(_read(folder / "key.json")) != key:
                return f"{folder / 'key.json'} is the document of another key"
        except FileNotFoundError as error:
            name = Path(str(error.filename)).name
            return f"{error.filename} is missing" if name != "done" else ""
        except (OSError, AttributeError, ValueError, AssertionError):
            return f"{folder / 'done'} is damaged, or was written by an older bakeoff"
        self._checked[area, key, ledger_only] = written
        return ""

    def document(self, area: Area, key: str) -> dict[str, Any]:
        """The document behind a finished key."""
        return _read(self._here(area, key) / "key.json")

    def cost(self, area: Area, key: str) -> dict[str, Any]:
        """The cost ledger of a finished key."""
        return _read(self._here(area, key) / "cost.json")

    def bring(self, area: Area, keys: Iterable[str]) -> None:
        """Have the files of these finished keys here before they are read one by one; in a folder they are."""

    def settle(self) -> None:
        """Send what is finished to where it is kept; in a folder it is there."""

    def check_writable(self) -> None:
        """Raise UserError where nothing can be written."""
        with disk_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.root).close()

    def documents(self, area: Area) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every finished key with its document."""
        for path in sorted((self.root / area).glob("*/done")):
            if not self.damage(area, path.parent.name, ledger_only=True):
                yield path.parent.name, self.document(area, path.parent.name)

    @contextmanager
    def writing(self, area: Area, key: str, document: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
        """A temporary folder and a cost ledger to fill; published when the block ends without an error.

        Call it with the key's lock held. Raises UserError when the disk is full.
        """
        aside = self.root / "temporary" / f"{key}.{os.getpid()}.{socket.gethostname()}"
        try:
            with disk_errors(self.root):
                shutil.rmtree(aside, ignore_errors=True)
                aside.mkdir(parents=True)
            cost: dict[str, Any] = {}
            try:
                yield aside, cost
            except Exception as error:
                if is_disk_full(error):
                    raise _unusable(self.root, "no space left on the device") from error
                raise
            with disk_errors(self.root):
                self._publish(area, key, aside, document, cost)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _publish(self, area: Area, key: str, aside: Path, document: Mapping[str, Any], cost: Mapping[str, Any]) -> None:
        _write(aside / "key.json", document)
        _write(aside / "cost.json", cost)
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        write_sealed(aside / MARKER, {path.relative_to(aside).as_posix(): sha256(path) for path in files})
        self._install(area, key, aside)
        self.forgive(key)

    def _install(self, area: Area, key: str, aside: Path) -> None:
        """Move a whole folder, with its marker under another name, to its place."""
        for path in [*aside.rglob("*"), aside]:
            sync(path)
        final = self._here(area, key)
        final.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(final):  # without its marker, left by a killed run, or damaged
            old = aside.with_name(f"{aside.name}.old")
            os.rename(final, old)
            shutil.rmtree(old, ignore_errors=True)
        os.rename(aside, final)
        sync(final.parent)
        os.rename(final / MARKER, final / "done")
        sync(final)

    def failure(self, key: str) -> str | None:
        """Why this key failed when it was last tried."""
        recorded = read_sealed(self.failure_path(key))
        return str(recorded["why"]) if recorded else None

    def failure_path(self, key: str) -> Path:
        """The file of a failure, for `read_sealed`."""
        return self.root / "failures" / f"{key}.json"

    def fail(self, key: str, why: str, detail: str) -> None:
        """Record a failure; `detail` is for developers (the traceback)."""
        write_sealed(self.failure_path(key), {"why": why, "detail": detail})

    def forgive(self, key: str) -> None:
        """Forget a failure, so that it is tried again."""
        self.failure_path(key).unlink(missing_ok=True)

    @contextmanager
    def lock(self, key: str, waiting: Callable[[str], None]) -> Iterator[None]:
        """Hold the key's lock; `waiting` is called with the name of another holder, if there is one."""
        with disk_errors(self.root):
            self._note_log(key)
        if leases := self.leases():
            with self._leased(leases, key, waiting):
                yield
            return
        import filelock

        path = self._lock_path(key)
        lock = filelock.FileLock(path)
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                waiting(self.holder(key) or "another process")
                lock.acquire()
        try:
            with disk_errors(self.root):
                _owner_path(path).write_text(this_process(), "utf-8")
            yield
        finally:
            with suppress(OSError):  # the store was removed, or the disk went away
                _owner_path(path).unlink()
            lock.release()

    @contextmanager
    def _leased(self, leases: FolderLeases, key: str, waiting: Callable[[str], None]) -> Iterator[None]:
        told = False
        with disk_errors(self.root):
            while owner := leases.take(key):
                if not told:
                    waiting(owner)
                    told = True
                time.sleep(min(leases.seconds / 8, 5.0) * random.uniform(0.5, 1.0))
        try:
            yield
        finally:
            leases.release(key)

    def share(self) -> None:
        """Let several machines use the store: from now on, leases divide the work among its processes."""
        with disk_errors(self.root):
            (self.root / "leases").mkdir(parents=True, exist_ok=True)

    def leases(self) -> FolderLeases | None:
        """The leases of a store that several machines share."""
        if self._leases is None and (self.root / "leases").is_dir():
            from harness.engine.progress import seconds_between

            seconds = seconds_between("BAKEOFF_LEASE_SECONDS", SECONDS)
            self._leases = FolderLeases(self.root / "leases", this_process(), seconds)
        return self._leases

    def held(self, owner: str = "") -> Iterator[tuple[str, str]]:
        """The keys that are being made right now, with the process that makes each; or those of that owner alone.

        The owner may have died: what it left is told until its key is made by another process.
        """
        if owner:
            places = [*(self.root / "locks").glob("*.owner"), *(self.root / "leases").glob("*.*")]
            yield from ((path.stem, owner) for path in places if _text(path) == owner)
            return
        leases = self.leases()
        for key in leases.keys() if leases else sorted(path.stem for path in (self.root / "locks").glob("*.lock")):
            if process := self.holder(key):
                yield key, process

    def _note_log(self, key: str) -> None:
        """Keep the name of this process's log, if it is a worker, for whoever asks what became of the key."""
        if log := os.environ.get("BAKEOFF_LOG"):
            path = self.root / "logs" / f"{key}.where"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(log, "utf-8")

    def log_of(self, key: str) -> str:
        """The log of the worker that last made, or tried to make, that key; "" where no worker did."""
        return _text(self.root / "logs" / f"{key}.where")

    def holder(self, key: str) -> str | None:
        """The process that is making this key right now, or None. It works on a read-only store, too."""
        if leases := self.leases():
            return leases.owner_of(key)
        try:
            handle = os.open(self._lock_path(key), os.O_RDONLY)
        except OSError:  # never locked, or not ours to read
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._owner(key) or "another process"  # without an owner: the lock has just been released
        except OSError:  # a file system without locks
            return None
        finally:
            os.close(handle)
        return None

    def _owner(self, key: str) -> str:
        return _text(_owner_path(self._lock_path(key)))

    def _lock_path(self, key: str) -> Path:
        return self.root / "locks" / f"{key}.lock"


def place_of(text: str) -> Place:
    """The place that these words name."""
    return text if "://" in text else Path(text)


def this_process() -> str:
    """The name of this process, for others that wait for it."""
    return process_name(os.getpid())


def process_name(number: int) -> str:
    """The name of a process of this machine."""
    return f"process {number} on {socket.gethostname()}"


def _owner_path(lock: Path) -> Path:
    return lock.with_suffix(".owner")


@contextmanager
def disk_errors(root: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a message."""
    try:
        yield
    except OSError as error:
        if error.errno in UNUSABLE:
            raise _unusable(root, str(error.strerror)) from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that the disk is full: an OSError, or the text of a library that wraps one."""
    return getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "No space left on device" in str(error)


def _unusable(root: Path, why: str) -> StoreUnusable:
    fix = "Free some space or name another folder with --store. Finished work is kept."
    return StoreUnusable(f"the store cannot be written: {why}", where=str(root), fix=fix)


class StoreUnusable(UserError):
    """The store cannot be written, so no further cell can be stored: the run ends."""


class StoreBroken(UserError):
    """A store behind a URL does not answer, or refuses: what is finished is kept in its local copy."""


def _text(path: Path) -> str:
    """The text of a file; "" where it cannot be read."""
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")


def _read(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text("utf-8"))
    assert isinstance(value, dict)
    return value
