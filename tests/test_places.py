"""Stores and results folders that may only be read, cannot exist, or belong to another run: one line each."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import outside
import pytest
from command_line import bakeoff
from conftest import ROOT

from harness.engine.store.store import Store


@pytest.fixture
def read_only(outside_folder: Path) -> Iterator[Path]:
    """A finished store and its results, which may only be read."""
    file = outside.experiment(outside_folder)
    bakeoff("run", file, "--store", outside_folder / "store", "--out", outside_folder / "out")
    places = [
        path for name in ("store", "out") for path in (outside_folder / name, *(outside_folder / name).rglob("*"))
    ]
    for path in places:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield outside_folder
    for path in places:
        path.chmod(0o755)


def without_privileges(folder: Path, *words: object) -> str:
    """What a user hears who is not root; root ignores permissions, unless it gives up its capabilities."""
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root ignores permissions, and there is no setpriv")
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    command = [*drop, sys.executable, "-m", "harness.cli.main", *map(str, words)]
    path = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=path, check=False)
    assert "Traceback" not in done.stderr
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def test_a_store_that_may_only_be_read_is_planned_and_no_run_begins(read_only: Path) -> None:
    file, store = read_only / "experiment.yaml", read_only / "store"
    heard = without_privileges(read_only, "plan", file, "--store", store)
    assert "1 cell: 1 done" in heard
    assert heard.endswith("exit 0")
    heard = without_privileges(read_only, "run", file, "--store", store, "--out", read_only / "other")
    assert f"{store}: the store cannot be written: Permission denied" in heard
    assert heard.endswith("exit 2")


def test_results_that_may_only_be_read_are_refused_before_any_work(read_only: Path) -> None:
    words = ("run", read_only / "experiment.yaml", "--store", read_only / "new", "--out", read_only / "out")
    heard = without_privileges(read_only, *words)
    assert f"{read_only / 'out'}: the results cannot be written: Permission denied" in heard
    assert not (read_only / "new" / "artifacts").exists()


@pytest.mark.parametrize("verb", ["plan", "explain", "verify"])
def test_a_name_that_is_too_long_is_one_line(verb: str, outside_folder: Path) -> None:
    far = outside_folder / ("n" * 300)
    more = ["outside"] if verb == "explain" else []
    words = [far] if verb == "verify" else [outside.experiment(outside_folder), *more, "--store", far]
    done = bakeoff(verb, *words)
    assert done.returncode == 2
    assert "File name too long" in done.stderr


def test_a_store_that_is_a_file_is_refused(outside_folder: Path) -> None:
    (outside_folder / "store").write_text("")
    done = bakeoff("plan", outside.experiment(outside_folder), "--store", outside_folder / "store")
    assert "no store can be there: it is not a folder" in done.stderr


def test_to_ask_who_holds_a_key_disturbs_nothing_and_needs_no_right_to_write(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.holder("key") is None
    with store.lock("key", print):
        assert store.holder("key") == f"process {os.getpid()} on {os.uname().nodename}"
        shutil.rmtree(tmp_path)  # the store is removed while a key is made
    assert store.holder("key") is None


def run(folder: Path, *more: object, **options: str) -> str:
    file = outside.experiment(folder, **options)
    done = bakeoff("run", file, "--store", folder / "store", "--out", folder / "out", *more)
    return f"{done.stdout}{done.stderr}exit {done.returncode}"


def test_results_that_another_process_writes_are_refused_by_its_number(outside_folder: Path) -> None:
    code = "import sys; from pathlib import Path; from harness.engine.results.folder import held\n"
    code += f"with held(Path({str(outside_folder / 'out')!r})): print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        heard = run(outside_folder)
        assert (
            f"{outside_folder / 'out'}: process {other.pid} on {os.uname().nodename} is writing these results" in heard
        )
        assert heard.endswith("exit 2")
        assert not (outside_folder / "store" / "artifacts").exists()
        other.kill()
    assert [path.name for path in (outside_folder / "out").iterdir()] == ["process.partial"], "left by the killed one"
    (outside_folder / "out" / "rows.parquet.1.partial").write_text("")
    assert run(outside_folder).endswith("exit 0")
    assert not list((outside_folder / "out").glob("*.partial"))


def test_two_experiments_on_one_folder_are_refused_or_told(outside_folder: Path) -> None:
    assert "replaced" not in run(outside_folder)
    assert "replaced" not in run(outside_folder)
    told = f"{outside_folder / 'out'} holds results of another version of this experiment: they are replaced."
    assert told in run(outside_folder, extra="seeds: [1]\n")
    other = run(outside_folder, "--set", "name=other")
    assert "it holds the results of the experiment 'outside', and this one is 'other'" in other
    assert other.endswith("exit 2")
