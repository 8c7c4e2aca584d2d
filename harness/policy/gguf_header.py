"""The header of a GGUF file: its version, its small values, and the types and shapes of its tensors.

The package gguf makes several arrays of each value of a vocabulary, which takes half a minute for a large one. A plan
needs no vocabulary, so arrays are stepped over. Layout: little-endian (version 3 also has big-endian files, which are
refused); magic, version, number of tensors, number of values; each value as key, type, content; each tensor as name,
number of dimensions, dimensions, type of storage, offset.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import UserError, first_line

VERSIONS = (2, 3)
# type of a value -> its format
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
MOST_DEEP = 2  # arrays in arrays
MOST_DIMENSIONS = 8
MOST_STEPS = 5_000_000  # values, tensors and texts: a vocabulary has some 300,000, and its merges twice as many
SMALLEST = 13  # bytes of a value: the length of its key, its type, one byte
SMALLEST_TENSOR = 24


@dataclass(frozen=True)
class StoredTensor:
    """A tensor's name, number of type of storage, shape as the file has it, and where its content begins.

    start  in bytes from the beginning of the file
    """

    name: str
    kind: int
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        """The number of its values."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[dict[str, Any], list[StoredTensor]]:
    """The numbers and texts of a GGUF file by key (of an array, its length), and its tensors.

    Raises UserError for a file that ends too early or that is not as the layout says.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(content).header()
    except struct.error:
        raise damaged(path, "it ends too early") from None
    except (ValueError, OSError) as error:
        raise damaged(path, first_line(error)) from error


def damaged(path: Path, why: str) -> UserError:
    """The error for a file that cannot be what was written."""
    return UserError(f"the GGUF file is damaged: {why}", where=str(path), fix="Download it again.")


class _Reader:
    """A position in a file; a number out of bounds is a ValueError, and a position past the end a struct.error."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at, self.steps = content, 0, 0

    def header(self) -> tuple[dict[str, Any], list[StoredTensor]]:
        magic, version = self.take("4sI")
        if magic != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        if version not in VERSIONS:
            big = int.from_bytes(struct.pack("<I", version), "big") in VERSIONS
            raise ValueError(f"its version is {version}, not 2 or 3" if not big else "it is of the big-endian kind")
        tensors = self.count(SMALLEST_TENSOR, "tensors")
        values: dict[str, Any] = {}
        for _ in range(self.walked(self.count(SMALLEST, "values"))):
            key = self.text()
            if key in values:
                raise ValueError(f"it has the key {key[:40]!r} twice")
            values[key] = self.value(self.take("I")[0])
        found = [self.tensor() for _ in range(self.walked(tensors))]
        unit = values.get("general.alignment", 32)
        if not isinstance(unit, int) or unit < 1:
            raise ValueError(f"its alignment is {unit!r}")
        start = -(-self.at // unit) * unit
        return values, [replace(one, start=start + one.start) for one in found]

    def tensor(self) -> StoredTensor:
        name, dimensions = self.text(), self.take("I")[0]
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"the tensor {name[:40]!r} has {dimensions:,} dimensions")
        shape = self.take(f"{dimensions}Q")
        kind, start = self.take("IQ")
        return StoredTensor(name, kind, shape, start)

    def walked(self, count: int) -> int:
        """A number of things that are gone through one by one: not so many that it takes long."""
        self.steps += count
        if self.steps > MOST_STEPS:
            raise ValueError(f"it has more than {MOST_STEPS:,} values, tensors and texts")
        return count

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def count(self, size: int, what: str) -> int:
        """A number of things that take at least so many bytes each: no more than the file has room for."""
        (count,) = self.take("Q")
        if count * size > len(self.content) - self.at:
            raise ValueError(f"it names {count:,} {what}, more than it has room for")
        return int(count)

    def text(self) -> str:
        length = self.count(1, "bytes of a text")
        self.at += length
        return self.content[self.at - length : self.at].decode("utf-8", "replace")

    def value(self, kind: int, level: int = 0) -> Any:
        """The next value, of the given type; of an array, its length."""
        if kind in NUMBERS:
            return self.take(NUMBERS[kind])[0]
        if kind == TEXT:
            return self.text()
        if kind != ARRAY:
            raise ValueError(f"it has a value of the unknown type {kind}")
        if level == MOST_DEEP:
            raise ValueError(f"it has arrays in arrays, deeper than {MOST_DEEP}")
        (inner,) = self.take("I")
        width = struct.calcsize(f"<{NUMBERS[inner]}") if inner in NUMBERS else 8 if inner == TEXT else 12
        count = self.count(width, "values of an array")
        self.skip(inner, count, width, level)
        return count

    def skip(self, kind: int, count: int, width: int, level: int) -> None:
        """Step over the values of an array."""
        if kind in NUMBERS:
            self.at += count * width
        elif kind == TEXT:
            at, content, unpack = self.at, self.content, struct.Struct("<Q").unpack_from
            for _ in range(self.walked(count)):  # a length says where the next is
                at += 8 + unpack(content, at)[0]
                if at > len(content):
                    raise struct.error
            self.at = at
        else:
            for _ in range(self.walked(count)):
                self.value(kind, level + 1)
