"""What comes before the answer: a text, a list of turns, an instruction with its input, functions to call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data import turns
from harness.data.records import Message
from harness.data.turns import checked_text, read_turns
from harness.errors import UserError

Row = Mapping[str, Any]
TOOLS = "You can call these functions:\n"


def source_of(row: Row) -> str:
    value = row.get("source")
    return value if isinstance(value, str) else "" if value is None else str(value)


def as_prompt(value: Any, where: str, key: str = "prompt") -> tuple[Message, ...]:
    if isinstance(value, (list, tuple)):
        return read_turns(value, where)
    return (Message("user", checked_text(value, key, where)),)


def prompt_value(messages: Sequence[Message]) -> str | list[dict[str, str]]:
    """The text of one user turn, or a list of turns."""
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    return turns.write_openai(messages)


def conversation(column: str, row: Row, where: str) -> tuple[Message, ...]:
    """The turns, after a system turn that holds the row's `system` text and the functions it may call."""
    messages = read_turns(row[column], where)
    parts = [optional_text(row, "system", where)]
    if (tools := optional_text(row, "tools", where)).strip() not in ("", "[]"):
        parts.append(TOOLS + tools)
    if not any(parts):
        return messages
    if messages[0].role == "system":
        parts.insert(1, messages[0].content)
        messages = messages[1:]
    return (Message("system", "\n\n".join(part for part in parts if part)), *messages)


def alpaca_prompt(row: Row, where: str) -> tuple[Message, ...]:
    """Instruction and input, joined by a line's end, after the system text and the history of earlier turns."""
    system, extra = optional_text(row, "system", where), optional_text(row, "input", where)
    instruction = checked_text(row["instruction"], "instruction", where)
    earlier: list[Message] = [Message("system", system)] if system.strip() else []
    for number, turn in enumerate(row.get("history") or (), 1):
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise UserError(
                f"turn {number} of `history` is no pair", where=where, fix="Write [[instruction, output], ...]."
            )
        asked, answered = (checked_text(text, "history", where) for text in turn)
        earlier += [Message("user", asked), Message("assistant", answered)]
    return (*earlier, Message("user", "\n".join(part for part in (instruction, extra) if part)))


def optional_text(row: Row, key: str, where: str) -> str:
    """The text of a column that may be absent, null or empty; functions may be given as a list."""
    value = row.get(key)
    if value is None:
        return ""
    if key == "tools" and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return checked_text(value, key, where, may_be_empty=True)


def joined_text(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")
