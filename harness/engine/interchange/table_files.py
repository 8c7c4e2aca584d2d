"""A CSV or Parquet file as columns of texts and numbers, whichever program wrote it.

A CSV is in UTF-8, or in UTF-16 with its mark; its values are separated by the comma, semicolon or tab that its first
line has. Every fault is one UserError with the row, counted from the first row after the names.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line

_SEPARATORS = (",", ";", "\t")
_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AS_IT_IS = "surrogateescape"  # a byte that is not text is kept, so that its row can be named
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\udc80-\udcff]")
_AGAIN = "Write the file again: it may have been cut off."


def read_columns(path: Path, needed: Sequence[str], optional: Sequence[str]) -> tuple[Any, list[str]]:
    """The columns that are needed, and of the optional ones those that the file has; and the names of the others."""
    import pyarrow

    is_csv = path.suffix.lower() == ".csv"
    try:
        separator, names = _first_line(path) if is_csv else ("", _parquet_names(path))
        if _NOT_TEXT.search("".join(names)):
            _check_rows(path)
        _check_names(path, names, needed, optional)
        wanted = [name for name in (*needed, *optional) if name in names]
        table = _csv(path, separator, names, wanted) if is_csv else _parquet(path, wanted)
    except (OSError, UnicodeError, csv.Error, pyarrow.ArrowException) as error:
        if is_csv and path.is_file():
            _check_rows(path)
        what = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"it cannot be read: {what}", where=str(path), fix=_AGAIN) from None
    return table, [name for name in names if name not in wanted]


def row_of(path: Path, at: int) -> str:
    """The place of a row in an error message; rows are counted from 1, after the names."""
    return f"{path}, row {at + 1}"


def text_column(table: Any, name: str, path: Path) -> Any:
    """A column's values as texts, "" for none, each kept once: millions of rows name a few methods."""
    import pyarrow
    import pyarrow.compute as compute

    column = table[name]
    if not pyarrow.types.is_dictionary(column.type) or column.null_count:
        try:
            if pyarrow.types.is_floating(column.type):  # pandas writes whole numbers so where some are missing
                column = compute.if_else(compute.is_nan(column), None, column)
            column = compute.fill_null(column.cast(pyarrow.string()), "").dictionary_encode()
        except pyarrow.ArrowException:
            what = f"its column {name} is of the type {column.type}, which cannot be read as names"
            raise UserError(what, where=str(path), fix="Write texts or whole numbers.") from None
    return column.unify_dictionaries().combine_chunks()


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in _MARKS else "utf-8-sig"


def _first_line(path: Path) -> tuple[str, list[str]]:
    """The separator, and the names of the columns; the separator is the one that makes most of them."""
    with path.open(encoding=_encoding(path), errors=_AS_IT_IS, newline="") as file:
        head = list(itertools.islice(file, 1))
    found = {mark: next(csv.reader(head, delimiter=mark), []) for mark in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda mark: len(found[mark]))
    return separator, [name.strip() for name in found[separator]]


def _parquet_names(path: Path) -> list[str]:
    import pyarrow.parquet

    return list(pyarrow.parquet.read_schema(path).names)


def _check_names(path: Path, names: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> None:
    where = str(path) if path.suffix == ".parquet" else f"{path}, row 0"
    fix = f"Name the columns {', '.join(needed)}, and if known {', '.join(optional)}."
    if lacking := [name for name in needed if name not in names]:
        what = f"it has no column {', '.join(lacking)}, only {', '.join(names) or 'none'}"
        raise UserError(what, where=where, fix=fix)
    if twice := [name for name in (*needed, *optional) if names.count(name) > 1]:
        raise UserError(f"it has {names.count(twice[0])} columns called {twice[0]}", where=where, fix="Keep one.")


def _csv(path: Path, separator: str, names: Sequence[str], wanted: Sequence[str]) -> Any:
    import pyarrow
    import pyarrow.csv

    # the scores are texts until their row can be named
    types = {name: pyarrow.string() if name == "score" else _names_type() for name in wanted}
    encoding = _encoding(path).removesuffix("-sig")
    return pyarrow.csv.read_csv(
        path,
        pyarrow.csv.ReadOptions(column_names=[*names], skip_rows_after_names=1, encoding=encoding),
        pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=types, include_columns=[*wanted], strings_can_be_null=False),
    )


def _names_type() -> Any:
    import pyarrow

    return pyarrow.dictionary(pyarrow.int32(), pyarrow.string())


def _parquet(path: Path, wanted: Sequence[str]) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path, columns=[*wanted])


def _check_rows(path: Path) -> None:
    """Raise UserError at the first row of a damaged CSV that is not in its encoding, or lacks a value."""
    encoding = _encoding(path)
    separator, names = ",", list[str]()
    at = 0
    try:
        with path.open(encoding=encoding, errors=_AS_IT_IS, newline="") as file:
            separator = _first_line(path)[0]
            for at, row in enumerate(_filled_rows(csv.reader(file, delimiter=separator))):
                names = names or row
                if _NOT_TEXT.search("".join(row)):
                    what = "it is not text in UTF-8"
                    raise UserError(what, where=f"{path}, row {at}", fix="Save the file as UTF-8.")
                if len(row) != len(names):
                    what = f"it has {len(row)} values, and the first line names {len(names)} columns"
                    raise UserError(what, where=f"{path}, row {at}", fix=f"{_AGAIN} Or a quotation mark is not closed.")
    except (csv.Error, UnicodeError) as error:
        fix = "Save the file as UTF-8, and close every quotation mark."
        raise UserError(f"it cannot be read: {first_line(error)}", where=f"{path}, row {at + 1}", fix=fix) from None


def _filled_rows(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in rows if row)
