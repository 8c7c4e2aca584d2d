"""Lists of turns, as OpenAI (`role`, `content`) and ShareGPT (`from`, `value`) write them, to messages and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.errors import UserError
from harness.records import Message, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
FROM: dict[str, Role] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
# what a role is called when ShareGPT turns are written
WRITTEN: dict[Role, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def checked_text(value: Any, key: str, where: str, *, may_be_empty: bool = False) -> str:
    """The value, which must be text that a UTF-8 file can hold; raises UserError naming `key`."""
    if not isinstance(value, str):
        raise UserError(f"`{key}` is {type(value).__name__}, not text", where=where, fix=f"Give `{key}` as text.")
    if not may_be_empty and not value.strip():
        raise UserError(f"`{key}` is empty", where=where, fix="Remove the row or fill it in.")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"`{key}` holds half a character (a lone surrogate)", where=where, fix="Remove or mend it.")
    return value


def read_turns(value: Any, where: str) -> tuple[Message, ...]:
    """The messages of a list of turns, or of its JSON text (as a CSV cell holds it).

    Raises UserError on an unknown role, a system turn that is not the first, and two answers in a row.
    """
    turns = _parsed(value) if isinstance(value, str) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise UserError(
            "its messages are no list, or an empty one", where=where, fix="Write a list of {role, content}."
        )
    messages = tuple(_read_turn(turn, f"{where}, message {number}") for number, turn in enumerate(turns, 1))
    _check_order(messages, where)
    return messages


def write_openai(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as {role, content}."""
    return [{"role": message.role, "content": message.content} for message in messages]


def write_sharegpt(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The messages as {from, value}."""
    return [{"from": WRITTEN[message.role], "value": message.content} for message in messages]


def is_sharegpt(turns: Any) -> bool:
    """Whether a column holds ShareGPT turns."""
    turns = _parsed(turns) if isinstance(turns, str) else turns
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], Mapping) and "from" in turns[0]


def _parsed(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UserError(
            f"a message is {type(turn).__name__}, not {{role, content}}", where=where, fix="Write {role, content}."
        )
    sharegpt = "from" in turn
    known, name, content = (FROM, "from", "value") if sharegpt else (ROLES, "role", "content")
    role = turn.get(name)
    if not isinstance(role, str) or role not in known:
        raise UserError(f"the role is {role!r}", where=where, fix=f"Roles are {', '.join(known)}.")
    # a call without words: the call itself is what the model is to write
    if turn.get(content) in (None, "") and turn.get("tool_calls"):
        return Message(known[role], json.dumps(turn["tool_calls"], ensure_ascii=False, sort_keys=True))
    return Message(known[role], checked_text(turn.get(content), content, where))


def _check_order(messages: Sequence[Message], where: str) -> None:
    for number, (before, message) in enumerate(pairwise(messages), 2):
        if message.role == "system":
            raise UserError(
                "a system turn stands after other turns",
                where=f"{where}, message {number}",
                fix="A system turn comes first, once.",
            )
        if before.role == message.role == "assistant":
            raise UserError(
                "two assistant turns in a row",
                where=f"{where}, message {number}",
                fix="Join them into one, or put the user's turn between them.",
            )
