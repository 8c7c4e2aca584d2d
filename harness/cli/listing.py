"""The lines that `list` and `show` print."""

from __future__ import annotations

import ast
import dataclasses
import shutil
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from harness.data.folders import READ_WORDS
from harness.engine import registry
from harness.engine.registry import Kind
from harness.errors import UserError, did_you_mean, first_line
from harness.files import HARNESS
from harness.method import fields_of, required_fields

KINDS = ("methods", "benchmarks", "models", "data")


def listing(kind: str) -> Iterator[str]:
    """A heading and a line for each entry of that kind, or of all kinds."""
    if kind not in {"all", *KINDS}:
        raise UserError(f"unknown kind {kind!r}", fix=did_you_mean(kind, ["all", *KINDS]))
    for name in KINDS if kind == "all" else (kind,):
        yield f"{name}:"
        if name in registry.CONTRACTS:
            yield from _plugins("methods" if name == "methods" else "benchmarks")
        elif name == "models":
            models = (HARNESS / "microworld" / "models").glob("*/config.json")
            yield from (f"  microworld/{model}" for model in sorted(path.parent.name for path in models))
            yield "  or a folder in Hugging Face layout, or a Hugging Face id"
        else:
            from harness.microworld.datasets import dataset_names

            yield from (f"  microworld/{data}" for data in dataset_names())
            yield f"  or a {READ_WORDS}, a folder of them,"
            yield "  a folder that `datasets` saved to disk, or a Hugging Face id"


def _plugins(kind: Kind) -> Iterator[str]:
    """A line for each plugin, folded at the terminal's width; of one that cannot be used, the reason."""
    width = 16 if kind == "methods" else 24
    longest = max([width, *map(len, registry.plugin_names(kind))])
    room = max(shutil.get_terminal_size((80, 24)).columns - longest - 3, 30)
    for name in registry.plugin_names(kind):
        try:
            registry.plugin_class(kind, name)
            lines = wrap(registry.summary(kind, name) or "", room, break_long_words=False, break_on_hyphens=False)
        except UserError as error:
            lines = [f"not usable: {' '.join(str(error).split())}"]
        except Exception as error:  # such as one that `__post_init__` raises
            lines = [f"not usable: {registry.source_file(kind, name)}: {type(error).__name__}: {first_line(error)}"]
        yield from (f"  {name if at == 0 else '':{width}} {line}" for at, line in enumerate(lines))


def _words(values: Any) -> str:
    return ", ".join(sorted(values)) or "nothing"


def details(name: str) -> Iterator[str]:
    """The docstring of a plugin, then its needs, capabilities and fields."""
    kinds: tuple[Kind, ...] = ("benchmarks", "methods")
    known = {n: kind for kind in kinds for n in registry.plugin_names(kind)}
    if name not in known:
        raise UserError(f"no method or benchmark is called {name!r}", fix=did_you_mean(name, known))
    kind: Kind = known[name]
    plugin = registry.plugin_class(kind, name)
    path = registry.source_file(kind, name)
    yield f"{name} ({kind[:-1]}, {path})\n"
    yield ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "(no docstring)"
    yield ""
    if kind == "methods":
        yield f"needs   {_words(plugin.needs)}"
        yield f"gives   {_words(plugin.gives)}"
    else:
        asks, version = _words(getattr(plugin, "needs", ())), getattr(plugin, "version", "not stated")
        yield f"asks    {asks} of a policy; version {version}"
    yield "fields  (default; search range; meaning)" if dataclasses.fields(plugin) else "fields  none"
    yield from _fields(plugin)


def _fields(plugin: Any) -> Iterator[str]:
    shown = fields_of(plugin()) if not required_fields(plugin) else {}
    for item in dataclasses.fields(plugin):
        default = shown.get(item.name, "required" if item.default is dataclasses.MISSING else item.default)
        search = item.metadata.get("search")
        scale = ", log" if item.metadata.get("log") else ""
        span = f"; {search}" if search else ""
        if search and len(search) == 2:
            span = f"; {search[0]} to {search[-1]}{scale}"
        yield f"  {item.name} = {default}{span}; {item.metadata.get('help', '')}"
