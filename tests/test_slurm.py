"""`bakeoff run --slurm`: jobs fill the store, go back to the queue, and outlive the run that submitted them.

The slow tests start a real Slurm on this machine, and are skipped, saying so, where it or submitit is not installed.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import outside
import pytest
from command_line import bakeoff
from conftest import ROOT
from slurm_cluster import slurm_running, why_not

from harness.engine import slurm
from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.engine.slurm import slurm_job, slurm_options
from harness.engine.worker import require_same
from harness.errors import UserError

DEMO = ["bases=[microworld/small]", "methods=[base, {sft: {learning_rate: 1e-3, epochs: 1}}]",
        "knowledge.limit=40", "instruction_following.limit=8", "data_sizes=[100]"]  # fmt: skip


def test_options_are_read_as_submitit_takes_them() -> None:
    assert slurm_options("partition=gpu,gpus=1, time = 120,memory=64,at_once=4") == {
        "partition": "gpu", "gpus_per_node": 1, "time": 120, "mem": "64GB", "array_parallelism": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("partiton=gpu", "--slurm has no option 'partiton'\n  Did you mean 'partition'? Known: account, at_once,"),
        ("gpu=1", "no option 'gpu'\n  Did you mean 'gpus'?"),
        ("", "no option ''"),
        ("time=2h", "time is '2h'\n  Example: time=120 (minutes)"),
        ("gpus=0", "gpus is '0'"),
        ("partition", "partition is ''\n  Example: partition=gpu"),
    ],
)
def test_an_option_that_does_not_exist_is_a_mistake_with_the_nearest_that_does(
    given: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as mistake:
        slurm_options(given)
    assert said in str(mistake.value)
    found = bakeoff("run", "demo.yaml", "--store", tmp_path / "store", "--slurm", given)
    assert found.returncode == 2
    assert said.splitlines()[0] in found.stderr
    assert not (tmp_path / "store").exists()


def test_without_slurm_or_with_looks_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("run", "demo.yaml", "--store", tmp_path / "store", "--slurm", "partition=gpu")
    found = bakeoff(*words, "--until", "decided")
    assert (found.returncode, "Leave one of them out" in found.stderr) == (2, True)
    monkeypatch.setattr(slurm, "_submitit", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = bakeoff(*words)
    assert found.returncode == 2
    assert "sinfo was not found" in found.stderr
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'slurm_load_partitions: error: Unable to contact' >&2; exit 1\n")
    (tmp_path / "sinfo").chmod(0o755)
    assert "sinfo: Unable to contact" in bakeoff(*words).stderr
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho gpus; echo debug\n")
    found = bakeoff(*words)
    assert "Slurm has no partition 'gpu'\n  Did you mean 'gpus'? Known: debug, gpus." in found.stderr
    assert not (tmp_path / "store").exists()


def test_jobs_with_gpus_for_a_base_on_the_cpu_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login node without a GPU would plan other content keys than the jobs."""
    monkeypatch.setattr(slurm, "_submitit", lambda: None)
    found = bakeoff("run", "demo.yaml", "--store", tmp_path / "store", "--slurm", "gpus=1", "--set",
                    "bases=[{name: microworld/large, device: cpu}]")  # fmt: skip
    assert found.returncode == 2
    assert "microworld/large is planned on the CPU" in found.stderr
    assert "bases: [{name: microworld/large, device: cuda}]" in found.stderr


def test_a_worker_that_plans_other_artifacts_than_its_run_ends(tmp_path: Path) -> None:
    plan = make_plan(load_experiment(ROOT / "demo.yaml", DEMO), tmp_path)
    keys = [node.key for node, _ in plan.groups()]
    require_same(plan, keys)
    with pytest.raises(UserError, match="1 of 3 artifacts have other content keys on this machine, such as elsewhere"):
        require_same(plan, ["elsewhere", *keys])


