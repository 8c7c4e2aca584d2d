"""A results folder -> its scores, cell by cell, in the shape in which `bakeoff judge` reads the scores of others.

The report compares the methods of a block (a base model and a choice of data) with each other; each block is exported
apart, so that judging an export compares the same methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.engine.interchange.cells import CHANCE
from harness.engine.interchange.scored import LoggedMetric, Scored, Source, Texts
from harness.engine.results.schema import CELL_COLUMNS
from harness.errors import UserError
from harness.records import DataChoice
from harness.report.numbers.matrix import BenchmarkInfo, CellState, Matrix, MethodInfo, read_matrix


@dataclass(frozen=True)
class ExportedBlock:
    """One base model and one choice of data; `name` is "" where the folder has no other."""

    folder: Path
    matrix: Matrix
    base: str
    data: DataChoice
    name: str

    def cells(self) -> Iterator[Scored]:
        """Its finished cells, in the order of the report."""
        tables = _Tables(self.folder)
        for method in self.matrix.methods:
            where, data = self.matrix.place(method, self.base, self.data)
            for state in self.matrix.by_method.get((where, method.label, data), []):
                if state.state == "done" and (found := self._scored(method, state, tables)):
                    yield found

    def _scored(self, method: MethodInfo, state: CellState, tables: _Tables) -> Scored | None:
        (benchmark,) = (one for one in self.matrix.benchmarks if one.label == state.benchmark)
        place = (state.base, state.method, state.data.quality, state.data.size, state.seed, state.benchmark)
        values, weights, clusters = _values(tables.rows(place))
        keys = sorted(set(clusters), key=lambda key: (key[0], key[1]))
        if not keys:
            return None
        once = len({item for _, item in keys}) == len(keys)
        items = [item if once else f"{group}/{item}" for group, item in keys]
        texts = tables.texts(place)
        matrix = self.matrix
        return Scored(
            method=method.label,
            benchmark=state.benchmark,
            seed=state.seed,
            source=Source(self.folder / "rows.parquet", "results folder", {"base": state.base, "study": matrix.name}),
            items=items,
            clusters=[clusters[key] for key in keys],
            groups=[group for group, _ in keys],
            metrics=tuple(_metrics(benchmark, keys, values, weights)),
            protocol=dict(state.protocol) or {"task version": benchmark.version},
            texts={item: texts[key] for item, key in zip(items, keys, strict=True) if key in texts},
            carried={
                "deterministic": method.deterministic,
                "seed_group": method.seed_group,
                "study": {
                    "baseline": matrix.baseline, "reference": matrix.reference, "margin": matrix.margin,
                    "out_of_distribution": dict(matrix.out_of_distribution),
                    "contrasts": [list(pair) for pair in matrix.contrasts],
                },
            },
        )  # fmt: skip


def exported_blocks(folder: Path) -> list[ExportedBlock]:
    """The blocks of a results folder. Raises UserError where a run stopped by its results, or nothing is done."""
    matrix = read_matrix(folder)
    matrix.require_whole(folder)
    if not any(cell.state == "done" for cell in matrix.cells):
        raise UserError("no cell of it is done", where=str(folder), fix="Run `bakeoff run EXPERIMENT` first.")
    places = [(base, data) for base in matrix.bases for data in matrix.data]
    names = [", ".join(part for part in (base, data.title) if part) if len(places) > 1 else "" for base, data in places]
    return [ExportedBlock(folder, matrix, *place, name) for place, name in zip(places, names, strict=True)]


class _Tables:
    """rows.parquet and samples.parquet, of which each cell is a run of rows: both are sorted by cell."""

    def __init__(self, folder: Path) -> None:
        self._rows = _read(folder / "rows.parquet")
        self._samples = _read(folder / "samples.parquet")
        self._places = [_runs(table) for table in (self._rows, self._samples)]

    def rows(self, place: tuple[Any, ...]) -> Any:
        return self._rows.slice(*self._places[0].get(place, (0, 0)))

    def texts(self, place: tuple[Any, ...]) -> dict[tuple[str, str], Texts]:
        """(group, item) -> its prompt, completions and reference, where they were kept."""
        own = self._samples.slice(*self._places[1].get(place, (0, 0)))
        names = ("group", "item", "prompt", "completions", "reference")
        lists = [_listed(own[name]) for name in names]
        found = {(group, item): (prompt, tuple(said), right) for group, item, prompt, said, right in zip(*lists)}  # noqa: B905
        return {key: texts for key, texts in found.items() if texts != ("", (), "")}


def _read(path: Path) -> Any:
    import pyarrow.parquet

    if not path.exists():
        raise UserError("no such results file", where=str(path), fix="Run `bakeoff run EXPERIMENT` first.")
    return pyarrow.parquet.read_table(path, read_dictionary=[*CELL_COLUMNS, "metric", "group", "cluster"])


def _runs(table: Any) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Values of the cell columns -> (start, length) of their rows."""
    import numpy

    changes = numpy.zeros(max(table.num_rows - 1, 0), dtype=bool)
    for name in CELL_COLUMNS:
        column = table[name].combine_chunks()
        codes = (column.indices if hasattr(column, "indices") else column).to_numpy()
        changes |= codes[1:] != codes[:-1]
    if not table.num_rows:
        return {}
    starts = [0, *(numpy.flatnonzero(changes) + 1).tolist()]
    ends = [*starts[1:], table.num_rows]
    names = [table[name].take(starts).to_pylist() for name in CELL_COLUMNS]
    return {place: (start, end - start) for place, start, end in zip(zip(*names), starts, ends, strict=True)}  # noqa: B905


