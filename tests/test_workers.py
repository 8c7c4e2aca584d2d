"""Processes that share a store: each does one task at a time, a dead one is replaced, and all end with their run."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import StringIO
from operator import mul
from pathlib import Path
from typing import Any

import outside
import pytest
from command_line import bakeoff
from conftest import ROOT
from rich.console import Console

from harness.engine import workers
from harness.engine.config import load_experiment
from harness.engine.placement import Device, Room, visible_gpus
from harness.engine.plan import make_plan
from harness.engine.portions import Portion, portions_of
from harness.engine.progress import Progress
from harness.engine.store.store import Store
from harness.engine.worker import WorkerRequest
from harness.training import footprint

GB = 1e9


@pytest.fixture
def folder(outside_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose plugins, and whose patch, every process sees that is started from here."""
    outside.show_to_processes(outside_folder, monkeypatch)
    return outside_folder


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


def run(folder: Path, file: Path, *words: object, place: str = "shared") -> Any:
    return bakeoff("run", file, "--store", folder / place / "store", "--out", folder / place / "out", *words)


def lines(text: str, word: str) -> list[str]:
    return sorted(line for line in text.splitlines() if line.startswith(word))


def test_two_workers_share_the_cells_and_the_run_tells_each_once(folder: Path) -> None:
    # two seconds a fit: both have begun before one alone could have done all
    file = outside.experiment(folder, extra="seeds: [0, 1, 2, 3]\n", methods="[{outside: {seconds: 2}}]")
    found = run(folder, file, "--workers", 2)
    assert found.returncode == 0
    assert lines(found.stdout, "done") == [f"done    outside/outside_bench/{seed}" for seed in range(4)]
    assert len(lines(found.stdout, "fitting")) == 4
    assert "(4 artifacts fitted, 4 cells scored now)" in found.stdout
    logs = [(folder / "shared" / "store" / "logs" / f"worker-{number}.log").read_text() for number in (1, 2)]
    assert all("fitting outside" in log for log in logs)
    assert not alive(folder)
    assert run(folder, file, place="alone").returncode == 0
    rows = [(folder / place / "out" / "rows.parquet").read_bytes() for place in ("shared", "alone")]
    assert rows[0] == rows[1]


