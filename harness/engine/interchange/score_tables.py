"""A CSV or Parquet file with a row for each score: method, item, score, and seed, benchmark, cluster, group if known.

    method,seed,item,score,cluster
    base,0,q1,0,story1

Without a column `benchmark` the file's name is the benchmark; without `seed`, or where it is empty, the seed of
the training is not stated. Other columns are not read, and `Source.facts` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.engine.interchange.scored import LoggedMetric, Scored, Source, finite, same_item_twice, without_scores
from harness.errors import UserError, first_line

NEEDED = ("method", "item", "score")
OPTIONAL = ("seed", "benchmark", "cluster", "group")
_ORDER = ("method", "seed", "benchmark", "group", "item")


def read_score_table(path: Path) -> Iterator[Scored]:
    """The scores of a file, sorted by method, seed and benchmark."""
    import pyarrow
    import pyarrow.compute

    table, others = _table(path)
    if not table.num_rows:
        raise without_scores(path, "it has no rows")
    source = Source(
        path, f"table of scores ({path.suffix[1:]})", {"columns not read": ", ".join(others)} if others else {}
    )
    columns = {name: _texts(table, name, path) for name in (*NEEDED, *OPTIONAL) if name != "score"}
    columns["benchmark"] = columns["benchmark"] or pyarrow.array([path.stem] * table.num_rows)
    columns["group"] = columns["group"] or pyarrow.array([""] * table.num_rows)
    columns["cluster"] = columns["cluster"] or columns["item"]
    columns["seed"] = _seeds(columns["seed"], table.num_rows, path)
    columns["score"] = _scores(table["score"].combine_chunks(), path)
    columns["row"] = pyarrow.array(range(1, table.num_rows + 1), pyarrow.int64())
    whole = pyarrow.table(columns).sort_by([(name, "ascending") for name in _ORDER])
    _check_once(whole, path)
    for start, end in _runs(whole, _ORDER[:3]):
        yield _scored(whole.slice(start, end - start), source)


def _table(path: Path) -> tuple[Any, list[str]]:
    """The columns that are read, and the names of the others."""
    import pyarrow

    try:
        names = _names(path)
        if lacking := [name for name in NEEDED if name not in names]:
            raise UserError(
                f"it has no column {', '.join(lacking)}, only {', '.join(names) or 'none'}",
                where=f"{path}, row 0" if path.suffix != ".parquet" else str(path),
                fix=f"Name the columns {', '.join(NEEDED)}, and if known {', '.join(OPTIONAL)}.",
            )
        wanted = [name for name in (*NEEDED, *OPTIONAL) if name in names]
        return _read(path, wanted), [name for name in names if name not in wanted]
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        fix = (
            "Write it again: it may have been cut off, or a row has more or fewer values than the first line has names."
        )
        raise UserError(f"it cannot be read: {first_line(error)}", where=str(path), fix=fix) from None


def _names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)
    import csv

    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _read(path: Path, wanted: Sequence[str]) -> Any:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path, columns=list(wanted))
    import pyarrow
    import pyarrow.csv

    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(wanted, pyarrow.string()), include_columns=list(wanted), strings_can_be_null=False
    )
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
    return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=convert)


def _texts(table: Any, name: str, path: Path) -> Any:
    """A column as text; None where the file has none. Raises UserError for an empty name of a method or item."""
    import pyarrow
    import pyarrow.compute as compute

    if name not in table.column_names:
        return None
    found = compute.fill_null(table[name].cast(pyarrow.string()), "").combine_chunks()
    at = compute.index(found, "").as_py()
    if at >= 0 and name in NEEDED:
        raise UserError(f"its {name} is empty", where=_place(path, at), fix=f"Every row names its {name}.")
    return found if at < 0 or name in ("seed", "group") else _filled(table, name, found, path)


def _filled(table: Any, name: str, found: Any, path: Path) -> Any:
    """The column where no value is empty; some empty ones are a mistake, and an empty column is none."""
    import pyarrow.compute as compute

    at = compute.index(found, "").as_py()
    if compute.all(compute.equal(found, "")).as_py():
        return None
    raise UserError(f"its {name} is empty, and others are not", where=_place(path, at), fix=f"Fill in every {name}.")


def _seeds(found: Any, rows: int, path: Path) -> Any:
    """The seeds as whole numbers, null where none is stated."""
    import pyarrow
    import pyarrow.compute as compute

    if found is None:
        return pyarrow.nulls(rows, pyarrow.int64())
    known = compute.if_else(compute.equal(found, ""), None, compute.replace_substring_regex(found, r"\.0+$", ""))
    try:
        return known.cast(pyarrow.int64())
    except pyarrow.ArrowInvalid:
        wrong = (at for at, value in enumerate(known.to_pylist()) if value is not None and not _whole(value))
        at = next(wrong)
        fix = "Write the seed of the training as a whole number, or nothing where it is unknown."
        raise UserError(f"its seed is {found[at].as_py()!r}", where=_place(path, at), fix=fix) from None


def _whole(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _scores(found: Any, path: Path) -> Any:
    """The scores as numbers; the first that is not finite raises UserError with its row."""
    import pyarrow
    import pyarrow.compute as compute

    try:
        numbers = found.cast(pyarrow.float64())
        wrong = compute.fill_null(compute.invert(compute.is_finite(numbers)), True)
        at = compute.index(wrong, True).as_py()
        if at >= 0:
            finite(_number(found[at].as_py()), _place(path, at))
        return numbers
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        for at, value in enumerate(found.to_pylist()):
            finite(_number(value), _place(path, at))
        raise


def _number(value: Any) -> Any:
    """A text that is a number as that number, all else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _place(path: Path, at: int) -> str:
    return f"{path}, row {at + 1}"


def _check_once(whole: Any, path: Path) -> None:
    """Raise UserError where two rows, which sorting has put side by side, have one key."""
    changes = _changes(whole, _ORDER)
    if changes.all():
        return
    at = int(changes.argmin())
    later, earlier = sorted((whole["row"][at].as_py(), whole["row"][at + 1].as_py()), reverse=True)
    raise same_item_twice(whole["item"][at].as_py(), f"{path}, row {later}", f"row {earlier}")


def _changes(whole: Any, names: Sequence[str]) -> Any:
    """For each row but the last, whether the next one differs from it in any of the columns."""
    import numpy
    import pyarrow.compute as compute

    found = numpy.zeros(max(whole.num_rows - 1, 0), dtype=bool)
    for name in names:
        column = whole[name].combine_chunks()
        column = compute.fill_null(column, -(2**63) + 1) if name == "seed" else column
        differs = compute.not_equal(column.slice(0, len(column) - 1), column.slice(1))
        found |= differs.to_numpy(zero_copy_only=False)
    return found


def _runs(whole: Any, names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(start, end) of the rows that agree in the columns, by which they are sorted."""
    import numpy

    ends = [*(numpy.flatnonzero(_changes(whole, names)) + 1).tolist(), whole.num_rows]
    yield from zip([0, *ends], ends, strict=False)


def _scored(rows: Any, source: Source) -> Scored:
    first = rows.slice(0, 1).to_pylist()[0]
    return Scored(
        method=first["method"],
        benchmark=first["benchmark"],
        seed=first["seed"],
        source=source,
        items=rows["item"].combine_chunks(),
        clusters=rows["cluster"].combine_chunks(),
        groups=rows["group"].combine_chunks(),
        metrics=(LoggedMetric("score", rows["score"].to_numpy()),),
    )
