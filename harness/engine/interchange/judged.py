"""Scores that others measured -> a results folder, with judged.json in place of an experiment.

judged.json holds, with no times and no folders:

    files     the files read: name, sha256, format, the methods in them, and what they state
    left_out  the parts of them that cannot be judged, with the reason
    blank     what these files do not state, in words
    uneven    of each benchmark: its items, how many of them every method has, and how many each method lacks

A method of which no training seed is stated has the seed 0, as every other one then has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmark import Metric
from harness.engine.interchange.scored import NOT_STATED, LeftOut, LoggedMetric, Scored, Source
from harness.engine.results.digests import matrix_digest, write_digests
from harness.engine.results.provenance import commit
from harness.engine.results.schema import (
    CELL_COLUMNS,
    JUDGED_FILE,
    ROW_COLUMNS,
    SAMPLE_COLUMNS,
    SCHEMA_VERSION,
    arrow_schema,
)
from harness.engine.store.keys import library_versions
from harness.errors import UserError, did_you_mean
from harness.files import replacing, write_json, write_text

CHANCE = "chance"
COMMON = "score"  # the name of the tested metric where the tasks of a benchmark have several


@dataclass(frozen=True)
class JudgedCell:
    """The scores of one method on one benchmark at one seed; several parts where the benchmark is a group of tasks."""

    parts: tuple[Scored, ...]

    @property
    def place(self) -> tuple[str, int, str]:
        """(method, seed, benchmark)"""
        first = self.parts[0]
        return first.method, first.seed or 0, first.benchmark

    @property
    def protocol(self) -> dict[str, str]:
        """The fields of all parts; values that differ between parts are joined."""
        names = dict.fromkeys(name for part in self.parts for name in part.protocol)
        return {name: _joined(part.protocol[name] for part in self.parts if name in part.protocol) for name in names}

    @property
    def key(self) -> str:
        """A digest of the files that the cell was read from."""
        read = sorted({part.source.digest for part in self.parts})
        return hashlib.sha256("\n".join([*read, *map(str, self.place)]).encode()).hexdigest()[:24]


def _joined(values: Iterable[str]) -> str:
    """The values without repetition; more than three as the digest of all."""
    found = sorted(set(values))
    if len(found) <= 3:
        return ", ".join(found)
    return f"{len(found)} values, together {hashlib.sha256(chr(10).join(found).encode()).hexdigest()[:12]}"


def cells_of(found: Iterable[Scored]) -> list[JudgedCell]:
    """The cells in the order of their rows. Raises UserError where two files give one method's scores on one part."""
    parts: dict[tuple[str, int, str], list[Scored]] = {}
    for one in found:
        own = parts.setdefault((one.method, one.seed or 0, one.benchmark), [])
        for other in own:
            if not (isinstance(one.groups, str) and isinstance(other.groups, str) and one.groups != other.groups):
                raise UserError(
                    f"two files give scores of {one.method!r} on {one.benchmark!r}; the other is {other.source.path}",
                    where=str(one.source.path),
                    fix="Name what differs: `bakeoff judge plain=FIRST chat=SECOND`, or for two training seeds "
                    "`sft/0=FIRST sft/1=SECOND`; or leave one out.",
                )
        own.append(one)
    cells = [JudgedCell(tuple(own)) for _, own in sorted(parts.items())]
    _check_seeds(cells)
    return cells


def _check_seeds(cells: Sequence[JudgedCell]) -> None:
    """Raise UserError where some seeds are stated and some not: an unknown seed must not be paired with a known one."""
    parts = [part for cell in cells for part in cell.parts]
    stated = {part.seed is None: part for part in parts}
    if len(stated) == 2:
        raise UserError(
            f"no training seed is stated for {stated[True].method!r}, and one is for {stated[False].method!r}",
            where=str(stated[True].source.path),
            fix=f"Write it, such as `{stated[True].method}/0=PATH`, or fill in the column `seed`.",
        )


