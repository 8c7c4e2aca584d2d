"""A store behind a URL: whatever breaks, it holds whole entries only, and the rows are those of a run in a folder."""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import outside
import pytest
from command_line import Done, bakeoff
from faulty_files import Faulty, mend
from test_engine import go

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.engine.run import Tally
from harness.engine.states import state_of
from harness.engine.store import leases, mirror, remote
from harness.engine.store.leases import Leases
from harness.engine.store.mirror import MirroredStore, open_store
from harness.engine.store.remote import RemoteFiles
from harness.engine.store.store import StoreBroken
from harness.errors import UserError

OPTIONS = {"methods": "[outside, {outside: {strength: 2.0}, as: two}]", "extra": "seeds: [0, 1]\n"}
FAULTS = 20
REGISTRY = importlib.import_module("fsspec.registry")  # `fsspec.registry` is a mapping


@pytest.fixture
def folder(outside_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The outside package; nothing waits, and each listing is new."""
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(leases, "SETTLE", 0.0)
    monkeypatch.setattr(mirror, "FRESH", 0.0)
    monkeypatch.setattr(mirror, "LEASES_FRESH", 0.0)
    monkeypatch.setenv("BAKEOFF_CACHE", str(outside_folder / "one-machine"))
    mend()
    yield outside_folder
    mend()


def run(folder: Path, store: object, **options: str) -> Done:
    file = outside.experiment(folder, **{**OPTIONS, **options})
    return bakeoff("run", file, "--store", store, "--out", folder / "out")


def rows(folder: Path) -> bytes:
    return (folder / "out" / "rows.parquet").read_bytes()


def serial(folder: Path) -> bytes:
    """The rows of a run in a folder."""
    assert run(folder, folder / "store").returncode == 0
    held = rows(folder)
    shutil.rmtree(folder / "out")
    return held


def half_entries(bucket: Path) -> list[str]:
    """Marked entries that lack a file, or hold one with other bytes than its digest's."""
    found = []
    for area in ("artifacts", "outcomes", "joint"):
        for marker in (bucket / "state" / area).glob("*"):
            for name, digest in json.loads(marker.read_bytes())["files"].items():
                file = bucket / "files" / area / marker.name / digest
                if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                    found.append(f"{area}/{marker.name}: {name}")
    return found


def marked(bucket: Path) -> int:
    return len([*(bucket / "state").glob("artifacts/*"), *(bucket / "state").glob("outcomes/*")])


def on_another_machine(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """From here on the local copy is another one, and there are no results yet."""
    monkeypatch.setenv("BAKEOFF_CACHE", str(folder / name))
    shutil.rmtree(folder / "out", ignore_errors=True)


@pytest.mark.parametrize("scheme", ["file", "faulty"])
def test_a_run_behind_a_url_has_the_rows_of_a_run_in_a_folder_and_another_machine_finds_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    wanted = serial(folder)
    url = f"{scheme}://{folder}/bucket"
    assert run(folder, url).returncode == 0
    assert rows(folder) == wanted
    assert (marked(folder / "bucket"), half_entries(folder / "bucket")) == (8, [])
    on_another_machine(folder, monkeypatch, "other-machine")
    mend()
    with monkeypatch.context() as patch:
        patch.setattr(mirror, "FRESH", 600.0)
        planned = bakeoff("plan", folder / "experiment.yaml", "--store", url)
    assert "4 cells: 4 done" in planned.stdout
    assert Faulty.count == (scheme == "faulty"), "one listing tells the state of every cell"
    assert not list((folder / "other-machine").rglob("done")), "plan fetched an entry"
    done = run(folder, url)
    assert "No cell to run" in done.stdout
    assert rows(folder) == wanted
    assert not list((folder / "other-machine").glob("*/artifacts/*")), "finished cells need no artifact"


@pytest.mark.parametrize("faults", [4, pytest.param(FAULTS, marks=pytest.mark.slow)])
def test_with_faults_the_rows_are_the_same_and_no_entry_is_half_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, faults: int
) -> None:
    """A fault at a drawn operation of a run, and one as a second machine reads what the first has left."""
    wanted, draw, broke = serial(folder), random.Random(0), []
    for number in range(faults // 2):
        bucket = folder / f"bucket-{number}"
        mend()
        Faulty.fault = draw.randrange(80), ("before", "half", "after")[number % 3]
        on_another_machine(folder, monkeypatch, f"first-{number}")
        done = run(folder, f"faulty://{bucket}")
        assert done.returncode == 0, (Faulty.broke, done.stdout, done.stderr)
        assert (rows(folder), marked(bucket), half_entries(bucket)) == (wanted, 8, []), Faulty.broke
        broke += Faulty.broke
        mend()
        Faulty.fault = draw.randrange(16), ("short", "half", "before")[number % 3]
        on_another_machine(folder, monkeypatch, f"second-{number}")
        assert "No cell to run" in run(folder, f"faulty://{bucket}").stdout
        assert rows(folder) == wanted
        broke += Faulty.broke
    print(f"\n{len(broke)} faults: {', '.join(sorted(broke))}")
    assert len(broke) == faults


def test_where_the_connection_stays_away_work_is_kept_and_the_next_run_sends_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks for good at three moments of a run: before it, in the middle, and near its end."""
    wanted = serial(folder)
    assert run(folder, f"faulty://{folder}/whole").returncode == 0
    operations = Faulty.count
    for number in range(3):
        bucket = folder / f"bucket-{number}"
        mend()
        Faulty.down = operations * number * 2 // 5
        on_another_machine(folder, monkeypatch, f"machine-{number}")
        done = run(folder, f"faulty://{bucket}")
        assert done.returncode == 2
        assert "the store does not answer: ConnectionResetError" in done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert half_entries(bucket) == []
        mend()
        assert run(folder, f"faulty://{bucket}").returncode == 0
        assert (rows(folder), marked(bucket), half_entries(bucket)) == (wanted, 8, [])


def test_an_artifact_that_cannot_be_fetched_fails_its_cells_until_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"faulty://{folder}/bucket"
    assert run(folder, url, benchmarks="[{outside_bench: {items: 3}}]").returncode == 0
    on_another_machine(folder, monkeypatch, "other-machine")
    fetch = MirroredStore._fetch

    def broken(self: MirroredStore, area: str, key: str) -> bool:
        if area == "artifacts":
            raise StoreBroken("the store does not answer", where=self.name)
        return fetch(self, area, key)

    with monkeypatch.context() as patch:
        patch.setattr(MirroredStore, "_fetch", broken)
        done = run(folder, url)
    assert done.returncode == 1
    assert "the store does not answer" in done.stdout
    assert "4 to run" in bakeoff("plan", folder / "experiment.yaml", "--store", url).stdout
    assert run(folder, url).returncode == 0


def test_what_arrives_with_other_bytes_is_made_again_and_sent_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, url, bucket = serial(folder), f"faulty://{folder}/bucket", folder / "bucket"
    assert run(folder, url).returncode == 0
    for damaged in ("artifacts", "outcomes"):
        for file in (bucket / "files" / damaged).glob("*/*"):
            file.write_bytes(file.read_bytes()[:-1] + b"x")
    marker = next((bucket / "state" / "outcomes").glob("*"))
    marker.write_bytes(marker.read_bytes().replace(b"outcomes.jsonl", b"../../escaped "))
    on_another_machine(folder, monkeypatch, "other-machine")
    run(folder, url)
    assert run(folder, url).returncode == 0
    assert (rows(folder), half_entries(bucket)) == (wanted, [])
    assert not list(folder.rglob("escaped*"))


def test_a_failure_is_known_on_another_machine_and_forgiven_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, bad = f"faulty://{folder}/bucket", "[{outside: {fails: out of luck}, as: bad}]"
    assert run(folder, url, methods=bad).returncode == 1
    on_another_machine(folder, monkeypatch, "other-machine")
    planned = bakeoff("plan", folder / "experiment.yaml", "--store", url).stdout
    assert "failed: RuntimeError: out of luck" in planned
    assert "RuntimeError: out of luck" in bakeoff("explain", folder / "experiment.yaml", "bad", "--store", url).stdout
    held = open_store(url)
    for record in (folder / "bucket" / "state" / "failures").iterdir():
        held.forgive(record.name)
    assert not list((folder / "bucket" / "state" / "failures").iterdir())


def test_explain_names_the_place_and_the_field_that_changed_without_fetching(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"faulty://{folder}/bucket"
    assert run(folder, url, methods="[outside]").returncode == 0
    on_another_machine(folder, monkeypatch, "other-machine")
    told = bakeoff("explain", folder / "experiment.yaml", "outside", "--store", url).stdout
    assert f"done, in {url}/files/artifacts/" in told
    file = outside.experiment(folder, methods="[{outside: {strength: 3.0}}]", extra="seeds: [0]\n")
    assert "fields.strength: 1.0 -> 3.0" in bakeoff("explain", file, "outside", "--store", url).stdout
    assert not list((folder / "other-machine").rglob("done"))


# ---- leases


def stores(folder: Path, seconds: float = 120.0) -> Iterator[MirroredStore]:
    """The same store as each machine opens it."""
    number = 0
    while True:
        number += 1
        yield MirroredStore(RemoteFiles(f"faulty://{folder}/bucket"), folder / f"machine-{number}", seconds)


def test_a_key_that_another_machine_makes_is_running_and_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = stores(folder, seconds=2.0)
    one, other = next(several), next(several)
    waited: list[str] = []
    order: list[str] = []

    def work() -> None:
        with other.lock("key", waited.append):
            order.append("other")

    with one.lock("key", waited.append):
        assert other.holder("key") == f"process {os.getpid()} on {os.uname().nodename}"
        second = threading.Thread(target=work)
        second.start()
        time.sleep(2.6)  # longer than a lease that is not renewed
        order.append("one")
    second.join(30)
    assert order == ["one", "other"]
    assert waited == [f"process {os.getpid()} on {os.uname().nodename}"]
    assert next(several).holder("key") is None
    assert not list((folder / "bucket" / "state" / "leases").iterdir())


def dead(folder: Path, age: float, *, copy: str = "elsewhere", number: int = 0, seconds: float = 120.0) -> Path:
    """A lease that nobody renews."""
    path = folder / "bucket" / "state" / "leases" / f"key.{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"owner": "process 1 on gone", "token": "t", "copy": copy, "seconds": seconds, "written": 0.0}
    path.write_text(json.dumps(told))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_a_lease_that_its_owner_left_is_taken_over_once_it_is_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store = dead(folder, age=60.0), next(stores(folder))
    assert store.holder("key") == "process 1 on gone"
    os.utime(path, (time.time() - 130, time.time() - 130))
    assert next(stores(folder)).holder("key") is None
    waited: list[str] = []
    with store.lock("key", waited.append):
        assert [one.name for one in path.parent.iterdir()] == ["key.1"]
    assert waited == []
    assert not list(path.parent.iterdir())


def test_the_lease_of_a_killed_process_with_the_same_copy_is_taken_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has the lock of the copy knows that no other process with that copy makes the key."""
    store = next(stores(folder))
    dead(folder, age=1.0, copy=store._own().copy)
    assert store.holder("key") is None
    with store.lock("key", lambda process: pytest.fail(f"waited for {process}")):
        pass


def test_the_age_of_a_lease_is_told_by_the_clock_of_the_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's clock is an hour behind: a lease of 100 seconds ago lives, one of 130 is over."""
    hour, changed = 3600.0, RemoteFiles.changed

    def behind(self: RemoteFiles, name: str) -> float | None:
        told = changed(self, name)
        return None if told is None else told - hour

    monkeypatch.setattr(RemoteFiles, "changed", behind)
    for store, age, owner in zip(stores(folder), (100.0, 130.0), ("process 1 on gone", None), strict=False):
        store.check_writable()
        dead(folder, age=age)
        assert store.holder("key") == owner


def test_of_16_processes_that_take_over_one_lease_one_has_it() -> None:
    """`memory://` refuses to create what is there, as S3 and Google Cloud Storage do."""
    url = f"memory://{random.random()}"
    gone = {"owner": "process 1 on gone", "token": "t", "copy": "c", "seconds": -1.0, "written": 0.0}
    RemoteFiles(url).write("state/leases/key.0", json.dumps(gone).encode())
    several = [Leases(RemoteFiles(url), f"process {number}", f"copy {number}") for number in range(16)]
    begin, taken = threading.Barrier(16), []

    def take(one: Leases) -> None:
        begin.wait()
        if one.take("key") is None:
            taken.append(one.owner)

    threads = [threading.Thread(target=take, args=(one,)) for one in several]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == 1


def test_two_machines_without_leases_make_one_key_and_leave_whole_entries(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = stores(folder)
    opened = [next(several), next(several)]
    plans = [make_plan(load_experiment(outside.experiment(folder, **OPTIONS)), one.root) for one in opened]
    with monkeypatch.context() as patch:  # neither sees what the other one does
        patch.setattr(MirroredStore, "_known", lambda self: self._names)
        patch.setattr(MirroredStore, "_take", lambda self, key, waiting: self._asked.update({key: True}))
        for plan, store in zip(plans, opened, strict=True):
            assert go(plan, store)[0] == Tally(fitted=4, evaluated=4)
    assert (marked(folder / "bucket"), half_entries(folder / "bucket")) == (8, [])
    assert {state_of(cell, next(several)).name for cell in plans[0].cells} == {"done"}
    for cell in plans[0].cells:
        of_both = [(one.root / "outcomes" / cell.key / "done").read_bytes() for one in opened]
        assert of_both[0] == of_both[1], "each goes on with the entry that is marked"


# ---- what a user gets wrong


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s4://bucket/store", "no library here knows s4://\n  Did you mean 's3'?"),
        ("faulty:///nowhere", "the store does not answer: ConnectionResetError"),
        ("absent://bucket", "absent:// needs a package that is not installed"),
    ],
)
def test_a_store_that_cannot_be_is_one_message_with_exit_code_2(
    folder: Path, verb: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY.known_implementations, "absent", {"class": "a_package_that_is.Absent", "err": "x"})
    Faulty.down = 0
    done = bakeoff(verb, outside.experiment(folder), "--store", url)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_extra_of_a_scheme_whose_package_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> type:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(REGISTRY, "get_filesystem_class", absent)
    with pytest.raises(UserError, match=r"pip install 'bakeoff\[s3\]'"):
        RemoteFiles("s3://bucket/store")


def test_a_store_that_may_not_be_written_is_refused_before_the_first_cell(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Faulty, path: str, *given: object, **options: object) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(Faulty, "pipe_file", refused)
    done = run(folder, f"faulty://{folder}/bucket")
    assert done.returncode == 2
    assert "the store refuses: PermissionError: Access Denied" in done.stderr
    assert not list((folder / "one-machine").rglob("done"))


def test_jobs_of_slurm_take_a_folder(folder: Path) -> None:
    store = f"faulty://{folder}/bucket"
    done = bakeoff("run", outside.experiment(folder), "--store", store, "--slurm", "partition=any")
    assert done.returncode == 2
    assert "needs a store in a folder that all machines mount" in done.stderr


def test_a_local_disk_that_is_full_is_told_as_such(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"faulty://{folder}/bucket"
    assert run(folder, url, methods="[outside]").returncode == 0
    on_another_machine(folder, monkeypatch, "other-machine")

    def full(self: Faulty, *given: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Faulty, "get_file", full)
    done = run(folder, url, methods="[outside]")
    assert done.returncode == 2
    assert "the store cannot be written: No space left on device" in done.stderr
    assert not list((folder / "other-machine").rglob("done*"))


def test_gc_of_a_url_names_the_local_copy(folder: Path) -> None:
    done = bakeoff("gc", "--store", f"faulty://{folder}/bucket")
    assert done.returncode == 2
    assert str(folder / "one-machine") in done.stderr
