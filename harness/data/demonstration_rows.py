"""Rows of demonstrations: turns, instruction and output, prompt and completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.prompt_rows import Row, alpaca_prompt, as_prompt, conversation, joined_text, prompt_value, source_of
from harness.data.records import Demonstration, Message
from harness.data.turns import checked_text, read_turns
from harness.errors import UserError


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
