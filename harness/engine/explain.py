"""Why a cell is done, stale, failed or not applicable: which field of its key has changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.plan import Cell, Node
from harness.engine.states import state_of
from harness.engine.store.keys import differing_fields
from harness.engine.store.store import Area, Store
from harness.errors import UserError, did_you_mean


def find_cells(cells: Sequence[Cell], name: str) -> list[Cell]:
    """Cells called METHOD, METHOD/BENCHMARK or METHOD/BENCHMARK/SEED. Raises UserError where there is none."""
    wanted = name.split("/")
    found = [cell for cell in cells if cell.title.split("/")[: len(wanted)] == wanted]
    if not found:
        raise UserError(f"no cell is called {name!r}", fix=did_you_mean(name, {cell.title for cell in cells}))
    return found


def explain(cell: Cell, store: Store) -> Iterator[str]:
    """Lines on one cell: its state, where its files are, or what keeps them from being used."""
    state = state_of(cell, store)
    data = cell.data.title
    yield f"{cell.title} on {cell.columns['base']}" + (f", {data}" if data else "")
    yield f"  state     {state}"
    yield from _key_lines("artifact", "artifacts", cell.node.key, cell.node.document, store)
    for role, needed in cell.node.inputs.items():
        yield from _key_lines(f"  {role}", "artifacts", needed.key, needed.document, store)
    yield from _key_lines("outcome", "outcomes", cell.key, cell.document, store)
    if state.name == "failed":
        yield from _failure_lines(cell, store)


def _key_lines(title: str, area: Area, key: str, document: Mapping[str, Any], store: Store) -> Iterator[str]:
    if store.done(area, key):
        yield f"  {title:9} done, in {store.folder(area, key)}"
        return
    nearest = _nearest(area, document, store)
    if nearest is None:
        yield f"  {title:9} never made (key {key})"
        return
    yield f"  {title:9} stale: the nearest finished one is {nearest[0]}, and since then"
    for line in differing_fields(nearest[1], document):
        yield f"              {line}"


def _nearest(area: Area, document: Mapping[str, Any], store: Store) -> tuple[str, dict[str, Any]] | None:
    """The finished one of the same plugin, base and seed that differs in the fewest fields."""
    name = "method" if area == "artifacts" else "benchmark"
    alike = [(key, old) for key, old in store.documents(area) if old.get(name) == document[name]]
    return min(alike, key=lambda pair: sum(1 for _ in differing_fields(pair[1], document)), default=None)


def _failure_lines(cell: Cell, store: Store) -> Iterator[str]:
    for key in [cell.key, *_keys_below(cell.node)]:
        path: Path = store.root / "failures" / f"{key}.json"
        if path.exists():
            yield f"  details   {path}"
            yield from (
                f"            {line}" for line in json.loads(path.read_text("utf-8"))["detail"].splitlines()[-6:]
            )
            yield "  next      mend the cause and run again with --retry-failed"


def _keys_below(node: Node) -> Iterator[str]:
    yield node.key
    for needed in node.inputs.values():
        yield from _keys_below(needed)
