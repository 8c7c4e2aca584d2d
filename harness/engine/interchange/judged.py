"""Scores that others measured -> a results folder, with judged.json in place of an experiment.

judged.json holds, with no times and no folders:

    files     the files read: name, sha256, format, the methods in them, and what they state
    left_out  the parts of them that cannot be judged, with the reason
    blank     what these files do not state, in words
    uneven    of each benchmark: its items, how many of them every method has, and how many each method lacks

A method of which no training seed is stated has the seed 0, as every other one then has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.benchmark import Metric
from harness.engine.interchange.cells import (
    CHANCE,
    JudgedCell,
    joined_values,
    metrics_of,
    of_metric,
    study_of,
    uneven_items,
)
from harness.engine.interchange.scored import NOT_STATED, LeftOut, Scored, Source
from harness.engine.results.digests import write_digests
from harness.engine.results.matrix_file import benchmark_record, matrix_record, method_record
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
from harness.files import replacing, write_json, write_text


def write_judged(
    folder: Path, cells: Sequence[JudgedCell], left_out: Sequence[LeftOut], methods: Sequence[str]
) -> dict[str, Any]:
    """Write all files of a results folder but its report; the content of judged.json.

    methods  in the order of the report; the first is the baseline
    """
    metrics = metrics_of(cells)
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


def _matrix(
    name: str, cells: Sequence[JudgedCell], methods: Sequence[str], metrics: Mapping[str, Sequence[Metric]],
    text: str,
) -> dict[str, Any]:  # fmt: skip
    seeds = sorted({cell.place[1] for cell in cells})
    entries = list(_entries(cells, methods, seeds, list(metrics)))
    carried = {part.method: part.carried for cell in cells for part in cell.parts}
    study = study_of(part for cell in cells for part in cell.parts)
    told = matrix_record(
        text,
        name=name,
        baseline=methods[0],
        reference=study.get("reference"),
        margin=study.get("margin") or 0.0,
        out_of_distribution=study.get("out_of_distribution"),
        bases=[NOT_STATED],
        seeds=seeds,
        contrasts=study.get("contrasts") or [],
        methods=[
            method_record(
                method,
                "scores that others measured",
                deterministic=carried.get(method, {}).get("deterministic", False),
                seed_group=carried.get(method, {}).get("seed_group", ""),
            )
            for method in methods
        ],
        benchmarks=[
            benchmark_record(label, "items and scores as the files give them", _version(label, cells), own)
            for label, own in metrics.items()
        ],
        cells=entries,
    )
    return {**told, "judged": True}


def _version(benchmark: str, cells: Sequence[JudgedCell]) -> str:
    stated = (c.protocol["task version"] for c in cells if c.place[2] == benchmark and "task version" in c.protocol)
    return joined_values(stated) or NOT_STATED


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
        "uneven": uneven_items(cells, methods),
    }  # fmt: skip


def _blank(parts: Sequence[Scored]) -> Iterator[str]:
    """The facts that no file states."""
    if any(part.seed is None for part in parts):
        yield "training seeds (every model counts as one training run, with the seed 0)"
    yield from ("the base model that each method started from", "training data, their contamination and their size")
    yield from ("what training and sampling cost", "how settings were chosen")
    if any(not part.protocol for part in parts):
        yield "how the items were asked: version, examples in the context, template"


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
            found, sign = of_metric(part, name)
            if found is not None:
                values = pyarrow.array(found.values, pyarrow.float64(), from_pandas=True)
                weights = pyarrow.array(found.weights, pyarrow.float64()) if found.weights is not None else None
                columns = {**_columns(cell, part, len(values)), "metric": _constant(name, len(values)),
                           "value": compute.multiply(values, sign),
                           "weight": weights if weights is not None else _constant(1.0, len(values))}  # fmt: skip
                table = pyarrow.table([columns[one] for one in ROW_COLUMNS], schema=arrow_schema(ROW_COLUMNS))
                tables.append(table.filter(compute.is_valid(table["value"])))
        if tables:
            yield _in_order(pyarrow.concat_tables(tables))


def _cell_samples(cell: JudgedCell) -> Any:
    """A sorted row for each item, with the texts that are kept."""
    import pyarrow

    tables = []
    for part in cell.parts:
        count = len(part.items)
        columns = {**_columns(cell, part, count), **_said(part, count), "flags": _empty_lists(count)}
        schema = arrow_schema(SAMPLE_COLUMNS)
        tables.append(pyarrow.table([columns[one.name] for one in schema], schema=schema))
    return _in_order(pyarrow.concat_tables(tables))


def _said(part: Scored, count: int) -> dict[str, Any]:
    """The columns of the texts; a file without any, such as a table, has empty ones."""
    import pyarrow

    if not part.texts:
        return {"prompt": _constant("", count), "completions": _empty_lists(count), "reference": _constant("", count)}
    items = part.items if isinstance(part.items, list) else part.items.to_pylist()
    texts = [part.texts.get(item, ("", (), "")) for item in items]
    return {
        "prompt": pyarrow.array([one[0] for one in texts], pyarrow.string()),
        "completions": pyarrow.array([list(one[1]) for one in texts], pyarrow.list_(pyarrow.string())),
        "reference": pyarrow.array([one[2] for one in texts], pyarrow.string()),
    }


def _empty_lists(count: int) -> Any:
    import numpy
    import pyarrow

    ends = pyarrow.array(numpy.zeros(count + 1, dtype=numpy.int32))
    return pyarrow.ListArray.from_arrays(ends, pyarrow.array([], pyarrow.string()))


def _in_order(table: Any) -> Any:
    """The rows by group and item; those that are so already, as of a table of scores, are not sorted again."""
    import pyarrow.compute as compute

    table = table.combine_chunks()
    groups, items = (table[name].combine_chunks() for name in ("group", "item"))
    if len(items) and compute.all(compute.equal(groups, groups[0])).as_py():
        first, second = items.slice(0, len(items) - 1), items.slice(1)
        if compute.all(compute.less(first, second)).as_py() is not False:
            return table
    return table.sort_by([("group", "ascending"), ("item", "ascending")])


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
