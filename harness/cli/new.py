"""`bakeoff new`: a method or benchmark that works, with its test, and as a package with its entry point."""

from __future__ import annotations

import importlib.util
import keyword
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rich.console import Console

from harness.engine import registry
from harness.engine.progress import print_line
from harness.engine.registry import Kind
from harness.errors import UserError
from harness.files import HARNESS

TEMPLATES = HARNESS / "cli" / "templates"


def new_verb(kind: Literal["method", "benchmark"], name: str, *, package: bool) -> None:
    """Write the files and say what comes next. Raises UserError for a name that is taken, and files that are there."""
    plural: Kind = "methods" if kind == "method" else "benchmarks"
    _require_free(name)
    files = dict(_files(kind, plural, name, package))
    if there := [str(path) for path in files if path.exists()]:
        raise UserError("it exists already", where=there[0], fix="Choose another name, or remove it.")
    if package and importlib.util.find_spec(name) is not None:
        raise UserError(f"a module is called {name!r} already", fix=f"Choose another name, such as my_{name}.")
    say = Console(soft_wrap=True)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print_line(say, f"wrote {path}")
    install = f"pip install -e ./{name}, then: " if package else ""
    print_line(say, f"\nIt works as it is. Next: {install}bakeoff check {name}; change it; see {plural}/README.md.")


def _require_free(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise UserError(f"{name!r} is not a name for a plugin", fix="Use letters, digits and _, such as my_method.")
    for kind in registry.CONTRACTS:
        if name in registry.plugin_names(kind):
            raise UserError(f"a {kind[:-1]} is called {name!r} already", fix="Choose another name.")


def _files(kind: str, plural: Kind, name: str, package: bool) -> Iterator[tuple[Path, str]]:
    """Every file to write, with its text."""
    words = {"CLASS": "".join(part.title() for part in name.split("_")), "KIND": kind}
    if package:
        folder = Path(name)
        yield folder / "pyproject.toml", _filled("package", name, words)
        yield folder / f"{name}.py", _filled(kind, name, words)
        yield folder / "tests" / f"test_{name}.py", _filled(f"test_{kind}", name, words | {"MODULE": name})
        return
    if Path(plural).resolve() != registry.plugin_folder(plural).resolve() or not Path("tests").is_dir():
        raise UserError(
            f"the current folder is not the checkout of bakeoff that runs, so {plural}/ is not the folder of {plural}",
            fix=f"Use --package, or run it in {registry.plugin_folder(plural).parent}.",
        )
    yield Path(plural) / f"{name}.py", _filled(kind, name, words)
    yield Path("tests") / f"test_{name}.py", _filled(f"test_{kind}", name, words | {"MODULE": f"{plural}.{name}"})


def _filled(template: str, name: str, words: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.txt").read_text("utf-8")
    for word, value in {**words, "NAME": name}.items():
        text = text.replace(word, value)
    return text
