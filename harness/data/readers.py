"""From a file, a folder or a hub id to rows with their place: JSON, JSON lines, CSV, Parquet.

Lines and Parquet batches are streamed; a JSON array is held in memory as a whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UserError, did_you_mean, first_line

Row = Mapping[str, Any]
SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")
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
    return name.endswith(SUFFIXES) or Path(name).is_dir()


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
    path = Path(name)
    if path.is_dir():
        rows = (row for file in _files_of(path, split) for row in _file_rows(file, faults))
        return (placed._replace(number=number) for number, placed in enumerate(rows, 1))
    if name.endswith(SUFFIXES):
        return _file_rows(path, faults)
    return _hub_rows(name, split, revision)


def _files_of(folder: Path, split: str) -> list[Path]:
    """The split's files in a hub layout: named after it in the folder or in data/, or all where none names a split."""
    files = sorted(path for place in (folder, folder / "data") for path in place.glob("*") if path.suffix in SUFFIXES)
    files = [path for path in files if path.name not in {"dataset_infos.json", "dataset_info.json", "state.json"}]
    named = [path for path in files if path.name.startswith(split)]
    if named:
        return named
    if not files:
        raise UserError("it holds no data files", where=str(folder), fix=f"Put {', '.join(SUFFIXES)} files there.")
    if any(path.name.startswith(("train", "test", "validation", "dev")) for path in files):
        there = ", ".join(path.name for path in files)
        raise UserError(f"it has no split {split!r}: {there}", where=str(folder), fix="Name a split that it has.")
    return files


def _file_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    if not path.is_file():
        raise UserError(
            "no such file",
            where=str(path),
            fix=f"Give a {', '.join(SUFFIXES)} file; paths start at the experiment file.",
        )
    if path.suffix == ".csv":
        return _csv_rows(path, faults)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    with path.open("rb") as file:
        opening = file.read(4096).removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if opening == b"[":
        return _array_rows(path, faults)
    # a .json file may be one object, or hold one per line
    whole = _document_rows(path)
    return line_rows(path, faults) if whole is None else iter(whole)


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


def _parquet_rows(path: Path) -> Iterator[Placed]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                yield Placed(number, f"{path}, row {number}", row)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"no readable Parquet after row {number}: {error}", where=str(path), fix="Write the file again."
        ) from error


def _csv_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a CSV file with a header; every cell is text."""
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
                raise UserError(f"broken CSV: {error}", where=where, fix="Fix the quotes of this row.") from error
            except UserError as error:
                if names is None:
                    raise
                faults.add(error)
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
    with path.open("rb") as file:
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
    if path.suffix != ".json" or path.stat().st_size > MAX_LINE_BYTES:
        return None
    try:
        whole = DECODER.decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK).decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, Mapping):
        return None
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    rows = lists[0] if len(lists) == 1 and not COLUMNS & set(whole) else [whole]
    return [Placed(at, f"{path}, row {at}", _object(row, f"{path}, row {at}")) for at, row in enumerate(rows, 1)]


def _array_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The elements one by one, so that the error can name a broken one; nothing after it can be read reliably."""
    data = path.read_bytes().removeprefix(BYTE_ORDER_MARK)
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
