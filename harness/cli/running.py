"""The verb `run`: fill the matrix, or as much of it as decides its questions, and write the results."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from harness.cli.screen import line_console
from harness.engine.config import load_experiment
from harness.engine.experiment import Experiment
from harness.engine.gate import check_contamination, remedies_of, warnings_of
from harness.engine.joint_cells import joint_cells
from harness.engine.plan import Cell, Plan
from harness.engine.progress import Progress, has_width, print_line
from harness.engine.ray_cluster import Cluster, connected, run_on_cluster
from harness.engine.refusals import check_before_run, skipped_rows
from harness.engine.results.declared import declare
from harness.engine.results.folder import held, is_current, recorded_looks, replaced
from harness.engine.results.looked import Looked, recorded
from harness.engine.results.write import write_results
from harness.engine.run import Tally, forgive, run_plan
from harness.engine.showable import counted
from harness.engine.slurm import require_slurm, run_by_slurm, slurm_options
from harness.engine.soundness import Unsound
from harness.engine.states import State, state_of
from harness.engine.stopping import due, look_of, looks_of, marked
from harness.engine.store.mirror import open_store
from harness.engine.store.store import DEFAULT_STORE, Place, Store, disk_errors
from harness.engine.tuning import plans
from harness.engine.worker import WorkerRequest
from harness.engine.workers import run_by_workers
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.report.render.document import Opening

NOT_ALL = "Not all is done: the store was changed while this ran, or another process is at work. Run it again."


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@_sigterm_interrupts()
def run_verb(
    file: Path,
    place: Place,
    out: Path | None,
    settings: Sequence[str],
    *,
    retry_failed: bool,
    processes: int,
    until: str = "",
    slurm: str | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Fill the matrix, or as much of it as decides its questions, write results and report; return the exit code.

    slurm    the options of the jobs that do the work
    cluster  the Ray cluster that does the work; where neither is given, this machine does it
    """
    console = line_console()
    say = partial(print_line, console)
    jobs = None if slurm is None else slurm_options(slurm)
    if until and jobs is not None:
        raise UserError("--until looks at results as they come, and --slurm does not", fix="Leave one of them out.")
    experiment = load_experiment(file, settings)
    if until and experiment.stop is None:
        fix = "Add `stop: {items: [0.25, 0.5, 1]}`: shares of the items at which it looks (docs/running.md)."
        raise UserError("--until needs a block `stop`, which declares the looks", where=str(file), fix=fix)
    _check_who_works(experiment, place, processes, jobs, cluster)
    store = open_store(place)
    store.check_writable()
    store.settle()
    # `experiment.yaml` has its results next to it; any other file has a folder of its name
    folder = out or (file.parent if file.name == "experiment.yaml" else file.parent / file.stem)
    with held(folder):
        if line := replaced(folder, experiment):
            say(line)
        try:
            asked = _Asked(experiment, store, console, settings, folder, retry_failed, processes, jobs, cluster)
            with connected(cluster.address) if cluster else nullcontext():
                plan, tally, looked = _fill(asked, may_stop=bool(until))
        except InterruptedRun as kept:
            jobs_go_on = " Jobs of Slurm go on meanwhile (squeue shows them, scancel ends them)." if asked.jobs else ""
            say(f"\nInterrupted. {kept}; the same command goes on.{jobs_go_on}")
            return 2
        states = [state_of(cell, store) for cell in plan.cells]
        # the last look has written the results, and often nothing has changed since
        current = (tally is None or looked is not None) and is_current(folder, plan, states, store, looked)
        opening = None
        if not current:
            states, opening = _write_results(plan, store, folder, looked)
        if tally is not None or not current:
            _show_matrix(experiment, store, folder, say)
    ended = Counter(state.name for state in all_states(plan, states, store))
    failed = bool(ended["failed"] or plan.unreachable or plan.lost)
    unfinished = bool(ended["to run"] + ended["running"])
    for line in answer_lines(folder, opening, console):
        say(line)
    report = f"The report is {folder / 'report.html'}"
    if tally is None:
        lines = (*not_run(plan), _idle(states, failed=bool(ended["failed"]), current=current))
    else:
        report += f" (as text: {folder / 'report.md'}; rows: {folder / 'rows.parquet'})"
        lines = (*_worked(states, tally, file, place, settings), *([NOT_ALL] if unfinished else []))
    for line in (*lines, report):
        say(line)
    return int(failed or unfinished)


def _check_who_works(
    experiment: Experiment, place: Place, processes: int, jobs: Mapping[str, Any] | None, cluster: Cluster | None
) -> None:
    """Refuse jobs of Slurm that cannot do this work, and work that is given to several at once."""
    if jobs is not None:
        if not isinstance(place, Path):
            what = "--slurm needs a store in a folder that all machines mount"
            fix = "Name a folder, or run the same command on each machine without --slurm."
            raise UserError(what, where=f"--store {place}", fix=fix)
        require_slurm(jobs, experiment.bases)
    if cluster and (processes > 1 or jobs is not None):
        what = "--ray gives the work to a cluster, and --workers and --slurm to others"
        raise UserError(what, fix="Keep one of them.")


