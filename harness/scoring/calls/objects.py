"""Calls as JSON objects or Python dictionaries, whatever the names of their keys."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.scoring.calls.notations import STRICT, FunctionCall, call_of, is_shallow, parsed_json
from harness.scoring.calls.python_calls import ERRORS, python_value

Calls = tuple[FunctionCall, ...]
LISTS = ("tool_calls", "function_calls", "tool_uses")
SINGLES = ("function_call", "functionCall", "tool_call", "toolUse", "toolCall")
NAMES = ("name", "tool_name", "function_name", "function", "tool", "action", "func", "api_name", "recipient_name")
GIVEN = ("arguments", "parameters", "args", "params", "input", "inputs", "tool_input", "action_input", "kwargs")
ABOUT = frozenset({"id", "type", "index", "call_id", "tool_call_id", "toolUseId"})
"""Keys of a call that are neither its name nor its arguments."""
PREFIXES, SUFFIX = ("functions.", "default_api."), ".call"


@dataclass(frozen=True)
class Offer:
    """The functions that may be called, as far as they are known.

    names  tell {"f": {...}} and {"name": "f"} from other JSON objects
    texts  each function's arguments that are texts: notations without types do not tell 3 from "3"
    """

    names: Collection[str] = ()
    texts: Collection[tuple[str, str]] = ()

    def plain(self, name: str) -> str:
        """The name without the namespace in which some models call all functions."""
        bare = name.removesuffix(SUFFIX)
        for prefix in PREFIXES:
            bare = bare.removeprefix(prefix)
        return bare if bare in self.names else name

    def value(self, name: str, argument: str, text: str) -> Any:
        """The value of an argument whose notation has no types."""
        return text if (self.plain(name), argument) in self.texts else _typed(text)


def values_of(text: str) -> list[Any] | None:
    """The JSON values that a text consists of, or the one dictionary or list of dictionaries in Python's notation."""
    if not text.startswith(("[", "{")):
        return None
    decoder, at, found = json.JSONDecoder(**STRICT), 0, []
    try:
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            found.append(value)
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n;,"))
        return found if is_shallow(found) else None
    except (ValueError, RecursionError):
        pass
    try:
        value = python_value(text)
    except ERRORS:
        return None
    listed = value if isinstance(value, list) else [value]
    return listed if listed and all(isinstance(one, dict) for one in listed) else None


def calls_among(values: Sequence[Any], offer: Offer) -> Calls | None:
    """The calls that all of the JSON values are."""
    calls: list[FunctionCall | None] = []
    for value in values:
        inner = value
        if isinstance(value, Mapping):
            inner = next((value[key] for key in LISTS if isinstance(value.get(key), list)), value)
        calls += [_any_call(one, offer) for one in (inner if isinstance(inner, list) else [inner])]
    return all_calls(calls)


def call_with(name: str, given: Any) -> FunctionCall | None:
    """A call whose arguments are an object, the object's text, or absent."""
    if isinstance(given, str):
        text = given.strip().rstrip(";")
        values = values_of(text) if text else [{}]
        given = values[0] if values and len(values) == 1 else text
    return FunctionCall(name, {} if given is None else given) if isinstance(given, Mapping | None) else None


def all_calls(calls: Sequence[FunctionCall | None]) -> Calls | None:
    """The calls, or None where one is missing."""
    found = tuple(call for call in calls if call is not None)
    return found if len(found) == len(calls) else None


def _any_call(value: Any, offer: Offer) -> FunctionCall | None:
    """The call that a JSON object is."""
    if not isinstance(value, Mapping):
        return None
    value = next((value[key] for key in SINGLES if isinstance(value.get(key), Mapping)), value)
    if call := call_of(value):
        return call
    inner = value["function"] if isinstance(value.get("function"), Mapping) else value
    key = next((key for key in NAMES if isinstance(inner.get(key), str)), None)
    given = next((one for one in GIVEN if one in inner), None)
    if key is None:
        return _named_by_key(inner, offer)
    if given is None and (offer.plain(inner[key]) not in offer.names or inner.keys() - ABOUT != {key}):
        return None
    return call_with(inner[key], inner[given] if given else None)


def _named_by_key(value: Mapping[str, Any], offer: Offer) -> FunctionCall | None:
    """{"f": {"a": 1}} as a call of a known function."""
    name, given = next(iter(value.items()), ("", None))
    known = len(value) == 1 and offer.plain(name) in offer.names
    return FunctionCall(name, given) if known and isinstance(given, Mapping) else None


def _typed(text: str) -> Any:
    """The JSON value that a text is, or Python's for its constants and containers, or the text."""
    text = text.strip()
    value = parsed_json(text)
    if value is not None or text == "null":
        return value
    try:
        return python_value(text) if text in ("True", "False", "None") or text.startswith(("[", "{")) else text
    except ERRORS:
        return text
