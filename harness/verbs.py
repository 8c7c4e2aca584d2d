"""What the verbs of the command line do, once their words are parsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.collect import collect, results_digest
from harness.config import load_experiment
from harness.digests import DIGESTS
from harness.explain import explain, find_cells
from harness.gate import check_contamination, warnings_of
from harness.joint import joints_of
from harness.plan import Cell, Plan, make_plan
from harness.progress import Progress
from harness.rows import DATA_FILES, JOINT_FILES, REPORT_FILES, read_json
from harness.run import Tally, run_plan
from harness.states import State, state_of
from harness.store import Store, disk_errors
from harness.workers import workers


def plan_verb(file: Path, store_folder: Path, settings: Sequence[str]) -> None:
    """Print every cell's state and the counts."""
    plan = make_plan(load_experiment(file, settings), store_folder)
    store = Store(store_folder)
    console = _console()
    states = [state_of(cell, store) for cell in plan.cells]
    for cell, state in zip(plan.cells, states, strict=True):
        place = ", ".join(part for part in (cell.node.base.spec.label, cell.data.title) if part)
        console.print(f"{cell.title:44} {place}  {state}", markup=False, highlight=False)
    for joint in joints_of(plan, store):
        console.print(f"{joint.title:44} {joint.state(store)}", markup=False, highlight=False)
    console.print(f"\n{_counts(states)}. Next: bakeoff run {file}", highlight=False)


def run_verb(
    file: Path, store_folder: Path, out: Path | None, settings: Sequence[str], *, retry_failed: bool, processes: int
) -> int:
    """Fill the matrix, collect, report; the exit code."""
    console = _console()
    experiment = load_experiment(file, settings)
    with disk_errors(store_folder):
        store_folder.mkdir(parents=True, exist_ok=True)
    plan = make_plan(experiment, store_folder, download=True)
    store = Store(store_folder)
    folder = out or _results_folder(file)
    states = [state_of(cell, store) for cell in plan.cells]
    met = [joint.state(store) for joint in joints_of(plan, store)]
    if not _work([*states, *met], retry_failed):
        return _nothing_to_do(console, plan, store, folder, states)
    console.print(f"{experiment.name}: {_counts(states)}", markup=False, highlight=False)
    for warning in warnings_of(check_contamination(plan, store.root)):
        _say(console, warning)
    try:
        beside = workers(processes - 1, file, store_folder, settings)
        with beside, Progress(console) as progress:
            tally = run_plan(plan, store, progress, retry_failed=retry_failed)
    except KeyboardInterrupt:
        done = sum(state_of(cell, store).name == "done" for cell in plan.cells)
        console.print(f"\nInterrupted. {done} of {len(plan.cells)} cells are done and kept; the same command goes on.")
        return 2
    states = _write_results(plan, store, folder)
    _say_end(console, tally, states, folder, file)
    return 1 if tally.failed or any(state.name == "failed" for state in states) else 0


def explain_verb(file: Path, name: str, store_folder: Path, settings: Sequence[str]) -> None:
    """Print why the named cells are as they are."""
    plan = make_plan(load_experiment(file, settings), store_folder)
    for cell in find_cells(plan, name):
        for line in explain(cell, Store(store_folder)):
            print(line)


def _work(states: Sequence[State], retry_failed: bool) -> bool:
    wanted = {"to run", "running"} | ({"failed"} if retry_failed else set())
    return any(state.name in wanted for state in states)


def _nothing_to_do(console: Console, plan: Plan, store: Store, folder: Path, states: list[State]) -> int:
    """Everything is done or has failed: leave results that are current alone, mend others."""
    joints = joints_of(plan, store)
    failed = sum(state.name == "failed" for state in [*states, *(joint.state(store) for joint in joints)])
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
    from harness.report import write_report

    with disk_errors(folder):
        states = collect(plan, store, folder)
        write_report(folder)
    return states


def _say_end(console: Console, tally: Tally, states: Sequence[State], folder: Path, file: Path) -> None:
    _say(console, f"\n{_counts(states)} ({tally.fitted} artifacts fitted, {tally.evaluated} cells scored now).")
    cells = [failed for failed, _ in tally.failed if isinstance(failed, Cell)]
    if cells:
        _say(console, f"Next: bakeoff explain {file} {cells[0].title}")
    elif tally.failed:
        _say(console, f"Next: mend the cause, then bakeoff run {file} --retry-failed")
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
