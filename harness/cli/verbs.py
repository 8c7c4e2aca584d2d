"""What the verbs of the command line do, once their words are parsed."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from harness.engine.config import load_experiment
from harness.engine.experiment import Experiment
from harness.engine.gate import check_contamination, warnings_of
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Cell, Plan
from harness.engine.progress import Progress
from harness.engine.results.digests import DIGESTS
from harness.engine.results.schema import DATA_FILES, JOINT_FILES, REPORT_FILES
from harness.engine.results.write import results_digest, write_results
from harness.engine.run import Tally, run_plan
from harness.engine.states import State, explain, find_cells, state_of
from harness.engine.store.store import DEFAULT_STORE, Store, disk_errors
from harness.engine.tuning import plans, unfilled
from harness.engine.workers import workers
from harness.files import read_json


def plan_verb(file: Path, store_folder: Path, settings: Sequence[str]) -> None:
    """Print every cell's state and the counts; of an experiment that tunes, the trials first."""
    store = Store(store_folder)
    console = _console()
    experiment = load_experiment(file, settings)
    for plan in _plans_so_far(experiment, store_folder, store):
        states = _say_cells(console, plan, store)
    if experiment.tune and not plan.experiment.tune:
        _say(console, "The rows of tuned settings are planned once the trials are done.")
    done = all(state.name not in ("to run", "running") for state in states)
    more = ["--retry-failed"] if done and any(state.name == "failed" for state in states) else []
    _say(console, f"\n{_counts(states)}. Next: {_command('run', file, store_folder, settings, *more)}")


def _say_cells(console: Console, plan: Plan, store: Store) -> list[State]:
    states = [state_of(cell, store) for cell in plan.cells]
    for cell, state in zip(plan.cells, states, strict=True):
        place = ", ".join(part for part in (cell.node.base.spec.label, cell.data.title) if part)
        console.print(f"{cell.title:44} {place}  {state}", markup=False, highlight=False)
    for joint in joint_cells(plan, store):
        console.print(f"{joint.title:44} {joint.state(store)}", markup=False, highlight=False)
    return states


def run_verb(
    file: Path, store_folder: Path, out: Path | None, settings: Sequence[str], *, retry_failed: bool, processes: int
) -> int:
    """Fill the matrix, collect, report; the exit code."""
    console = _console()
    experiment = load_experiment(file, settings)
    with disk_errors(store_folder):
        store_folder.mkdir(parents=True, exist_ok=True)
    store = Store(store_folder)
    folder = out or _results_folder(file)
    tally = Tally()
    at_work = False
    with ExitStack() as beside:
        for plan in plans(experiment, store_folder, download=True):
            states = [state_of(cell, store) for cell in plan.cells]
            if not _work(_all_states(plan, states, store), retry_failed):
                continue
            console.print(f"{plan.experiment.name}: {_counts(states)}", markup=False, highlight=False)
            for warning in warnings_of(check_contamination(plan, store.root)):
                _say(console, warning)
            try:
                if not at_work:
                    beside.enter_context(workers(processes - 1, file, store_folder, settings))
                at_work = True
                with Progress(console) as progress:
                    tally = tally.then(run_plan(plan, store, progress, retry_failed=retry_failed))
            except KeyboardInterrupt:
                done = sum(state_of(cell, store).name == "done" for cell in plan.cells)
                _say(console, f"\nInterrupted. {done} of {len(plan.cells)} cells are done and kept; "
                     "the same command goes on.")  # fmt: skip
                return 2
    if not at_work:
        return _nothing_to_do(console, plan, store, folder, states)
    states = _write_results(plan, store, folder)
    _say_end(console, tally, states, folder, lambda verb, *more: _command(verb, file, store_folder, settings, *more))
    return 1 if any(state.name == "failed" for state in _all_states(plan, states, store)) else 0


