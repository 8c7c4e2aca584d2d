"""Function calls and their notations in training data, whose whole answer must be calls.

{"name": "f", "arguments": {"a": 1}}         also with `parameters`, with the arguments as JSON text or without any,
                                             as a list, and wrapped as OpenAI's tool_calls are
<tool_call>{"name": "f", ...}</tool_call>    one element for each call
{ call : f , a : 1 }                         the microworld's, in which the order of arguments counts

`read_calls` reads them, and can write other calls in the same notation. What a model answers is read by
calls/answers.py, in many more notations.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OPENED, CLOSED = "<tool_call>", "</tool_call>"
DEEPEST = 64
STYLES: tuple[dict[str, Any], ...] = tuple(
    {"separators": separators, "ensure_ascii": ascii_only, "indent": indent}
    for indent in (None, 2, 4)
    for separators in ((", ", ": "), (",", ": "), (",", ":"))
    for ascii_only in (False, True)
)


@dataclass(frozen=True)
class FunctionCall:
    """A function's name and the values of its arguments."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Calling:
    """An answer that consists of calls.

    write    writes other calls in the notation of this answer
    worded   whether that is the microworld's: every value is text, and the order of arguments counts
    """

    text: str
    calls: tuple[FunctionCall, ...]
    write: Callable[[Sequence[FunctionCall]], str]
    worded: bool = False


def read_calls(text: str) -> Calling | None:
    """The calls that the whole answer consists of, or None for any other answer."""
    return _read_worded(text) or _read_elements(text) or _read_json(text)


def same_calls(one: Calling, other: Calling) -> bool:
    """Whether two answers ask for the same; the order of calls and, outside words, that of arguments do not count."""
    return one.worded == other.worded and unmatched(one, other) == ([], [])


def unmatched(one: Calling, other: Calling, *, lenient: bool = False) -> tuple[list[FunctionCall], list[FunctionCall]]:
    """The calls of each that the other lacks.

    lenient  ignore differences of spelling that a careful checker forgives (BFCL's rule: case, spaces and ,./-_*^)
    """
    missing, rest = [], list(other.calls)
    for call in one.calls:
        same = next((at for at, found in enumerate(rest) if _same_call(call, found, one.worded, lenient)), None)
        if same is None:
            missing.append(call)
        else:
            del rest[same]
    return missing, rest


def _same_call(one: FunctionCall, other: FunctionCall, worded: bool, lenient: bool) -> bool:
    if worded:
        return one.name == other.name and list(one.arguments.items()) == list(other.arguments.items())
    return one.name == other.name and same_value(one.arguments, other.arguments, lenient=lenient)


def same_value(one: Any, other: Any, *, lenient: bool = False) -> bool:
    """Whether two JSON values mean the same: 1 equals 1.0, but neither "1" nor true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other
    if isinstance(one, str) and isinstance(other, str):
        return _spelling(one, lenient) == _spelling(other, lenient)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            same_value(a, b, lenient=lenient) for a, b in zip(one, other, strict=True)
        )
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) == set(other) and all(same_value(one[key], other[key], lenient=lenient) for key in one)
    return one is None and other is None


def _spelling(text: str, lenient: bool) -> str:
    return re.sub(r"[\s,./\-_*^'\"]", "", text.casefold()) if lenient else " ".join(text.split())


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


STRICT: Mapping[str, Any] = {"parse_constant": _refuse, "parse_float": _finite}
"""How JSON is decoded: NaN, infinity and numbers beyond them are invalid."""


def parsed_json(text: str) -> Any:
    """The value of a JSON text, or None where it is invalid; NaN, infinity and very deep nesting are invalid too."""
    try:
        value = json.loads(text, **STRICT)
    except (ValueError, RecursionError):
        return None
    return value if is_shallow(value) else None


def is_shallow(value: Any) -> bool:
    """Whether recursive comparison and writing of the value cannot exhaust the stack."""
    level = [value]
    for _ in range(DEEPEST):
        if not level:
            return True
        inner = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list))]
        level = [item for items in inner for item in items]
    return False


def _read_json(text: str) -> Calling | None:
    value = parsed_json(text)
    objects = value if isinstance(value, list) else [value]
    calls = tuple(call for call in map(call_of, objects) if call)
    if not calls or len(calls) < len(objects):
        return None

    def write(wanted: Sequence[FunctionCall]) -> str:
        style = _style_of(text, value)
        written = [_with_call(objects[min(at, len(objects) - 1)], call) for at, call in enumerate(wanted)]
        return json.dumps(written if isinstance(value, list) or len(written) != 1 else written[0], **style)

    return Calling(text, calls, write)


def _read_elements(text: str) -> Calling | None:
    before, *inner = text.split(OPENED)
    if before.strip() or not inner or not all(one.rstrip().endswith(CLOSED) for one in inner):
        return None
    inner = [one.rstrip().removesuffix(CLOSED).strip() for one in inner]
    parts = [_read_json(one) for one in inner]
    known = [part for part in parts if part and len(part.calls) == 1]
    if len(known) < len(parts):
        return None

    def write(wanted: Sequence[FunctionCall]) -> str:
        texts = [known[min(at, len(known) - 1)].write([call]) for at, call in enumerate(wanted)]
        return "\n".join(f"{OPENED}\n{one}\n{CLOSED}" for one in texts)

    return Calling(text, tuple(part.calls[0] for part in known), write)


def _read_worded(text: str) -> Calling | None:
    said = text.split()
    if said[:3] != ["{", "call", ":"] or said[-1:] != ["}"] or len(said) < 5:
        return None
    name, *pairs = " ".join(said[3:-1]).split(" , ")
    arguments = dict(pair.split(" : ", 1) for pair in pairs if " : " in pair)
    if len(arguments) < len(pairs) or " " in name:
        return None
    return Calling(text, (FunctionCall(name, arguments),), _write_worded, worded=True)


def _write_worded(calls: Sequence[FunctionCall]) -> str:
    def write(call: FunctionCall) -> str:
        return f"{{ call : {call.name}{''.join(f' , {key} : {value}' for key, value in call.arguments.items())} }}"

    return " ".join(write(call) for call in calls)


def call_of(value: Any) -> FunctionCall | None:
    inner = value.get("function", value) if isinstance(value, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    key = _arguments_key(inner)
    given = inner.get(key)
    given = parsed_json(given) if isinstance(given, str) and given.strip() else given
    given = {} if key in inner and given in (None, "") else given  # a call without arguments
    return FunctionCall(inner["name"], given) if isinstance(given, Mapping) else None


def _arguments_key(inner: Mapping[str, Any]) -> str:
    return "arguments" if "arguments" in inner else "parameters"


def _with_call(value: Mapping[str, Any], call: FunctionCall) -> dict[str, Any]:
    """The JSON object with its call replaced."""
    if isinstance(value.get("function"), Mapping):
        return {**value, "function": _with_call(value["function"], call)}
    key, arguments = _arguments_key(value), dict(call.arguments)
    as_text = isinstance(value.get(key), str)
    return {**value, "name": call.name, key: json.dumps(arguments, ensure_ascii=False) if as_text else arguments}


def _style_of(text: str, value: Any) -> dict[str, Any]:
    """The spacing of a JSON text, which wrong calls keep so that spacing does not give them away."""
    return next((style for style in STYLES if json.dumps(value, **style) == text.strip()), STYLES[0])
