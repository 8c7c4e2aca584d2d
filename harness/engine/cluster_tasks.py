"""A task: one artifact and the cells that score it, as another machine gets it, and the work of that machine.

A task is a few lines of text: the experiment, the place of the store, and content keys. The machine plans the same
experiment and compares the keys with its own; where its code, libraries or models differ it refuses the task, and says
in which field. Artifacts and outcomes go into the store, and a task returns counts alone.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.engine.config import load_experiment
from harness.engine.limits import failure_reason
from harness.engine.plan import Cell, Node, Plan, by_artifact
from harness.engine.portions import portions_of
from harness.engine.progress import Progress
from harness.engine.run import fit_artifact, run_plan
from harness.engine.store.keys import differing_fields
from harness.engine.store.mirror import open_store
from harness.engine.store.store import Store, place_of, this_process
from harness.engine.tuning import plans
from harness.errors import UserError
from harness.method import processes_of


@dataclass(frozen=True)
class Order:
    """The settings that all tasks of a run share.

    file, text, settings  the experiment: where its relative paths begin, its text, and the --set arguments
    store   the place of the store: a folder, or a URL
    stage   which plan of the experiment: 0 is that of the trials where it tunes, then 1 is its own
    """

    file: str
    text: str
    settings: tuple[str, ...]
    store: str
    stage: int


@dataclass(frozen=True)
class TaskDemand:
    """A cell of a task: where it is in the matrix, its content key, and the document behind it."""

    spot: str
    key: str
    document: Mapping[str, Any]


@dataclass(frozen=True)
class ClusterTask:
    """One artifact with the cells to score; without `scores` it is made for others that are built on it.

    title   for progress and messages
    key, document  of the artifact
    cells   those to score, or one whose artifact is built on it
    needs   the keys of the artifacts that it is built on and that other tasks make
    gpus    how many processes its fit takes, where the base is on a GPU; else 0
    """

    title: str
    key: str
    document: Mapping[str, Any]
    cells: tuple[TaskDemand, ...]
    scores: bool
    needs: tuple[str, ...]
    gpus: int


@dataclass(frozen=True)
class Done:
    """Summary of a task, in counts; `refused`: why it did nothing."""

    fitted: int = 0
    evaluated: int = 0
    refused: str = ""


def order_of(plan: Plan, store: Store, stage: int = 0) -> Order:
    """The settings that the tasks of this plan share."""
    asked = plan.experiment
    place = place_of(store.name)
    seen = str(place.resolve()) if isinstance(place, Path) else place
    # the text of the plan and not that of the file, which may be changed while the tasks wait
    return Order(str(asked.file.resolve()), asked.text, asked.settings, seen, stage)


def cluster_tasks(plan: Plan, store: Store) -> list[ClusterTask]:
    """The tasks that are left, the longest first by the estimate, and each after those that it needs."""
    portions = portions_of(plan, store)
    scored = {portion.node.key: portion.cells for portion in portions}
    found: dict[str, ClusterTask] = {}
    for portion in portions:
        for node in _in_order(portion.node):
            if node.key not in found and (node.key in scored or not store.done("artifacts", node.key)):
                found[node.key] = _task(node, scored.get(node.key), portion.cells[0], found)
    return list(found.values())


def _in_order(node: Node) -> Iterator[Node]:
    """The artifact after all that it is built on."""
    for needed in node.inputs.values():
        yield from _in_order(needed)
    yield node


def _task(node: Node, scored: list[Cell] | None, builds_on_it: Cell, known: Mapping[str, ClusterTask]) -> ClusterTask:
    needs = tuple(key for key in node.beneath if key in known)
    gpus = processes_of(node.method) if node.base.spec.device.startswith("cuda") else 0
    cells = tuple(TaskDemand(spot_of(cell), cell.key, cell.document) for cell in scored or [builds_on_it])
    return ClusterTask(node.title, node.key, node.document, cells, scored is not None, needs, gpus)


def spot_of(cell: Cell) -> str:
    """The names that tell a cell from all others of its plan, whatever its key is."""
    return repr((*cell.columns.items(), cell.part))


def perform(order: Order, task: ClusterTask, *after: object) -> Done:
    """Do the task on this machine; what fails is recorded in the store, and the rest goes on.

    SIGTERM ends the process at once, as a cluster whose run has died does: the store is consistent at any moment.
    after  the results of the tasks that it needs, for a cluster that waits for them; not read
    """
    # a library's handler would raise SystemExit, which the engine records as a failure of the plugin
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        store = _store(order.store)
        plan = _plan(order, store)
        node, cells = _same(plan, task)
        return _performed(plan, store, node, cells if task.scores else [])
    except UserError as error:
        return Done(refused=f"{this_process()}: {failure_reason(error)}")


def _performed(plan: Plan, store: Store, node: Node, cells: list[Cell]) -> Done:
    part = replace(plan, cells=cells, by_node=by_artifact(cells), compares=False)
    try:
        with Progress(Console(soft_wrap=True)) as progress:
            if not cells:
                return Done(fitted=fit_artifact(part, store, node, progress))
            tally = run_plan(part, store, progress)
            return Done(tally.fitted, tally.evaluated)
    finally:
        # this process may wait for its next task for long
        for base in plan.bases:
            base.release()


@lru_cache(maxsize=1)
def _store(name: str) -> Store:
    """The store of the run. Raises UserError where its folder is not here: the run that gave the task has made it."""
    place = place_of(name)
    if isinstance(place, Path) and not place.is_dir():
        fix = "Name a folder on a disk that all machines share, or a URL: --store s3://BUCKET/FOLDER."
        raise UserError("the store of the run is not on this machine", where=name, fix=fix)
    return open_store(place)


@lru_cache(maxsize=1)
def _plan(order: Order, store: Store) -> Plan:
    """The plan, kept for the next task of the same run in this process."""
    experiment = load_experiment(Path(order.file), order.settings, text=order.text)
    known = plans(experiment, store.root, download=True, store=store)
    found = next(islice(known, order.stage, None), None)
    assert found is not None, "an experiment that tunes has two plans"
    return found


def _same(plan: Plan, task: ClusterTask) -> tuple[Node, list[Cell]]:
    """The plan's own artifact and cells. Raises UserError where their content keys are not those of the task."""
    by_spot = {spot_of(cell): cell for cell in plan.cells}
    if missing := [wanted.spot for wanted in task.cells if wanted.spot not in by_spot]:
        raise _differs(f"no cell is at {missing[0]}, or it", ())
    cells = [by_spot[wanted.spot] for wanted in task.cells]
    nodes = {cells[0].node.key: cells[0].node, **cells[0].node.beneath}
    if task.key not in nodes:
        alike = [node for node in nodes.values() if node.document["method"] == task.document["method"]]
        fields = [list(differing_fields(task.document, node.document)) for node in alike]
        raise _differs(task.title, min(fields, key=len, default=()))
    for cell, wanted in zip(cells, task.cells, strict=True):
        if task.scores and cell.key != wanted.key:
            raise _differs(cell.title, list(differing_fields(wanted.document, cell.document)))
    return nodes[task.key], cells


def _differs(what: str, fields: Sequence[str]) -> UserError:
    more = f" and {len(fields) - 3} more" if len(fields) > 3 else ""
    named = f": {'; '.join(fields[:3])}{more}" if fields else ""
    return UserError(
        f"{what} has another content key here{named}",
        fix="Install the same bakeoff, plugins and libraries on every machine, and give them the same models and data.",
    )
