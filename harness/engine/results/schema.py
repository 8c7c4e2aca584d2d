"""The result files of an experiment, their schema, and how they are read and written.

A results folder holds, next to the experiment file:

    rows.parquet      one row per (cell, item, metric): what the statistics read
    samples.parquet   one row per (cell, item): the prompt as the model saw it and its completions
    joint.parquet     one row per (group of policies, item, metric), where a benchmark compares policies
    excerpts.parquet  notable answers of all methods to an item
    matrix.json       the axes, the metrics' meanings and the state of every cell
    costs.json        the cost ledger of each artifact (times are recorded here, never in the rows)
    contamination.json  the test items that each training set contains
    provenance.json   the experiment as it was run, versions, commit, device, data and model revisions
    tuning.json       the trials, where settings were searched for
    judged.json       the files of others that the rows were read from, in place of the experiment (`bakeoff judge`)
    tested_claims.yaml  the claims that the report tests, where the experiment names a file of them
    parts.parquet     the order of the items in a run that may stop (harness/engine/stopping.py)
    declared.json     the contrasts that were declared, and how many cells were scored by then
    digests.json      digests, with which `bakeoff verify` compares the other files (harness/engine/results/digests.py)
    report.md, report.html

Rows are sorted by their key columns and written without timestamps, so equal results are equal bytes.
A change of columns or of their meaning raises SCHEMA_VERSION.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.files import replacing

if TYPE_CHECKING:
    import pandas


SCHEMA_VERSION = 2

DATA_FILES = ("rows.parquet", "samples.parquet", "matrix.json", "costs.json", "contamination.json", "provenance.json")
JOINT_FILES = ("joint.parquet", "excerpts.parquet")  # only where a benchmark compares policies
TUNING_FILE = "tuning.json"  # only where settings were searched for
CLAIMS_FILE = "tested_claims.yaml"  # only where the experiment names a claims file
DECLARED_FILE = "declared.json"  # only where contrasts were declared
PARTS_FILE = "parts.parquet"  # only of a run that may stop
JUDGED_FILE = "judged.json"  # only of scores that others measured
OWN_FILES = (TUNING_FILE, CLAIMS_FILE, DECLARED_FILE, PARTS_FILE, JUDGED_FILE)
REPORT_FILES = ("report.md", "report.html")

# name -> (arrow type, meaning)
CELL_COLUMNS: dict[str, tuple[str, str]] = {
    "base": ("string", "the base model as the experiment names it"),
    "method": ("string", "the method's label in the experiment"),
    "data_quality": ("string", "which of the named training sets; empty where the experiment has no such axis"),
    "data_size": ("int64", "training examples used; 0 where the experiment has no such axis"),
    "seed": ("int64", "the seed of training and sampling"),
    "benchmark": ("string", "the benchmark's label in the experiment"),
}
ROW_COLUMNS: dict[str, tuple[str, str]] = {
    **CELL_COLUMNS,
    "metric": ("string", "the metric's name"),
    "group": ("string", "the stratum of items that is reported apart, or an empty string"),
    "item": ("string", "the item's id, the same for every method"),
    "cluster": ("string", "items with one source share a cluster; intervals are clustered by it"),
    "value": ("double", "the item's score; finite"),
    "weight": ("double", "what the item counts (instructions of a prompt); 1 as a rule"),
}
SAMPLE_COLUMNS: dict[str, tuple[str, str]] = {
    **CELL_COLUMNS,
    "group": ("string", "the stratum of the item, as in the rows"),
    "item": ("string", "the item's id"),
    "prompt": ("string", "the prompt as rendered for the model"),
    "completions": ("list<string>", "the model's answers (for multiple choice: the choice it prefers)"),
    "reference": ("string", "a right answer, where the benchmark knows one"),
    "flags": ("list<string>", "what happened to the item, such as 'truncated'"),
}
PART_COLUMNS: dict[str, tuple[str, str]] = {
    "benchmark": CELL_COLUMNS["benchmark"],
    "group": ("string", "the stratum of the item, as in the rows"),
    "item": SAMPLE_COLUMNS["item"],
    "upto": ("double", "the item is among this share of the items, in the order in which they are looked at"),
}
MEETING_COLUMNS: dict[str, tuple[str, str]] = {
    **CELL_COLUMNS,
    "kind": ("string", "what tells the policies apart: methods, bases, both, seeds; or all: every method of a base"),
    "policies": ("int64", "how many policies meet"),
    "other_base": ("string", "the second policy's base"),
    "other_method": ("string", "its method; empty, as the first's is, where all methods meet"),
    "other_seed": ("int64", "its seed"),
}
JOINT_COLUMNS: dict[str, tuple[str, str]] = {
    **MEETING_COLUMNS,
    **{name: ROW_COLUMNS[name] for name in ("metric", "group", "item", "cluster", "value")},
}
EXCERPT_COLUMNS: dict[str, tuple[str, str]] = {
    **MEETING_COLUMNS,
    **{name: SAMPLE_COLUMNS[name] for name in ("group", "item", "prompt")},
    "title": ("string", "what stands out, such as 'most alike'"),
    "value": ("double", "by how much"),
    "methods": ("list<string>", "who gave each of the texts"),
    "texts": ("list<string>", "the answers"),
}
ROW_KEY = ["base", "method", "data_quality", "data_size", "seed", "benchmark", "metric", "group", "item"]
SAMPLE_KEY = ["base", "method", "data_quality", "data_size", "seed", "benchmark", "group", "item"]


MEETING_KEY = ["benchmark", "data_quality", "data_size", "kind", "base", "other_base", "method", "other_method", "seed",
               "other_seed"]  # fmt: skip
JOINT_KEY = [*MEETING_KEY, "metric", "group", "item"]
EXCERPT_KEY = [*MEETING_KEY, "group", "item", "title"]


def write_rows(folder: Path, rows: Iterable[Mapping[str, Any]], samples: Iterable[Mapping[str, Any]]) -> None:
    """Sort and write rows.parquet and samples.parquet into `folder`.

    Raises ValueError on a value that is not finite: a score that could not be computed has no row.
    """
    kept = list(rows)
    for row in kept:
        if not math.isfinite(row["value"]):
            raise ValueError(f"row {[row[k] for k in ROW_KEY]} has the value {row['value']}")
    write_table(folder / "rows.parquet", kept, ROW_COLUMNS, ROW_KEY)
    write_table(folder / "samples.parquet", samples, SAMPLE_COLUMNS, SAMPLE_KEY)


def write_joint(folder: Path, rows: Iterable[Mapping[str, Any]], excerpts: Iterable[Mapping[str, Any]]) -> None:
    """Sort and write joint.parquet and excerpts.parquet into `folder`."""
    write_table(folder / "joint.parquet", rows, JOINT_COLUMNS, JOINT_KEY)
    write_table(folder / "excerpts.parquet", excerpts, EXCERPT_COLUMNS, EXCERPT_KEY)


def write_table(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, tuple[str, str]], key: Sequence[str]
) -> None:
    """Write sorted rows with the declared columns; the file appears whole or not at all.

    Rows may be millions: a column holds references, about 200 bytes a row, where a mapping would take a kilobyte.
    """
    import pyarrow
    import pyarrow.parquet

    held: dict[str, list[Any]] = {column: [] for column in columns}
    for row in rows:
        for column, values in held.items():
            values.append(row[column])
    table = pyarrow.Table.from_pydict(held, schema=arrow_schema(columns))
    if key:
        table = table.sort_by([(name, "ascending") for name in key]).combine_chunks()
    with replacing(path) as partial:
        pyarrow.parquet.write_table(table, partial, compression="zstd")


def arrow_schema(columns: Mapping[str, tuple[str, str]]) -> Any:
    """The arrow schema of declared columns, with their meanings and the schema's version as metadata."""
    import pyarrow

    types = {
        "string": pyarrow.string(),
        "int64": pyarrow.int64(),
        "double": pyarrow.float64(),
        "list<string>": pyarrow.list_(pyarrow.string()),
    }
    return pyarrow.schema(
        [pyarrow.field(name, types[kind], metadata={"meaning": meaning}) for name, (kind, meaning) in columns.items()],
        metadata={"bakeoff_schema": str(SCHEMA_VERSION)},
    )


