"""The rows of tables: CSV and TSV, whose cells are text, Parquet, and Arrow as `datasets` writes it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from harness.data.placed import MAX_LINE_BYTES, Faults, Placed, ending, opened
from harness.errors import UserError


def table_rows(path: Path) -> Iterator[Placed]:
    """The rows of a Parquet file, or of an Arrow file as `datasets` writes it."""
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    number, kind = 0, ending(path)[1:].capitalize()
    try:
        if kind == "Parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000)
        else:
            batches = pyarrow.ipc.open_stream(path)
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield Placed(number, f"{path}, row {number}", row)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"no readable {kind} after row {number}: {error}", where=str(path), fix="Write the file again."
        ) from error


def csv_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a CSV file with a header; every cell is text. The header shows what separates cells."""
    csv.field_size_limit(MAX_LINE_BYTES)
    # bytes that are not UTF-8 come through as lone surrogates, so that only their row is lost
    with (
        opened(path) as packed,
        io.TextIOWrapper(packed, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        opening = file.readline()
        between = "\t" if ending(path) == ".tsv" else max(",;\t|", key=opening.count)
        reader = csv.reader(chain([opening] if opening else [], file), delimiter=between, strict=True)
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
                raise UserError(f"broken CSV: {error}", where=where, fix="Fix the quotes of this row.") from error
            except UserError as error:
                if names is None:
                    raise
                faults.add(error)
                continue
            yield Placed(number, where, row)


def _header(cells: list[str], where: str) -> list[str]:
    # pandas writes the number of each row into a first column without a name
    named = cells[1:] if cells[1:] and not cells[0] else cells
    if not named or len(set(named)) != len(named) or not all(name.strip() for name in named):
        raise UserError(f"its header is {cells}", where=where, fix="Name every column once in the first line.")
    return cells


def _csv_row(names: list[str], cells: list[str], where: str) -> dict[str, str]:
    if len(cells) != len(names):
        raise UserError(
            f"it has {len(cells)} cells under {len(names)} columns", where=where, fix="Quote cells that hold commas."
        )
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        raise UserError("it is not UTF-8", where=where, fix="Save the file as UTF-8.")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name}
