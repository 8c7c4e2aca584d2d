"""The lines that `list` prints, one for each entry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import shorten

from harness.data.folders import READ_WORDS
from harness.engine import registry
from harness.engine.registry import Kind
from harness.errors import UserError, did_you_mean, first_line
from harness.files import HARNESS

KINDS = ("methods", "benchmarks", "models", "data")


def listing(kind: str, width: int) -> Iterator[str]:
    """A heading and a line for each entry of that kind, or of all kinds."""
    if kind not in {"all", *KINDS}:
        raise UserError(f"unknown kind {kind!r}", fix=did_you_mean(kind, ["all", *KINDS]))
    for name in KINDS if kind == "all" else (kind,):
        yield f"{name}:"
        if name in registry.CONTRACTS:
            yield from _plugins("methods" if name == "methods" else "benchmarks", width)
        elif name == "models":
            yield from (f"  {model}" for model in shipped_models())
            yield "  or a folder in Hugging Face layout, a GGUF file, or a Hugging Face id"
        else:
            yield from (f"  {data}" for data in shipped_sets())
            yield f"  or a {READ_WORDS};"
            yield "  a folder of them, a folder that `datasets` saved to disk, or a Hugging Face id"


def shipped_models() -> list[str]:
    models = (HARNESS / "microworld" / "models").glob("*/config.json")
    return sorted(f"microworld/{path.parent.name}" for path in models)


def shipped_sets() -> list[str]:
    from harness.microworld.datasets import dataset_names

    return [f"microworld/{name}" for name in dataset_names()]


def _plugins(kind: Kind, width: int) -> Iterator[str]:
    """A line for each plugin; of one that cannot be used, the reason."""
    longest = max(map(len, registry.plugin_names(kind)))
    for name in registry.plugin_names(kind):
        try:
            registry.plugin_class(kind, name)
            said = _in_brief(registry.summary(kind, name), max(width - longest - 4, 20))
        except UserError as error:
            said = f"not usable: {' '.join(str(error).split())}"
        except Exception as error:  # such as one that `__post_init__` raises
            said = f"not usable: {registry.source_file(kind, name)}: {type(error).__name__}: {first_line(error)}"
        yield f"  {name:{longest}}  {said}"


def _in_brief(said: str, room: int) -> str:
    """A summary that fits: without its source, and if need be without its end."""
    if len(said) <= room:
        return said
    return shorten(re.sub(r" \([^()]*\)\.$", "", said).rstrip("."), room, placeholder=" …")
