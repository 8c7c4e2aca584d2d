"""JSON lines that others wrote, row by row: whatever is wrong with one is a UserError with its file and row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line

_BROKEN = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError)
_MARK = b"\xef\xbb\xbf"


def json_line_rows(file: Path, fix: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(row, bytes, object) of every line that is not blank. The file may be larger than the memory."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    whole = line.removeprefix(_MARK) if number == 1 else line
                    yield number, len(line), _object(whole, f"{file}, row {number}", fix)
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}", where=str(file), fix=fix) from None


def _object(line: bytes, where: str, fix: str) -> dict[str, Any]:
    with well_formed(where, fix):
        try:
            found = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            raise UserError("it is not text in UTF-8", where=where, fix="Save the file as UTF-8.") from None
        if not isinstance(found, dict):
            raise TypeError(f"it is a {type(found).__name__}")
        return found


@contextmanager
def well_formed(where: str, fix: str) -> Iterator[None]:
    """Whatever a block finds missing or of another kind than it needs is a UserError."""
    try:
        yield
    except _BROKEN as error:
        lacks = f"it lacks {error}" if isinstance(error, KeyError) else f"it is not a whole JSON object: {_said(error)}"
        raise UserError(lacks, where=where, fix=fix) from None


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else first_line(error)