def test_a_job_is_named_as_squeue_names_it() -> None:
    assert slurm_job({"SLURM_JOB_ID": "12"}) == "12"
    assert slurm_job({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"}) == "12_1"


# ---- with a real Slurm


@pytest.fixture(scope="module")
def configuration() -> Iterator[Path]:
    if why := why_not():
        pytest.skip(why)
    pytest.importorskip("submitit", reason="submitit is not installed here: pip install 'bakeoff[slurm]'")
    with slurm_running() as found:
        yield found


@pytest.fixture
def folder(outside_folder: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose plugins every process sees; short leases, and frequent looks."""
    outside.show_to_processes(outside_folder, monkeypatch)
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setenv("BAKEOFF_POLL_SECONDS", "0.5")
    monkeypatch.setenv("BAKEOFF_LEASE_SECONDS", "6")
    return outside_folder


def until(reached: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not reached():
        assert time.monotonic() < deadline, "not within 300 seconds"
        time.sleep(0.2)


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def words(folder: Path, file: Path, place: str) -> list[str]:
    return ["run", str(file), "--store", str(folder / place / "store"), "--out", str(folder / place / "out")]


def driver(folder: Path, file: Path, *more: str) -> subprocess.Popen[str]:
    """The command in a process of its own, on the store `cluster`."""
    command = [
        sys.executable,
        "-c",
        "from harness.cli.main import main; main()",
        *words(folder, file, "cluster"),
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rows(folder: Path, place: str) -> bytes:
    return (folder / place / "out" / "rows.parquet").read_bytes()


@pytest.mark.slow
def test_jobs_sent_back_to_the_queue_end_with_the_rows_of_a_serial_run_though_their_run_was_killed(
    folder: Path,
) -> None:
    file = outside.experiment(folder, methods="[{outside: {seconds: 6}}]", extra="seeds: [0, 1, 2, 3]\n")
    store = folder / "cluster" / "store"
    first = driver(folder, file, "--workers", "2", "--slurm", "partition=low,time=20,cpus=1")
    until(lambda: len(list((store / "leases").glob("*.*"))) == 2 and len(list(store.glob("logs/*.where"))) == 2)
    first.send_signal(signal.SIGKILL)  # the run, as it waits
    first.wait()
    job = asked("squeue", "--noheader", "--format=%A %F").split()[1]
    subprocess.run(["scontrol", "requeue", f"{job}_0"], check=True)  # as both are in the middle of a fit
    assert "Restarts=1" in asked("scontrol", "show", "job", f"{job}_0")
    again = driver(folder, file, "--workers", "2", "--slurm", "partition=low,time=20,cpus=1")
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert f"job {job} submitted before: this command waits for it" in said
    assert "4 cells: 4 done" in said
    assert bakeoff(*words(folder, file, "serial")).returncode == 0
    assert rows(folder, "cluster") == rows(folder, "serial")
    told = bakeoff("explain", file, "outside", "--store", store).stdout
    logs = {line.split(maxsplit=1)[1] for line in told.splitlines() if line.startswith("  log ")}
    assert logs
    assert logs <= {str(path) for path in (store / "logs").glob(f"slurm-{job}_*.log")}
    until(lambda: not asked("squeue", "--noheader"))


@pytest.mark.slow
def test_pre_empted_workers_go_on_and_what_ends_two_of_them_has_failed(folder: Path) -> None:
    methods = "[{outside: {strength: 9}, as: deadly}, {outside: {strength: 1, seconds: 6}, as: slow}]"
    file = outside.experiment(folder, methods=methods, extra="baseline: slow\nseeds: [0, 1]\n")
    store = folder / "cluster" / "store"
    run = driver(folder, file, "--workers", "2", "--slurm", "partition=low,time=20")
    until(lambda: list((store / "leases").glob("*.*")))
    job = asked("squeue", "--noheader", "--format=%F").split()[0]
    urgent = ["sbatch", "--partition=high", "--exclusive", f"--output={folder}/urgent.out", "--wrap=sleep 1"]
    subprocess.run(urgent, check=True)
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 1, said
    why = "its worker was killed by SIGKILL (memory ran out?), 2 times"
    failed = sorted(line for line in said.splitlines() if line.startswith("failed"))
    assert failed == [f"failed  deadly/outside_bench/{seed}: {why}" for seed in (0, 1)]
    assert "4 cells: 2 done, 2 failed" in said
    restarts = re.findall(r"Restarts=(\d+)", asked("scontrol", "show", "job", job))
    assert max(map(int, restarts)) >= 1
    until(lambda: not asked("squeue", "--noheader"))


@pytest.mark.slow
def test_the_demo_s_cells_have_the_same_rows_by_jobs_and_here(configuration: Path, tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setenv("BAKEOFF_POLL_SECONDS", "0.5")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = [word for setting in DEMO for word in ("--set", setting)]
    found = bakeoff(*words(tmp_path, ROOT / "demo.yaml", "jobs"), *settings, "--workers", 2, "--slurm", "time=20")
    assert found.returncode == 0, found.stdout
    assert bakeoff(*words(tmp_path, ROOT / "demo.yaml", "here"), *settings).returncode == 0
    assert rows(tmp_path, "jobs") == rows(tmp_path, "here")
