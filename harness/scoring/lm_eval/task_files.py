"""The files of a task of lm-eval that is written in YAML: what it includes, its Python files, and its local data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.errors import UserError


def files_of_task(path: Path) -> Iterator[Path]:
    """A task's file, the Python files in its folder, the files that it includes, and the local data that it names."""
    if not path.is_file():
        raise UserError("the task file does not exist", where=str(path), fix="Name a YAML file or a task of lm-eval.")
    yield path
    yield from path.parent.glob("*.py")
    content = _content_of(path)
    if included := content.get("include"):
        yield from files_of_task(path.parent / included)
    names = _data_files(content)
    folder = _start_of(names, path)
    yield from (folder / name for name in names if (folder / name).is_file())


def folder_of_data(path: Path) -> Path:
    """The folder at which the relative names of a task's data files start.

    lm-eval starts them at the current folder. Where none of them is there, they start at the task's own file, as paths
    in an experiment start at the experiment.
    """
    return _start_of(_data_files(_content_of(path)), path)


def _start_of(data_files: list[str], path: Path) -> Path:
    names = [name for name in data_files if not Path(name).is_absolute()]
    elsewhere = not any(Path(name).exists() for name in names) and any((path.parent / name).exists() for name in names)
    return path.parent.resolve() if elsewhere else Path()


def _data_files(content: Mapping[str, Any]) -> list[str]:
    return list(_texts((content.get("dataset_kwargs") or {}).get("data_files") or ()))


def _content_of(path: Path) -> Mapping[str, Any]:
    """The content of a task's file, in which lm-eval's `!function module.name` is a tag and nothing is imported."""
    reader = YAML()
    reader.allow_duplicate_keys = True
    try:
        content = reader.load(path.read_text("utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the task file is not YAML: {reason}", where=str(path), fix="Correct it.") from error
    return content if isinstance(content, Mapping) else {}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    else:
        for one in value:
            yield from _texts(one)
