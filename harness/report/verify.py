"""Check that a results folder is as its run wrote it: files, schemas, digests, and a report that its rows reproduce.

It reads only the folder, never the store. Facts that a folder does not record (an older one has no digests) count as
unchecked, which is not a failure. It detects corruption and mistakes, not tampering.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.engine.results.digests import DIGESTS, matrix_digest, report_writer
from harness.engine.results.schema import (
    CELL_COLUMNS,
    DATA_FILES,
    EXCERPT_COLUMNS,
    EXCERPT_KEY,
    JOINT_COLUMNS,
    JOINT_FILES,
    JOINT_KEY,
    JUDGED_FILE,
    OWN_FILES,
    PART_COLUMNS,
    PARTS_FILE,
    REPORT_FILES,
    ROW_COLUMNS,
    ROW_KEY,
    SAMPLE_COLUMNS,
    SAMPLE_KEY,
    SCHEMA_VERSION,
    arrow_schema,
)
from harness.engine.showable import counted
from harness.errors import UserError
from harness.files import sha256

Word = Literal["ok", "NOT ok", "unchecked"]
EXPERIMENT = "experiment.yaml"
SETTING = "# --set "  # marks a change by --set
TABLES = {
    "rows.parquet": (ROW_COLUMNS, ROW_KEY),
    "samples.parquet": (SAMPLE_COLUMNS, SAMPLE_KEY),
    "joint.parquet": (JOINT_COLUMNS, JOINT_KEY),
    "excerpts.parquet": (EXCERPT_COLUMNS, EXCERPT_KEY),
    PARTS_FILE: (PART_COLUMNS, [*PART_COLUMNS][:3]),
}


@dataclass(frozen=True)
class Check:
    """One check: its outcome, the file and the finding."""

    word: Word
    file: str
    said: str


def verify(folder: Path) -> Iterator[Check]:
    """Every check, as it is made; nothing is written to `folder`. Raises UserError if it is not a results folder."""
    yield from check_files(folder)
    yield from check_report(folder)


def check_files(folder: Path) -> Iterator[Check]:
    """Checks of the files by themselves and against each other. Raises UserError if it is not a results folder."""
    matrix = _matrix(folder)
    names = _names(matrix)
    for name in (name for name in names if not (folder / name).is_file()):
        yield Check("NOT ok", name, "it does not exist")
    for name in (*(name for name in names if name.endswith(".json")), DIGESTS):
        if (folder / name).is_file():
            yield from _json_file(folder / name)
    tables: dict[str, Any] = {}
    for name in (name for name in TABLES if (folder / name).is_file()):
        yield _table(folder / name, tables)
    yield from _cells(matrix, tables)
    yield from _recorded(folder, _json(folder / DIGESTS) or {})
    text = (_json(folder / "provenance.json") or {}).get("experiment")
    yield from (_judged(folder, text) if matrix.get("judged") else _experiment(folder, text))
    yield _matrix_digest(matrix, text)


def _names(matrix: Mapping[str, Any]) -> tuple[str, ...]:
    """The files that a folder with this matrix holds."""
    return (
        *DATA_FILES,
        JUDGED_FILE if matrix.get("judged") else EXPERIMENT,
        *REPORT_FILES,
        *(JOINT_FILES if matrix.get("joint") else ()),
    )


def _matrix(folder: Path) -> Mapping[str, Any]:
    fix = "Name a folder that `bakeoff run` or `judge` wrote: it holds matrix.json, rows.parquet and report.html."
    if not (folder / "matrix.json").is_file():
        raise UserError("it is not a results folder: it has no matrix.json", where=str(folder), fix=fix)
    matrix = _json(folder / "matrix.json")
    if matrix is None or not isinstance(matrix.get("cells"), list):
        raise UserError("it is not a results folder: its matrix.json lists no cells", where=str(folder), fix=fix)
    return matrix


def _json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _json_file(path: Path) -> Iterator[Check]:
    value = _json(path)
    if value is None:
        yield Check("NOT ok", path.name, "it is not a JSON object")
    elif path.name in ("matrix.json", "costs.json", "contamination.json"):
        known = value.get("schema") == SCHEMA_VERSION
        said = "" if known else f"; this bakeoff knows {SCHEMA_VERSION}"
        yield Check("ok" if known else "NOT ok", path.name, f"schema {value.get('schema')!r}{said}")


def _table(path: Path, tables: dict[str, Any]) -> Check:
    """Check one table by itself; one that can be read with its documented columns is put into `tables`."""
    import pyarrow.parquet

    columns, key = TABLES[path.name]
    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        return Check("NOT ok", path.name, f"it cannot be read: {error}")
    version = (table.schema.metadata or {}).get(b"bakeoff_schema", b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        return Check("NOT ok", path.name, f"its schema is {version}; this bakeoff knows {SCHEMA_VERSION}")
    if not table.schema.equals(arrow_schema(columns)):
        return Check("NOT ok", path.name, f"its columns are not the documented ones: {', '.join(columns)}")
    tables[path.name] = table
    wrong = [said for said in (_unsorted(table, key), _repeated(table, key), _not_finite(table)) if said]
    if wrong:
        return Check("NOT ok", path.name, "; ".join(wrong))
    return Check("ok", path.name, f"schema {version}, {table.num_rows:,} rows, sorted, no key twice")


def _unsorted(table: Any, key: Sequence[str]) -> str:
    keys = table.select(list(key)).combine_chunks()
    ordered = keys.sort_by([(name, "ascending") for name in key]).combine_chunks()
    return "" if keys.equals(ordered) else "its rows are not sorted by their key"


def _repeated(table: Any, key: Sequence[str]) -> str:
    more = table.num_rows - table.group_by(list(key)).aggregate([]).num_rows
    return f"{more:,} rows repeat the key of another" if more else ""


def _not_finite(table: Any) -> str:
    import pyarrow.compute

    if "value" not in table.column_names:
        return ""
    finite = pyarrow.compute.sum(pyarrow.compute.is_finite(table["value"]).cast("int64")).as_py() or 0
    return f"{table.num_rows - finite:,} values are not finite" if finite != table.num_rows else ""


def _cells(matrix: Mapping[str, Any], tables: Mapping[str, Any]) -> Iterator[Check]:
    """Whether rows and samples are those of the cells that are done, item by item."""
    done = {_place(cell) for cell in matrix["cells"] if cell.get("state") in ("done", "partial")}
    items = {}
    for name in (name for name in ("rows.parquet", "samples.parquet") if name in tables):
        keys = tables[name].group_by(SAMPLE_KEY).aggregate([])
        items[name] = set(zip(*(column.to_pylist() for column in keys.columns), strict=True))
        found = {_place(cell) for cell in keys.group_by(list(CELL_COLUMNS)).aggregate([]).to_pylist()}
        wrong = [f"{len(found - done)} cells that are not done have some"] if found - done else []
        # an item whose metrics could not be computed has a sample and no row
        if name == "samples.parquet" and done - found:
            wrong.append(f"{len(done - found)} cells that are done have none")
        said = "; ".join(wrong) or f"of {len(found)} cells, all of them done"
        yield Check("NOT ok" if wrong else "ok", name, said)
    if len(items) == 2:
        yield _items(items["rows.parquet"], items["samples.parquet"])


def _items(scored: set[tuple[Any, ...]], asked: set[tuple[Any, ...]]) -> Check:
    if scored - asked:
        return Check("NOT ok", "rows.parquet", f"{len(scored - asked):,} scored items have no sample")
    unscored = f"; {len(asked - scored):,} have no score" if asked - scored else ""
    return Check("ok", "rows.parquet", f"of the {len(asked):,} items of samples.parquet{unscored}")


def _place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(cell.get(name) for name in CELL_COLUMNS)


def _recorded(folder: Path, digests: Mapping[str, Any]) -> Iterator[Check]:
    """Whether every file with a recorded digest has the bytes that were written."""
    data, report = digests.get("files") or {}, (digests.get("report") or {}).get("files") or {}
    if not data:
        yield Check("unchecked", DIGESTS, "no digests recorded: an older bakeoff wrote this folder")
    elif not report:
        yield Check("unchecked", DIGESTS, "no digests of the report recorded")
    for name, digest in sorted({**data, **report}.items()):
        # a name is one of this folder's files, whatever digests.json says
        path = folder / Path(name).name
        if not path.is_file():
            yield Check("NOT ok", name, "its digest is recorded, but the file does not exist")
        elif sha256(path) == digest:
            yield Check("ok", name, "the bytes that were written")
        else:
            yield Check("NOT ok", name, "its bytes differ from those that were written (the digests differ)")


def _experiment(folder: Path, text: str | None) -> Iterator[Check]:
    """Whether experiment.yaml is the experiment that was run, apart from lines that note changes by --set."""
    path = folder / EXPERIMENT
    if not path.is_file():
        return
    if text is None:
        yield Check("unchecked", EXPERIMENT, "the experiment that was run is not recorded")
    elif _without_settings(text) == _without_settings(path.read_text("utf-8", errors="replace")):
        yield Check("ok", EXPERIMENT, "the experiment that was run")
    else:
        yield Check("NOT ok", EXPERIMENT, "it differs from the experiment that was run (recorded in provenance.json)")


def _judged(folder: Path, text: str | None) -> Iterator[Check]:
    """Whether judged.json names the files that were read; whether they are right cannot be told from this folder."""
    told = _json(folder / JUDGED_FILE)
    if told is None:
        return
    files = told.get("files") or []
    if text != (folder / JUDGED_FILE).read_text("utf-8", errors="replace"):
        yield Check("NOT ok", JUDGED_FILE, "it differs from the record of the files that were read (provenance.json)")
    else:
        yield Check("ok", JUDGED_FILE, f"it names the {counted(len(files), 'file')} that the scores were read from")
    said = "others measured these scores; their files are not part of this folder, and only their digests are recorded"
    yield Check("unchecked", JUDGED_FILE, said)


def _without_settings(text: str) -> str:
    lines = text.split("\n")
    while len(lines) > 1 and (not lines[-1] or lines[-1].startswith(SETTING)):
        lines.pop()
    return "\n".join(lines)


def _matrix_digest(matrix: Mapping[str, Any], text: str | None) -> Check:
    """The digest of keys and states, which can be computed again where the matrix holds the keys."""
    entries = [*matrix["cells"], *matrix.get("joint", [])]
    if text is None or not all("key" in entry for entry in entries):
        return Check("unchecked", "matrix.json", "its digest needs the keys of its cells, which are not recorded")
    try:
        found = matrix_digest(text, matrix["cells"], matrix.get("joint", []))
    except KeyError as error:
        return Check("NOT ok", "matrix.json", f"one of its cells has no {error}")
    if found == matrix.get("digest"):
        return Check("ok", "matrix.json", "its digest is that of its experiment, keys and states")
    return Check("NOT ok", "matrix.json", "its digest is not that of its experiment, keys and states")


def check_report(folder: Path) -> Iterator[Check]:
    """Write the report again in another folder and compare it with the existing one."""
    from harness.report.compose import write_report

    names = dict.fromkeys((*_names(_matrix(folder)), *OWN_FILES))
    with tempfile.TemporaryDirectory() as elsewhere:
        for name in (name for name in names if name not in REPORT_FILES and (folder / name).is_file()):
            (Path(elsewhere) / name).symlink_to((folder / name).resolve())
        try:
            written = write_report(Path(elsewhere))
        except Exception as error:  # damaged files may break the report anywhere
            yield Check("NOT ok", "report.html", f"no report can be written from these files: {error!r}")
            return
        other = _other_writer(_json(folder / DIGESTS) or {}, _json(folder / "provenance.json") or {})
        for path in (path for path in written if (folder / path.name).is_file()):
            if path.read_bytes() == (folder / path.name).read_bytes():
                yield Check("ok", path.name, "its rows reproduce it byte for byte")
            elif other:
                yield Check(
                    "unchecked", path.name, f"its rows now give a different report, but it was written by {other}"
                )
            else:
                yield Check("NOT ok", path.name, "its rows give a different report")


def _other_writer(digests: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """How the code that wrote the report differs from this code; empty where it is the same, or none is recorded."""
    from harness.engine.results.provenance import commit

    by = (digests.get("report") or {}).get("by")
    if by:
        differing = [name for name, version in report_writer().items() if by.get(name) != version]
        return f"another version of: {', '.join(differing)}" if differing else ""
    recorded, own = provenance.get("code") or {}, commit()
    if not recorded or (recorded == own and own.get("dirty") != "True"):
        return ""
    return f"another version of the code (commit {str(recorded.get('commit'))[:12]})"
