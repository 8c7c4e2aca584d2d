"""A real Ray cluster of two nodes on this machine: a node, a run or a task is killed; and what is refused.

Without the extra `ray` these tests are skipped; tests/test_cluster_tasks.py needs no Ray.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import outside
import pytest
from conftest import ROOT

from harness.engine import ray_cluster
from harness.errors import UserError

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow  # a cluster takes 20 s to start, and each of its processes some more

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 100 * 10**6}
SETTINGS = ["methods=[base, {sft: {learning_rate: 5e-4, epochs: 1}}, {proxy_tuning: {expert: sft}, as: proxy}]",
            "bases=[microworld/small]", "data_sizes=[100]", "seeds=[0, 1]", "knowledge.limit=40",
            "instruction_following.limit=6"]  # fmt: skip
REAL = [ROOT / "demo.yaml", *(word for setting in SETTINGS for word in ("--set", setting))]
DYING = '''"""A method whose process is killed in every fit."""

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from outside_method import Outside


@dataclass(frozen=True)
class Dying(Outside):
    """Leaves a file for every time that it dies."""

    def fit(self, base, data, inputs, out, context):
        Path(self.fails, str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugins of another package, which every process sees."""
    found = outside.install(tmp_path_factory.mktemp("ray"))
    (found / "outside_dying.py").write_text(DYING)
    points = found / "outside-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().replace("[bakeoff.methods]", "[bakeoff.methods]\ndying = outside_dying:Dying"))
    return found


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same package where its policies, which cannot be stepped, are scored: every process is patched for them."""
    found = outside.install(tmp_path_factory.mktemp("quick"))
    (found / "sitecustomize.py").write_text(outside.PATCH)
    outside.experiment(
        found,
        methods="[{outside: {seconds: 3}}, {outside: {strength: 2.0, seconds: 3}, as: two}]",
        benchmarks="[{outside_bench: {seconds: 1}}]",
        extra="threads: 1\nseeds: [0, 1, 2]\n",
    )
    process = start(found, "serial", found / "experiment.yaml")
    assert process.wait(timeout=600) == 0, process.communicate()
    return found


@pytest.fixture
def cluster(folder: Path) -> Iterator[Any]:
    """Two nodes of one processor each; the head is the first."""
    with two_nodes(folder) as made:
        yield made


@contextmanager
def two_nodes(folder: Path) -> Iterator[Any]:
    """Such a cluster, whose nodes have the plugins of that folder, and local copies of stores of their own."""
    from ray.cluster_utils import Cluster

    with environment(folder):
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BAKEOFF_CACHE", str(folder / "cache-of-the-second"))
            made.second = made.add_node(**NODE)
    try:
        yield made
    finally:
        made.shutdown()


@contextmanager
def environment(folder: Path) -> Iterator[None]:
    """The environment in which nodes are started: with plugins, and without a report of their use."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("BAKEOFF_CACHE", str(folder / "cache"))
        yield


def start(folder: Path, place: str, *words: object, url: bool = False) -> subprocess.Popen[str]:
    """The command `run` in a process of its own, with a store and results of that name.

    url  give the store's place as a URL
    """
    code = "from harness.cli.main import main; main()"
    store = folder / place / "store"
    places = ["--store", f"file://{store}" if url else store, "--out", folder / place / "out"]
    command = [sys.executable, "-c", code, "run", *map(str, words), *map(str, places)]
    known = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "BAKEOFF_CACHE": str(folder / "cache")}
    return subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env={**os.environ, **known})


