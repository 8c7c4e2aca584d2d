"""From a file, a folder or a hub id to rows with their place: JSON, JSON lines, CSV, Parquet, Arrow.

Lines and Parquet batches are streamed; a JSON array is held in memory as a whole.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from harness.data.folders import PACKED, READABLE, SUFFIXES, files_of_split, folder_and_configuration
from harness.errors import UserError, did_you_mean, first_line

Row = Mapping[str, Any]
# a row of training text is far shorter; a longer line means a broken file, and would fill the memory
MAX_LINE_BYTES = 32 * 2**20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Placed(NamedTuple):
    """A row, its number from 1, and its place in words."""

    number: int
    where: str
    row: Row


class Faults:
    """Handling of bad rows: `stop` raises the first error, `skip` keeps each one in `skipped`."""

    def __init__(self, on_error: str = "stop") -> None:
        if on_error not in ("stop", "skip"):
            raise UserError(f"on_error is {on_error!r}", fix=did_you_mean(on_error, ["stop", "skip"]))
        self.on_error = on_error
        self.skipped: list[UserError] = []

    def add(self, error: UserError) -> None:
        """Raise the error, or keep it."""
        if self.on_error == "stop":
            raise error
        self.skipped.append(error)


def skipped_lines(skipped: Sequence[UserError], at_most: int = 20) -> list[str]:
    """The skipped rows for the terminal: their count, then the place and reason of each."""
    if not skipped:
        return []
    lines = [f"rows skipped: {len(skipped):,}"]
    lines += [f"  {error.where}: {error.what}" for error in skipped[:at_most]]
    return lines + ([f"  and {len(skipped) - at_most} more"] if len(skipped) > at_most else [])


def is_local(name: str) -> bool:
    """Whether a data set's name is that of a local file or folder."""
    return name.endswith(READABLE) or folder_and_configuration(name) is not None


def label_of(name: str) -> str:
    """The name of a set in cards and reports: folder and file (many sets have a test.jsonl), or the hub id."""
    return "/".join(Path(name).resolve().parts[-2:]) if is_local(name) else name


def id_of(placed: Placed, name: str) -> str:
    """The row's own id, or the name of the file that holds it and the row's number."""
    given = placed.row.get("id")
    return f"{Path(name).name}:{placed.number}" if given is None or given == "" else str(given)


def check_id(id: str, where: str, seen: dict[str, str]) -> None:
    """Remember the id with its place. Raises UserError where another row has it."""
    if id in seen:
        raise UserError(
            f"the id {id!r} is also at {seen[id]}", where=where, fix="Give every row its own id, or give none an id."
        )
    seen[id] = where


