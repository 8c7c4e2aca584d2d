"""A plan on a Ray cluster that is there already: Ray places the tasks, waits for what they need, and tries them again.

Each task (see tasks.py) declares its processors, GPUs and memory. Ray hands the function and its few lines of text to
another process with cloudpickle; that is its transport, and no file of this project is written so. Neither the working
directory nor a model travels: nodes have bakeoff installed, and reach the store.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.engine.cluster_tasks import ClusterTask, Done, cluster_tasks, order_of, perform, spot_of
from harness.engine.plan import Cell, Plan
from harness.engine.progress import Progress
from harness.engine.run import Tally, compare_policies
from harness.engine.showable import counted
from harness.engine.states import state_of
from harness.engine.store.store import Store, place_of
from harness.errors import UserError, did_you_mean, first_line

CONNECTING = 30.0  # seconds; a Ray that waits for a cluster which is not there gives up much later, or never
ARRIVING = 90.0  # seconds; on a network disk, what another machine has written may be seen a minute later
GB = 10**9
EXAMPLE = "Example: --ray auto --ray-task gpus=0.5,memory=16,retries=5"
PROBE = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False); ray.shutdown()"


@dataclass(frozen=True)
class Cluster:
    """A Ray cluster, and what each task declares to it.

    address  HOST:PORT of its head node, or auto
    gpus     GPUs, fractions too; None: one for each process of a fit whose base is on a GPU
    cpus     processors; None: the experiment's `threads`
    memory   GB of main memory; 0: none is declared
    retries  how often Ray tries a task again whose process or node died
    """

    address: str
    gpus: float | None = None
    cpus: float | None = None
    memory: float = 0
    retries: int = 3

    def options(self, task: ClusterTask, threads: int) -> dict[str, Any]:
        """The options of Ray for one task."""
        gpus = task.gpus if self.gpus is None else self.gpus
        cpus = threads if self.cpus is None else self.cpus
        memory = {"memory": int(self.memory * GB)} if self.memory else {}
        return {"num_gpus": gpus, "num_cpus": cpus, **memory, "max_retries": self.retries, "name": task.title}


def cluster_of(address: str, demands: str) -> Cluster:
    """The cluster of `--ray` with what `--ray-task` says. Raises UserError for a name or number that cannot be."""
    given = dict(_demand(*part.partition("=")[::2]) for part in demands.split(",") if part)
    retries = int(given.pop("retries", Cluster.retries))
    return Cluster(address, given.get("gpus"), given.get("cpus"), given.get("memory", 0), retries)


def _demand(name: str, text: str) -> tuple[str, float]:
    known = [one.name for one in fields(Cluster)[1:]]
    if name not in known:
        raise UserError(f"--ray-task names {name!r}", fix=f"{did_you_mean(name, known)} {EXAMPLE}")
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 10**6 or (name == "retries" and number % 1):
        kind = "a whole number" if name == "retries" else "a number"
        raise UserError(f"--ray-task {name} is {text!r}, which is not {kind} of 0 or more", fix=EXAMPLE)
    if name == "gpus" and number > 1 and number % 1:
        raise UserError(f"--ray-task gpus is {text}, and Ray divides no more than one GPU", fix=EXAMPLE)
    return name, number


@contextmanager
def connected(address: str) -> Iterator[None]:
    """A connection to the cluster for the time of the block. Raises UserError where there is none."""
    if address in ("", "local"):
        fix = "Start one with `ray start --head`, then give --ray auto."
        raise UserError(f"--ray {address!r} names no cluster", fix=fix)
    # else a run under `uv run` would ship the working directory to the nodes
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs the library ray", fix="Install it: pip install 'bakeoff[ray]'") from None
    _require_answer(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
        signal.signal(signal.SIGTERM, handler)  # in place of Ray's, which ends without a word
    except Exception as error:  # of many types, one for each kind of cluster
        raise _unreachable(address, first_line(error)) from None
    try:
        yield
    finally:
        ray.shutdown()  # it ends the tasks that still run, too


def _require_answer(address: str) -> None:
    """Connect in a process of its own first: Ray may wait for minutes, or abort the process that asks."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:  # a refused connection is known at once
            socket.create_connection((host, int(port)), timeout=CONNECTING).close()
        except (OSError, OverflowError, UnicodeError) as error:
            raise _unreachable(address, first_line(error)) from None
    try:
        asked = subprocess.run(
            [sys.executable, "-c", PROBE, address], capture_output=True, text=True, timeout=CONNECTING, check=False
        )
    except subprocess.TimeoutExpired:
        raise _unreachable(address, f"no answer within {CONNECTING:.0f} seconds") from None
    if asked.returncode:
        raise _unreachable(address, (asked.stderr.strip().splitlines() or ["no reason is given"])[-1])


def _unreachable(address: str, why: str) -> UserError:
    fix = "Give HOST:PORT of its head node, as `ray start --head` printed it, or auto on a node of the cluster."
    return UserError(f"the Ray cluster {address!r} cannot be reached: {why}", fix=fix)


