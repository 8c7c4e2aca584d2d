"""Content keys: the document of all that decides an artifact's or an outcome's bytes, and its digest.

Equal documents are the same work, which is done once. The document is kept next to the result that it names, so
`explain` can say which field made a cell stale. It holds digests of source code that cover what Python runs, without
prose: comments, docstrings, assertions, help texts, metrics' descriptions and the texts of a `UserError` do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType
from typing import Any

OURS = ("harness", "methods", "benchmarks")
SCHEMA = 2
"""The rules by which documents and digests are made, kept in each document as `keys`. 1, unwritten, counted prose."""
IGNORED = {"setting": {"help", "null", "quick", "path"}, "Metric": {"description", "scale"}}
"""Calls of which the second argument, and these arguments by name, decide no byte of a result."""


def key_of(document: Mapping[str, Any]) -> str:
    """24 hexadecimal digits that name this document."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def differing_fields(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each field in which two documents differ, as `field: old -> new`."""
    for name in sorted(set(old) | set(new)):
        here = f"{path}{name}"
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differing_fields(before, after, f"{here}.")
        elif before != after:
            yield f"{here}: {before} -> {after}"


@cache
def source_digests(file: Path) -> dict[str, str]:
    """Digests, by module, of a plugin's source and of every module of ours that it imports, directly or not."""
    digests: dict[str, str] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = _module_name(path)
        if name not in digests:
            digests[name], imported = _read(path.read_text("utf-8"), path, name == "harness.errors")
            waiting.extend(imported)
    return dict(sorted(digests.items()))


@cache
def _read(source: str, path: Path, only_messages: bool) -> tuple[str, tuple[Path, ...]]:
    """A module's digest and the files that it imports; cached, since most modules belong to several plugins.

    It is also kept on disk, under a digest of all that it is made from.
    The digest is that of the compiled code without its line numbers. Level 2 leaves out docstrings and assertions.
    """
    name = _module_name(path)
    package = name.removesuffix(".__init__") if path.stem == "__init__" else name.rpartition(".")[0]
    asked = [SCHEMA, sys.version, _own_source(), only_messages, package, source]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    kept = path.with_name("__pycache__") / f"{path.stem}.{sys.implementation.cache_tag}.digest"
    try:
        told = json.loads(kept.read_text("utf-8"))
        digest, modules = told[key]
    except (OSError, ValueError, KeyError, TypeError):
        digest, modules = _compiled(source, package, only_messages)
        _keep(kept, json.dumps({key: (digest, modules)}))
    return digest, tuple(file for module in modules if (file := file_of_ours(module)))


@cache
def _own_source() -> str:
    return Path(__file__).read_text("utf-8")


def _keep(file: Path, text: str) -> None:
    """Write it where Python keeps compiled modules, and if it keeps any: compiling those of a report takes a second."""
    if not sys.dont_write_bytecode:
        partial = file.with_name(f"{file.name}.{os.getpid()}")
        with suppress(OSError):
            file.parent.mkdir(exist_ok=True)
            partial.write_text(text, "utf-8")
            os.replace(partial, file)


def _compiled(source: str, package: str, only_messages: bool) -> tuple[str, list[str]]:
    """A module's digest, and our modules that it imports."""
    tree = ast.parse(source)
    nodes = [*ast.walk(tree)]
    modules = [module for module in dict.fromkeys(imported_names(nodes, package)) if module.split(".")[0] in OURS]
    if only_messages:
        _Blank().visit(tree)
    _blank_prose(nodes)
    return code_digest(tree, optimize=2), modules


def code_digest(tree: ast.Module, *, optimize: int) -> str:
    """Digest of the compiled code without its line numbers."""
    code = compile(tree, "", "exec", dont_inherit=True, optimize=optimize)
    return hashlib.sha256(repr(_of_code(code)).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _blank_prose(nodes: Iterable[ast.AST]) -> None:
    """Remove the arguments that IGNORED names, and blank the strings in the arguments of a UserError.

    An f-string goes as a whole, with the expressions inside.
    """
    for call in nodes:
        name = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
        if name == "UserError":
            _Blank().generic_visit(call)
        elif isinstance(call, ast.Call) and name in IGNORED:
            call.args[1:2] = []
            call.keywords = [one for one in call.keywords if one.arg not in IGNORED[name]]


class _Blank(ast.NodeTransformer):
    """Replaces every string and f-string by an empty string."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        return ast.copy_location(ast.Constant(""), node) if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
        return ast.copy_location(ast.Constant(""), node)


def _of_code(code: CodeType) -> tuple[Any, ...]:
    """All of a code object except its line numbers."""
    named = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (*named, *counts, code.co_code, code.co_exceptiontable, _of_constant(code.co_consts))


def _of_constant(value: Any) -> Any:
    """A constant in a form whose text is equal in every process, which the order of a set's members is not."""
    if isinstance(value, CodeType):
        return _of_code(value)
    if isinstance(value, tuple):
        return tuple(_of_constant(item) for item in value)
    if isinstance(value, frozenset):
        return ("set", *sorted(repr(_of_constant(item)) for item in value))
    return value


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    starts = [at for at, part in enumerate(parts) if part in OURS]
    return ".".join(parts[starts[-1] :] if starts else parts[-1:])


def imported_names(nodes: Iterable[ast.AST], package: str = "") -> Iterator[str]:
    """Every module that a source imports, also inside functions; of `from a import b` both a and a.b.

    package  the one that the source is in, where relative imports begin; without it they are left out
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (package or not node.level):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


def module_file(module: str) -> Path | None:
    """The file of a module, found without importing its parents: some of them load heavy libraries."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        return Path(spec.origin) if spec and spec.origin and not rest else None
    for folder in spec.submodule_search_locations:
        path = Path(folder, *rest)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


file_of_ours = cache(module_file)


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of these packages and of Python, or "not installed"."""
    return {"python": platform.python_version(), **{name: _installed(name) for name in sorted(set(names))}}


@cache
def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
