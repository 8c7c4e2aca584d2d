"""The plugins: files in `methods/` and `benchmarks/`, and other packages' entry points.

The file's name is the plugin's name. A plugin is imported when it is used; listing only reads file names.
Other packages register through the entry points `bakeoff.methods` and `bakeoff.benchmarks`, each naming
a class.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import traceback
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from harness.benchmark import Benchmark
from harness.errors import UserError, did_you_mean
from harness.method import Method

Kind = Literal["methods", "benchmarks"]
CONTRACTS: dict[Kind, type[Any]] = {"methods": Method, "benchmarks": Benchmark}


@lru_cache
def plugin_folder(kind: Kind) -> Path:
    """The folder of the built-in plugins."""
    spec = importlib.util.find_spec(kind)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the package {kind!r} is not installed", fix="Install bakeoff with `make` or `pip install -e .`."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def plugin_names(kind: Kind) -> list[str]:
    """Every plugin's name, sorted."""
    files = {path.stem for path in plugin_folder(kind).glob("*.py") if not path.stem.startswith("_")}
    return sorted(files | set(_outside(kind)))


def plugin_class(kind: Kind, name: str) -> type[Any]:
    """The plugin's class. Raises UserError for an unknown name or a file without exactly one plugin."""
    if name not in plugin_names(kind):
        raise UserError(f"no {kind[:-1]} is called {name!r}", fix=did_you_mean(name, plugin_names(kind)))
    outside = _outside(kind).get(name)
    try:
        found = outside.load() if outside else _only_plugin(kind, name)
    except UserError:
        raise
    except Exception as error:
        file = source_file(kind, name)
        what = f"the {kind[:-1]} {name!r} does not load: {type(error).__name__}: {error}"
        raise UserError(what, where=f"{file}{_line_of(error, file)}", fix="Correct the file.") from error
    where = str(source_file(kind, name))
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        what = f"{found.__name__} does not define {', '.join(missing)}"
        raise UserError(what, where=where, fix=f"See {kind}/README.md for the purpose of each.")
    if not (dataclasses.is_dataclass(found) and issubclass(found, CONTRACTS[kind])):
        fix = f"It must be a frozen dataclass that derives from harness.{kind[:-1]}.{CONTRACTS[kind].__name__}."
        raise UserError(f"{found.__name__} is not a {kind[:-1]}", where=where, fix=fix)
    setattr(found, "plugin", name)  # noqa: B010
    return found


def _line_of(error: Exception, file: Path) -> str:
    """`:LINE` of the last step that the error took through the file, or nothing."""
    steps = [step.lineno for step in traceback.extract_tb(error.__traceback__) if Path(step.filename) == file]
    own = error.lineno if isinstance(error, SyntaxError) else steps[-1] if steps else None
    return f":{own}" if own else ""


def source_file(kind: Kind, name: str) -> Path:
    """The file that holds a plugin, found without importing it."""
    outside = _outside(kind).get(name)
    if outside is None:
        return plugin_folder(kind) / f"{name}.py"
    spec = importlib.util.find_spec(outside.module)
    if spec is None or spec.origin is None:
        raise UserError(f"the entry point {name!r} names the module {outside.module}, which does not exist")
    return Path(spec.origin)


def summary(kind: Kind, name: str) -> str:
    """The first line of the plugin's module docstring, read without importing it."""
    text = source_file(kind, name).read_text("utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split("\n", 1)[0]


def _only_plugin(kind: Kind, name: str) -> type[Any]:
    module = importlib.import_module(f"{kind}.{name}")
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, CONTRACTS[kind])
        and value.__module__ == module.__name__
        and dataclasses.is_dataclass(value)
    ]
    if len(own) != 1:
        what = f"it defines {len(own)} {kind}, and a plugin file defines one"
        fix = f"Write one frozen dataclass deriving from {CONTRACTS[kind].__name__}."
        raise UserError(what, where=str(plugin_folder(kind) / f"{name}.py"), fix=fix)
    return own[0]


@lru_cache
def _outside(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"bakeoff.{kind}")}
