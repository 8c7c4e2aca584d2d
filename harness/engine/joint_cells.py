"""Joint cells: the finished cells of one benchmark and choice of data, whose policies are compared with one another.

Two cells are compared where they differ in one axis, or at one seed across bases and methods; in addition, all
methods of one base and seed are compared together:

    methods  two methods on one base            bases  one method on two bases
    both     two methods on two bases           seeds  one method with two seeds
    all      every method of one base and seed

A comparison is stored under the keys of its cells' outcomes, not under their labels. All comparisons of a benchmark
are one piece of work: each answer is embedded once, and some metrics need the answers of all policies at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

from harness.engine.experiment import BenchmarkEntry
from harness.engine.plan import Cell, Plan
from harness.engine.states import State, state_of, state_of_key
from harness.engine.store.keys import key_of
from harness.engine.store.store import Store
from harness.records import DataChoice

Kind = Literal["methods", "bases", "both", "seeds", "all"]

WAITING = ("to run", "running")


@dataclass(frozen=True)
class CellGroup:
    """Cells that are compared with one another."""

    kind: Kind
    cells: tuple[Cell, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The policies' names for the benchmark: keys, sorted, so that labels decide nothing."""
        return tuple(sorted(cell.key for cell in self.cells))

    @cached_property
    def columns(self) -> dict[str, Any]:
        """The values of its columns in the result files; no method is named where all are compared."""
        one, other = self.cells[0].columns, self.cells[-1].columns
        named = self.kind != "all"
        return {
            "kind": self.kind,
            "policies": len(self.cells),
            **{name: one[name] for name in ("benchmark", "data_quality", "data_size", "base", "seed")},
            "method": one["method"] if named else "",
            "other_base": other["base"],
            "other_method": other["method"] if named else "",
            "other_seed": other["seed"],
        }


@dataclass(frozen=True, eq=False)
class JointCell:
    """The comparisons of one benchmark at one choice of data.

    cells    the finished ones
    missing  the others, with their states
    """

    column: BenchmarkEntry
    data: DataChoice
    cells: tuple[Cell, ...]
    missing: tuple[tuple[Cell, State], ...] = ()

    @property
    def title(self) -> str:
        """For progress and messages."""
        return f"{self.column.label} between policies{f', {self.data.title}' if self.data.title else ''}"

    @cached_property
    def groups(self) -> tuple[CellGroup, ...]:
        """The sets of cells to compare; cells that share one outcome are one policy, not compared with itself."""
        return tuple(_groups(self.cells))

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """All that decides the joint outcomes: the benchmark, the answers, and which are compared."""
        asked = {name: value for name, value in self.cells[0].document.items() if name not in ("artifact", "seed")}
        sets = sorted({group.names for group in self.groups})
        return {**asked, "outcomes": sorted({cell.key for cell in self.cells}), "sets": [list(one) for one in sets]}

    @cached_property
    def key(self) -> str:
        """The content key of its outcomes."""
        return key_of(self.document)

    def state(self, store: Store) -> State:
        """Done, to run, running, failed or n/a; it waits for cells that are still to run."""
        if any(state.name in WAITING for _, state in self.missing):
            return State("to run", "when its cells are done")
        if not self.groups:
            return State("n/a", "fewer than two policies have answered")
        return state_of_key("joint", self.key, store)

    def left_out(self) -> Iterator[tuple[str, str]]:
        """(cell, or pair of cells, that is not compared; why)."""
        for cell, state in self.missing:
            yield _place(cell), str(state)
        for one, other in combinations(self.cells, 2):
            if one.key == other.key:
                yield f"{_place(one)} with {_place(other)}", "they are one policy with one set of answers"


def joint_cells(plan: Plan, store: Store) -> list[JointCell]:
    """The joint cells of every benchmark that compares policies, from the cells that are finished by now."""
    by_place: dict[tuple[str, DataChoice], list[Cell]] = {}
    for cell in plan.cells:
        if cell.column.benchmark.joint_metrics():
            by_place.setdefault((cell.column.label, cell.data), []).append(cell)
    return [_joint(cells, store) for cells in by_place.values()]


def _joint(cells: Sequence[Cell], store: Store) -> JointCell:
    states = [(cell, state_of(cell, store)) for cell in cells]
    done = tuple(cell for cell, state in states if state.name == "done")
    return JointCell(cells[0].column, cells[0].data, done, tuple(one for one in states if one[1].name != "done"))


def _groups(cells: Sequence[Cell]) -> Iterator[CellGroup]:
    together: dict[tuple[str, int], dict[str, Cell]] = {}
    for cell in cells:
        together.setdefault((cell.columns["base"], cell.seed), {}).setdefault(cell.key, cell)
    for one, other in combinations(cells, 2):
        kind = _kind(one, other)
        if kind and one.key != other.key:
            yield CellGroup(kind, (one, other))
    for members in together.values():
        if len(members) > 1:
            yield CellGroup("all", tuple(members.values()))


def _kind(one: Cell, other: Cell) -> Kind | None:
    """The axis in which two cells differ; None where the seed and another axis do."""
    same_base = one.columns["base"] == other.columns["base"]
    same_method = one.entry.label == other.entry.label
    if one.seed != other.seed:
        return "seeds" if same_base and same_method else None
    if same_base:
        return "methods"
    return "bases" if same_method else "both"


def _place(cell: Cell) -> str:
    return f"{cell.title} on {cell.columns['base']}"