def placed_rows(name: str, faults: Faults, split: str = "train", revision: str = "") -> Iterator[Placed]:
    """Every row of a local file, a local folder of files, or a data set of the hub.

    A data set of the hub is `owner/name`, or `owner/name:configuration` where it has several configurations.
    A bad row goes to `faults`. Raises UserError where the rest cannot be read.
    """
    if local := folder_and_configuration(name):
        files = files_of_split(local[0], split, local[1])
        rows = (row for file in files for row in _file_rows(file, faults))
        return (placed._replace(number=number) for number, placed in enumerate(rows, 1))
    if name.endswith(READABLE):
        return _file_rows(Path(name), faults)
    if Path(name).is_file():
        raise UserError(
            f"files that end in {Path(name).suffix or 'nothing'} are not read",
            where=name,
            fix=f"Give a {', '.join(SUFFIXES)} file; text files may be packed ({', '.join(PACKED)}).",
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError("no such file or folder", where=name, fix="Paths start at the experiment file.")
    return _hub_rows(name, split, revision)


def _file_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    if not path.is_file():
        raise UserError(
            "no such file",
            where=str(path),
            fix=f"Give a {', '.join(SUFFIXES)} file; paths start at the experiment file.",
        )
    if path.suffix in (".parquet", ".arrow"):
        return _table_rows(path)
    rows = _csv_rows(path, faults) if _ending(path) in (".csv", ".tsv") else _json_rows(path, faults)
    return rows if path.suffix in SUFFIXES else _unpacked(rows, path)


def _ending(path: Path) -> str:
    """The ending of a file's name, without that of its packing."""
    return path.suffixes[-2] if path.suffix in PACKED and path.suffixes[1:] else path.suffix


def _opened(path: Path) -> BinaryIO:
    """The file for reading, unpacked."""
    if path.suffix == ".zst":
        import pyarrow

        return cast(BinaryIO, io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd")))
    opens: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return cast(BinaryIO, opens.get(path.suffix, open)(path, "rb"))


def _unpacked(rows: Iterator[Placed], path: Path) -> Iterator[Placed]:
    number = 0
    try:
        for placed in rows:
            number = placed.number
            yield placed
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(
            f"it cannot be unpacked after row {number}: {first_line(error)}", where=str(path), fix="Pack it again."
        ) from error


def _json_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    with _opened(path) as file:
        opening = file.read(4096).removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if opening == b"[":
        yield from _array_rows(path, faults)
        return
    # a .json file may be one object, or hold one per line
    whole = _document_rows(path)
    yield from line_rows(path, faults) if whole is None else whole


def _hub_rows(name: str, split: str, revision: str) -> Iterator[Placed]:
    import datasets

    try:
        hub_id, _, configuration = name.partition(":")
        rows = datasets.load_dataset(hub_id, configuration or None, split=split, revision=revision or None)
    except Exception as error:
        raise UserError(
            f"the data set {name!r} could not be loaded: {first_line(error)}",
            fix="Give microworld/NAME, a .json, .jsonl, .csv or .parquet file, a local data set folder, "
            "or a hub id that is reachable.",
        ) from error
    for number, row in enumerate(rows, 1):
        yield Placed(number, f"{name}[{split}], row {number}", row)


def _table_rows(path: Path) -> Iterator[Placed]:
    """The rows of a Parquet file, or of an Arrow file as `datasets` writes it."""
    import pyarrow
    import pyarrow.ipc
    import pyarrow.parquet

    number, kind = 0, path.suffix[1:].capitalize()
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


def _csv_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a CSV file with a header; every cell is text. The header shows what separates cells."""
    csv.field_size_limit(MAX_LINE_BYTES)
    # bytes that are not UTF-8 come through as lone surrogates, so that only their row is lost
    with (
        _opened(path) as packed,
        io.TextIOWrapper(packed, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        opening = file.readline()
        between = "\t" if _ending(path) == ".tsv" else max(",;\t|", key=opening.count)
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


def line_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a file with one JSON object per line."""
    number = 0
    for at, line in _lines(path, faults):
        if not line.strip():
            continue
        number += 1
        where = f"{path}:{at}"
        try:
            row = _parsed_row(line, where)
        except UserError as error:
            faults.add(error)
            continue
        yield Placed(number, where, row)


def _lines(path: Path, faults: Faults) -> Iterator[tuple[int, bytes]]:
    """Lines with their number; one that is too long is a fault, and is never held in memory as a whole."""
    with _opened(path) as file:
        at = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            at += 1
            size = len(line)
            if size > MAX_LINE_BYTES:
                while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_BYTES)):
                    size += len(line)
                faults.add(_too_long(f"{path}:{at}", size))
                continue
            yield at, line.removeprefix(BYTE_ORDER_MARK) if at == 1 else line


def _too_long(where: str, size: int) -> UserError:
    return UserError(
        f"the row has {size / 2**20:.0f} MiB, more than {MAX_LINE_BYTES // 2**20}",
        where=where,
        fix="A row is one example: split it, or fix the line ends.",
    )


