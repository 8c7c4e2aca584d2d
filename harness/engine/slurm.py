"""Workers as jobs of Slurm: an array of them goes through the plan, and leases on the shared store divide the work.

submitit writes the jobs' scripts and submits them. Each job runs a worker in a process of its own, replaces one that
dies, and goes back to the queue when it is pre-empted or its time is over. The run that submitted them only watches
the store; it may end, and the same command finds the jobs again. submitit keeps the request of each job, the fields of
`WorkerRequest`, as a pickle of its own in STORE/slurm.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Cell, Plan
from harness.engine.portions import portions_of
from harness.engine.progress import Progress, seconds_between
from harness.engine.run import Tally
from harness.engine.showable import counted
from harness.engine.states import state_of
from harness.engine.store.store import Store, disk_errors, process_name
from harness.engine.worker import MISTAKE, TAKEN_AWAY, WorkerRequest
from harness.engine.workers import TRIES, done_keys, how_it_ended, last_lines, tally_since
from harness.errors import UserError, did_you_mean, first_line
from harness.files import read_sealed, write_sealed
from harness.policy.base_model import BaseSpec

GRACE = 600.0
"""Seconds in which Slurm ends a job that it has told to end."""
EVERY = 5.0
"""Seconds between two looks at the store and the queue."""
MINUTES = 60
"""The time of a job that names none."""
TIMEOUTS = 100
"""How often a job whose time is over goes back to the queue."""
SIGNAL = "USR1"
"""The signal by which Slurm warns a job: submitit's default is the one of the limit on the time of a cell."""


@dataclass(frozen=True)
class Option:
    """An option of --slurm: the parameter of submitit that it sets, the kind of its value, and an example."""

    parameter: str
    kind: type
    example: str


OPTIONS = {
    "partition": Option("partition", str, "gpu"),
    "gpus": Option("gpus_per_node", int, "1"),
    "time": Option("time", int, "120 (minutes)"),
    "memory": Option("mem", int, "64 (GB)"),
    "cpus": Option("cpus_per_task", int, "8"),
    "at_once": Option("array_parallelism", int, "4 (jobs that run at a time)"),
    "account": Option("account", str, "NAME"),
    "qos": Option("qos", str, "NAME"),
    "constraint": Option("constraint", str, "a100"),
    "gres": Option("gres", str, "gpu:a100:1"),
    "nodelist": Option("nodelist", str, "node1"),
    "exclude": Option("exclude", str, "node1"),
    "reservation": Option("reservation", str, "NAME"),
}
"""The options of --slurm. A job is one worker, so there are none for tasks and nodes."""


def slurm_options(text: str) -> dict[str, Any]:
    """The parameters that OPTION=VALUE,... sets. Raises UserError for an option or value that cannot be."""
    found: dict[str, Any] = {"time": MINUTES}
    for part in text.split(","):
        name, sign, value = (word.strip() for word in part.partition("="))
        if name not in OPTIONS:
            raise UserError(f"--slurm has no option {name!r}", fix=did_you_mean(name, OPTIONS))
        option = OPTIONS[name]
        wrong = not sign or not value or (option.kind is int and not (value.isdecimal() and int(value)))
        if wrong:
            raise UserError(f"--slurm: {name} is {value!r}", fix=f"Example: {name}={option.example}.")
        found[option.parameter] = option.kind(value)
    if "mem" in found:
        found["mem"] = f"{found['mem']}GB"
    return found