def until(reached: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    """Wait for something that a running process brings about."""
    deadline = time.monotonic() + 900
    while not (found := reached()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def finished(folder: Path, place: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / place / "store").glob("outcomes/*/done")}


def tasks_on(node: Any) -> list[str]:
    """What the workers of a node are doing: Ray gives a process the name of its task."""
    parent = node.all_processes["raylet"][0].process.pid
    titles = [
        Path(f"/proc/{child}/cmdline") for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    ]
    return [title for path in titles if " seed " in (title := path.read_text().replace("\0", " "))]


@pytest.fixture(scope="module")
def serial(folder: Path) -> Path:
    """The results of a run without a cluster."""
    process = start(folder, "serial", *REAL)
    said, complaints = process.communicate(timeout=900)
    assert process.returncode == 0, said + complaints
    return folder / "serial" / "out"


def check_equal(one: Path, other: Path) -> None:
    for name in ("rows.parquet", "samples.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_a_node_is_killed_at_work_and_the_rows_are_those_of_the_serial_run(quick: Path) -> None:
    """On the second node a task is at work; Ray runs it again on the first one."""
    with two_nodes(quick) as cluster:
        process = start(quick, "node", quick / "experiment.yaml", "--ray", cluster.address)
        lost = until(lambda: len(finished(quick, "node")) > 1 and tasks_on(cluster.second), process)
        cluster.remove_node(cluster.second, allow_graceful=False)
        said, complaints = process.communicate(timeout=600)
    print(f"\nlost with the node: {[title.split()[0] for title in lost]}")
    assert process.returncode == 0, said + complaints
    assert "6 cells: 6 done" in said
    check_equal(quick / "node" / "out", quick / "serial" / "out")


def test_a_run_is_killed_and_started_again_and_the_rows_are_those_of_the_serial_run(quick: Path) -> None:
    with two_nodes(quick) as cluster:
        words = [quick / "experiment.yaml", "--ray", cluster.address]
        process = start(quick, "driver", *words)
        until(lambda: len(finished(quick, "driver")) > 1, process)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 60
        while tasks_on(cluster.head_node) or tasks_on(cluster.second):
            assert time.monotonic() < deadline, "the tasks outlive their run"
            time.sleep(0.1)
        before = finished(quick, "driver")
        assert 1 < len(before) < 6
        again = start(quick, "driver", *words)
        said, complaints = again.communicate(timeout=600)
    assert again.returncode == 0, said + complaints
    assert before.items() <= finished(quick, "driver").items(), "a finished cell was made again"
    check_equal(quick / "driver" / "out", quick / "serial" / "out")


def test_nodes_that_share_a_url_alone_train_and_score_as_the_serial_run(
    folder: Path, cluster: Any, serial: Path
) -> None:
    """Each node has a local copy of its own: what one has made reaches the other through the URL."""
    process = start(folder, "url", *REAL, "--ray", cluster.address, url=True)
    said, complaints = process.communicate(timeout=900)
    assert process.returncode == 0, said + complaints
    copies = [list((folder / name).rglob("outcomes/*/done")) for name in ("cache", "cache-of-the-second")]
    assert all(copies), "one node did nothing"
    check_equal(folder / "url" / "out", serial)


def test_a_task_whose_process_dies_each_time_is_given_up_and_its_cell_fails_with_the_reason(
    folder: Path, cluster: Any
) -> None:
    deaths = folder / "deaths"
    deaths.mkdir()
    file = outside.experiment(folder, methods=f"[{{dying: {{fails: {deaths}}}}}]", extra="threads: 1\n")
    for retrying in ([], ["--retry-failed"]):
        process = start(folder, "dying", file, "--ray", cluster.address, "--ray-task", "retries=1", *retrying)
        said, complaints = process.communicate(timeout=300)
        assert process.returncode == 1, said + complaints
        assert "failed  dying/outside_bench/0: Ray gave it up after 2 attempts: " in said
        assert "Next: bakeoff explain" in said
    assert len(list(deaths.iterdir())) == 4
    other = start(folder, "dying", file)
    assert (
        "Nothing to do: 1 cell: 1 failed. Failed cells are tried again with --retry-failed." in other.communicate()[0]
    )


def test_a_node_with_other_code_refuses_its_tasks_and_names_the_field(folder: Path, tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    other = outside.install(tmp_path)
    method = other / "outside_method.py"
    method.write_text(method.read_text().replace("strength: float = setting(1.0", "strength: float = setting(4.0"))
    with environment(other):
        made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        process = start(folder, "other", outside.experiment(folder, extra="threads: 1\n"), "--ray", made.address)
        said, complaints = process.communicate(timeout=300)
    finally:
        made.shutdown()
    assert process.returncode == 2, said + complaints
    assert "a node refused the task outside on model, seed 0" in complaints
    assert "fields.strength: 1.0 -> 4.0" in complaints
    assert not (folder / "other" / "store" / "artifacts").exists()


def test_a_demand_that_no_node_meets_is_told_and_interrupting_the_wait_keeps_the_store(
    folder: Path, cluster: Any
) -> None:
    words = ["--ray", cluster.address, "--ray-task", "gpus=0.5,memory=900000"]
    process = start(folder, "large", outside.experiment(folder), *words)
    assert process.stdout
    line = next(line for line in process.stdout if "no node" in line)
    asked = "no node of the cluster has 2 CPU, 0.5 GPU, 900000 GB"
    assert line == f"{asked}: tasks that need this wait until one joins it\n"
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=60)
    assert process.returncode == 2, said + complaints
    assert "Interrupted. 0 of 1 cell are done and kept" in said


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:9", "Connection refused"), ("nowhere.invalid:6379", "[Errno -"), ("noport", "noport")],
)
def test_a_cluster_that_cannot_be_reached_is_one_message(folder: Path, address: str, reason: str) -> None:
    process = start(folder, "nowhere", outside.experiment(folder), "--ray", address)
    said, complaints = process.communicate(timeout=120)
    assert (process.returncode, said) == (2, "")
    assert complaints.startswith(f"Error: the Ray cluster {address!r} cannot be reached: ")
    assert reason in complaints
    assert complaints.count("\n") == 2
    assert "Traceback" not in complaints


def test_a_port_that_never_answers_is_given_up_after_a_while(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself waits for 41 seconds here, and then writes its own traceback."""
    monkeypatch.setattr(ray_cluster, "CONNECTING", 5.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        before = time.monotonic()
        with pytest.raises(UserError, match="no answer within 5 seconds"), ray_cluster.connected(address):
            pass
    assert time.monotonic() - before < 15