def _parsed_row(line: bytes, where: str) -> Row:
    try:
        return _object(DECODER.decode(line.decode("utf-8")), where)
    except UnicodeDecodeError as error:
        wrong = f"byte {error.start + 1} of the line is not UTF-8"
        raise UserError(wrong, where=where, fix="Save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = _reason(error)
    raise UserError(f"broken JSON: {reason}", where=where, fix="Fix or remove it.")


def _document_rows(path: Path) -> list[Placed] | None:
    """The rows of a .json file that is one object: its only list of objects, or itself; None for any other file."""
    if _ending(path) != ".json":
        return None
    with _opened(path) as file:
        data = file.read(MAX_LINE_BYTES + 1)
    if len(data) > MAX_LINE_BYTES:
        return None
    try:
        whole = DECODER.decode(data.removeprefix(BYTE_ORDER_MARK).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, Mapping):
        return None
    if _is_columnar(whole):
        raise UserError(
            "it holds whole columns, not rows (as pandas' to_json writes them)",
            where=str(path),
            fix="Write rows: frame.to_json(path, orient='records', lines=True).",
        )
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    rows = lists[0] if len(lists) == 1 and not COLUMNS & set(whole) else [whole]
    return [Placed(at, f"{path}, row {at}", _object(row, f"{path}, row {at}")) for at, row in enumerate(rows, 1)]


def _is_columnar(whole: Mapping[str, Any]) -> bool:
    """Whether every column is a list of cells, or a mapping from row numbers to cells."""
    columns = [list(one) if isinstance(one, Mapping) else one for one in whole.values()]
    numbered = all(isinstance(one, Mapping) and [*one] == [str(at) for at in range(len(one))] for one in whole.values())
    cells = all(isinstance(one, list) and not any(isinstance(cell, Mapping) for cell in one) for one in columns)
    return (
        bool(COLUMNS & set(whole))
        and cells
        and (numbered or not any(isinstance(one, Mapping) for one in whole.values()))
    )


def _array_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The elements one by one, so that the error can name a broken one; nothing after it can be read reliably."""
    with _opened(path) as file:
        data = file.read().removeprefix(BYTE_ORDER_MARK)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"byte {error.start} is not UTF-8", where=f"{path}:{line}", fix="Save the file as UTF-8."
        ) from error
    at, number = _next(text, text.index("[") + 1), 0
    while text[at : at + 1] != "]":
        number += 1
        where = f"{path}, row {number}"
        row, end = _element(text, at, where)
        if end - at > MAX_LINE_BYTES:
            faults.add(_too_long(where, end - at))
        else:
            try:
                yield Placed(number, where, _object(row, where))
            except UserError as error:
                faults.add(error)
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _broken(text, at, where, "no comma or closing bracket after it")
    if text[at + 1 :].strip():
        raise _broken(text, at + 1, f"{path}, after row {number}", "text after the closing bracket")


def _next(text: str, at: int) -> int:
    """The next place, from `at`, that is not white space."""
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _element(text: str, at: int, where: str) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        raise _broken(text, error.pos, where, error.msg) from error
    except (ValueError, RecursionError) as error:
        raise _broken(text, at, where, _reason(error)) from error


def _broken(text: str, at: int, where: str, reason: str) -> UserError:
    line, column = text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
    fix = "Fix or remove it; nothing after a broken row of an array can be read, so it cannot be skipped."
    return UserError(f"broken JSON: {reason} at line {line}, column {column}", where=where, fix=fix)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that occurs twice in one object: Python's reader would drop a value in silence."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} occurs twice in one object")
    return found


# columns of rows: an object that has one is a row itself, whatever list of objects it holds
COLUMNS = {"messages", "conversations", "instances", "prompt", "instruction", "question", "problem", "chosen"}
DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


def _object(row: Any, where: str) -> Row:
    if not isinstance(row, Mapping):
        raise UserError(f"a row is {type(row).__name__}", where=where, fix="A row is an object with named columns.")
    return row
