"""How a request is put: what to answer, the functions as JSON schema in the system turn, then the request.

Python's notation (the default, BFCL's own):

    system: Answer the request with calls of the functions below and with nothing else, ...
            You can call these functions:
            [{"name": "f", "description": "...", "parameters": {"type": "object", ...}}]
    user:   the request

BFCL writes types by Python's names (dict, float); they are turned into those of JSON schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.data.prompt_rows import TOOLS
from harness.data.records import Message
from harness.data.signatures import JSON_TYPES
from harness.policy import Prompt

Notation = Literal["python", "json"]
EXAMPLES: Mapping[Notation, str] = {
    "python": "as a list in Python's notation: [name(argument=value, ...), ...]",
    "json": 'as a JSON list: [{"name": "...", "arguments": {"argument": value, ...}}, ...]',
}
REQUEST = (
    "Answer the request with calls of the functions below and with nothing else, {example}. Name every argument that "
    "you give. If no function fits the request, say so in words and make no call."
)


def prompt_of(messages: Sequence[Message], functions: Sequence[Mapping[str, Any]], notation: Notation) -> Prompt:
    """The prompt of one item; a system turn of its own stands before the functions."""
    offered = json.dumps([json_schema(one) for one in functions], ensure_ascii=False)
    own = [message.content for message in messages if message.role == "system"]
    parts = [*own, REQUEST.format(example=EXAMPLES[notation]), TOOLS + offered]
    turns = [message for message in messages if message.role != "system"]
    return Prompt(messages=(Message("system", "\n\n".join(parts)), *turns))


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same with JSON schema's names of types; `any` is said by saying no type."""
    found = dict(schema)
    if isinstance(found.get("type"), str):
        found["type"] = JSON_TYPES.get(found["type"], found["type"])
        if found["type"] == "any":
            del found["type"]
    for key in ("parameters", "items"):
        if isinstance(found.get(key), Mapping):
            found[key] = json_schema(found[key])
    if isinstance(found.get("properties"), Mapping):
        inner = found["properties"].items()
        found["properties"] = {name: json_schema(one) if isinstance(one, Mapping) else one for name, one in inner}
    return found
