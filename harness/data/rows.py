"""Parts of rows: turns, prompts and answers, read into records and written back.

Turns are lists as OpenAI (`role`, `content`) or ShareGPT (`from`, `value`) writes them. What precedes the answer is a
text, a list of turns, or an instruction with its input; a row may also name functions to call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from harness.data.readers import Row
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Problem, Role

TOOLS = "You can call these functions:\n"
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
# columns that say whether an answer is good: TRL's, and LLaMA-Factory's
LABELS = ("label", "kto_tag")
TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
# the names of roles in ShareGPT turns that are written
WRITTEN: dict[Role, str] = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def checked_text(value: Any, key: str, where: str, *, may_be_empty: bool = False) -> str:
    """The value, which must be text that a UTF-8 file can hold; raises UserError naming `key`."""
    if not isinstance(value, str):
        raise UserError(f"`{key}` is {type(value).__name__}, not text", where=where, fix=f"Give `{key}` as text.")
    if not may_be_empty and not value.strip():
        raise UserError(f"`{key}` is empty", where=where, fix="Remove the row or fill it in.")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"`{key}` holds half a character (a lone surrogate)", where=where, fix="Remove or fix it.")
    return value


def read_turns(value: Any, where: str) -> tuple[Message, ...]:
    """The messages of a list of turns, or of its JSON text (as in a CSV cell).

    Raises UserError for an unknown role, a system turn that is not the first, and two assistant turns in a row.
    """
    turns = _parsed(value) if isinstance(value, str) else value
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise UserError(
            "its messages are not a list, or it is empty", where=where, fix="Write a list of {role, content}."
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
    # a call without text: the model is to write the call itself
    if turn.get(content) in (None, "") and turn.get("tool_calls"):
        return Message(known[role], json.dumps(turn["tool_calls"], ensure_ascii=False, sort_keys=True))
    return Message(known[role], checked_text(turn.get(content), content, where))


def _check_order(messages: Sequence[Message], where: str) -> None:
    for number, (before, message) in enumerate(pairwise(messages), 2):
        if message.role == "system":
            raise UserError(
                "a system turn follows other turns",
                where=f"{where}, message {number}",
                fix="Put the only system turn first.",
            )
        if before.role == message.role == "assistant":
            raise UserError(
                "two assistant turns in a row",
                where=f"{where}, message {number}",
                fix="Join them into one, or put the user's turn between them.",
            )


def label_in(row: Row, where: str) -> bool | None:
    """Whether the answer is labelled good; None where the row has no label. Raises UserError for other labels."""
    name = next((name for name in LABELS if name in row), None)
    if name is None:
        return None
    label = _truth(row[name])
    if label is None:
        raise UserError(
            f"its `{name}` is {row[name]!r}",
            where=where,
            fix=f"Label answers true or false; rename the column `{name}` if it means something else.",
        )
    return label


def labelled(row: Row) -> bool:
    """Whether the row has a label that can be read."""
    return any(name in row and _truth(row[name]) is not None for name in LABELS)


def _truth(value: Any) -> bool | None:
    """True and False as JSON, a number or text (a CSV cell) writes them, else None."""
    return TRUTH.get(str(value).strip().lower()) if isinstance(value, (bool, int, float, str)) else None


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
    return write_openai(messages)


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
    """Instruction and input, joined by a line break, after the system text and the history of earlier turns."""
    system, extra = optional_text(row, "system", where), optional_text(row, "input", where)
    instruction = checked_text(row["instruction"], "instruction", where)
    earlier: list[Message] = [Message("system", system)] if system.strip() else []
    for number, turn in enumerate(row.get("history") or (), 1):
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise UserError(
                f"turn {number} of `history` is not a pair", where=where, fix="Write [[instruction, output], ...]."
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


def ending_demonstration(messages: tuple[Message, ...], row: Row, where: str, id: str) -> Demonstration:
    if messages[-1].role != "assistant":
        raise UserError("it does not end with an assistant's turn", where=where, fix="Add the answer to imitate.")
    return Demonstration(messages, id, source_of(row))


def read_turns_column(column: str, row: Row, where: str, id: str) -> Demonstration:
    return ending_demonstration(conversation(column, row, where), row, where, id)


def read_alpaca(row: Row, where: str, id: str) -> Demonstration:
    answer = Message("assistant", checked_text(row["output"], "output", where))
    return ending_demonstration((*alpaca_prompt(row, where), answer), row, where, id)


def read_self_instruct(row: Row, where: str, id: str) -> Demonstration:
    cases = row["instances"]
    if not isinstance(cases, Sequence) or len(cases) != 1 or not isinstance(cases[0], Mapping):
        raise UserError("`instances` is not one instance", where=where, fix="Write one row for each instance.")
    one = {"instruction": row["instruction"], "input": cases[0].get("input"), "output": cases[0].get("output")}
    return read_alpaca({**one, "source": row.get("source")}, where, id)


def read_completion(column: str, row: Row, where: str, id: str) -> Demonstration:
    asked, value = as_prompt(row["prompt"], where), row[column]
    # a list of messages is TRL's conversational prompt/completion
    answers = read_turns(value, where) if isinstance(value, list) else None
    return ending_demonstration(
        (*asked, *(answers or (Message("assistant", checked_text(value, column, where)),))), row, where, id
    )


def read_question(row: Row, where: str, id: str) -> Demonstration:
    question, answer = (checked_text(row[key], key, where) for key in ("question", "answer"))
    return Demonstration((Message("user", question), Message("assistant", answer)), id, source_of(row))


def write_alpaca(record: Demonstration) -> dict[str, Any]:
    *asked, answer = record.messages
    return {"instruction": joined_text(asked), "output": answer.content}


def write_completion(column: str, record: Demonstration) -> dict[str, Any]:
    return {"prompt": prompt_value(record.messages[:-1]), column: record.messages[-1].content}


def read_pair(column: str, row: Row, where: str, id: str) -> PreferencePair:
    chosen, rejected = (_answer(row[key], key, where) for key in ("chosen", "rejected"))
    if chosen == rejected:
        raise UserError("chosen and rejected are equal", where=where, fix="A pair needs two different answers.")
    asked = as_prompt(row[column], where) if column == "prompt" else conversation(column, row, where)
    if asked[-1].role == "assistant":
        raise UserError("its prompt ends with an assistant's turn", where=where, fix="End it with the question.")
    return PreferencePair(asked, chosen, rejected, id, source_of(row))


def _answer(value: Any, key: str, where: str) -> str:
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, (list, tuple)):
        last = read_turns(value, f"{where}, {key}")[-1]
        if last.role != "assistant":
            raise UserError(f"`{key}` is not an assistant's turn", where=where, fix="Give the answer last.")
        return last.content
    return checked_text(value, key, where)


def write_pair(record: PreferencePair) -> dict[str, Any]:
    return {"prompt": prompt_value(record.prompt), "chosen": record.chosen, "rejected": record.rejected}


def write_sharegpt_pair(record: PreferencePair) -> dict[str, Any]:
    chosen, rejected = ({"from": "gpt", "value": text} for text in (record.chosen, record.rejected))
    return {"conversations": write_sharegpt(record.prompt), "chosen": chosen, "rejected": rejected}


def read_problem(asked: str, key: str, row: Row, where: str, id: str) -> Problem:
    prompt = as_prompt(row[asked], where, asked)
    reference = _reference(row[key], key, where)
    verifier = checked_text(row.get("verifier", "exact"), "verifier", where)
    return Problem(prompt, reference, verifier, id, source_of(row))


def read_alpaca_answer(row: Row, where: str, id: str) -> Problem:
    asked, reference = alpaca_prompt(row, where), _reference(row["answer"], "answer", where)
    return Problem(asked, reference, checked_text(row.get("verifier", "exact"), "verifier", where), id, source_of(row))


def _reference(value: Any, key: str, where: str) -> str:
    """The reference answer; a number is written as JSON writes it."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return json.dumps(value) if number else checked_text(value, key, where)


def write_problem(asked: str, key: str, record: Problem) -> dict[str, Any]:
    return {asked: prompt_value(record.prompt), key: record.reference}
