"""The files of a data set's folder that belong to a split, in the layouts of the Hugging Face hub and of `datasets`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UserError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow")
PACKED = (".gz", ".bz2", ".xz", ".zst")
READABLE = (*SUFFIXES, *(suffix + packed for suffix in SUFFIXES[:5] for packed in PACKED))
READ_WORDS = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file; text files may be packed ({', '.join(PACKED)})"
NOT_DATA = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json", "card.json"}
# the words that name a split in a file's name, as `datasets` has them
SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")


def folder_and_configuration(name: str) -> tuple[Path, str] | None:
    """The folder of a name that is one, or `folder:configuration`; None for any other name."""
    folder, _, configuration = name.rpartition(":")
    if Path(name).is_dir():
        return Path(name), ""
    return (Path(folder), configuration) if folder and Path(folder).is_dir() else None


def files_of_split(folder: Path, split: str, configuration: str = "") -> list[Path]:
    """The split's data files. A folder in which no file names a split is the split `train`.

    Raises UserError where there are none, or where several configurations or splits could be meant.
    """
    if configuration:
        if not (folder / configuration).is_dir():
            raise UserError(f"it has no configuration {configuration!r}", where=str(folder), fix=_there(folder))
        return files_of_split(folder / configuration, split)
    if (folder / "dataset_dict.json").is_file():
        return _of_saved_splits(folder, split)
    files = [*_data_files(folder), *_in_folders_of_splits(folder)]
    if files:
        return _of_split(folder, sorted(files), split)
    configurations = [part for part in _folders(folder) if _data_files(part) or _in_folders_of_splits(part)]
    if len(configurations) == 1:
        return files_of_split(configurations[0], split)
    if configurations:
        names = [part.name for part in configurations]
        raise UserError(
            f"it has several configurations: {', '.join(names)}",
            where=str(folder),
            fix=f"Name one of them: {folder}:{names[0]}.",
        )
    raise UserError("it holds no data files", where=str(folder), fix=f"Put {', '.join(SUFFIXES)} files there.")


def names_no_split(folder: Path) -> bool:
    """Whether none of the folder's data files names a split, so that all of them are the split `train`."""
    files = _data_files(folder)
    return bool(files) and not any(_splits_in([path.name]) for path in files)


def _there(folder: Path) -> str:
    return f"It has {', '.join(part.name for part in _folders(folder) if part.name != 'data') or 'none'}."


def _folders(folder: Path) -> list[Path]:
    parts = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._")
    data = folder / "data"
    return [*(part for part in parts if part != data), *(_folders(data) if data in parts else ())]


def _data_files(folder: Path) -> list[Path]:
    files = [path for place in (folder, folder / "data") if place.is_dir() for path in place.iterdir()]
    return sorted(path for path in files if path.name.lower().endswith(READABLE) and path.name not in NOT_DATA)


def _in_folders_of_splits(folder: Path) -> list[Path]:
    return [file for part in _folders(folder) if _splits_in([part.name]) for file in _data_files(part)]


def _of_saved_splits(folder: Path, split: str) -> list[Path]:
    """The files of a DatasetDict that save_to_disk wrote: one folder for each split."""
    there = [part.name for part in _folders(folder)]
    if split not in there:
        raise UserError(
            f"it has no split {split!r}: {', '.join(there)}", where=str(folder), fix="Name a split that it has."
        )
    return [path for path in _data_files(folder / split) if path.suffix == ".arrow"]


def _of_split(folder: Path, files: Sequence[Path], split: str) -> list[Path]:
    """The files whose name has the split's word; several names with that word are a question to the user."""
    _check_written_once(folder, files)
    named = {path: _stem(path, folder) for path in files}
    exact = [path for path, stem in named.items() if stem == _bare(split)]
    if exact:
        return exact
    splits = {path: _splits_in([*path.relative_to(folder).parts]) for path in files}
    saved_as = _saved_split(folder)
    if saved_as or not any(splits.values()):
        only = saved_as or "train"
        if split != only:
            raise UserError(
                f"it has no split {split!r}: no file names a split, so all of them are {only!r}",
                where=str(folder),
                fix=f"Name the split {only}, or put the split's word into the file names (rows_{split}.jsonl).",
            )
        return list(files)
    wanted = _splits_in([split]) or {split}
    found = [path for path in files if splits[path] & wanted] if wanted & set(SPLITS) else []
    if not found or (_bare(split) not in _words_of_splits()):
        there = ", ".join(str(path.relative_to(folder)) for path in files)
        raise UserError(f"it has no split {split!r}: {there}", where=str(folder), fix="Name a split that it has.")
    names = sorted({named[path] for path in found})
    if len(names) > 1 or any(len(splits[path]) > 1 for path in found):
        raise UserError(
            f"the split {split!r} may be {' or '.join(names)}",
            where=str(folder),
            fix=f"Name one of them as the split (split: {names[0]}), or the file itself.",
        )
    return found


def _check_written_once(folder: Path, files: Sequence[Path]) -> None:
    """Raise UserError where a folder has rows.jsonl and rows.csv: their rows would count twice."""
    seen: dict[Path, Path] = {}
    for path in files:
        bare = path.with_name(_without_endings(path.name))
        if (other := seen.setdefault(bare, path)) != path:
            both = " and ".join(str(one.relative_to(folder)) for one in (other, path))
            raise UserError(f"{both} may hold the same rows", where=str(folder), fix="Remove or rename one of them.")


def _without_endings(name: str) -> str:
    for suffix in (*PACKED, *SUFFIXES):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


def _saved_split(folder: Path) -> str:
    """The split that save_to_disk noted in its folder, or ""."""
    try:
        return str(json.loads((folder / "state.json").read_text("utf-8")).get("_split") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _stem(path: Path, folder: Path) -> str:
    """The name without its shard, endings and digits: files of one stem belong together."""
    parts = [part for part in path.relative_to(folder).parent.parts if part != "data"]
    name = _without_endings(path.name)
    # in a folder named after a split, files are its parts, whatever their names
    return _bare("_".join(parts) if _splits_in(parts) else "_".join([*parts, SHARD.sub("", name)]))


def _bare(name: str) -> str:
    """The words of the name in lower case; gsm8kTrain has two."""
    return "_".join(word.lower() for word in re.split(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])", name) if word)


def _splits_in(names: Sequence[str]) -> set[str]:
    """The splits whose words are in the names, between characters that are not letters."""
    words = {word for name in names for word in _bare(name).split("_")}
    return {split for split, known in SPLITS.items() if words & set(known)}


def _words_of_splits() -> set[str]:
    return {word for known in SPLITS.values() for word in known}
