"""A row with its place, the handling of bad rows, and the opening of files, packed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from harness.data.folders import PACKED
from harness.errors import UserError, did_you_mean

Row = Mapping[str, Any]
# a row of training text is far shorter; a longer line means a broken file, and would fill the memory
MAX_LINE_BYTES = 32 * 2**20


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


def ending(path: Path) -> str:
    """The ending of a file's name in lower case, without that of its packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes] or [""]
    return suffixes[-2] if suffixes[-1] in PACKED and suffixes[1:] else suffixes[-1]


def opened(path: Path) -> BinaryIO:
    """The file for reading, unpacked."""
    packed = path.suffix.lower()
    if packed == ".zst":
        import pyarrow

        return cast(BinaryIO, io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd")))
    opens: dict[str, Callable[[Path, str], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    return cast(BinaryIO, opens.get(packed, open)(path, "rb"))
