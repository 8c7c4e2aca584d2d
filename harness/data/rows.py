"""Parts of rows: turns, prompts and answers, read into records and written back.

What precedes the answer is a text, a list of turns, or an instruction with its input; a row may also name functions
to call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.readers import Row
from harness.data.turns import check_order, checked_text, is_turns, read_turns, truth_of, without_nulls, write_openai
from harness.errors import UserError
from harness.records import Demonstration, Message, Problem

TOOLS = "You can call these functions:\n"
FINAL = re.compile(r"####\s*\$?(-?(?:\d[\d,]*(?:\.\d+)?|\.\d+))\s*%?\.?\s*\Z")
# columns that say whether an answer is good: TRL's, and LLaMA-Factory's
LABELS = ("label", "kto_tag")


def label_in(row: Row, where: str) -> bool | None:
    """Whether the answer is labelled good; None where the row has no label. Raises UserError for other labels."""
    name = next((name for name in LABELS if name in row), None)
    if name is None:
        return None
    label = truth_of(row[name])
    if label is None:
        raise UserError(
            f"its `{name}` is {row[name]!r}",
            where=where,
            fix=f"Label answers true or false; rename the column `{name}` if it means something else.",
        )
    return label


def labelled(row: Row) -> bool:
    """Whether the row has a label that can be read."""
    return any(name in row and truth_of(row[name]) is not None for name in LABELS)


def source_of(row: Row) -> str:
    value = row.get("source")
    return value if isinstance(value, str) else "" if value is None else str(value)


def as_prompt(value: Any, where: str, key: str = "prompt") -> tuple[Message, ...]:
    if is_turns(value):
        return read_turns(value, where)
    return (Message("user", checked_text(value, key, where)),)


def prompt_value(messages: Sequence[Message]) -> str | list[dict[str, Any]]:
    """The text of one user turn, or a list of turns."""
    if len(messages) == 1 and messages[0].role == "user" and not is_turns(messages[0].content):
        return messages[0].content
    return write_openai(messages)


def conversation(column: str, row: Row, where: str) -> tuple[Message, ...]:
    """The turns of the column, after the row's system turn."""
    return with_system(read_turns(row[column], where), row, where)


def with_system(messages: tuple[Message, ...], row: Row, where: str) -> tuple[Message, ...]:
    """The messages after a system turn that holds the row's `system` text and the functions it may call."""
    system, tools = optional_text(row, "system", where), optional_text(row, "tools", where)
    own = messages[0].content if messages[0].role == "system" else ""
    parts = ["" if system.strip() == own.strip() else system, own]
    parts.append(TOOLS + tools if tools.strip() not in ("", "[]") else "")
    if not any(part.strip() for part in (parts[0], parts[2])):
        return messages
    return (Message("system", "\n\n".join(part for part in parts if part)), *messages[bool(own) :])


def alpaca_prompt(row: Row, where: str) -> tuple[Message, ...]:
    """Instruction and input, joined by a line break, after the system text and the history of earlier turns."""
    system = optional_text(row, "system", where)
    extra = optional_text(row, "input", where) or optional_text(row, "context", where)
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
        return json.dumps(without_nulls(value), ensure_ascii=False, sort_keys=True)
    return checked_text(value, key, where, may_be_empty=True)


def joined_text(messages: Sequence[Message]) -> str:
    return "\n".join(message.content for message in messages if message.role == "user")


def ending_demonstration(messages: tuple[Message, ...], row: Row, where: str, id: str) -> Demonstration:
    if messages[-1].role != "assistant":
        raise UserError("it does not end with an assistant's turn", where=where, fix="Add the answer to imitate.")
    return Demonstration(messages, id, source_of(row))


def read_turns_column(column: str, row: Row, where: str, id: str) -> Demonstration:
    return ending_demonstration(conversation(column, row, where), row, where, id)


def read_alpaca(column: str, row: Row, where: str, id: str) -> Demonstration:
    answer = Message("assistant", checked_text(row[column], column, where))
    return ending_demonstration((*alpaca_prompt(row, where), answer), row, where, id)


def read_self_instruct(row: Row, where: str, id: str) -> Demonstration:
    cases = row["instances"]
    if not isinstance(cases, Sequence) or len(cases) != 1 or not isinstance(cases[0], Mapping):
        raise UserError("`instances` is not one instance", where=where, fix="Write one row for each instance.")
    one = {"instruction": row["instruction"], "input": cases[0].get("input"), "output": cases[0].get("output")}
    return read_alpaca("output", {**one, "source": row.get("source")}, where, id)


def read_completion(column: str, row: Row, where: str, id: str) -> Demonstration:
    asked, value = with_system(as_prompt(row["prompt"], where), row, where), row[column]
    # a list of messages is TRL's conversational prompt/completion
    if is_turns(value):
        answers = read_turns(value, where, continues=True)
    else:
        answers = (Message("assistant", checked_text(value, column, where)),)
    check_order((*asked, *answers), where)
    return ending_demonstration((*asked, *answers), row, where, id)


def read_question(row: Row, where: str, id: str) -> Demonstration:
    question, answer = (checked_text(row[key], key, where) for key in ("question", "answer"))
    return Demonstration((Message("user", question), Message("assistant", answer)), id, source_of(row))


def write_alpaca(column: str, record: Demonstration) -> dict[str, Any]:
    *asked, answer = record.messages
    return {"instruction": joined_text(asked), column: answer.content}


def write_completion(column: str, record: Demonstration) -> dict[str, Any]:
    return {"prompt": prompt_value(record.messages[:-1]), column: record.messages[-1].content}


def read_problem(asked: str, key: str, row: Row, where: str, id: str) -> Problem:
    prompt = with_system(as_prompt(row[asked], where, asked), row, where)
    return Problem(prompt, *_reference(row, key, where), id, source_of(row))


def read_alpaca_answer(row: Row, where: str, id: str) -> Problem:
    return Problem(alpaca_prompt(row, where), *_reference(row, "answer", where), id, source_of(row))


def _reference(row: Row, key: str, where: str) -> tuple[str, str]:
    """The reference answer and its verifier; a number is written as JSON writes it.

    A worked answer that ends in "#### 7", as GSM8K's do, is the number 7 unless the row names a verifier.
    """
    value, named = row[key], row.get("verifier")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    reference = json.dumps(value) if number else checked_text(value, key, where)
    if named is not None:
        return reference, checked_text(named, "verifier", where)
    final = FINAL.search(reference)
    return (final[1].replace(",", ""), "number") if final else (reference, "exact")


def write_problem(asked: str, key: str, record: Problem) -> dict[str, Any]:
    return {asked: prompt_value(record.prompt), key: record.reference}
