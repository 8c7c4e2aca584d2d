"""The code of a plugin that another package brings: all files of its package, and of others that it imports.

A package counts whole, data files included, since nothing says which of them its code reads. A package that it imports
counts by its version where it is installed as a distribution, and otherwise (a module next to it, an editable
installation) by its files, too. Comments and the layout of the code do not count; everything else does.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from pathlib import Path

from harness.engine.store.keys import OURS, code_digest, file_of_ours, imported_names, source_digests
from harness.files import sha256

_LEFT_OUT = {"__pycache__", ".git"}  # what using or copying a package changes


def package_digests(module: str, own: str = "") -> dict[str, str]:
    """Digests of the files of a module's package and of all that it imports, by path; versions by distribution.

    own  the distribution that brings the module, all of whose imported modules count by their files
    """
    found: dict[str, str] = {}
    waiting, seen = [module], set[str]()
    roots = set[Path]()
    while waiting:
        for root, package in _roots(waiting.pop()):
            if root in roots:
                continue
            roots.add(root)
            digests, names = _of_root(root, package)
            found |= {f"{label} (2)" if label in found else label: digest for label, digest in digests.items()}
            for name in names - seen:
                seen.add(name)
                if _counts_by_files(name, {module.split(".")[0], own}):
                    waiting.append(name)
                else:
                    found |= _elsewhere(name)
    return dict(sorted(found.items()))


def _counts_by_files(name: str, own: set[str]) -> bool:
    """Whether an imported module has no version that says which code it is."""
    top = name.split(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return False
    owners = _owners().get(top, []) if top not in own else []
    return not owners or any(owner in own or _editable(owner) for owner in owners)


def _elsewhere(name: str) -> Mapping[str, str]:
    """The entry for an imported module whose package does not count by its files."""
    top = name.split(".")[0]
    if top in OURS:
        return source_digests(file) if (file := file_of_ours(name)) else {}
    return {f"{owner} (version)": version(owner) for owner in _owners().get(top, [])}


def _roots(module: str) -> Iterator[tuple[Path, str]]:
    """(file or folder, the package of its modules) of the whole package that a module is in.

    Of a package without `__init__.py`, which other distributions may share, it is the folder of the module.
    """
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return
    if spec is None:
        return
    if not spec.submodule_search_locations:
        if spec.origin and Path(spec.origin).is_file():
            yield Path(spec.origin), ""
        return
    for place in spec.submodule_search_locations:
        folder, package = Path(place), top
        for part in rest:
            if (folder / "__init__.py").exists() or not (folder / part).is_dir():
                break
            folder, package = folder / part, f"{package}.{part}"
        if folder.is_dir():
            yield folder, package


def _of_root(root: Path, package: str) -> tuple[dict[str, str], set[str]]:
    """(digests by path, imported modules) of a file or of all files in a folder."""
    digests, names = {}, set[str]()
    for path in _files(root):
        below = path.relative_to(root).parent.parts if path != root else ()
        stat = path.stat()
        digest, imported = _read(path, ".".join([package, *below]), stat.st_size, stat.st_mtime_ns)
        digests[path.relative_to(root.parent).as_posix()] = digest
        names.update(imported)
    return digests, names


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in _LEFT_OUT)
        for path in (Path(folder, name) for name in sorted(names)):
            if path.suffix != ".pyc" and path.is_file():
                yield path


@lru_cache(maxsize=4096)
def _read(path: Path, package: str, size: int, changed: int) -> tuple[str, tuple[str, ...]]:
    """(digest, imported modules) of a file of a package, read once for each size and time of change."""
    if path.suffix == ".py":
        try:
            tree = ast.parse(path.read_bytes())
            return code_digest(tree, optimize=0), tuple(imported_names(ast.walk(tree), package))
        except (SyntaxError, ValueError, RecursionError):  # a template, or code for another Python
            pass
    return sha256(path)[:12], ()


@cache
def _owners() -> Mapping[str, list[str]]:
    """Top-level module -> the distributions that bring it."""
    return packages_distributions()


@cache
def _editable(name: str) -> bool:
    """Whether a distribution's code is elsewhere, where it may change under one version."""
    try:
        origin = json.loads(distribution(name).read_text("direct_url.json") or "{}")
        return bool(origin.get("dir_info", {}).get("editable"))
    except (PackageNotFoundError, ValueError, AttributeError):
        return False
