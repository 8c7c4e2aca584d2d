"""The code that decides what a plugin does: its digests for content keys, and the package that brings it."""

from __future__ import annotations

from typing import Any

from harness.engine.registry import EntryPoint, Kind, outside_point, source_file
from harness.engine.store.keys import OURS, key_of, source_digests
from harness.engine.store.packages import package_digests
from harness.method import Method, plugin_name


def sources_of(plugin: Any) -> dict[str, str]:
    """Digests of all code that a method or benchmark runs, by module of ours or by file of another package."""
    module, point = type(plugin).__module__, _point(plugin)
    if point is None and module.split(".")[0] in OURS:
        return source_digests(source_file(_kind(plugin), plugin_name(plugin)))
    found = package_digests(point.module, point.distribution) if point else {}
    if module.split(".")[0] not in OURS:  # an entry point may name what another module defines
        found |= package_digests(module, point.distribution if point else "")
    return dict(sorted(found.items()))


def versions_of(*plugins: Any) -> dict[str, dict[str, str]]:
    """The entry `packages` of a content key: package -> version; no entry where all plugins are built in."""
    found = {point.distribution: point.version for point in map(_point, plugins) if point}
    return {"packages": found} if found else {}


def package_of(plugin: Any) -> dict[str, str]:
    """Name, version and digest of the package that brings a plugin; empty for a built-in one."""
    if (point := _point(plugin)) is None:
        return {}
    return {"package": point.distribution, "version": point.version, "digest": key_of(sources_of(plugin))}


def _kind(plugin: Any) -> Kind:
    return "methods" if isinstance(plugin, Method) else "benchmarks"


def _point(plugin: Any) -> EntryPoint | None:
    return outside_point(_kind(plugin), plugin_name(plugin))
