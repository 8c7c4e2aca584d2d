"""From one raw row to one record. A row that does not fit raises UserError naming file and row.

Understood today: messages (OpenAI), prompt/completion, instruction/input/output (Alpaca),
prompt/chosen/rejected, and problems with a reference answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from harness.data.records import Demonstration, Message, PreferencePair, Problem, Role
from harness.errors import UserError

ROLES = get_args(Role)


def demonstration(row: Mapping[str, Any], where: str, id: str) -> Demonstration:
    """A row with `messages`, `prompt` and `completion`, or `instruction`, `input` and `output`."""
    if "messages" in row:
        messages = _messages(row["messages"], where)
    elif "prompt" in row and "completion" in row:
        messages = (
            *_as_prompt(row["prompt"], where, "prompt"),
            Message("assistant", _text(row, "completion", where)),
        )
    elif "instruction" in row and "output" in row:
        asked = "\n".join(part for part in (_text(row, "instruction", where), str(row.get("input") or "")) if part)
        messages = (Message("user", asked), Message("assistant", _text(row, "output", where)))
    else:
        raise _unknown(row, where, "`messages`, `prompt` and `completion`, or `instruction` and `output`")
    if messages[-1].role != "assistant":
        raise UserError("it does not end with an assistant's turn", where=where, fix="Add the answer to imitate.")
    return Demonstration(messages, id, str(row.get("source", "")))


def preference_pair(row: Mapping[str, Any], where: str, id: str) -> PreferencePair:
    """A row with `prompt`, `chosen` and `rejected`; the answers may be texts or one-message lists."""
    if not {"prompt", "chosen", "rejected"} <= set(row):
        raise _unknown(row, where, "`prompt`, `chosen` and `rejected`")
    chosen, rejected = (_answer(row, key, where) for key in ("chosen", "rejected"))
    if chosen == rejected:
        raise UserError("chosen and rejected are equal", where=where, fix="A pair needs two different answers.")
    return PreferencePair(_as_prompt(row["prompt"], where, "prompt"), chosen, rejected, id, str(row.get("source", "")))


def problem(row: Mapping[str, Any], where: str, id: str) -> Problem:
    """A row with `prompt` (or `question`) and `reference` (or `answer`), and the name of a `verifier`."""
    asked = row.get("prompt", row.get("question"))
    key = "reference" if "reference" in row else "answer"
    if asked is None or key not in row:
        raise _unknown(row, where, "`prompt` (or `question`) and `reference` (or `answer`)")
    prompt = _as_prompt(asked, where, "prompt")
    return Problem(prompt, _text(row, key, where), str(row.get("verifier", "exact")), id, str(row.get("source", "")))


def _as_prompt(value: Any, where: str, key: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message("user", _text({key: value}, key, where)),)
    return _messages(value, where)


def _messages(value: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise UserError(
            "its messages are no list, or an empty one", where=where, fix="Write a list of {role, content}."
        )
    return tuple(_message(turn, f"{where}, message {number}") for number, turn in enumerate(value, 1))


def _message(turn: Any, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise UserError(f"a message is {type(turn).__name__}, not {{role, content}}", where=where)
    if turn.get("role") not in ROLES:
        raise UserError(f"the role is {turn.get('role')!r}", where=where, fix=f"Roles are {', '.join(ROLES)}.")
    return Message(turn["role"], _text(turn, "content", where))


def _answer(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row[key]
    if isinstance(value, (list, tuple)):
        return _messages(value, where)[-1].content
    return _text(row, key, where)


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise UserError(f"`{key}` is {type(value).__name__}, not text", where=where, fix=f"Give `{key}` as text.")
    if not value.strip():
        raise UserError(f"`{key}` is empty", where=where, fix="Remove the row or fill it in.")
    return value


def _unknown(row: Mapping[str, Any], where: str, wanted: str) -> UserError:
    return UserError(
        f"its columns are {', '.join(sorted(map(str, row))) or 'none'}",
        where=where,
        fix=f"A row needs {wanted}.",
    )
