"""`bakeoff new`: a method or benchmark that works, with its test, or as a package; and an entry of the ledger."""

from __future__ import annotations

import importlib.util
import json
import keyword
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from harness.cli.screen import printer
from harness.engine import registry
from harness.engine.registry import Kind
from harness.errors import UserError
from harness.files import HARNESS

TEMPLATES = HARNESS / "cli" / "templates"
LEDGER = Path("results", "ledger")
_ENTRY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def new_verb(kind: str, name: str, *, package: bool, into: Path | None) -> None:
    """Write the files and say what comes next. Raises UserError for a name that is taken, and files that are there.

    package  in a new package; into: in one that `new` wrote
    """
    plural: Kind = "methods" if kind == "method" else "benchmarks"
    _require_free(name)
    # not the folder NAME, which would hide the module NAME from a program that runs in the folder above
    folder = into or (Path(f"bakeoff-{name}") if package else None)
    files = dict(_files(kind, plural, name, folder, begun=into is not None))
    changed = _extended(into / "pyproject.toml", f"bakeoff.{plural}", name) if into else {}
    if there := [str(path) for path in files if path.exists()]:
        raise UserError("it exists already", where=there[0], fix="Choose another name, or remove it.")
    if folder and importlib.util.find_spec(name) is not None:
        raise UserError(f"a module is called {name!r} already", fix=f"Choose another name, such as my_{name}.")
    say = printer()
    for path, text in {**files, **changed}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        say(f"{'changed' if path in changed else 'wrote'} {path}")
    install = f"pip install -e {'' if folder.is_absolute() else './'}{folder}, then: " if folder else ""
    say(f"\nIt works as it is. Next: {install}bakeoff check {name}; change it; see {plural}/README.md.")
    say(f"Its tests need pytest: python -m pytest {next(path for path in files if 'tests' in path.parts)}")


def new_entry(name: str) -> None:
    """Write an entry of the ledger, with the next number. Raises UserError for a bad name, or outside of a checkout."""
    if not _ENTRY.fullmatch(name):
        fix = "Write the question in small letters, digits and hyphens, such as dpo-or-simpo."
        raise UserError(f"{name!r} is not a name for an entry of the ledger", fix=fix)
    if not LEDGER.is_dir():
        what = f"the current folder has no {LEDGER}, where the entries are"
        raise UserError(what, fix="Run it at the top of a checkout of bakeoff.")
    taken = [int(path.name[:3]) for path in LEDGER.glob("[0-9][0-9][0-9]-*")]
    number = f"{max(taken, default=0) + 1:03}"
    folder, say = LEDGER / f"{number}-{name}", printer()
    folder.mkdir()
    for part, file in (("experiment", "experiment.yaml"), ("claims", "claims.yaml"), ("readme", "README.md")):
        (folder / file).write_text(_filled(f"ledger_{part}", name, {"NUMBER": number}), "utf-8")
        say(f"wrote {folder / file}")
    say(f"\nIt works as it is. Next: bakeoff plan {folder / 'experiment.yaml'}; change it; see {LEDGER / 'README.md'}.")


def _require_free(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or not name.isascii():
        raise UserError(
            f"{name!r} is not a name for a plugin",
            fix="Use letters (a to z), digits and _: a name begins with a letter and is not a Python keyword. "
            "Example: my_method",
        )
    for kind in registry.CONTRACTS:
        if name in registry.plugin_names(kind):
            raise UserError(f"a {kind[:-1]} is called {name!r} already", fix="Choose another name.")


def _files(kind: str, plural: Kind, name: str, folder: Path | None, *, begun: bool) -> Iterator[tuple[Path, str]]:
    """Every file to write, with its text; `folder` is that of a package, which may be there already."""
    words = {"CLASS": _class_of(name), "KIND": kind}
    if folder:
        if not begun:
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


def _class_of(name: str) -> str:
    return "".join(part.title() for part in name.split("_"))


def _filled(template: str, name: str, words: dict[str, str]) -> str:
    text = (TEMPLATES / f"{template}.txt").read_text("utf-8")
    for word, value in {**words, "NAME": name}.items():
        text = text.replace(word, value)
    return text


def _extended(file: Path, group: str, name: str) -> dict[Path, str]:
    """The pyproject.toml of a package with one more plugin. Raises UserError unless it reads as `new` wrote it."""
    own, header = f'{name} = "{name}:{_class_of(name)}"', f'[project.entry-points."{group}"]'
    try:
        text = file.read_text("utf-8")
        before = tomllib.loads(text)
        listed, tables = before["tool"]["setuptools"]["py-modules"], before["project"]["entry-points"]
        written = f"py-modules = {json.dumps(listed)}"
        text = text.replace(written, f"py-modules = {json.dumps([*listed, name])}")
        table = f"{header}\n{own}\n"
        text = text.replace(f"{header}\n", table) if group in tables else f"{text.rstrip()}\n\n{table}"
        after = tomllib.loads(text)
        kept = after["tool"]["setuptools"]["py-modules"] == [*listed, name]
        kept = kept and after["project"]["entry-points"][group].get(name) == f"{name}:{_class_of(name)}"
    except OSError as error:
        raise UserError(f"it cannot be read: {error.strerror}", where=str(file), fix="Use --package.") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):
        kept = False
    if not kept:
        raise UserError(
            "its entry points and `py-modules` are not as `bakeoff new --package` writes them",
            where=str(file),
            fix=f"Write the file {name}.py yourself, list it there, and add under {header}: {own}",
        )
    return {file: text}
