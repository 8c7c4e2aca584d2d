"""What has become of each cell: done, to run, running, failed or n/a. Reads the store, loads no model."""

from __future__ import annotations

from dataclasses import dataclass

from harness.engine.plan import Cell, Node
from harness.engine.store.store import Store


@dataclass(frozen=True)
class State:
    """A cell's state, and why or where."""

    name: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.why}" if self.why else self.name


def state_of(cell: Cell, store: Store) -> State:
    """The state of one cell."""
    if cell.why:
        return State("n/a", cell.why)
    if store.done("outcomes", cell.key):
        return State("done")
    if holder := _holder(cell, store):
        return State("running", holder)
    if why := store.failure(cell.key) or node_failure(cell.node, store):
        return State("failed", why)
    return State("to run")


def node_failure(node: Node, store: Store) -> str | None:
    """Why an artifact, or one that it stands on, failed."""
    if store.done("artifacts", node.key):
        return None
    if why := store.failure(node.key):
        return why
    for role, needed in node.inputs.items():
        if why := node_failure(needed, store):
            return f"its {role} failed: {why}"
    return None


def _holder(cell: Cell, store: Store) -> str | None:
    """Who makes this cell, its artifact, or what that stands on."""
    waiting, keys = [cell.node], [cell.key]
    while waiting:
        node = waiting.pop()
        if not store.done("artifacts", node.key):
            keys.append(node.key)
            waiting.extend(node.inputs.values())
    return next((holder for holder in map(store.holder, keys) if holder), None)
