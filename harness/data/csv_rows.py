"""Rows of CSV: a header, then as many cells in every row; every cell is text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from harness.data.placed import MAX_LINE_BYTES, Faults, Placed
from harness.errors import UserError


def csv_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a CSV file with a header."""
    csv.field_size_limit(MAX_LINE_BYTES)
    # bytes that are not UTF-8 come through as lone surrogates, so that only their row is lost
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True)
        names: list[str] | None = None
        number = 0
        while True:
            where = f"{path}:{reader.line_num + 1}"
            try:
                cells = next(reader)
                if names is None:
                    names = _header(cells, where)
                    continue
                if not cells:
                    continue
                number += 1
                row = _csv_row(names, cells, where)
            except StopIteration:
                return
            except csv.Error as error:
                raise UserError(f"broken CSV: {error}", where=where, fix="Mend the quotes of this row.") from error
            except UserError as error:
                if names is None:
                    raise
                faults.meet(error)
                continue
            yield Placed(number, where, row)


def _header(cells: list[str], where: str) -> list[str]:
    if not cells or len(set(cells)) != len(cells) or not all(name.strip() for name in cells):
        raise UserError(f"its header is {cells}", where=where, fix="Name every column once in the first line.")
    return cells


def _csv_row(names: list[str], cells: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(names):
        raise UserError(
            f"it has {len(cells)} cells under {len(names)} columns", where=where, fix="Quote cells that hold commas."
        )
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        raise UserError("it is not UTF-8", where=where, fix="Save the file as UTF-8.")
    return dict(zip(names, cells, strict=True))
