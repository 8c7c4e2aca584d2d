"""Rows of JSON: an array of objects, or one object per line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.placed import MAX_LINE_BYTES, Faults, Placed
from harness.errors import UserError


def starts_with_bracket(path: Path) -> bool:
    """Whether the file holds an array."""
    with path.open("rb") as file:
        return file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def line_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The rows of a file with one object per line."""
    number = 0
    for at, line in _lines(path, faults):
        if not line.strip():
            continue
        number += 1
        try:
            row = _object(_parsed(_decoded(line, f"{path}:{at}"), f"{path}:{at}"), f"{path}:{at}")
        except UserError as error:
            faults.meet(error)
            continue
        yield Placed(number, f"{path}:{at}", row)


def document_rows(path: Path) -> list[Placed] | None:
    """The rows of a .json file that is one object: its only list of objects, or itself. None if it is no such file."""
    if path.suffix != ".json" or path.stat().st_size > MAX_LINE_BYTES:
        return None
    try:
        whole = DECODER.decode(path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(whole, Mapping):
        return None
    lists = [value for value in whole.values() if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    rows = lists[0] if len(lists) == 1 and not COLUMNS & set(whole) else [whole]
    return [Placed(at, f"{path}, row {at}", _object(row, f"{path}, row {at}")) for at, row in enumerate(rows, 1)]


def _lines(path: Path, faults: Faults) -> Iterator[tuple[int, bytes]]:
    """Lines with their number; one that is too long is a fault, and is never held whole."""
    with path.open("rb") as file:
        at = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            at += 1
            size = len(line)
            if size > MAX_LINE_BYTES:
                while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_BYTES)):
                    size += len(line)
                faults.meet(_too_long(f"{path}:{at}", size))
                continue
            yield at, line.removeprefix(b"\xef\xbb\xbf") if at == 1 else line


def _too_long(where: str, size: int) -> UserError:
    return UserError(
        f"the row has {size / 2**20:.0f} MiB, more than {MAX_LINE_BYTES // 2**20}",
        where=where,
        fix="A row is one example: split it, or mend the line ends.",
    )


def _decoded(line: bytes, where: str) -> str:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"byte {error.start + 1} of the line is not UTF-8", where=where, fix="Save the file as UTF-8."
        ) from error


def array_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    """The elements one by one, so that a broken one is named; behind it nothing can be read with certainty."""
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
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
            faults.meet(_too_long(where, end - at))
        else:
            try:
                yield Placed(number, where, _object(row, where))
            except UserError as error:
                faults.meet(error)
        at = _next(text, end)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            raise _broken(text, at, where, "no comma or closing bracket after it")
    if text[at + 1 :].strip():
        raise _broken(text, at + 1, f"{path}, after row {number}", "text after the closing bracket")


def _next(text: str, at: int) -> int:
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
    fix = "Mend or remove it; behind a broken row of an array nothing can be read, so it cannot be skipped."
    return UserError(f"broken JSON: {reason} at line {line}, column {column}", where=where, fix=fix)


def _parsed(text: str, where: str) -> Any:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
    except (ValueError, RecursionError) as error:
        reason = _reason(error)
    raise UserError(f"broken JSON: {reason}", where=where, fix="Mend or remove it.")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that stands twice in one object would lose a value in silence."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


# columns of rows: an object that has one is a row itself, whatever list of objects it holds
COLUMNS = {"messages", "conversations", "instances", "prompt", "instruction", "question", "problem", "chosen"}
DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


def _object(row: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise UserError(f"a row is {type(row).__name__}", where=where, fix="A row is an object with named columns.")
    return row