def methods_of(scored: Sequence[Scored], baseline: str) -> list[str]:
    """The methods in the order of the files, the baseline first: the one named, or else the first of all."""
    found = list(dict.fromkeys(one.method for one in scored))
    if baseline and baseline not in found:
        raise UserError(
            f"the baseline is {baseline!r}, of which no scores were read", fix=did_you_mean(baseline, found)
        )
    return sorted(found, key=lambda name: name != (baseline or found[0]))


def write_judged(
    folder: Path, cells: Sequence[JudgedCell], left_out: Sequence[LeftOut], methods: Sequence[str]
) -> dict[str, Any]:
    """Write all files of a results folder but its report; the content of judged.json.

    methods  in the order of the report; the first is the baseline
    """
    metrics = _metrics_of(cells)
    told = _judged(cells, left_out, methods)
    text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    _write_tables(folder, cells, metrics)
    write_text(folder / JUDGED_FILE, text)
    write_json(folder / "matrix.json", _matrix(folder.resolve().name, cells, methods, metrics, text))
    write_json(folder / "costs.json", {"schema": SCHEMA_VERSION, "artifacts": []})
    write_json(folder / "contamination.json", {"schema": SCHEMA_VERSION, "checked": []})
    read_by = {"code": commit(), "libraries": library_versions(("bakeoff", "pyarrow", "pandas", "numpy", "scipy"))}
    write_json(folder / "provenance.json", {**read_by, "command": "bakeoff judge", "experiment": text})
    write_digests(folder)
    return told


def _metrics_of(cells: Sequence[JudgedCell]) -> dict[str, list[Metric]]:
    """Benchmark -> its metrics, the tested one first. Raises UserError where two files disagree on a direction."""
    found: dict[str, dict[str, tuple[LoggedMetric, Path]]] = {}
    mains: dict[str, set[str]] = {}
    for cell in cells:
        for part in cell.parts:
            own = found.setdefault(part.benchmark, {})
            mains.setdefault(part.benchmark, set()).add(part.metrics[0].name)
            for one in part.metrics:
                known, where = own.setdefault(one.name, (one, part.source.path))
                if known.higher_is_better != one.higher_is_better:
                    what = f"higher is better for {one.name} of {part.benchmark} here, and lower in {where}"
                    fix = "Judge results of one version of the benchmark."
                    raise UserError(what, where=str(part.source.path), fix=fix)
    return {label: list(_ordered(own, mains[label])) for label, own in found.items()}


def _ordered(own: Mapping[str, tuple[LoggedMetric, Path]], mains: set[str]) -> Iterator[Metric]:
    main = next(iter(mains)) if len(mains) == 1 else COMMON
    if main == COMMON and COMMON not in own:
        words = f"of each task its main metric ({', '.join(sorted(mains))}), higher is better"
        yield Metric(COMMON, words, role="quality", by_group=True)
    for name, (one, _) in sorted(own.items(), key=lambda pair: pair[0] != main):
        if name != CHANCE:
            first = name == main
            yield Metric(
                name, one.description, role="quality" if first else "other", primary=first,
                higher_is_better=one.higher_is_better, by_group=first,
            )  # fmt: skip


def _matrix(
    name: str, cells: Sequence[JudgedCell], methods: Sequence[str], metrics: Mapping[str, Sequence[Metric]],
    text: str,
) -> dict[str, Any]:  # fmt: skip
    seeds = sorted({cell.place[1] for cell in cells})
    entries = list(_entries(cells, methods, seeds, list(metrics)))
    return {
        "schema": SCHEMA_VERSION, "digest": matrix_digest(text, entries, []), "name": name, "judged": True,
        "baseline": methods[0], "reference": None, "margin": 0.0, "out_of_distribution": {}, "bases": [NOT_STATED],
        "small_base": None, "seeds": seeds, "data_qualities": [], "data_sizes": [], "quality_order": {},
        "contrasts": [], "cells": entries, "joint": [],
        "methods": [
            {
                "label": method, "plugin": "", "on": "base", "fields": {}, "deterministic": False, "needs": [],
                "summary": "scores that others measured", "inputs": [], "seed_group": "", "badges": [],
            }
            for method in methods
        ],
        "benchmarks": [
            {
                "label": label, "plugin": "", "fields": {}, "stochastic": False, "joint_metrics": [],
                "version": _joined(c.protocol["task version"] for c in cells
                                   if c.place[2] == label and "task version" in c.protocol) or NOT_STATED,
                "summary": "items and scores as the files give them",
                "metrics": [vars(metric) for metric in own],
            }
            for label, own in metrics.items()
        ],
    }  # fmt: skip


