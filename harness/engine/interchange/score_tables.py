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
from harness.engine.interchange.table_files import read_columns, row_of, text_column
from harness.errors import UserError

NEEDED = ("method", "item", "score")
OPTIONAL = ("seed", "benchmark", "cluster", "group")
_ORDER = ("method", "seed", "benchmark", "group", "item")


def read_score_table(path: Path) -> Iterator[Scored]:
    """The scores of a file, sorted by method, seed and benchmark."""
    import numpy
    import pyarrow

    table, others = read_columns(path, NEEDED, OPTIONAL)
    if not table.num_rows:
        raise without_scores(path, "it has no rows")
    source = Source(
        path, f"table of scores ({path.suffix[1:]})", {"columns not read": ", ".join(others)} if others else {}
    )
    columns = {name: _texts(table, name, path) for name in (*NEEDED, *OPTIONAL) if name != "score"}
    columns["benchmark"] = columns["benchmark"] or _repeated(path.stem, table.num_rows)
    columns["group"] = columns["group"] or _repeated("", table.num_rows)
    columns["cluster"] = columns["cluster"] or columns["item"]
    columns["seed"] = _seeds(columns["seed"], table.num_rows, path)
    columns["score"] = _scores(table["score"].combine_chunks(), path)
    ranks = [_ranks(columns[name]) for name in _ORDER]
    order = numpy.lexsort(ranks[::-1])
    sorted_ranks = [rank[order] for rank in ranks]
    _check_once(columns["item"], order, _changes(sorted_ranks), path)
    whole = pyarrow.table(columns).take(order)
    ends = [*(numpy.flatnonzero(_changes(sorted_ranks[:3])) + 1).tolist(), table.num_rows]
    for start, end in zip([0, *ends], ends, strict=False):
        yield _scored(whole.slice(start, end - start), source)


def _repeated(text: str, count: int) -> Any:
    import pyarrow

    codes = pyarrow.repeat(pyarrow.scalar(0, pyarrow.int32()), count)
    return pyarrow.DictionaryArray.from_arrays(codes, pyarrow.array([text]))


def _ranks(column: Any) -> Any:
    """For each row the rank of its value: millions of rows have few methods, and sorting texts is slow."""
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    if not pyarrow.types.is_dictionary(column.type):
        column = compute.fill_null(column, -(2**63)).dictionary_encode()
    places = compute.sort_indices(column.dictionary).to_numpy()
    ranks = numpy.empty(len(places), dtype=numpy.int32)
    ranks[places] = numpy.arange(len(places), dtype=numpy.int32)
    return ranks[column.indices.to_numpy()]


def _texts(table: Any, name: str, path: Path) -> Any:
    """A column as texts; None where the file has none, or an empty one. Raises UserError where only some are given."""
    import pyarrow.compute as compute

    if name not in table.column_names:
        return None
    found = text_column(table, name, path)
    empty = compute.index(found.dictionary, "").as_py()
    at = compute.index(found.indices, empty).as_py() if empty >= 0 else -1
    if at < 0 or name in ("seed", "group"):
        return found
    if name in NEEDED:
        raise UserError(f"its {name} is empty", where=row_of(path, at), fix=f"Every row names its {name}.")
    if compute.all(compute.equal(found.indices, empty)).as_py():
        return None
    raise UserError(f"its {name} is empty, and others are not", where=row_of(path, at), fix=f"Fill in every {name}.")


def _seeds(found: Any, rows: int, path: Path) -> Any:
    """The seeds as whole numbers, null where none is stated."""
    import pyarrow
    import pyarrow.compute as compute

    if found is None:
        return pyarrow.nulls(rows, pyarrow.int64())
    told = found.dictionary
    known = compute.if_else(compute.equal(told, ""), None, compute.replace_substring_regex(told, r"\.0+$", ""))
    try:
        return known.cast(pyarrow.int64()).take(found.indices)
    except pyarrow.ArrowInvalid:
        wrong = [code for code, value in enumerate(known.to_pylist()) if value is not None and not _whole(value)]
        at = compute.index_in(found.indices, pyarrow.array(wrong, pyarrow.int32())).is_valid().index(True).as_py()
        fix = "Write the seed of the training as a whole number, or nothing where it is unknown."
        raise UserError(f"its seed is {found[at].as_py()!r}", where=row_of(path, at), fix=fix) from None


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
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        told = enumerate(found.to_pylist())
        return pyarrow.array([finite(_number(value), row_of(path, at)) for at, value in told], pyarrow.float64())
    wrong = compute.fill_null(compute.invert(compute.is_finite(numbers)), True)
    at = compute.index(wrong, True).as_py()
    if at >= 0:
        finite(_number(found[at].as_py()), row_of(path, at))
    return numbers


def _number(value: Any) -> Any:
    """A text that is a number as that number, all else as it is."""
    try:
        return float(value) if isinstance(value, str) and "_" not in value else value
    except ValueError:
        return value


def _check_once(items: Any, order: Any, changes: Any, path: Path) -> None:
    """Raise UserError where two rows, which sorting has put side by side, have one key."""
    if not changes.all():
        earlier, later = order[(at := int(changes.argmin())) : at + 2].tolist()
        raise same_item_twice(items[later].as_py(), row_of(path, later), f"row {earlier + 1}")


def _changes(ranks: Sequence[Any]) -> Any:
    """For each row but the last, whether the next one differs from it in any of the columns."""
    import numpy

    return numpy.any([rank[1:] != rank[:-1] for rank in ranks], axis=0)


def _scored(rows: Any, source: Source) -> Scored:
    first = rows.slice(0, 1).to_pylist()[0]
    return Scored(
        method=first["method"],
        benchmark=first["benchmark"],
        seed=first["seed"],
        source=source,
        **{f"{name}s": rows[name].combine_chunks().dictionary_decode() for name in ("item", "cluster", "group")},
        metrics=(LoggedMetric("score", rows["score"].to_numpy()),),
    )
