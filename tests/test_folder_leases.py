"""Leases of a store that several machines share: one owner at a time, and a dead owner's lease runs out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

from harness.engine.store.folder_leases import FolderLeases
from harness.engine.store.store import Store, this_process

ELSEWHERE = "process 7 on elsewhere"


def test_a_lease_has_one_owner_until_it_is_given_back(tmp_path: Path) -> None:
    here, there = FolderLeases(tmp_path, this_process()), FolderLeases(tmp_path, ELSEWHERE)
    assert here.take("key") is None
    assert there.take("key") == this_process() == there.owner_of("key")
    assert there.take("other") is None
    assert sorted(here.keys()) == ["key", "other"]
    here.release("key")
    assert here.owner_of("key") is None
    assert there.take("key") is None
    assert here.take("key") == ELSEWHERE


def test_a_lease_that_its_owner_touches_no_more_runs_out(tmp_path: Path) -> None:
    """By the time of the file: 119 seconds ago it was in force for one second more, 121 seconds ago it was not."""
    FolderLeases(tmp_path, ELSEWHERE).take("key")
    here = FolderLeases(tmp_path, this_process())
    (path,) = tmp_path.glob("key.*")
    for age, owner in ((115, ELSEWHERE), (125, None)):
        os.utime(path, (time.time() - age, time.time() - age))
        assert here.owner_of("key") == owner
    assert here.take("key") is None
    assert [path.name for path in tmp_path.glob("key.*")] == ["key.1"]


def test_an_owner_at_work_keeps_its_lease_in_force(tmp_path: Path) -> None:
    there, here = FolderLeases(tmp_path, ELSEWHERE, seconds=0.8), FolderLeases(tmp_path, this_process(), seconds=0.8)
    assert there.take("key") is None
    for _ in range(8):
        time.sleep(0.2)
        assert here.owner_of("key") == ELSEWHERE
    there.release("key")
    assert here.owner_of("key") is None


def test_a_lease_ends_with_its_process_where_that_can_be_seen(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from harness.engine.store.folder_leases import FolderLeases
from harness.engine.store.store import this_process
FolderLeases(Path({str(tmp_path)!r}), this_process()).take("key")
print(this_process())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (tmp_path / "key.0").read_text() == done.stdout.strip()
    assert FolderLeases(tmp_path, this_process()).take("key") is None


def taken_at_once(leases: list[FolderLeases]) -> list[str]:
    """The owners of those that take the key, of so many that try at one moment."""
    gate, taken = threading.Barrier(len(leases)), []

    def take(one: FolderLeases) -> None:
        gate.wait()
        if one.take("key") is None:
            taken.append(one.owner)

    threads = [threading.Thread(target=take, args=(one,)) for one in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def test_of_many_that_take_an_ended_lease_at_once_one_has_it(tmp_path: Path) -> None:
    for round_ in range(20):
        all_of_them = [FolderLeases(tmp_path, f"process 7 on machine-{number}") for number in range(8)]
        for one in all_of_them:
            one._now()
        taken = taken_at_once(all_of_them)
        while not taken:  # each saw another one's, and withdrew
            taken = taken_at_once(all_of_them)
        assert len(taken) == 1, round_
        (path,) = tmp_path.glob("key.*")
        os.utime(path, (0, 0))


def test_a_shared_store_is_locked_by_leases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = Store(tmp_path), Store(tmp_path)
    store.share()
    waited: list[str] = []
    with store.lock("key", waited.append):
        assert other.holder("key") == this_process()
        assert list(other.held()) == [("key", this_process())]
        assert list(other.held(this_process())) == [("key", this_process())]
        assert not (tmp_path / "locks").exists()
    assert other.holder("key") is None
    monkeypatch.setenv("BAKEOFF_LEASE_SECONDS", "0.4")
    left = FolderLeases(tmp_path / "leases", ELSEWHERE)
    left.take("key")
    started = time.monotonic()
    with Store(tmp_path).lock("key", waited.append):  # it has died, and nobody touches its lease
        assert waited == [ELSEWHERE]
    assert time.monotonic() - started < 5


def test_a_worker_notes_its_log_for_what_it_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    with store.lock("alone", print):
        pass
    monkeypatch.setenv("BAKEOFF_LOG", "/logs/worker-1.log")
    with store.lock("key", print):
        pass
    assert (store.log_of("alone"), store.log_of("key")) == ("", "/logs/worker-1.log")