def read_rows(folder: Path) -> pandas.DataFrame:
    """rows.parquet of a results folder as a data frame; its texts are ordered categories.

    Millions of rows name a few methods and benchmarks: categories are read and compared many times faster.
    """
    return _read(folder / "rows.parquet", [name for name, (kind, _) in ROW_COLUMNS.items() if kind == "string"])


def read_samples(folder: Path) -> pandas.DataFrame:
    """samples.parquet of a results folder as a data frame; the texts that name a cell are ordered categories."""
    return _read(folder / "samples.parquet", [name for name, (kind, _) in CELL_COLUMNS.items() if kind == "string"])


def read_table(folder: Path, name: str) -> pandas.DataFrame:
    """NAME.parquet of a results folder (samples, joint, excerpts) as a data frame."""
    return _read(folder / f"{name}.parquet")


def _read(path: Path, categories: Sequence[str] = ()) -> pandas.DataFrame:
    import pyarrow.parquet

    if not path.exists():
        raise UserError("no such results file", where=str(path), fix="Run `bakeoff run EXPERIMENT` first.")
    table = pyarrow.parquet.read_table(path, read_dictionary=list(categories))
    version = int((table.schema.metadata or {}).get(b"bakeoff_schema", b"0"))
    if version != SCHEMA_VERSION:
        fix = f"This bakeoff reads version {SCHEMA_VERSION}: run the experiment again."
        raise UserError(f"the file has schema version {version}", where=str(path), fix=fix)
    lists = [field.name for field in table.schema if pyarrow.types.is_list(field.type)]
    frame = table.drop_columns(lists).to_pandas().assign(**{name: _lists(table[name]) for name in lists})
    for name in categories:
        frame[name] = frame[name].cat.reorder_categories(sorted(frame[name].cat.categories))
    return frame[table.column_names]


def _lists(column: Any) -> Any:
    """A column of lists as an array of arrays. Of millions of lists most are empty, and those are one object."""
    import numpy
    import pyarrow.compute as compute

    found = numpy.empty(len(column), dtype=object)
    found.fill(numpy.empty(0, dtype=object))
    filled = compute.fill_null(compute.greater(compute.list_value_length(column), 0), False)
    found[filled.to_numpy()] = column.filter(filled).to_pandas()
    return found
