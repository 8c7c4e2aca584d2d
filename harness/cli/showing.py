"""The lines that `show` prints on a method, a benchmark, a base model or a training set."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

from harness.cli.listing import shipped_models, shipped_sets
from harness.engine import registry
from harness.engine.plan import inside, needs_of
from harness.engine.plugin_fields import field_types
from harness.engine.registry import Kind
from harness.errors import UserError, did_you_mean
from harness.files import read_json
from harness.method import Method, fields_of, plugin_name, required_fields

NO_WIDTH = 120  # of a pipe: docstrings are written for it
ENDS_EARLY = 100  # a sentence that ends before it ends a paragraph
MOST_LEFT = 34  # columns of a field and its default, before its meaning
ROWS_SHOWN = 3


def details(name: str, width: int | None) -> Iterator[str]:
    """A plugin's description, needs and fields; a model's size and shape; a training set's figures and some rows."""
    kinds: tuple[Kind, ...] = ("benchmarks", "methods")
    plugins = {n: kind for kind in kinds for n in registry.plugin_names(kind)}
    if name in plugins:
        yield from _plugin(plugins[name], name, width or NO_WIDTH)
    elif name in shipped_models() or _is_model(Path(name)):
        yield from _model(name)
    elif name in shipped_sets() or Path(name).exists():
        yield from _set(name)
    else:
        near = f"microworld/{name}"
        shipped = [*shipped_models(), *shipped_sets()]
        if near in shipped:
            raise UserError(f"nothing is called {name!r}", fix=f"Did you mean {near!r}?")
        fix = did_you_mean(name, [*plugins, *shipped])
        if "/" in name and not name.startswith("microworld/"):
            fix = f"Of a Hugging Face id: bakeoff check-model {name}, or bakeoff data inspect {name}."
        raise UserError(f"no method, benchmark, model or training set is called {name!r}", fix=fix)


# ---- plugins


def _plugin(kind: Kind, name: str, width: int) -> Iterator[str]:
    plugin = registry.plugin_class(kind, name)
    path = registry.source_file(kind, name)
    yield f"{name} ({kind[:-1]}, {path})\n"
    yield from _refolded(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "(no docstring)", width)
    if kind == "methods":
        yield f"needs   {'; '.join(_needs(plugin)) or 'nothing'}"
        yield f"gives   {_words(plugin.gives)}"
    else:
        asks, version = _words(getattr(plugin, "needs", ())), getattr(plugin, "version", "not stated")
        yield f"asks    {asks} of a policy; version {version}"
    if not dataclasses.fields(plugin):
        yield "fields  none"
        return
    yield "fields  with their defaults:"
    yield from _fields(plugin, width)
    yield f"\nNext: list it under `{kind}:` of an experiment, such as\n  - {_example(plugin, name)}"


def _words(values: Any) -> str:
    return ", ".join(sorted(values)) or "nothing"


def _needs(plugin: type[Any]) -> Iterator[str]:
    """Its own needs, then those of the methods that it is made from, with their names."""
    own = sorted(plugin.needs)
    yield from ([", ".join(one.replace("_", " ") for one in own)] if own else ())
    if required_fields(plugin):
        yield "and what the methods need that its fields name"
        return
    method = plugin()
    for kind in sorted(needs_of(method) - set(own)):
        users = dict.fromkeys(plugin_name(one) for one in inside(method) if kind in one.needs)
        yield f"{kind.replace('_', ' ')}, for its {' and '.join(users)}"


def _refolded(text: str, width: int) -> Iterator[str]:
    """Paragraphs folded again at that width; indented lines, such as formulas, and lines that end early stay apart."""
    running: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line and not line.startswith(" "):
            running.append(line)
            if not line.endswith((".", ":")) or len(line) > ENDS_EARLY:
                continue
        yield from wrap(" ".join(running), width, break_long_words=False, break_on_hyphens=False)
        if not running or line.startswith(" ") or not line:
            yield line
        running = []