def _entries(
    cells: Sequence[JudgedCell], methods: Sequence[str], seeds: Sequence[int], benchmarks: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """An entry for every method, benchmark and seed; n/a where no file has scores."""
    known = {cell.place: cell for cell in cells}
    for method in methods:
        own = [seed for seed in seeds if any(place[:2] == (method, seed) for place in known)]
        for benchmark in benchmarks:
            for seed in own:
                cell = known.get((method, seed, benchmark))
                place = {"base": NOT_STATED, "method": method, "data_quality": "", "data_size": 0}
                state = {"key": cell.key, "state": "done", "why": ""} if cell else {
                    "key": "", "state": "n/a", "why": "no file has scores of it"}  # fmt: skip
                yield {**place, "seed": seed, "benchmark": benchmark, **state, **(
                    {"protocol": cell.protocol} if cell and cell.protocol else {})}  # fmt: skip


def _judged(cells: Sequence[JudgedCell], left_out: Sequence[LeftOut], methods: Sequence[str]) -> dict[str, Any]:
    """The content of judged.json."""
    parts = [part for cell in cells for part in cell.parts]
    sources: dict[Path, tuple[Source, set[str]]] = {}
    for source, method in [*((part.source, part.method) for part in parts), *((one.source, "") for one in left_out)]:
        sources.setdefault(source.path, (source, set()))[1].update({method} - {""})
    return {
        "files": [
            {"name": path.name, "sha256": source.digest, "format": source.format, "methods": sorted(own),
             "states": dict(source.facts)}
            for path, (source, own) in sources.items()
        ],
        "left_out": [{"file": one.source.path.name, "what": one.what, "why": one.why} for one in left_out],
        "blank": list(_blank(parts)),
        "uneven": _uneven(cells, methods),
    }  # fmt: skip


def _blank(parts: Sequence[Scored]) -> Iterator[str]:
    """The facts that no file states."""
    if any(part.seed is None for part in parts):
        yield "training seeds (every model counts as one training run, with the seed 0)"
    yield from ("the base model that each method started from", "training data, their contamination and their size")
    yield from ("what training and sampling cost", "how settings were chosen")
    if any(not part.protocol for part in parts):
        yield "how the items were asked: version, examples in the context, template"


def _uneven(cells: Sequence[JudgedCell], methods: Sequence[str]) -> dict[str, Any]:
    """Benchmark -> its items, those that all methods have, and of each method how many it lacks; if all agree, none."""
    found = {}
    for benchmark in dict.fromkeys(cell.place[2] for cell in cells):
        of_method: dict[str, set[str]] = {}
        for cell in (cell for cell in cells if cell.place[2] == benchmark):
            for part in cell.parts:
                items = part.items if isinstance(part.items, list) else part.items.to_pylist()
                of_method.setdefault(part.method, set()).update(items)
        every, common = set.union(*of_method.values()), set.intersection(*of_method.values())
        if every != common:
            lacking = {method: len(every) - len(of_method[method]) for method in methods if method in of_method}
            found[benchmark] = {"items": len(every), "in_all": len(common), "lacking": lacking}
    return found


def _write_tables(folder: Path, cells: Sequence[JudgedCell], metrics: Mapping[str, Sequence[Metric]]) -> None:
    """rows.parquet and samples.parquet, cell by cell: the cells come in the order of their rows."""
    import pyarrow.parquet

    with ExitStack() as stack:
        writers = []
        for name, columns in (("rows", ROW_COLUMNS), ("samples", SAMPLE_COLUMNS)):
            partial = stack.enter_context(replacing(folder / f"{name}.parquet"))
            schema = arrow_schema(columns)
            writers.append(stack.enter_context(pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd")))
        rows, samples = writers
        for cell in cells:
            for table in _cell_rows(cell, metrics[cell.place[2]]):
                rows.write_table(table)
            samples.write_table(_cell_samples(cell))


def _cell_rows(cell: JudgedCell, metrics: Sequence[Metric]) -> Iterator[Any]:
    """A sorted table for each metric, in the order of their names."""
    import pyarrow
    import pyarrow.compute as compute

    for name in sorted({CHANCE, *(metric.name for metric in metrics)}):
        tables = []
        for part in cell.parts:
            found, sign = _of_metric(part, name)
            if found is not None:
                values = pyarrow.array(found.values, pyarrow.float64(), from_pandas=True)
                weights = pyarrow.array(found.weights, pyarrow.float64()) if found.weights is not None else None
                columns = {**_columns(cell, part, len(values)), "metric": _constant(name, len(values)),
                           "value": compute.multiply(values, sign),
                           "weight": weights if weights is not None else _constant(1.0, len(values))}  # fmt: skip
                table = pyarrow.table([columns[one] for one in ROW_COLUMNS], schema=arrow_schema(ROW_COLUMNS))
                tables.append(table.filter(compute.is_valid(table["value"])))
        if tables:
            whole = pyarrow.concat_tables(tables)
            yield whole.sort_by([("group", "ascending"), ("item", "ascending")])


def _of_metric(part: Scored, name: str) -> tuple[LoggedMetric | None, float]:
    """The metric of that name; for the common name of several tasks, the task's own first, so that higher is better."""
    found = next((one for one in part.metrics if one.name == name), None)
    if found is None and name == COMMON:
        return part.metrics[0], 1.0 if part.metrics[0].higher_is_better else -1.0
    return found, 1.0


def _cell_samples(cell: JudgedCell) -> Any:
    """A sorted row for each item, with the texts that are kept."""
    import pyarrow

    tables = []
    for part in cell.parts:
        items = part.items if isinstance(part.items, list) else part.items.to_pylist()
        texts = [part.texts.get(item, ("", (), "")) for item in items]
        columns = {**_columns(cell, part, len(items)), "prompt": [one[0] for one in texts],
                   "completions": [list(one[1]) for one in texts], "reference": [one[2] for one in texts],
                   "flags": [[]] * len(items)}  # fmt: skip
        schema = arrow_schema(SAMPLE_COLUMNS)
        arrays = [pyarrow.array(columns[one.name], one.type) if isinstance(columns[one.name], list)
                  else columns[one.name] for one in schema]  # fmt: skip
        tables.append(pyarrow.table(arrays, schema=schema))
    return pyarrow.concat_tables(tables).sort_by([("group", "ascending"), ("item", "ascending")])


def _columns(cell: JudgedCell, part: Scored, count: int) -> dict[str, Any]:
    """The columns that rows and samples have in common."""
    import pyarrow

    method, seed, benchmark = cell.place
    given = {"base": NOT_STATED, "method": method, "data_quality": "", "data_size": 0, "seed": seed,
             "benchmark": benchmark}  # fmt: skip
    assert given.keys() == CELL_COLUMNS.keys()
    own = {name: _constant(value, count) for name, value in given.items()}
    own["group"] = _constant(part.groups, count) if isinstance(part.groups, str) else part.groups
    for name, values in (("item", part.items), ("cluster", part.clusters)):
        own[name] = pyarrow.array(values, pyarrow.string()) if isinstance(values, list) else values
    return own


def _constant(value: Any, count: int) -> Any:
    import pyarrow

    types = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    return pyarrow.repeat(pyarrow.scalar(value, types[type(value)]), count)