class SlurmWorker:
    """The work of a job: a worker process, replaced where it dies; what ends two of them has failed."""

    def __init__(self, asked: WorkerRequest) -> None:
        self.asked = asked

    def __call__(self) -> None:
        store = Store(Path(self.asked.store))
        log = store.root / "logs" / f"slurm-{slurm_job(os.environ)}.log"
        deaths = Counter[str]()
        while True:
            process, code = self._run(log)
            if not code:
                return
            if code == MISTAKE:
                raise RuntimeError(f"The worker cannot go on. Its log is {log}")
            if code in TAKEN_AWAY:
                time.sleep(GRACE)  # Slurm ends this job; one that ends by itself would not go back to the queue
                continue
            _count_death(store, process, how_it_ended(code), log, deaths)
            if deaths[""] == TRIES:
                raise RuntimeError(f"The worker {how_it_ended(code)} {TRIES} times, making nothing. Its log is {log}")

    def _run(self, log: Path) -> tuple[int, int]:
        """Run a worker until it ends: its number and exit code."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as written:
            process = subprocess.Popen(
                self.asked.command(),
                stdin=subprocess.PIPE,  # closed as this process ends, and so ends the worker
                stdout=written,
                stderr=written,
                env={**os.environ, "BAKEOFF_LOG": str(log)},
            )
            return process.pid, process.wait()

    def checkpoint(self) -> Any:
        """The request of a job that was pre-empted: the same, since the store knows what is done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def slurm_job(environment: Mapping[str, str]) -> str:
    """The job's number, as squeue writes it."""
    array = environment.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{environment['SLURM_ARRAY_TASK_ID']}" if array else environment.get("SLURM_JOB_ID", "none")


def _count_death(store: Store, process: int, how: str, log: Path, deaths: Counter[str]) -> None:
    """Note what a dead worker was making ("": nothing); at its second death that has failed."""
    keys = [key for key, _ in store.held(process_name(process))]
    for key in keys or [""]:
        deaths[key] += 1
        if key and deaths[key] == TRIES:
            store.fail(key, f"its worker {how}, {TRIES} times", last_lines(log))
    print(f"The worker {how}; another one follows.", flush=True)


def run_by_slurm(
    options: Mapping[str, Any],
    count: int,
    plan: Plan,
    store: Store,
    asked: WorkerRequest,
    progress: Progress,
    *,
    last: bool = True,
) -> Tally:
    """Submit so many workers, at most one for each artifact, or find those submitted before, and wait for the plan.

    last  whether no other plan follows: jobs that are left when all is done are cancelled
    Returns once every cell is done or has failed, or no job is left. Raises UserError where Slurm refuses.
    """
    store.share()
    before = done_keys(plan, store)
    cells = [cell for cell in plan.cells if not cell.why]
    progress.start(len(cells), sum(cell.key in before for cell in cells))
    jobs = _Jobs(store, asked)
    if jobs.left():
        progress.say(f"{jobs.named()} submitted before: this command waits for it")
    else:
        jobs.submit(options, count, plan)
        progress.say(f"{jobs.named()} submitted; logs in {store.root / 'logs'}. The jobs go on if this command ends.")
    _watch(jobs, plan, store, progress)
    if last:
        jobs.cancel()
    failed = [(cell, state.why) for cell in cells if (state := state_of(cell, store)).name == "failed"]
    return replace(tally_since(before, plan, store), failed=[*failed])


def _watch(jobs: _Jobs, plan: Plan, store: Store, progress: Progress) -> None:
    """Tell what is done and what failed, until that is all or no job is left."""
    every, said = seconds_between("BAKEOFF_POLL_SECONDS", EVERY), ""
    cells = [cell for cell in plan.cells if not cell.why and not store.done("outcomes", cell.key)]
    while True:
        left = jobs.left()
        cells = [cell for cell in cells if not _told(cell, store, progress)]
        joints = joint_cells(plan, store) if plan.compares and not cells else ()
        if not left or not (cells or any(joint.state(store).name in ("to run", "running") for joint in joints)):
            break
        states = ", ".join(f"{number} {state.lower()}" for state, number in sorted(Counter(left.values()).items()))
        if states != said:
            progress.say(f"jobs of Slurm: {states}")
            said = states
        time.sleep(every)
    if cells:
        progress.say(
            f"No job is left, and {counted(len(cells), 'cell')} not done. The logs are in {store.root / 'logs'}"
        )


def _told(cell: Cell, store: Store, progress: Progress) -> bool:
    state = state_of(cell, store)
    if state.name == "done":
        progress.finished(cell.title, cell.identity)
    elif state.name == "failed":
        progress.failed(cell.title, state.why, cell.identity)
    return state.name in ("done", "failed")


