"""The functions that a prompt offers, with the declared types of their arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.rows import TOOLS
from harness.records import Message
from harness.scoring.calls.notations import parsed_json

JSON_TYPES = {
    "dict": "object",
    "tuple": "array",
    "float": "number",
    "bool": "boolean",
    "str": "string",
    "int": "integer",
}


@dataclass(frozen=True)
class Signature:
    """The declared arguments of a function.

    types     argument -> allowed JSON types (empty: any)
    choices   argument -> allowed values (no entry: any)
    required  arguments that a call must have
    """

    types: Mapping[str, frozenset[str]]
    choices: Mapping[str, tuple[Any, ...]]
    required: frozenset[str]


def offered(prompt: Sequence[Message]) -> dict[str, Signature]:
    """The signatures in the system turn, where row readers put the `tools` column; invalid ones are left out."""
    text = next((message.content for message in prompt if message.role == "system" and TOOLS in message.content), "")
    listed = parsed_json(text.rpartition(TOOLS)[2]) if text else None
    found = [_inner(one) for one in (listed if isinstance(listed, list) else [])]
    return {one["name"]: _signature(one) for one in found if isinstance(one.get("name"), str)}


def _inner(one: Any) -> Mapping[str, Any]:
    inner = one.get("function", one) if isinstance(one, Mapping) else {}
    return inner if isinstance(inner, Mapping) else {}


def _signature(function: Mapping[str, Any]) -> Signature:
    schemas, required = declared_arguments(function)
    return Signature(
        {name: _types(schema.get("type")) for name, schema in schemas.items()},
        {name: tuple(schema["enum"]) for name, schema in schemas.items() if isinstance(schema.get("enum"), list)},
        required,
    )


def declared_arguments(function: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], frozenset[str]]:
    """The schema that a function declares for each argument, and the arguments that it requires."""
    parameters = function.get("parameters")
    given = parameters if isinstance(parameters, Mapping) else {}
    properties = given.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    schemas = {name: schema if isinstance(schema, Mapping) else {} for name, schema in properties.items()}
    return schemas, frozenset(_texts(given.get("required")))


def _types(declared: Any) -> frozenset[str]:
    names = _texts([declared] if isinstance(declared, str) else declared)
    return frozenset(JSON_TYPES.get(name, name) for name in names)


def _texts(values: Any) -> Iterable[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def json_type(value: Any) -> str:
    """The JSON type of a value; 1.0 is an integer."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if value == int(value) else "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object", type(None): "null"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "object")
