"""Reading and writing files: whatever is written appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import UserError

HARNESS = Path(__file__).parent  # the package that holds every room
POINTER = b"version https://git-lfs.github.com/spec/"


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS leaves in the place of one that was not fetched."""
    with path.open("rb") as file:
        return file.read(len(POINTER)) == POINTER


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a partial file to write; it replaces `path` once the block has ended and its bytes are on the disk.

    Readers see the old file or the new one. After an error the old file is unchanged and the partial one is removed.
    Its name holds the process, so that two processes never write one file. Raises UserError where the file cannot be
    written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        sync(partial)
        os.replace(partial, path)
        sync(path.parent)
    except OSError as error:
        raise UserError(
            f"it cannot be written: {error.strerror or error}",
            where=str(path),
            fix="Free some space, or name a place that you may write to.",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 with `\\n` line ends; half a character (a lone surrogate) is written as its escape."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line, in the order given: equal rows give equal bytes."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys: equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file of a results folder. Raises UserError where the file does not exist."""
    if not path.exists():
        raise UserError("no such results file", where=str(path), fix="Run `bakeoff run EXPERIMENT` first.")
    return json.loads(path.read_text(encoding="utf-8"))


def sha256(path: Path) -> str:
    """The SHA-256 of the file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_sealed(path: Path, value: Any) -> None:
    """Write a value as JSON together with its digest, for `read_sealed`."""
    write_json(path, {"sha256": _seal(value), "value": value})


def remember(path: Path, value: Any) -> None:
    """Keep a value that can be computed again, for `read_sealed`; where nothing can be written it is not kept."""
    with suppress(UserError):
        write_sealed(path, value)


def read_sealed(path: Path) -> Any:
    """The value that `write_sealed` wrote; None where the file is missing or damaged: what it holds is made again."""
    try:
        held = json.loads(path.read_bytes())
        return held["value"] if held["sha256"] == _seal(held["value"]) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _seal(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sibling_file(path: Path, ending: str) -> Path:
    """The file in the same folder with the same stem and another ending."""
    return path.with_name(f"{path.stem}.{ending}")


def without_folder(name: str) -> str:
    """The name of a file for others to read: a path of this machine is cut to its last part, a hub id stays."""
    return Path(name).name if Path(name).is_absolute() else name


def check_writable(folder: Path) -> None:
    """Make the folder, and raise UserError where no file can be written to it: before hours of work, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        what = f"the results cannot be written: {error.strerror}"
        raise UserError(what, where=str(folder), fix="Name another folder with --out.") from None


def check_out(out: Path, inputs: Sequence[str]) -> None:
    """Raise UserError where an output would overwrite an input or could not be read back."""
    if out.suffix != ".jsonl":
        raise UserError(f"--out is {out}", fix="Name a .jsonl file.")
    if any(Path(name).resolve() == out.resolve() for name in inputs):
        raise UserError(f"--out {out} is an input as well", fix="Name another file.")