class _Jobs:
    """The jobs of one experiment on one store, as STORE/slurm/jobs.json records them."""

    def __init__(self, store: Store, asked: WorkerRequest) -> None:
        self.store, self.folder = store, store.root.resolve() / "slurm"
        self.asked = replace(asked, file=str(Path(asked.file).resolve()), store=str(store.root.resolve()), stage=None)
        self.known = read_sealed(self.folder / "jobs.json") or []
        self.ids = [one["job"] for one in self.known if one["of"] == self._of()]
        self.states: dict[str, str] = {}

    def _of(self) -> list[str]:
        return [self.asked.file, *self.asked.settings]

    def named(self) -> str:
        """The jobs, for a message."""
        return f"job {', '.join(self.ids)}"

    def left(self) -> dict[str, str]:
        """Job -> its state, of those that have not ended. Raises UserError where Slurm cannot be asked at first."""
        if not self.ids:
            return {}
        done = _asked_slurm("squeue", "--noheader", "--array", f"--jobs={','.join(self.ids)}", "--format=%i %T")
        if done.returncode and "Invalid job id" not in done.stderr:
            if self.states:
                return self.states  # it does not answer just now
            raise UserError(f"squeue: {_said(done.stderr)}", fix="Run this on a machine that reaches Slurm.")
        self.states = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
        return self.states

    def submit(self, options: Mapping[str, Any], count: int, plan: Plan) -> None:
        """Submit an array of workers; each begins with another artifact, the longest ones first."""
        submitit = _submitit()
        order = tuple(portion.node.key for portion in portions_of(plan, self.store))
        works = [replace(self.asked, order=order, turn=turn) for turn in range(max(1, min(count, len(order))))]
        known = {key: value for key, value in options.items() if key != "reservation"}
        more = {key: value for key, value in options.items() if key == "reservation"}
        with disk_errors(self.store.root):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            executor = submitit.SlurmExecutor(self.folder, max_num_timeout=TIMEOUTS)
            executor.update_parameters(
                job_name="bakeoff", stderr_to_stdout=True, additional_parameters={"requeue": True, **more}, **known
            )
            jobs = executor.submit_array([SlurmWorker(work) for work in works])
        except (RuntimeError, OSError, ValueError) as error:
            raise UserError(f"Slurm took no job: {_said(str(error))}", fix="Change --slurm.") from None
        self.ids = sorted({str(job.job_id).split("_")[0] for job in jobs})
        write_sealed(self.folder / "jobs.json", [*self.known, *({"job": job, "of": self._of()} for job in self.ids)])

    def cancel(self) -> None:
        """Cancel jobs that have nothing left to do."""
        if left := self.left():
            _asked_slurm("scancel", *left)


def _submitit() -> Any:
    os.environ.setdefault("SUBMITIT_PREEMPT_SIGNAL", SIGNAL)
    try:
        import submitit
    except ImportError as error:
        raise UserError(
            "--slurm needs the library submitit", fix="Install the extra: pip install 'bakeoff[slurm]'."
        ) from error
    return submitit


def require_slurm(options: Mapping[str, Any], bases: Iterable[BaseSpec]) -> None:
    """Raise UserError where jobs cannot be submitted from here, the partition does not exist, or GPUs would be idle."""
    _submitit()
    for base in bases:
        # the device is part of the content key, and this machine decides it
        if base.device == "cpu" and {"gpus_per_node", "gres"} & options.keys():
            what = f"--slurm asks for GPUs, and {base.label} is planned on the CPU, since this machine has no GPU"
            raise UserError(what, fix=f"Name the device of the jobs: bases: [{{name: {base.name}, device: cuda}}].")
    name = options.get("partition", "")
    done = _asked_slurm("sinfo", "--noheader", "--format=%R")
    if done.returncode:
        raise UserError(f"sinfo: {_said(done.stderr)}", fix="Run this on a machine that reaches Slurm.")
    known = done.stdout.split()
    if name and name not in known:
        raise UserError(f"--slurm: Slurm has no partition {name!r}", fix=did_you_mean(name, known))


def _asked_slurm(*command: str) -> subprocess.CompletedProcess[str]:
    """The answer of a command of Slurm. Raises UserError where Slurm is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(
            f"--slurm needs the commands of Slurm, and {command[0]} was not found",
            fix="Run this on the cluster's login node, or use --workers on one machine.",
        ) from None


def _said(text: str) -> str:
    """The complaint of Slurm in one line."""
    lines = [line.partition("error: ")[2] for line in text.splitlines() if "error: " in line]
    return lines[-1] if lines else first_line(RuntimeError(text))
