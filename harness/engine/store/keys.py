"""Content keys: what decides an artifact's or an outcome's bytes, as one document and its digest.

Equal documents are the same work, done once. The document is kept beside what it names, so `explain` can
say which field made a cell stale.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import platform
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import CodeType
from typing import Any

OURS = ("harness", "methods", "benchmarks")


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
    """Digest of a plugin's source and of every module of ours that it imports, directly or not.

    Comments, blank lines, docstrings and assertions do not count: they change no number.
    """
    digests: dict[str, str] = {}
    waiting = [file]
    while waiting:
        path = waiting.pop()
        name = _module_name(path)
        if name in digests:
            continue
        digests[name], imported = _read(path.read_text("utf-8"))
        waiting.extend(imported)
    return dict(sorted(digests.items()))


@cache
def _read(source: str) -> tuple[str, tuple[Path, ...]]:
    """A module's digest and the files it imports: most modules stand behind several plugins.

    What is hashed is what Python runs, without its line numbers: reading that back is quicker than any walk through
    the syntax tree. Level 2 leaves out docstrings and assertions.
    """
    code = compile(source, "", "exec", dont_inherit=True, optimize=2)
    digest = hashlib.sha256(repr(_of_code(code)).encode()).hexdigest()[:12]
    return digest, tuple(dict.fromkeys(_imported_files(ast.parse(source))))


def _of_code(code: CodeType) -> tuple[Any, ...]:
    """All of a code object but where its lines stand."""
    named = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return (*named, *counts, code.co_code, code.co_exceptiontable, _of_constant(code.co_consts))


def _of_constant(value: Any) -> Any:
    """A constant in a form whose text is the same in every process: the order of a set's members is not."""
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


def _imported_files(tree: ast.Module) -> Iterator[Path]:
    """Files of our own modules that are imported anywhere in the source, also inside functions."""
    for node in _statements(tree.body):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in OURS and (file := _file_of(name)):
                yield file


def _statements(body: Iterable[Any]) -> Iterator[Any]:
    """All statements, also inside others; expressions hold none."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                yield from _statements(inner)


@cache
def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of these packages and of Python; a missing one is named as such."""
    found = {"python": platform.python_version()}
    for name in sorted(set(names)):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
