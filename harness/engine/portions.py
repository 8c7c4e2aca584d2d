"""A plan in portions: one artifact with the cells that score it, and the work and memory that they should take."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from harness.engine.plan import Cell, Node, Plan
from harness.engine.store.store import Store
from harness.method import fields_of, plugin_name

if TYPE_CHECKING:
    from harness.engine.estimate import Work


@dataclass(eq=False)
class Portion:
    """The work of one worker at a time.

    cells   those that are not done
    length  floating-point operations of the fits and the cells that are not done; infinite where they are not known
    weigh   estimates its memory, which takes seconds for a large model
    """

    node: Node
    cells: list[Cell]
    length: float
    weigh: Callable[[], float | None]

    @cached_property
    def memory(self) -> float | None:
        """Bytes that are held at once at most; None where that is not known. Estimated when it is first asked for."""
        return self.weigh()

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
        parts: list[Node | Cell] = [*makes, *cells]
        length = sum(self._of(one, weighed=False)[0] for one in parts)
        return Portion(node, cells, length, partial(self._memory, parts))

    def _memory(self, parts: Sequence[Node | Cell]) -> float | None:
        found = [self._of(one, weighed=True)[1] for one in parts]
        known = [memory for memory in found if memory is not None]
        return max(known) if len(known) == len(found) else None

    def _estimate(self, what: Node | Cell, *, weighed: bool) -> Work:
        if isinstance(what, Cell):
            return self.estimator.cell(what, weighed=weighed)
        return self.estimator.fit(what, weighed=weighed)

    def _of(self, what: Node | Cell, *, weighed: bool) -> tuple[float, float | None]:
        """Operations, and, if it is weighed, bytes."""
        if isinstance(what, Cell):
            share = what.part[1] - what.part[0] if what.part else 1.0
            place: Any = (_alike(what.node), what.column.label, weighed)
        else:
            share, place = 1.0, (_alike(what), "", weighed)
        if place not in self.known:
            with warnings.catch_warnings():
                # peft reads a name of transformers that is going out of use
                warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
                try:
                    work = self._estimate(what, weighed=weighed)
                    self.known[place] = (math.inf if work.why else work.operations, work.peak)
                except Exception:  # of a plugin: its cell fails where it runs, with its reason
                    self.known[place] = (math.inf, None)
        length, memory = self.known[place]
        return length * share, memory


def _alike(node: Node) -> tuple[Any, ...]:
    """All but the seed."""
    inputs = tuple((role, _alike(one)) for role, one in sorted(node.inputs.items()))
    return plugin_name(node.method), repr(fields_of(node.method)), node.base.spec.label, node.data, inputs
