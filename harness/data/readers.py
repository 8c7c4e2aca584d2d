"""From the name of a data set to its rows with their places: a file, a folder of files, or a set of the hub."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness.data.folders import READ_WORDS, READABLE, SUFFIXES, files_of_split, folder_and_configuration
from harness.data.json_rows import json_rows
from harness.data.placed import Faults, Placed, ending
from harness.data.table_rows import csv_rows, table_rows
from harness.errors import Unreachable, UserError, first_line
from harness.files import is_pointer


def is_local(name: str) -> bool:
    """Whether a data set's name is that of a local file or folder."""
    return name.lower().endswith(READABLE) or folder_and_configuration(name) is not None


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
    if name.lower().endswith(READABLE):
        return _file_rows(Path(name), faults)
    if Path(name).is_file():
        raise UserError(
            f"files that end in {Path(name).suffix or 'nothing'} are not read", where=name, fix=f"Give a {READ_WORDS}."
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError("no such file or folder", where=name, fix="Paths start at the experiment file.")
    return _hub_rows(name, split, revision)


def _file_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    if not path.is_file():
        raise UserError(
            "no such file", where=str(path), fix=f"Give a {READ_WORDS}; paths start at the experiment file."
        )
    if is_pointer(path):
        raise UserError(
            "it is a pointer of Git LFS and not the file itself",
            where=str(path),
            fix="Run `git lfs pull` where it was cloned, or fetch the file again.",
        )
    if ending(path) in (".parquet", ".arrow"):
        return table_rows(path)
    rows = csv_rows(path, faults) if ending(path) in (".csv", ".tsv") else json_rows(path, faults)
    return rows if path.suffix.lower() in SUFFIXES else _unpacked(rows, path)


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


def _hub_rows(name: str, split: str, revision: str) -> Iterator[Placed]:
    import datasets

    try:
        hub_id, _, configuration = name.partition(":")
        rows = datasets.load_dataset(hub_id, configuration or None, split=split, revision=revision or None)
    except Exception as error:
        # it was found where its split or its configuration was not
        kind = UserError if isinstance(error, ValueError) else Unreachable
        raise kind(
            f"the data set {name!r} could not be loaded: {first_line(error)}",
            fix=f"Give microworld/NAME, a {READ_WORDS}, a folder of them, or a hub id that is reachable.",
        ) from error
    for number, row in enumerate(rows, 1):
        yield Placed(number, f"{name}[{split}], row {number}", row)
