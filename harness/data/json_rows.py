"""The rows of JSON files: lines, an array, or one object. Lines are streamed; an array is held in memory as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.placed import MAX_LINE_BYTES, Faults, Placed, Row, ending, opened
from harness.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def json_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    with opened(path) as file:
        opening = file.read(4096).removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if opening == b"[":
        yield from _array_rows(path, faults)
        return
    # a .json file may be one object, or hold one per line
    whole = _document_rows(path)
    yield from line_rows(path, faults) if whole is None else whole


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
    with opened(path) as file:
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
    if ending(path) != ".json":
        return None
    with opened(path) as file:
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
    with opened(path) as file:
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
