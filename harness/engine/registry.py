"""The plugins: files in `methods/` and `benchmarks/`, and other packages' entry points.

The file's name is the plugin's name. A plugin is imported when it is used; listing only reads file names.
Other packages register through the entry points `bakeoff.methods` and `bakeoff.benchmarks`, each naming
a class. Two plugins of one name are both refused, and so is a name that a built-in one has already.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Literal

from harness.benchmark import Benchmark
from harness.engine.store.keys import module_file
from harness.errors import UserError, did_you_mean, first_line
from harness.method import Method

Kind = Literal["methods", "benchmarks"]
CONTRACTS: dict[Kind, type[Any]] = {"methods": Method, "benchmarks": Benchmark}
_TARGET = re.compile(r"(?P<module>\w+(\.\w+)*)\s*:\s*(?P<attribute>\w+(\.\w+)*)\s*(\[.*\])?")


@dataclass(frozen=True)
class EntryPoint:
    """An entry point of an installed distribution.

    target  MODULE:CLASS, as the distribution writes it
    """

    name: str
    target: str
    distribution: str
    version: str

    @property
    def module(self) -> str:
        """The module that it names. Raises UserError where it names none."""
        return self._part("module")

    def load(self) -> Any:
        """The object that it names."""
        found = importlib.import_module(self.module)
        for name in self._part("attribute").split("."):
            found = getattr(found, name)
        return found

    def file(self) -> Path:
        """The module's file, found without importing anything."""
        if (found := module_file(self.module)) is None:
            what = f"the entry point {self.name!r} of {self.distribution} names the module {self.module}, which "
            if not (folder := _folder_called(self.module)):
                raise UserError(f"{what}does not exist", where=self.distribution)
            raise UserError(
                f"{what}the folder {folder} hides: Python takes that folder for the package",
                where=self.distribution,
                fix=f"Rename {folder}, or run it where {folder.parent} is not on Python's path.",
            )
        return found

    def _part(self, name: str) -> str:
        if not (found := _TARGET.fullmatch(self.target)):
            what = f"the entry point {self.name!r} is {self.target!r}"
            raise UserError(what, where=self.distribution, fix="Write NAME = MODULE:CLASS.")
        return found[name]


def _folder_called(module: str) -> Path | None:
    """The folder without `__init__.py` that Python imports in place of the top-level module."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin or not spec.submodule_search_locations or top != module:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


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
    """The plugin's class. Raises UserError for an unknown or ambiguous name, and a file without exactly one plugin."""
    if name not in plugin_names(kind):
        raise UserError(f"no {kind[:-1]} is called {name!r}", fix=did_you_mean(name, plugin_names(kind)))
    _require_one(kind, name)
    outside = outside_point(kind, name)
    try:
        found = outside.load() if outside else _only_plugin(kind, name)
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a module may call `exit`
        file = source_file(kind, name)
        what = f"the {kind[:-1]} {name!r} does not load: {type(error).__name__}: {first_line(error)}"
        raise UserError(what, where=place_in_plugin(error, file), fix="Correct the file.") from error
    where = str(source_file(kind, name))
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        what = f"{found.__name__} does not define {', '.join(missing)}"
        raise UserError(what, where=where, fix=f"See {kind}/README.md for the purpose of each.")
    if not (inspect.isclass(found) and dataclasses.is_dataclass(found) and issubclass(found, CONTRACTS[kind])):
        what = f"{getattr(found, '__name__', type(found).__name__)} is not a {kind[:-1]}"
        fix = f"It must be a frozen dataclass that derives from harness.{kind[:-1]}.{CONTRACTS[kind].__name__}."
        raise UserError(what, where=where, fix=fix)
    if not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        fix = (
            "Write @dataclass(frozen=True) above it: settings that could change would not be those of its content key."
        )
        raise UserError(f"{found.__name__} is a dataclass that is not frozen", where=where, fix=fix)
    setattr(found, "plugin", name)  # noqa: B010
    return found


def outside_point(kind: Kind, name: str) -> EntryPoint | None:
    """The entry point that registers the plugin; None for a built-in one."""
    return next(iter(_outside(kind).get(name, ())), None)


def _require_one(kind: Kind, name: str) -> None:
    """Raise UserError where several plugins have the name."""
    points = _outside(kind).get(name, ())
    own = plugin_folder(kind) / f"{name}.py"
    places = [f"{own} (built in)"] if own.exists() else []
    places += [f"{_place(point)} ({point.distribution} {point.version})" for point in points]
    if len(places) > 1:
        what = f"{len(places)} {kind} are called {name!r}: {' and '.join(places)}"
        raise UserError(what, fix="Uninstall one, or give its entry point another name.")


def _place(point: EntryPoint) -> str:
    try:
        return str(point.file())
    except UserError:
        return point.target


def place_in_plugin(error: BaseException, file: Path) -> str:
    """FILE:LINE of the last step that an error took through a plugin's file, or the file alone."""
    steps = [step.lineno for step in traceback.extract_tb(error.__traceback__) if Path(step.filename) == file]
    own = error.lineno if isinstance(error, SyntaxError) else steps[-1] if steps else None
    return f"{file}:{own}" if own else str(file)


def source_file(kind: Kind, name: str) -> Path:
    """The file that holds a plugin, found without importing it."""
    outside = outside_point(kind, name)
    return outside.file() if outside else plugin_folder(kind) / f"{name}.py"


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
def _outside(kind: Kind) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of other packages by name: more than one where packages clash.

    `importlib.metadata.entry_points` fails as a whole at one malformed file, so the files are read here.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    seen: set[str] = set()
    for installed in distributions():
        text = installed.read_text("entry_points.txt") or ""
        if "bakeoff." not in text:
            continue
        name = re.sub(r"[-_.]+", "-", _stated(installed, "Name")).lower()
        if name not in seen:  # of two copies, Python imports the first on its path
            seen.add(name)
            for point in _points(installed, text, f"bakeoff.{kind}"):
                if point not in found.get(point.name, ()):
                    found[point.name] = (*found.get(point.name, ()), point)
    return found


def _points(installed: Distribution, text: str, group: str) -> Iterator[EntryPoint]:
    """The entry points of one group in an `entry_points.txt`; a line without `=` is one without a target."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == group and line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            stated = _stated(installed, "Name"), _stated(installed, "Version")
            yield EntryPoint(name.strip(), target.strip(), *stated)


def _stated(installed: Distribution, field: str) -> str:
    """A field of the distribution's metadata."""
    try:
        return installed.metadata[field] or "unknown"
    except (TypeError, KeyError):  # it has no metadata
        return "unknown"
