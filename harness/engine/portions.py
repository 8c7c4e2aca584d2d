"""A plan in portions: one artifact with the cells that score it, and the work and memory that they should take."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

from harness.engine.plan import Cell, Node, Plan
from harness.engine.store.store import Store
from harness.method import fields_of, plugin_name


@dataclass(eq=False)
class Portion:
    """The work of one worker at a time.

    cells   those that are not done
    length  floating-point operations of the fits and the cells that are not done; infinite where they are not known
    memory  bytes that are held at once at most; None where that is not known
    """

    node: Node
    cells: list[Cell]
    length: float
    memory: float | None

    def artifacts(self, store: Store) -> set[str]:
        """The keys of the artifacts that have to be made for it first."""
        return {key for key in (self.node.key, *self.node.beneath) if not store.done("artifacts", key)}

    def undone(self, store: Store) -> list[Cell]:
        """Its cells that are neither done nor failed."""
        return [cell for cell in self.cells if not store.done("outcomes", cell.key) and not store.failure(cell.key)]


def portions_of(plan: Plan, store: Store) -> list[Portion]:
    """All that is left, longest first by the estimate of `plan --estimate`; what cannot be estimated comes first.

    The longest must not come last, when the other workers have nothing left to do (R. L. Graham, Bounds on
    multiprocessing timing anomalies, SIAM J. Appl. Math. 17, 1969: at most 4/3 of the best time).
    """
    expected = _Expected(plan, store)
    found = []
    for node, group in plan.groups():
        cells = [cell for cell in group if not cell.why and not store.done("outcomes", cell.key)]
        if cells:
            found.append(expected.portion(node, cells))
    return sorted(found, key=lambda portion: -portion.length)


class _Expected:
    """Estimates that cells of several seeds share: they differ in the rows that are drawn, and hardly in their work."""

    def __init__(self, plan: Plan, store: Store) -> None:
        from harness.engine.estimate import Estimator

        self.estimator, self.store = Estimator(plan, timed=False), store
        self.known: dict[Any, tuple[float, float | None]] = {}

    def portion(self, node: Node, cells: list[Cell]) -> Portion:
        makes = [one for one in (*node.beneath.values(), node) if not self.store.done("artifacts", one.key)]
        parts = [self._fit(one) for one in makes] + [self._cell(cell) for cell in cells]
        known = [memory for _, memory in parts if memory is not None]
        memory = max(known) if len(known) == len(parts) else None
        return Portion(node, cells, sum(length for length, _ in parts), memory)

    def _fit(self, node: Node) -> tuple[float, float | None]:
        return self._of(_alike(node), self.estimator.fit, node)

    def _cell(self, cell: Cell) -> tuple[float, float | None]:
        share = cell.part[1] - cell.part[0] if cell.part else 1.0
        length, memory = self._of((_alike(cell.node), cell.column.label), self.estimator.cell, cell)
        return length * share, memory

    def _of(self, place: Any, estimate: Any, what: Node | Cell) -> tuple[float, float | None]:
        if place not in self.known:
            with warnings.catch_warnings():
                # peft reads a name of transformers that is going out of use
                warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
                try:
                    work = estimate(what)
                    self.known[place] = (math.inf if work.why else work.operations, work.peak)
                except Exception:  # of a plugin: its cell fails where it runs, with its reason
                    self.known[place] = (math.inf, None)
        return self.known[place]


def _alike(node: Node) -> tuple[Any, ...]:
    """All but the seed."""
    inputs = tuple((role, _alike(one)) for role, one in sorted(node.inputs.items()))
    return plugin_name(node.method), repr(fields_of(node.method)), node.base.spec.label, node.data, inputs