def _idle(states: Sequence[State], *, failed: bool, current: bool) -> str:
    """A line on a run that had no cell to run."""
    stale = "No cell to run; the results folder was not up to date and is written again"
    again = " Failed cells are tried again with --retry-failed." if failed else ""
    return f"{'Nothing to do' if current else stale}: {counts(states)}.{again}"


def _worked(states: Sequence[State], tally: Tally, file: Path, store: Place, settings: Sequence[str]) -> Iterator[str]:
    """Summary of a run, with what to do next about a failure."""
    now = f"{counted(tally.fitted, 'artifact')} fitted, {counted(tally.evaluated, 'cell')} scored now"
    yield f"\n{counts(states)} ({now})."
    if cells := [cell for cell, _ in tally.failed if isinstance(cell, Cell)]:
        yield f"Next: {command('explain', file, store, settings, cells[0].title)}"
    elif tally.failed:
        yield f"Next: fix the cause, then {command('run', file, store, settings, '--retry-failed')}"


def answer_lines(folder: Path, opening: Opening | None, console: Console) -> Iterator[str]:
    """The first screen as text; of a report that was not written now, its sentence."""
    from harness.report.render.opening_text import folded_lines, opening_lines, sentence_in

    width = min(console.width, 120) if has_width(console) else 80
    if opening is not None:
        yield ""
        yield from opening_lines(opening, width)
        yield ""
    elif (report := folder / "report.md").is_file() and (said := sentence_in(report.read_text("utf-8"))):
        yield from folded_lines(said, width)


def remarks_on_data(plan: Plan) -> Iterator[str]:
    from harness.curation.inspect import remarks_on

    yield from remarks_on(plan.sets)


def not_run(plan: Plan) -> Iterator[str]:
    """A line for each benchmark and training set whose cells are not run, with the reason."""
    for place, why in (*plan.unreachable.items(), *plan.lost.items()):
        yield f"n/a     {place}: {why}"
    for column in plan.experiment.benchmarks:
        if isinstance(column.benchmark, Unsound):
            yield f"failed  {column.label}: {column.benchmark.why}"


class InterruptedRun(Exception):
    """Ctrl-C or SIGTERM; its text says how much is kept."""


@dataclass(frozen=True)
class _Asked:
    """A run as the user asked for it."""

    experiment: Experiment
    store: Store
    console: Console
    settings: Sequence[str]
    folder: Path
    retry_failed: bool
    processes: int
    jobs: Mapping[str, Any] | None = None
    cluster: Cluster | None = None

    def say(self, line: str) -> None:
        print_line(self.console, line)

    def to_do(self, plan: Plan, states: Sequence[State]) -> bool:
        """Whether any cell is left to run."""
        wanted = {"to run", "running"} | ({"failed"} if self.retry_failed else set())
        known = all_states(plan, states, self.store) if plan.compares else states
        return any(state.name in wanted for state in known)

    def run(self, plan: Plan, before: Tally | None, stage: int = 0, looked: Looked | None = None) -> Tally:
        """Do what is not done; the sum with what was done before. Raises InterruptedRun for Ctrl-C.

        stage  which plan of the experiment it is; looked: the looks that came before, of a run that may stop
        """
        try:
            with Progress(self.console) as progress:
                done = self._run(plan, progress, stage, looked)
            return before.then(done) if before else done
        except KeyboardInterrupt:
            kept = sum(state_of(cell, self.store).name == "done" for cell in plan.cells)
            raise InterruptedRun(f"{kept} of {counted(len(plan.cells), 'cell')} are done and kept") from None

    def _run(self, plan: Plan, progress: Progress, stage: int, looked: Looked | None) -> Tally:
        if self.processes == 1 and self.jobs is None and self.cluster is None:
            return run_plan(plan, self.store, progress, retry_failed=self.retry_failed)
        if self.retry_failed:
            forgive(plan, self.store)
        if self.cluster:
            return run_on_cluster(plan, self.store, progress, self.cluster, stage)
        looks = recorded(looked) if looked else None
        work = WorkerRequest(str(self.experiment.file), self.store.name, list(self.settings), stage, looks)
        if self.jobs is not None:
            last = self.experiment.tune is None or stage > 0
            return run_by_slurm(self.jobs, self.processes, plan, self.store, work, progress, last=last)
        shared = run_by_workers(self.processes, plan, self.store, work, progress)
        return shared.then(run_plan(plan, self.store, progress))


def _fill(asked: _Asked, *, may_stop: bool) -> tuple[Plan, Tally | None, Looked | None]:
    """Do what is not done: the experiment's own plan, what was done now, and the looks of a run that may stop.

    The second is None where there was nothing to do.
    """
    experiment, store = asked.experiment, asked.store
    tally: Tally | None = None
    for stage, plan in enumerate(plans(experiment, store.root, download=True, store=store)):
        store.bring("outcomes", (cell.key for cell in plan.cells if not cell.why))
        if plan.compares:
            store.bring("joint", (joint.key for joint in joint_cells(plan, store) if joint.groups))
        states = [state_of(cell, store) for cell in plan.cells]
        scored = sum(state.name == "done" for state in states)
        declare(asked.folder, experiment.contrasts, scored, len(states))
        stops = may_stop and plan.experiment.stop is not None
        if not asked.to_do(plan, states) and not stops:
            continue
        _announce(plan, states, asked)
        if stops:
            return _until_decided(plan, asked, tally, stage)
        tally = asked.run(plan, tally, stage)
    return plan, tally, None


