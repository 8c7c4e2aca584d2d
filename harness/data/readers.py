"""From a file, a folder or a hub id to rows with their place: JSON, JSON lines, CSV, Parquet.

Lines and Parquet batches are streamed; a JSON array and its rows are in memory together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.csv_rows import csv_rows
from harness.data.json_rows import array_rows, document_rows, line_rows, starts_with_bracket
from harness.data.placed import Faults, Placed
from harness.errors import UserError

SUFFIXES = (".json", ".jsonl", ".csv", ".parquet")


def is_local(name: str) -> bool:
    """Whether a data set's name is that of a local file or folder."""
    return name.endswith(SUFFIXES) or Path(name).is_dir()


def label_of(name: str) -> str:
    """What a set is called in cards and reports: folder and file (many sets have a test.jsonl), or the hub id."""
    return "/".join(Path(name).resolve().parts[-2:]) if is_local(name) else name


def placed_rows(name: str, faults: Faults, split: str = "train", revision: str = "") -> Iterator[Placed]:
    """Every row of a local file, a local folder of files, or a data set of the hub (`owner/name`, or
    `owner/name:configuration` where it has several).

    A bad row goes to `faults`; what makes the rest unreadable raises UserError.
    """
    path = Path(name)
    if path.is_dir():
        return _renumbered(row for file in _files_of(path, split) for row in _file_rows(file, faults))
    if name.endswith(SUFFIXES):
        return _file_rows(path, faults)
    return _hub_rows(name, split, revision)


def _files_of(folder: Path, split: str) -> list[Path]:
    """The split's files in a hub layout: named after it in the folder or in data/, or all where none says a split."""
    files = sorted(path for place in (folder, folder / "data") for path in place.glob("*") if path.suffix in SUFFIXES)
    files = [path for path in files if path.name not in {"dataset_infos.json", "dataset_info.json", "state.json"}]
    named = [path for path in files if path.name.startswith(split)]
    if named:
        return named
    if not files:
        raise UserError("it holds no data files", where=str(folder), fix=f"Put {', '.join(SUFFIXES)} files there.")
    others = [p for p in files if p.name.startswith(("train", "test", "validation", "dev"))]
    if others:
        raise UserError(
            f"it has no split {split!r}: {', '.join(path.name for path in files)}",
            where=str(folder),
            fix="Name a split.",
        )
    return files


def _renumbered(rows: Iterable[Placed]) -> Iterator[Placed]:
    for number, placed in enumerate(rows, 1):
        yield placed._replace(number=number)


def _file_rows(path: Path, faults: Faults) -> Iterator[Placed]:
    if not path.is_file():
        raise UserError(
            "no such file",
            where=str(path),
            fix=f"Give a {', '.join(SUFFIXES)} file; paths start at the experiment file.",
        )
    if path.suffix == ".csv":
        return csv_rows(path, faults)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if starts_with_bracket(path):
        return array_rows(path, faults)
    # a .json file may be one object, or hold one per line
    whole = document_rows(path)
    return line_rows(path, faults) if whole is None else iter(whole)


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


def _hub_rows(name: str, split: str, revision: str) -> Iterator[Placed]:
    import datasets

    try:
        hub_id, _, configuration = name.partition(":")
        rows = datasets.load_dataset(hub_id, configuration or None, split=split, revision=revision or None)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            f"the data set {name!r} could not be loaded: {reason}",
            fix="Give microworld/NAME, a .json, .jsonl, .csv or .parquet file, a local data set folder, "
            "or a hub id that is reachable.",
        ) from error
    for number, row in enumerate(rows, 1):
        yield Placed(number, f"{name}[{split}], row {number}", row)
