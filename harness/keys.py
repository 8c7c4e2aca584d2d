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
from typing import Any

OURS = ("harness", "methods", "benchmarks")


def key_of(document: Mapping[str, Any]) -> str:
    """24 hexadecimal digits that name this document."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Each field in which two documents differ, as `field: old -> new`."""
    for name in sorted(set(old) | set(new)):
        here = f"{path}{name}"
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from differences(before, after, f"{here}.")
        elif before != after:
            yield f"{here}: {before} -> {after}"


@cache
def source_digests(file: Path) -> dict[str, str]:
    """Digest of a plugin's source and of every module of ours that it imports, directly or not.

    Comments, blank lines and docstrings do not count: they change no number.
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
    """A module's digest and the files it imports: most modules stand behind several plugins."""
    tree = ast.parse(source)
    digest = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()[:12]
    return digest, tuple(dict.fromkeys(_imported_files(tree)))


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    starts = [at for at, part in enumerate(parts) if part in OURS]
    return ".".join(parts[starts[-1] :] if starts else parts[-1:])


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


def _imported_files(tree: ast.Module) -> Iterator[Path]:
    """Files of our own modules that are imported anywhere in the source, also inside functions."""
    for node in ast.walk(tree):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in OURS and (file := _file_of(name)):
                yield file


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