def _fields(plugin: Any, width: int) -> Iterator[str]:
    """A line for each field: name and default, then the meaning, the choices, and where tuning searches."""
    shown = {} if required_fields(plugin) else {item.name: getattr(plugin(), item.name) for item in _items(plugin)}
    types = field_types(plugin)
    lefts = {item.name: f"  {item.name} = {_value(shown.get(item.name, item.default))}" for item in _items(plugin)}
    column = min(MOST_LEFT, max(map(len, lefts.values()))) + 2
    for item in _items(plugin):
        left, meaning = lefts[item.name], "; ".join(_meaning(item, types.get(item.name)))
        lines = wrap(meaning, max(width - column, 24), break_long_words=False, break_on_hyphens=False)
        if len(left) + 2 > column:
            yield left
            left = ""
        yield f"{left:{column}}{lines[0] if lines else ''}".rstrip()
        yield from (f"{'':{column}}{line}" for line in lines[1:])


def _items(plugin: Any) -> tuple[Any, ...]:
    return dataclasses.fields(plugin)


def _value(value: Any) -> str:
    """A default as an experiment would write it; of a method inside only what differs from its own defaults."""
    if value is dataclasses.MISSING:
        return "(required)"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Method):
        own = type(value)
        usual = {} if required_fields(own) else fields_of(own())
        changed = [f"{k}: {v}" for k, v in fields_of(value).items() if usual.get(k) != v]
        return plugin_name(value) + (f" {{{', '.join(changed)}}}" if changed else "")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value) if value != "" else '""'


def _meaning(item: Any, hint: Any) -> Iterator[str]:
    said = str(item.metadata.get("help", ""))
    yield from ([said] if said else [])
    choices = [str(one) for one in get_args(hint)] if get_origin(hint) is Literal else []
    if choices and not all(one in said for one in choices):
        yield _either(choices)
    search = item.metadata.get("search")
    if not search or hint is bool:
        return
    if len(search) == 2 and all(isinstance(end, (int, float)) for end in search):
        yield f"tuned from {search[0]} to {search[1]}{', log' if item.metadata.get('log') else ''}"
    elif [str(one) for one in search] != choices:
        yield f"tuned over {_either([_value(one) for one in search])}"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _example(plugin: Any, name: str) -> str:
    """An entry of an experiment that sets the required fields, or the first that is empty, tuned or a number."""
    required = required_fields(plugin)
    numbers = [one for one in _items(plugin) if one.default == () or isinstance(one.default, (int, float))]
    # a field that is not tuned may be one that the other defaults do not read
    tuned = [one for one in numbers if one.default == () or one.metadata.get("search")] or numbers
    values = [f"{field}: ..." for field in required]
    if not required and tuned:
        values = [f"{tuned[0].name}: {_value(tuned[0].default) if tuned[0].default != () else '[...]'}"]
    return f"{{{name}: {{{', '.join(values)}}}}}" if values else name


# ---- models and training sets


def _is_model(path: Path) -> bool:
    from harness.policy.gguf_file import is_gguf

    return (path / "config.json").is_file() or (is_gguf(path) and path.is_file())


def _model(name: str) -> Iterator[str]:
    from harness.policy.base_model import BaseSpec
    from harness.policy.sources import locate, parameter_count

    place = locate(BaseSpec(name))
    yield f"{name} (base model, {place})\n"
    yield f"parameters  {parameter_count(place):,}"
    if place.is_dir():
        known = read_json(place / "config.json")
        known = {**known, **known.get("text_config", {})}
        for title, key in (
            ("type", "model_type"),
            ("depth", "num_hidden_layers"),
            ("width", "hidden_size"),
            ("vocabulary", "vocab_size"),
            ("context", "max_position_embeddings"),
            ("stored in", "dtype"),
        ):
            if (value := known.get(key)) is not None:
                yield f"{title:12}{value:,}" if isinstance(value, int) else f"{title:12}{value}"
    yield f"\nNext: bakeoff check-model {name}"


def _set(name: str) -> Iterator[str]:
    from harness.cli.data_verbs import inspect_verb

    if said := _described(name):
        yield f"{name} (training set): {said}\n"
    yield from inspect_verb(name, ROWS_SHOWN, "stop", "train", "", None)
    yield f"\nNext: bakeoff data inspect {name}"


def _described(name: str) -> str:
    """The description of a set of the microworld."""
    from harness.microworld import datasets

    short = name.removeprefix("microworld/")
    if name not in shipped_sets():
        return ""
    found = re.search(rf"^{re.escape(short)} +(.+(?:\n {{2,}}.+)*)", inspect.getdoc(datasets) or "", re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