def _all_states(plan: Plan, states: Sequence[State], store: Store) -> list[State]:
    """Of the cells, and of what is between policies."""
    return [*states, *(joint.state(store) for joint in joint_cells(plan, store))]


def explain_verb(file: Path, name: str, store_folder: Path, settings: Sequence[str]) -> None:
    """Print why the named cells are as they are; those of trials are among them where settings are searched for."""
    store = Store(store_folder)
    known = _plans_so_far(load_experiment(file, settings), store_folder, store)
    for cell in find_cells([cell for plan in known for cell in plan.cells], name):
        for line in explain(cell, store):
            print(line)


def _plans_so_far(experiment: Experiment, folder: Path, store: Store) -> Iterator[Plan]:
    """The plan of the trials, and that of the experiment once it can be known."""
    for plan in plans(experiment, folder):
        yield plan
        if plan.experiment.tune is not experiment.tune and unfilled(plan, store):
            return


def _work(states: Sequence[State], retry_failed: bool) -> bool:
    wanted = {"to run", "running"} | ({"failed"} if retry_failed else set())
    return any(state.name in wanted for state in states)


def _nothing_to_do(console: Console, plan: Plan, store: Store, folder: Path, states: list[State]) -> int:
    """Everything is done or has failed: leave results that are current alone, mend others."""
    joints = joint_cells(plan, store)
    failed = sum(state.name == "failed" for state in _all_states(plan, states, store))
    if not _current(folder, results_digest(plan, states, joints, store), bool(joints)):
        _write_results(plan, store, folder)
    hint = " Failed cells are tried again with --retry-failed." if failed else ""
    console.print(f"Nothing to do: {_counts(states)}.{hint}", highlight=False)
    console.print(f"The report is {folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def _current(folder: Path, digest: str, compares: bool) -> bool:
    wanted = (*DATA_FILES, *REPORT_FILES, DIGESTS, *(JOINT_FILES if compares else ()))
    if not all((folder / name).exists() for name in wanted):
        return False
    return bool(read_json(folder / "matrix.json").get("digest") == digest)


def _write_results(plan: Plan, store: Store, folder: Path) -> list[State]:
    from harness.report.compose import write_report

    with disk_errors(folder):
        states = write_results(plan, store, folder)
        write_report(folder)
    return states


def _command(verb: str, file: Path, store: Path, settings: Sequence[str], *more: str) -> str:
    """The command line for the same experiment, settings and store, to be typed as it stands."""
    own = [] if store == DEFAULT_STORE or os.environ.get("BAKEOFF_STORE") == str(store) else ["--store", str(store)]
    changed = [word for setting in settings for word in ("--set", setting)]
    return shlex.join(["bakeoff", verb, str(file), *more, *changed, *own])


def _say_end(
    console: Console, tally: Tally, states: Sequence[State], folder: Path, command: Callable[..., str]
) -> None:
    _say(console, f"\n{_counts(states)} ({tally.fitted} artifacts fitted, {tally.evaluated} cells scored now).")
    cells = [failed for failed, _ in tally.failed if isinstance(failed, Cell)]
    if cells:
        _say(console, f"Next: {command('explain', cells[0].title)}")
    elif tally.failed:
        _say(console, f"Next: mend the cause, then {command('run', '--retry-failed')}")
    _say(
        console,
        f"The report is {folder / 'report.html'} (as text: {folder / 'report.md'}; rows: {folder / 'rows.parquet'})",
    )


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _counts(states: Sequence[State]) -> str:
    counted = Counter(state.name for state in states)
    order = ("done", "to run", "running", "failed", "n/a")
    return f"{len(states)} cells: " + ", ".join(f"{counted[name]} {name}" for name in order if counted[name])


def _results_folder(file: Path) -> Path:
    """`experiment.yaml` has its results beside it; any other file has a folder of its name beside it."""
    return file.parent if file.name == "experiment.yaml" else file.parent / file.stem


def _console() -> Console:
    return Console(soft_wrap=True)