def _listed(column: Any) -> list[Any]:
    """The values of a column; of a dictionary, without a Python object for each row."""
    import pyarrow

    whole = column.combine_chunks()
    if isinstance(whole, pyarrow.ChunkedArray):
        whole = pyarrow.concat_arrays(whole.chunks)
    if pyarrow.types.is_dictionary(whole.type):
        names = whole.dictionary.to_pylist()
        return [names[code] for code in whole.indices.to_numpy().tolist()]
    return list(whole.to_numpy().tolist() if pyarrow.types.is_floating(whole.type) else whole.to_pylist())


_Key = tuple[str, str]


def _values(rows: Any) -> tuple[dict[str, dict[_Key, float]], dict[str, dict[_Key, float]], dict[_Key, str]]:
    """Of a cell's rows: metric -> (group, item) -> value, the same of weights other than 1, and each item's cluster."""
    names = ("metric", "group", "item", "cluster", "value", "weight")
    values: dict[str, dict[_Key, float]] = {}
    weights: dict[str, dict[_Key, float]] = {}
    clusters: dict[_Key, str] = {}
    for metric, group, item, cluster, value, weight in zip(*(_listed(rows[name]) for name in names), strict=True):
        key = (group, item)
        values.setdefault(metric, {})[key] = value
        if weight != 1:
            weights.setdefault(metric, {})[key] = weight
        clusters[key] = cluster
    return values, weights, clusters


def _metrics(
    benchmark: BenchmarkInfo,
    keys: list[_Key],
    values: Mapping[str, Mapping[_Key, float]],
    weights: Mapping[str, Mapping[_Key, float]],
) -> Iterator[LoggedMetric]:
    """The metrics in the benchmark's order, then `chance`."""
    declared = {one.name: one for one in benchmark.metrics}
    for name in [*(name for name in declared if name in values), *(name for name in values if name not in declared)]:
        own = declared.get(name)
        heavy = weights.get(name, {})
        yield LoggedMetric(
            name,
            [values[name].get(key) for key in keys],
            [heavy.get(key, 1.0) for key in keys] if heavy else None,
            own.higher_is_better if own else True,
            own.description if own else "the level of random answers" if name == CHANCE else "",
            own,
        )
