"""From a user's {field: value} to a plugin, each value checked against the field's own type."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from harness.engine.registry import Kind, plugin_class
from harness.errors import UserError, did_you_mean
from harness.method import Method, required_fields

AT_LEAST_ONE = frozenset({"epochs", "batch_size", "updates", "limit"})


def build_plugin(kind: Kind, name: str, given: Mapping[str, Any], where: str, labels: Mapping[str, Method]) -> Any:
    """The plugin with these fields. A field that holds a method takes a label, a name or {name: fields}, and one
    that holds several a list of them.

    labels  the methods that stand earlier in the experiment, by label
    """
    try:
        found = plugin_class(kind, name)
    except UserError as error:
        raise UserError(error.what, where=error.where or where, fix=error.fix) from None
    known = [item.name for item in dataclasses.fields(found)]
    hints = get_type_hints(found)
    values = {}
    for key, value in given.items():
        if key not in known:
            raise UserError(f"{name} has no field {key!r}", where=where, fix=did_you_mean(str(key), known))
        here = f"{where}, {name}.{key}"
        values[key] = _field(hints[key], value, here, labels)
        _check_size(key, values[key], here)
    if lacking := [field for field in required_fields(found) if field not in values]:
        raise UserError(f"{name} needs {', '.join(lacking)}", where=where, fix=f"Give {lacking[0]}.")
    plugin = found(**values)
    if isinstance(plugin, Method):
        try:
            plugin.check()
        except UserError as error:
            raise UserError(error.what, where=where, fix=error.fix) from None
    return plugin


def _check_size(key: str, value: Any, where: str) -> None:
    """Numbers whose names mean the same in every plugin: found out now, not when the model is loaded."""
    if isinstance(value, (int, float)) and (value < 1 if key in AT_LEAST_ONE else value < 0 and key == "learning_rate"):
        least = "0" if key == "learning_rate" else "1"
        raise UserError(f"{key} is {value}", where=where, fix=f"Give {least} or more, or leave it out.")


def typed(hint: Any, value: Any, where: str) -> Any:
    """The value as that type (5e-4 is text in YAML, and becomes a number), or a UserError."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        listed = "tuple" in first["type"] or "list" in first["type"]
        fix = f"Write a list: [{value}]." if listed and not isinstance(value, (list, dict)) else ""
        what = f"{value!r} will not do: {first['msg'][0].lower()}{first['msg'][1:]}"
        raise UserError(what, where=where, fix=fix) from None


def _field(hint: Any, value: Any, where: str, labels: Mapping[str, Method]) -> Any:
    if hint is Method:
        return build_method(value, where, labels)
    if hint == tuple[Method, ...]:
        if not isinstance(value, list):
            raise UserError(f"{value!r} is no list of methods", where=where, fix="Write a list, such as [sft, lora].")
        return tuple(build_method(item, where, labels) for item in value)
    return typed(hint, value, where)


def build_method(value: Any, where: str, labels: Mapping[str, Method]) -> Method:
    """The method of a label, a name or {name: {field: value}}. Raises UserError for anything else."""
    if isinstance(value, str) and value in labels:
        return labels[value]
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise UserError(f"{value!r} is no method", where=where, fix="Write a label, a name, or {name: {field: value}}.")
    name, given = next(iter(value.items()))
    plugin = build_plugin("methods", name, given or {}, where, labels)
    assert isinstance(plugin, Method)
    return plugin