def test_a_worker_killed_in_the_middle_of_a_fit_is_replaced_and_its_cell_tried_again(folder: Path) -> None:
    file = outside.experiment(folder, methods="[{outside: {seconds: 3}}]")
    locks = folder / "shared" / "store" / "locks"

    def kill() -> None:
        until(lambda: bool(list(locks.glob("*.owner"))))
        time.sleep(0.5)
        (owner,) = locks.glob("*.owner")
        os.kill(int(owner.read_text().split()[1]), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = run(folder, file, "--workers", 2)
    killer.join()
    assert found.returncode == 0, found.stdout
    said = "worker 1 was killed by SIGKILL (memory ran out?) as it made outside on model, seed 0"
    assert f"{said}; it is tried once more" in found.stdout
    assert lines(found.stdout, "done") == ["done    outside/outside_bench/0"]
    log = (folder / "shared" / "store" / "logs" / "worker-1.log").read_text()
    assert log.count("fitting outside") == 2


def test_a_cell_that_ends_two_workers_has_failed_and_stops_no_other(folder: Path) -> None:
    methods = "[{outside: {strength: 9}, as: deadly}, {outside: {strength: 1}, as: harmless}]"
    file = outside.experiment(folder, methods=methods, extra="baseline: harmless\n")
    found = run(folder, file, "--workers", 2)
    assert found.returncode == 1
    assert found.stdout.count("it is tried once more") == 1
    assert lines(found.stdout, "done") == ["done    harmless/outside_bench/0"]
    why = "its worker was killed by SIGKILL (memory ran out?), 2 times"
    assert lines(found.stdout, "failed") == [f"failed  deadly/outside_bench/0: {why}"]
    told = bakeoff("explain", file, "deadly", "--store", folder / "shared" / "store").stdout
    assert f"state     failed: {why}" in told
    assert "The log is" in told


def test_what_no_worker_can_begin_the_run_does_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = outside.experiment(folder)
    command = WorkerRequest.command
    monkeypatch.setattr(WorkerRequest, "command", lambda self: command(replace(self, file=str(folder / "lost.yaml"))))
    found = run(folder, file, "--workers", 2)
    assert found.returncode == 0
    assert f"worker 1 cannot begin: {folder / 'lost.yaml'}: no such experiment file" in found.stdout
    log = folder / "shared" / "store" / "logs" / "worker-1.log"
    assert f"worker 1 ended with code 2 before it began. Its log is {log}" in found.stdout
    assert lines(found.stdout, "done") == ["done    outside/outside_bench/0"]


def test_a_full_disk_ends_the_run_with_its_message_and_no_cell_has_failed_of_it(folder: Path) -> None:
    """The next run tries the cell again."""
    file = outside.experiment(folder, methods="[{outside: {strength: 8}}]")
    found = run(folder, file, "--workers", 2)
    assert found.returncode == 2
    assert "the disk: the store cannot be written: no space left\n  Free some space." in found.stderr
    assert "1 cell: 1 to run" in bakeoff("plan", file, "--store", folder / "shared" / "store").stdout
    assert not alive(folder)


def test_seeds_that_share_one_outcome_are_each_told(tmp_path: Path) -> None:
    """The base answers multiple choice alike for every seed: one outcome, three cells, as workers tell them, too."""
    settings = ["bases=[microworld/small]", "methods=[base]", "seeds=[0, 1, 2]", "reference=null",
                "benchmarks=[{knowledge: {limit: 8}}]"]  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    found = run(tmp_path, ROOT / "demo.yaml", *words)
    assert found.returncode == 0, found.stderr
    assert lines(found.stdout, "done") == [f"done    base/knowledge/{seed}" for seed in range(3)]
    assert "1 artifact fitted, 1 cell scored now" in found.stdout


def test_what_two_workers_tell_of_one_cell_is_said_once() -> None:
    heard = StringIO()
    progress = Progress(Console(file=heard, width=100))
    progress.start(3, 0)
    lanes = [progress.lane(f"worker {number}") for number in (1, 2)]
    for lane in lanes:
        lane.finished("base/knowledge/0", "the first")
        lane.failed("base/knowledge/1", "no luck", "the second")
    lanes[0].finished("base/knowledge/0", "the same title at another size")
    assert heard.getvalue().splitlines() == ["done    base/knowledge/0", "failed  base/knowledge/1: no luck",
                                             "done    base/knowledge/0"]  # fmt: skip
    assert progress.bars.tasks[0].completed == 3


@pytest.mark.slow
def test_workers_share_the_trials_of_a_search_and_then_the_matrix(folder: Path) -> None:
    tune = "tune: {trials: 2}\nbaseline: outside\nseeds: [0, 1]\n"
    file = outside.experiment(folder, benchmarks="[{outside_bench: {items: 4}}]", extra=tune)
    assert run(folder, file, "--workers", 2).returncode == 0
    assert run(folder, file, place="alone").returncode == 0
    rows = [(folder / place / "out" / "rows.parquet").read_bytes() for place in ("shared", "alone")]
    assert rows[0] == rows[1]


def test_a_worker_outlives_no_run_that_is_killed(folder: Path) -> None:
    file = outside.experiment(folder, methods="[{outside: {seconds: 600}}]")
    words = ["run", str(file), "--store", str(folder / "store"), "--workers", "2"]
    driver = subprocess.Popen(
        [sys.executable, "-c", "from harness.cli.main import main; main()", *words], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    until(lambda: bool(list((folder / "store" / "locks").glob("*.owner"))))
    assert len(alive(folder)) >= 2
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until(lambda: not alive(folder))


def test_fewer_than_one_process_is_refused(folder: Path) -> None:
    found = run(folder, outside.experiment(folder), "--workers", 0)
    assert found.returncode == 2
    assert "0 workers" in found.stderr


def test_the_longest_task_comes_first_whatever_its_place_in_the_file(tmp_path: Path) -> None:
    """Four epochs take four times the steps of one; the base has no fit at all. Seeds have equal work."""
    settings = ["bases=[microworld/small]", "seeds=[0, 1]", "knowledge.limit=8", "instruction_following.limit=4",
                "data_sizes=[40]", "reference=one",
                "methods=[base, {sft: {epochs: 1}, as: one}, {sft: {epochs: 4}, as: four}]"]  # fmt: skip
    plan = make_plan(load_experiment(ROOT / "demo.yaml", settings), tmp_path)
    tasks = portions_of(plan, Store(tmp_path))
    labels = [task.cells[0].entry.label for task in tasks]
    assert labels == ["four", "four", "one", "one", "base"]
    assert tasks[0].length == tasks[1].length
    assert all(task.memory and task.memory > 1e6 for task in tasks)
    assert [len(task.cells) for task in tasks] == [2, 2, 2, 2, 4]


def test_the_memory_of_a_task_is_estimated_when_it_is_about_to_be_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its order needs operations alone; the forward pass that counts activations takes seconds for a large model."""
    settings = ["bases=[microworld/small]", "knowledge.limit=8", "instruction_following.limit=4", "data_sizes=[40]",
                "methods=[base, sft, {lora: {rank: 2}}]"]  # fmt: skip
    passes: list[int] = []
    counting = footprint._activation_bytes

    def noted(model: Any, rows: int, tokens: int, **how: Any) -> tuple[int, int]:
        passes.append(rows)
        return counting(model, rows, tokens, **how)

    monkeypatch.setattr(footprint, "_activation_bytes", noted)
    plan = make_plan(load_experiment(ROOT / "demo.yaml", settings), tmp_path)
    first, *others = portions_of(plan, Store(tmp_path))
    assert not passes
    assert math.isfinite(first.length)
    assert first.memory
    of_first = len(passes)
    assert of_first
    assert all(task.memory for task in others)
    assert len(passes) > of_first


def test_a_task_waits_for_a_device_that_has_room_for_it() -> None:
    """Workers 1 and 3 are on 40 GB, worker 2 on 10 GB; each worker's libraries take 0.8 GB."""
    room = Room([Device("0", 40 * GB), Device("1", 10 * GB)], 3)
    large, small = room.devices[0], room.devices[1]
    assert room.devices[2] == large
    assert room.fits(30 * GB, large, [])
    assert not room.fits(30 * GB, small, [])
    assert room.fits(8.4 * GB, large, [30 * GB])
    assert not room.fits(8.5 * GB, large, [30 * GB])
    assert room.fits(90 * GB, large, [])  # more than any device has: it has the largest alone
    assert not room.fits(90 * GB, small, [])
    assert not room.fits(90 * GB, large, [1 * GB])
    assert not room.fits(1 * GB, large, [90 * GB])
    assert room.fits(None, large, [19 * GB])  # one of unknown memory is counted as half of the 38.4 GB
    assert not room.fits(None, large, [20 * GB])


@pytest.mark.parametrize("broken", [False, True])
def test_workers_place_tasks_on_the_gpu_that_has_their_memory(
    folder: Path, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    """Stand-ins for two GPUs of 10 and 40 GB: what needs 30 GB goes to the larger, one after another.

    Where no worker can begin on the larger one, the run itself does what fits nowhere else.
    """
    methods = "[{outside: {strength: 1, seconds: 1}, as: a}, {outside: {strength: 30, seconds: 1}, as: b}, " \
              "{outside: {strength: 31, seconds: 1}, as: c}]"  # fmt: skip
    file = outside.experiment(folder, methods=methods, extra="baseline: a\n")

    def declared(plan: Any, store: Store) -> list[Portion]:
        groups = list(plan.groups())
        return [Portion(node, cells, 1.0, partial(mul, node.method.strength, GB)) for node, cells in groups[::-1]]

    monkeypatch.setattr(workers, "portions_of", declared)
    monkeypatch.setattr(workers, "devices_of", lambda plan: [Device("5", 40 * GB), Device("7", 10 * GB)])
    if broken:
        with (folder / "sitecustomize.py").open("a") as patch:
            patch.write('if os.environ.get("CUDA_VISIBLE_DEVICES") == "5":\n    os._exit(3)\n')
    assert run(folder, file, "--workers", 2).returncode == 0
    found = {}
    for artifact in (folder / "shared" / "store").glob("artifacts/*/gpu.txt"):
        found[artifact.parent.joinpath("number.json").read_text().split(",")[0]] = artifact.read_text()
    large = {} if broken else {'{"strength": 30.0': "5", '{"strength": 31.0': "5"}  # workers alone are patched
    assert found == {'{"strength": 1.0': "7", **large}


def test_gpus_are_those_that_the_user_chose_with_the_memory_that_the_driver_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [device.name for device in visible_gpus(None, tmp_path)] == ["0", "1", "2"]
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-a, 16384'\necho '1, GPU-b, 81920'\necho '2, GPU-c, 24576'\n")
    tool.chmod(0o755)
    assert visible_gpus(None, tmp_path)[1] == Device("1", 80 * 2**30)
    assert visible_gpus("2,GPU-a", tmp_path) == [Device("2", 24 * 2**30), Device("GPU-a", 16 * 2**30)]
    assert visible_gpus("", tmp_path) == []
    assert [device.seen() for device in visible_gpus("1", tmp_path)] == [{"CUDA_VISIBLE_DEVICES": "1"}]
    assert Device("", 1e9).seen() == {}
