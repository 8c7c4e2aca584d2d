"""The state of each cell (done, to run, running, failed or n/a) and why. Reads the store, loads no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.engine.plan import Cell, Node
from harness.engine.store.kept import blocks_folder, kept_results
from harness.engine.store.keys import differing_fields
from harness.engine.store.store import Area, Store
from harness.errors import UserError, did_you_mean
from harness.files import read_sealed


@dataclass(frozen=True)
class State:
    """A cell's state, and why or where."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.why else self.name


def state_of(cell: Cell, store: Store) -> State:
    """The state of one cell; an artifact that it needs may be what is running or failed."""
    if cell.why:
        return State(cell.state, cell.why)
    return state_of_key("outcomes", cell.key, store, cell.node)


def state_of_key(area: Area, key: str, store: Store, *needed: Node) -> State:
    """The state of a key in the store that is made from the artifacts `needed`."""
    if store.done(area, key):
        return State("done")
    if holder := store.holder(key) or next(filter(None, (_holder(node, store) for node in needed)), None):
        return State("running", holder)
    if why := store.failure(key) or next(filter(None, (_failure(node, store) for node in needed)), None):
        return State("failed", why)
    return State("to run", store.damage(area, key))


def _holder(node: Node, store: Store) -> str | None:
    """The process that is making the artifact or one that it is made from."""
    if store.done("artifacts", node.key):
        return None
    return store.holder(node.key) or next(filter(None, (_holder(one, store) for one in node.inputs.values())), None)


def _failure(node: Node, store: Store) -> str | None:
    """Why the artifact, or one that it is made from, failed."""
    if store.done("artifacts", node.key):
        return None
    if why := store.failure(node.key):
        return why
    for role, needed in node.inputs.items():
        if why := _failure(needed, store):
            return f"its {role} failed: {why}"
    return None


def find_cells(cells: Sequence[Cell], name: str) -> list[Cell]:
    """Cells called METHOD, METHOD/BENCHMARK or METHOD/BENCHMARK/SEED. Raises UserError where none exists."""
    wanted = name.split("/")
    found = [cell for cell in cells if cell.name.split("/")[: len(wanted)] == wanted]
    if not found:
        raise UserError(f"no cell is called {name!r}", fix=did_you_mean(name, {cell.name for cell in cells}))
    return found


def explain(cell: Cell, store: Store) -> Iterator[str]:
    """Lines on one cell: its state, and where its files are or which fields of its key have changed since."""
    state = state_of(cell, store)
    data = cell.data.title
    yield f"{cell.title} on {cell.columns['base']}" + (f", {data}" if data else "")
    yield f"  state     {state}"
    finished = state.name == "done"
    yield from _key_lines("artifact", "artifacts", cell.node.key, cell.node.document, store, finished=finished)
    for role, needed in cell.node.inputs.items():
        yield from _key_lines(f"  {role}", "artifacts", needed.key, needed.document, store, finished=finished)
    yield from _key_lines("outcome", "outcomes", cell.key, cell.document, store)
    if state.name != "done" and (kept := kept_results(store, cell.key)):
        yield f"  kept      {kept:,} results in {blocks_folder(store, cell.key)}; a run goes on from them"
    if log := store.log_of(cell.key) or store.log_of(cell.node.key):
        yield f"  log       {log}"
    if state.name == "failed":
        yield from _failure_lines(cell, store)


def _key_lines(
    title: str, area: Area, key: str, document: Mapping[str, Any], store: Store, *, finished: bool = False
) -> Iterator[str]:
    if store.done(area, key):
        yield f"  {title:9} done, in {store.place(area, key)}"
        return
    if finished:
        yield f"  {title:9} not in the store (pruned, or deleted); its outcome is done and needs it no more"
        return
    nearest = _nearest(area, document, store)
    if nearest is None:
        yield f"  {title:9} never made (key {key})"
        return
    yield f"  {title:9} stale: the nearest finished one is {nearest[0]}, and since then"
    for line in differing_fields(nearest[1], document):
        yield f"              {line}"


def _nearest(area: Area, document: Mapping[str, Any], store: Store) -> tuple[str, dict[str, Any]] | None:
    """The finished key of the same plugin whose document differs in the fewest fields."""
    name = "method" if area == "artifacts" else "benchmark"
    alike = [(key, old) for key, old in store.documents(area) if old.get(name) == document[name]]
    return min(alike, key=lambda pair: sum(1 for _ in differing_fields(pair[1], document)), default=None)


def _failure_lines(cell: Cell, store: Store) -> Iterator[str]:
    for key in (cell.key, cell.node.key, *cell.node.beneath):
        path = store.failure_path(key)
        if recorded := read_sealed(path):
            yield f"  details   {path}"
            yield from (f"            {line}" for line in recorded["detail"].splitlines()[-6:])
            yield "  next      fix the cause and run again with --retry-failed"