def _announce(plan: Plan, states: Sequence[State], asked: _Asked) -> None:
    """Say how much there is to do, and the remarks on its models and data."""
    asked.say(f"{plan.experiment.name}: {counts(states)}")
    for remark in (*remedies_of(plan, asked.store.root), *remarks_on_data(plan), *skipped_rows(plan)):
        asked.say(remark)
    check_before_run(plan, asked.store.root)
    for warning in warnings_of(check_contamination(plan, asked.store.root)):
        asked.say(warning)
    for line in not_run(plan):
        asked.say(line)


def _until_decided(plan: Plan, asked: _Asked, tally: Tally | None, stage: int) -> tuple[Plan, Tally | None, Looked]:
    """Do what is due at each look, and write the results that decide which methods need no more work."""
    from harness.report.numbers.looks import decided

    assert plan.experiment.stop
    if known := _current_looks(plan, asked):
        return marked(plan, known.releases), tally, known
    looked = Looked(looks_of(plan.experiment.stop, len(plan.experiment.seeds)))
    for number, look in enumerate(looked.looks, 1):
        now = due(plan, number, looked.releases)
        states = [state_of(cell, asked.store) for cell in now.cells]
        if asked.to_do(now, states):
            design = f"{look.items:.0%} of the items, {look.seeds} of {counted(len(plan.experiment.seeds), 'seed')}"
            asked.say(f"look {number} of {len(looked.looks)}: {design}; {counts(states)}")
            tally = asked.run(now, tally, stage, looked)
        looked = replace(looked, reached=number)
        _write_results(marked(plan, looked.releases), asked.store, asked.folder, looked)
        released = decided(asked.folder)
        looked = replace(looked, releases={**looked.releases, **released})
        for (base, data, method, benchmark), _ in released.items():
            where = ", ".join(part for part in (base, data.title) if part)
            asked.say(f"decided at look {number}: {method} on {benchmark} ({where})")
        if all(cell.why or look_of(cell, plan.experiment) <= number for cell in marked(plan, looked.releases).cells):
            break
    decided_plan = marked(plan, looked.releases)
    if any(joint.state(asked.store).name == "to run" for joint in joint_cells(decided_plan, asked.store)):
        tally = asked.run(decided_plan, tally)
    return decided_plan, tally, looked


def _current_looks(plan: Plan, asked: _Asked) -> Looked | None:
    """The looks that the results folder records, where it is complete and current."""
    looked = recorded_looks(asked.folder)
    if looked is None:
        return None
    known = marked(plan, looked.releases)
    states = [state_of(cell, asked.store) for cell in known.cells]
    finished = not asked.to_do(known, states) and is_current(asked.folder, known, states, asked.store, looked)
    return looked if finished else None


def all_states(plan: Plan, states: Sequence[State], store: Store) -> list[State]:
    """The states of the cells and of the joint cells."""
    return [*states, *(joint.state(store) for joint in joint_cells(plan, store))]


def _write_results(plan: Plan, store: Store, folder: Path, looked: Looked | None) -> tuple[list[State], Opening | None]:
    """Write the results folder; the states of its cells, and its first screen."""
    from harness.report.compose import written_document

    with disk_errors(folder):
        states = write_results(plan, store, folder, looked)
        return states, written_document(folder).opening


def _show_matrix(experiment: Experiment, store: Store, folder: Path, say: Callable[[str], None]) -> None:
    """Report the matrix to the trackers that the experiment names."""
    if experiment.report_to:
        from harness.engine.tracking import show_matrix
        from harness.report.collect import collect
        from harness.report.export import SCORE_COLUMNS, matrix_markdown, scores

        model = collect(folder)
        show_matrix(experiment, store.root, [*SCORE_COLUMNS], [*scores(model)], matrix_markdown(model), say)


def command(verb: str, file: Path, store: Place, settings: Sequence[str], *more: str) -> str:
    """A command line for the same experiment, settings and store, ready to be typed."""
    return shlex.join(["bakeoff", verb, str(file), *more, *store_options(store, settings)])


def store_options(store: Place, settings: Sequence[str]) -> list[str]:
    own = [] if store == DEFAULT_STORE or os.environ.get("BAKEOFF_STORE") == str(store) else ["--store", str(store)]
    return [*(word for setting in settings for word in ("--set", setting)), *own]


def counts(states: Sequence[State]) -> str:
    found = Counter(state.name for state in states)
    order = ("done", "to run", "running", "failed", "stopped", "n/a")
    return f"{counted(len(states), 'cell')}: " + ", ".join(f"{found[name]} {name}" for name in order if found[name])
