"""The wording is held to plain English: few riddles in docstrings, no persons where things are meant.

A failure names every place, so that it can be corrected without a search.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import typer.main
from conftest import ROOT
from test_report import Fake, pages

from harness.cli.main import app

MOST = 10  # of each habit, over all docstrings and messages
WHAT = re.compile(r"What\b")
COMPARED = ["longer", "more", "less", "fewer", "larger", "smaller", "better", "worse"]
IS_NO = re.compile(rf"\b(?:is|are) no (?!(?:{'|'.join(COMPARED)})\b)", re.I)
PERSONS = re.compile(r"\b(?:nobody|everybody|whom|twins?)\b", re.I)
PACKAGES = ("harness", "methods", "benchmarks")
PLUGINS = ("methods/", "benchmarks/")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def trees() -> dict[str, ast.Module]:
    """Path from the root -> its syntax tree, of every module of ours."""
    files = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in files}


def docstrings() -> Iterator[tuple[str, str]]:
    """(place, text)"""
    for place, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                yield f"{place}:{getattr(node, 'lineno', 1)}", text


def messages() -> Iterator[tuple[str, str]]:
    """(place, literal) of the arguments of UserError and of the errors derived from it."""
    errors = {"UserError"}
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(getattr(base, "id", "") == "UserError" for base in node.bases):
                errors.add(node.name)
    for place, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in errors:
                yield from literals(place, node)


def literals(place: str, tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Every string constant below a node but docstrings; of f-strings their fixed parts."""
    inside = [node.body[0] for node in ast.walk(tree) if isinstance(node, DOCUMENTED) and ast.get_docstring(node)]
    skipped = {id(statement.value) for statement in inside if isinstance(statement, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield f"{place}:{node.lineno}", node.value


def shown() -> Iterator[tuple[str, str]]:
    """Everything else that a user reads: documents, help, fields and docstrings of plugins, the report's words."""
    for pattern in ("*.md", "docs/*.md", "harness/**/*.md", "methods/*", "benchmarks/*.md", "results/**/README.md"):
        for path in ROOT.glob(pattern):
            if path.suffix in (".md", ".yaml"):
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
    yield from helps(typer.main.get_command(app), "bakeoff")
    for place, tree in trees().items():
        if place.startswith(PLUGINS):
            yield place, ast.get_docstring(tree) or ""
        if place.startswith((*PLUGINS, "harness/report/", "harness/cli/")):
            yield from literals(place, tree)


def helps(command: object, name: str) -> Iterator[tuple[str, str]]:
    """(verb, text) of a command and all below it: its help and that of its options."""
    yield name, str(getattr(command, "help", "") or "")
    for parameter in getattr(command, "params", ()):
        yield f"{name} {parameter.name}", str(getattr(parameter, "help", "") or "")
    for verb, inner in getattr(command, "commands", {}).items():
        yield from helps(inner, f"{name} {verb}")


def found(pattern: re.Pattern[str], texts: Iterator[tuple[str, str]], start: bool = False) -> list[str]:
    """`place: words around it` of every occurrence."""
    places = []
    for place, text in texts:
        hits = [pattern.match(text)] if start else pattern.finditer(text)
        for hit in hits:
            if hit is not None:
                around = " ".join(text[max(hit.start() - 30, 0) : hit.end() + 30].split())
                places.append(f"{place}: {around}")
    return sorted(set(places))


def test_few_docstrings_open_with_a_free_standing_what() -> None:
    places = found(WHAT, docstrings(), start=True)
    assert len(places) <= MOST, "\n" + "\n".join(places)


def test_few_docstrings_and_messages_say_that_something_is_no_thing() -> None:
    places = found(IS_NO, docstrings()) + found(IS_NO, messages())
    assert len(places) <= MOST, "\n" + "\n".join(places)


def test_nothing_that_a_user_reads_speaks_of_persons_where_things_are_meant() -> None:
    places = found(PERSONS, messages()) + found(PERSONS, shown())
    assert not places, "\n" + "\n".join(sorted(set(places)))


def test_a_rendered_report_speaks_of_no_persons(tmp_path: Path) -> None:
    markdown, page, _ = pages(Fake(broken={("weak", 0, "tasks"): "failed:out of luck"}).write(tmp_path / "fake"))
    places = found(PERSONS, iter([("report.md", markdown), ("report.html", page)]))
    assert not places, "\n" + "\n".join(places)
