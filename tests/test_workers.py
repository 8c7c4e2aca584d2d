"""Processes that share a store: they do the work, another part of it first, and end with the run that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import outside
import pytest
from conftest import ROOT

from harness.engine.workers import seen_gpu, workers
from harness.errors import UserError

# outside policies cannot be stepped, so their speed cannot be taken
PATCH = """
from harness.engine import cost
from harness.policy import base_model
base_model.BaseModel.policy = lambda self: None
cost.decoding_cost = lambda *policies: dict.fromkeys(("seconds_per_token", "overhead_per_token"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose plugins, and whose patch, every process sees that is started from here."""
    outside.install(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(PATCH)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return tmp_path


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not reached():
        assert time.monotonic() < deadline, "not within 240 seconds"
        time.sleep(0.1)


def alive(folder: Path) -> list[int]:
    """Processes whose command line names the folder, but for this one."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in line.read_bytes() and int(line.parent.name) != os.getpid():
                found.append(int(line.parent.name))
        except OSError:
            continue
    return found


def test_a_worker_does_the_work_beginning_elsewhere_and_ends_with_its_run(folder: Path) -> None:
    file = outside.experiment(folder, extra="seeds: [0, 1, 2, 3]\n")
    store = folder / "store"
    with workers(1, file, store, ["outside.strength=2.0"]) as (log,):
        until(lambda: len(list(store.glob("outcomes/*/done"))) == 4)
    done = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("done")]
    # the last may be kept, and the worker ended, before it is said
    assert done[:3] == [f"outside/outside_bench/{seed}" for seed in (2, 3, 0)]
    assert {path.read_text().count('"strength": 2.0') for path in store.glob("artifacts/*/number.json")} == {1}
    assert not alive(folder)


def test_a_worker_that_has_finished_ends_in_order_and_one_that_crashes_is_told(folder: Path) -> None:
    """It waits in a thread for its run's end; as it exits that thread must hold no lock that Python needs."""
    file = outside.experiment(folder)
    said: list[str] = []
    with workers(1, file, folder / "store", [], said.append) as (log,):
        until(lambda: len(list(folder.glob("store/outcomes/*/done"))) == 1 and not alive(folder))
    assert said == []
    assert "Fatal" not in log.read_text()
    with workers(1, folder / "lost.yaml", folder / "store", [], said.append) as (log,):
        until(lambda: "no such experiment file" in log.read_text())
        until(lambda: not alive(folder))
    assert said == [f"worker 1 ended with code 1; what it left undone was done here. Its log is {log}"]


def test_a_worker_outlives_no_run_that_is_killed(folder: Path) -> None:
    file = outside.experiment(folder, methods="[{outside: {seconds: 600}}]")
    places = f"Path({str(file)!r}), Path({str(folder / 'store')!r})"
    code = "import time; from pathlib import Path; from harness.engine.workers import workers\n"
    code += f"with workers(1, {places}, []): time.sleep(600)"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: (folder / "store" / "logs" / "worker-1.log").exists() and len(alive(folder)) == 2)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    until(lambda: not alive(folder))


def test_fewer_than_one_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 workers"), workers(-1, tmp_path / "x.yaml", tmp_path, []):
        pass


def test_each_process_sees_one_gpu_of_several_and_what_the_user_chose_among_them(tmp_path: Path) -> None:
    """Libraries that train put everything on the first GPU that they see."""
    assert seen_gpu(1, None, tmp_path) == {}
    for number in range(3):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    chosen = [seen_gpu(number, None, tmp_path)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert chosen == ["0", "1", "2", "0"]
    assert seen_gpu(1, "5,7", tmp_path) == {"CUDA_VISIBLE_DEVICES": "7"}
    assert seen_gpu(1, "5", tmp_path) == {}