def run_on_cluster(plan: Plan, store: Store, progress: Progress, cluster: Cluster, stage: int) -> Tally:
    """Do what is not done, as tasks of the cluster that is connected.

    stage  which plan of the experiment it is (see `Order`)
    Raises UserError where a node refuses a task, since its code, libraries, models or data are others.
    """
    if isinstance(place_of(store.name), Path):  # one behind a URL is shared as it is
        store.share()
    cells = [cell for cell in plan.cells if not cell.why]
    found = sum(store.done("outcomes", cell.key) for cell in cells)
    progress.start(len(cells), found)
    tally = _Tasks(plan, store, progress, cluster, stage).run()
    tally.found = found
    compared = compare_policies(plan, store, progress)
    return replace(tally, compared=compared.compared, failed=[*tally.failed, *compared.failed])


class _Tasks:
    """The tasks of one plan on the cluster, from the first to the last result."""

    def __init__(self, plan: Plan, store: Store, progress: Progress, cluster: Cluster, stage: int) -> None:
        self.plan, self.store, self.progress, self.cluster = plan, store, progress, cluster
        self.order = order_of(plan, store, stage)
        self.tasks = {task.key: task for task in cluster_tasks(plan, store)}
        self.cells = {spot_of(cell): cell for cell in plan.cells}
        self.running: dict[Any, ClusterTask] = {}  # by Ray's reference to the result
        self.tally = Tally()

    def run(self) -> Tally:
        import ray

        started: dict[str, Any] = {}
        for task in self.tasks.values():
            started[task.key] = self._start(task, [started[key] for key in task.needs])
        quiet = self.progress.every or 60
        if self.running:
            self._say_what_no_node_has()
        while self.running:
            ended, _ = ray.wait([*self.running], num_returns=1, timeout=max(quiet, 1))
            for result in ended:
                self._ended(self.running.pop(result), result)
            if not ended:
                self.progress.say(f"{counted(len(self.running), 'task')} of the cluster left")
                self._say_what_no_node_has()
        return self.tally

    def _start(self, task: ClusterTask, after: Sequence[Any]) -> Any:
        import ray

        options = self.cluster.options(task, self.plan.experiment.threads)
        result = ray.remote(perform).options(**options).remote(self.order, task, *after)
        self.running[result] = task
        return result

    def _ended(self, task: ClusterTask, result: Any) -> None:
        import ray

        try:
            done: Done = ray.get(result)
        except ray.exceptions.RayError as error:
            if any(other.key in task.needs for other in self.running.values()):
                self.running[result] = task  # what it waited for has ended, too, and is heard first
                return
            if task.needs and all(self.store.done("artifacts", key) for key in task.needs):
                # what it waited for may have been lost only after its artifact was there
                self._start(replace(task, needs=()), [])
                return
            done = self._given_up(task, error)
        if done.refused:
            raise UserError(f"a node refused the task {task.title}: {done.refused}")
        self.tally.fitted += done.fitted
        self.tally.evaluated += done.evaluated
        for cell in [self.cells[wanted.spot] for wanted in task.cells if task.scores]:
            self._told(cell)

    def _given_up(self, task: ClusterTask, error: Exception) -> Done:
        """Record why Ray has given up a task; one that waited for such a task has the state of what it needs."""
        if isinstance(getattr(error, "cause", None), ImportError):
            return Done(refused=f"bakeoff cannot be imported there: {_last_line(error)}")
        if all(self.store.done("artifacts", key) for key in task.needs):
            why = f"Ray gave it up after {counted(self.cluster.retries + 1, 'attempt')}: {_last_line(error)}"
            scored = task.scores and self.store.done("artifacts", task.key)
            for key in [wanted.key for wanted in task.cells] if scored else [task.key]:
                if not self.store.done("outcomes", key):
                    self.store.fail(key, why, str(error))
        return Done()

    def _told(self, cell: Cell) -> None:
        """Say what became of a cell. Raises UserError where the store does not have it."""
        until = time.monotonic() + ARRIVING
        while (state := state_of(cell, self.store)).name in ("to run", "running") and time.monotonic() < until:
            time.sleep(1)
        if state.name == "done":
            self.progress.finished(cell.title, cell.identity)
        elif state.name == "failed":
            self.tally.failed.append((cell, state.why))
            self.progress.failed(cell.title, state.why, cell.identity)
        else:
            fix = "Name a folder on a disk that all nodes share, or a URL: --store s3://BUCKET/FOLDER."
            raise UserError(f"the cluster has scored {cell.title}, and it is not in {self.store.name}", fix=fix)

    def _say_what_no_node_has(self) -> None:
        """A line for each kind of task that no node can take now: one that joins the cluster later may."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        threads = self.plan.experiment.threads
        asked = [_resources(self.cluster.options(task, threads)) for task in self.running.values()]
        for wanted in {repr(one): one for one in asked}.values():
            if not any(all(node.get(name, 0) >= most for name, most in wanted.items()) for node in nodes):
                said = ", ".join(f"{amount / GB:g} GB" if name == "memory" else f"{amount:g} {name}"
                                 for name, amount in wanted.items() if amount)  # fmt: skip
                self.progress.say(f"no node of the cluster has {said}: tasks that need this wait until one joins it")


def _resources(options: Mapping[str, Any]) -> dict[str, float]:
    """The resources that a task needs of a node, by Ray's names."""
    return {"CPU": options["num_cpus"], "GPU": options["num_gpus"], "memory": options.get("memory", 0)}


def _last_line(error: Exception) -> str:
    """The reason in an error of Ray, whose text begins with a traceback, or with identifiers."""
    return first_line(Exception((str(error).strip().splitlines() or [type(error).__name__])[-1]))
