"""Parts of rows: turns, prompts and answers, read into records and written back.

What precedes the answer is a text, a list of turns, or an instruction with its input; a row may also name functions
to call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.data.placed import Row
from harness.data.turns import (
    MEDIA_KEYS,
    THOUGHT_KEYS,
    TRAINED_KEYS,
    check_order,
    checked_text,
    is_given,
    is_turns,
    parsed_turns,
    read_parts,
    read_turns,
    text_turns,
    thoughts_before,
    truth_of,
    without_nulls,
    write_openai,
)
from harness.errors import UserError
from harness.records import Demonstration, Message, Problem, Record

TOOLS = "You can call these functions:\n"
NUMBER = r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?"
# the last line of a worked answer of GSM8K; words may name the unit
FINAL = re.compile(rf"####\s*\$?({NUMBER})\s*%?(?:[ \t]+[^\W\d]+){{0,3}}\.?\s*\Z")
# an answer that is only a number between dollars or in a box
WRAPPED = re.compile(rf"\s*(?:\$\s*({NUMBER})\s*\$|\$?\s*\\boxed\s*\{{\s*({NUMBER})\s*\}}\s*\$?)\s*")
BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
BOXED_NUMBER = re.compile(rf"\s*\\?\$?\s*({NUMBER})\s*\\?%?\s*")
# an answer that is only a number, with the sign of a currency or of a share
ALONE = re.compile(r"\s*\$?\s*(-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*%?\s*")
# columns that say whether an answer is good: TRL's, LLaMA-Factory's, that of sampled and verified answers, and others
LABELS = ("label", "kto_tag", "is_correct", "is_good", "desirable", "is_desirable")
# further columns that are read, by their meaning
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
TOOL_COLUMNS = ("tools", "functions")
INPUT_COLUMNS = ("input", "context")
CHOICE_COLUMNS = ("choices", "options")


def label_in(row: Row, where: str) -> bool | None:
    """Whether the answer is labelled good; None where the row has no label.

    Raises UserError for a label that cannot be read, and for two that differ.
    """
    given = {name: truth_of(row[name]) for name in LABELS if name in row}
    labels = {name: label for name, label in given.items() if label is not None}
    if given and not labels:
        name = next(iter(given))
        raise UserError(
            f"its `{name}` is {row[name]!r}",
            where=where,
            fix=f"Label answers true or false; rename the column `{name}` if it means something else.",
        )
    if len({*labels.values()}) > 1:
        shown = " and ".join(f"`{name}` {row[name]!r}" for name in labels)
        raise UserError(f"its labels differ: {shown}", where=where, fix="Rename what is not the label of its answer.")
    return next(iter(labels.values()), None)


def labelled(row: Row) -> bool:
    """Whether the row has a label that can be read."""
    return any(name in row and truth_of(row[name]) is not None for name in LABELS)


def source_of(row: Row) -> str:
    value = row.get("source")
    return value if isinstance(value, str) else "" if value is None else str(value)


def check_columns(row: Row, where: str) -> None:
    """Raise UserError for media, and for marks that the row is not to be trained as it is."""
    for name in MEDIA_KEYS:
        if is_given(row.get(name)) and row[name] is not False:
            raise UserError(
                f"it has `{name}`, which cannot be trained",
                where=where,
                fix=f"Remove the row, or the column {name} if its text is enough.",
            )
    for name in (name for name in TRAINED_KEYS if name not in LABELS):
        if truth_of(row.get(name)) is False or (name in ("weight", "loss_weight") and _is_fraction(row.get(name))):
            raise UserError(
                f"its `{name}` is {row[name]!r}, and whole rows are trained with weight 1 only",
                where=where,
                fix=f"Remove the row, or rename the column `{name}` if it means something else.",
            )

    for name in ("mask", *TRAINED_KEYS):
        if isinstance(row.get(name), (list, tuple)) and row[name]:
            fix = f"Mark each turn, with `train: false`; rename the column `{name}` if it means something else."
            raise UserError(f"its `{name}` is a list, which is not read", where=where, fix=fix)


def _is_fraction(value: Any) -> bool:
    """Whether the value is a number other than 0 and 1."""
    try:
        return value is not None and not isinstance(value, bool) and float(value) not in (0.0, 1.0)
    except (TypeError, ValueError, OverflowError):
        return False


def with_thoughts(record: Record, row: Row, where: str) -> Record:
    """The record with the thoughts of the row's own columns before its last answer.

    Raises UserError where these differ from each other or from the thoughts of the turn.
    """
    given = {name: row[name] for name in THOUGHT_KEYS if isinstance(row.get(name), str) and row[name].strip()}
    if not given or not isinstance(record, Demonstration):
        return record
    *before, last = record.messages
    said = {text.strip() for text in (*given.values(), last.thoughts) if text.strip()}
    if len(said) > 1:
        raise UserError(f"{' and '.join(given)} and its turns hold different thoughts", where=where, fix="Keep one.")
    name, text = next(iter(given.items()))
    answer = replace(last, thoughts=thoughts_before(last.content, checked_text(text, name, where), where))
    return replace(record, messages=(*before, answer))


def as_prompt(row: Row, key: str, where: str) -> tuple[Message, ...]:
    """The turns of the column, or its text as the user's turn, with the row's further columns."""
    value = row[key]
    turns = text_turns(value, prompt=True) if isinstance(value, str) else value
    if isinstance(value, str) and turns is None:
        text = checked_text(value, key, where)
        return (*_history(row, where), Message("user", _with_inputs(text, row, where)))
    if not is_turns(turns):
        checked_text(value, key, where)
    return read_turns(turns, where)


def prompt_value(messages: Sequence[Message]) -> str | list[dict[str, Any]]:
    """The text of one user turn, or a list of turns."""
    if len(messages) == 1 and messages[0].role == "user" and text_turns(messages[0].content, prompt=True) is None:
        return messages[0].content
    return write_openai(messages)


def conversation(column: str, row: Row, where: str) -> tuple[Message, ...]:
    """The turns of the column, after the row's system turn."""
    return with_system(read_turns(row[column], where), row, where)


def with_system(messages: tuple[Message, ...], row: Row, where: str) -> tuple[Message, ...]:
    """The messages after a system turn that holds the row's system text and the functions it may call."""
    system, tools = (optional_text(row, names, where) for names in (SYSTEM_COLUMNS, TOOL_COLUMNS))
    own = messages[0].content if messages[0].role == "system" else ""
    parts = ["" if system.strip() == own.strip() else system, own]
    parts.append(TOOLS + tools if tools.strip() not in ("", "[]") else "")
    if not any(part.strip() for part in (parts[0], parts[2])):
        return messages
    return (Message("system", "\n\n".join(part for part in parts if part)), *messages[bool(own) :])


def alpaca_prompt(row: Row, where: str) -> tuple[Message, ...]:
    """Instruction and input, joined by a line break, after the system text and the history of earlier turns."""
    instruction = checked_text(row["instruction"], "instruction", where)
    extra = next(filter(None, (optional_text(row, (name,), where) for name in INPUT_COLUMNS)), "")
    text = "\n".join(part for part in (instruction, extra) if part)
    return with_system((*_history(row, where), Message("user", _with_inputs(text, row, where))), row, where)


def _with_inputs(text: str, row: Row, where: str) -> str:
    """The text, then each of the row's inputs that it does not hold, on lines of their own."""
    for name in INPUT_COLUMNS:
        extra = optional_text(row, (name,), where)
        if extra.strip() not in text:
            text = f"{text}\n{extra}"
    return text


def _history(row: Row, where: str) -> list[Message]:
    given = row.get("history") or ()
    parsed = parsed_turns(given) if isinstance(given, str) else given
    earlier: list[Message] = []
    for number, turn in enumerate(parsed if isinstance(parsed, (list, tuple)) else [given], 1):
        if not isinstance(turn, Sequence) or isinstance(turn, str) or len(turn) != 2:
            raise UserError(
                f"turn {number} of `history` is not a pair", where=where, fix="Write [[instruction, output], ...]."
            )
        asked, answered = (checked_text(text, "history", where) for text in turn)
        earlier += [Message("user", asked), Message("assistant", answered)]
    return earlier


def optional_text(row: Row, names: Sequence[str], where: str) -> str:
    """The text of a column that may have several names, be absent, null or empty; text parts and functions are joined.

    Raises UserError where two of the columns differ.
    """
    texts = {name: _column_text(row[name], name, where) for name in names if row.get(name) is not None}
    filled = {name: text for name, text in texts.items() if text.strip()}
    if len({text.strip() for text in filled.values()}) > 1:
        raise UserError(f"its {' and '.join(f'`{name}`' for name in filled)} differ", where=where, fix="Keep one.")
    return next(iter(filled.values()), "")


def _column_text(value: Any, name: str, where: str) -> str:
    if name in TOOL_COLUMNS and not isinstance(value, str):
        return json.dumps(without_nulls(value), ensure_ascii=False, sort_keys=True)
    if name in SYSTEM_COLUMNS and isinstance(value, (list, tuple)):
        return read_parts(value, where)[0]
    return checked_text(value, name, where, may_be_empty=True)


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
    one = {"input": cases[0].get("input"), "output": cases[0].get("output")}
    return read_alpaca("output", {**row, **one}, where, id)


def read_completion(key: str, column: str, row: Row, where: str, id: str) -> Demonstration:
    asked, value = with_system(as_prompt(row, key, where), row, where), row[column]
    # a list of messages is TRL's conversational prompt/completion
    if is_turns(value):
        answers = read_turns(value, where, continues=True)
    else:
        answers = (Message("assistant", checked_text(value, column, where)),)
    check_order((*asked, *answers), where)
    return ending_demonstration((*asked, *answers), row, where, id)


def read_question(row: Row, where: str, id: str) -> Demonstration:
    answer = Message("assistant", checked_text(row["answer"], "answer", where))
    return Demonstration((*_question(row, "question", where), answer), id, source_of(row))


def _question(row: Row, key: str, where: str) -> tuple[Message, ...]:
    """The prompt of a question. Raises UserError for choices that it does not show."""
    asked = with_system(as_prompt(row, key, where), row, where)
    shown = "\n".join(message.content for message in asked)
    for name in CHOICE_COLUMNS:
        given = row.get(name)
        listed = list(given.values()) if isinstance(given, Mapping) else given
        if isinstance(listed, list) and any(isinstance(one, str) and one.strip() not in shown for one in listed):
            raise UserError(
                f"its `{name}` are not part of the question",
                where=where,
                fix=f"Write them into `{key}`, or rename the column `{name}` if they are not for the model.",
            )
    return asked


def write_alpaca(column: str, record: Demonstration) -> dict[str, Any]:
    *asked, answer = record.messages
    return {"instruction": joined_text(asked), column: answer.content}


def write_completion(key: str, column: str, record: Demonstration) -> dict[str, Any]:
    return {key: prompt_value(record.messages[:-1]), column: record.messages[-1].content}


def read_problem(asked: str, key: str, row: Row, where: str, id: str) -> Problem:
    return Problem(_question(row, asked, where), *_reference(row, key, where), id, source_of(row))


def read_alpaca_answer(row: Row, where: str, id: str) -> Problem:
    return Problem(alpaca_prompt(row, where), *_reference(row, "answer", where), id, source_of(row))


def read_boxed(row: Row, where: str, id: str) -> Problem:
    """The problem of a row of MATH: its answer is the last \\boxed number of the worked solution."""
    solution = checked_text(row["solution"], "solution", where)
    found = BOXED.findall(solution)
    final = BOXED_NUMBER.fullmatch(found[-1]) if found else None
    if final is None:
        raise UserError(
            "its `solution` does not end in a \\boxed number",
            where=where,
            fix="Give the answer as `answer`, and the name of its `verifier`.",
        )
    return Problem(_question(row, "problem", where), final[1].replace(",", ""), "number", id, source_of(row))


def _reference(row: Row, key: str, where: str) -> tuple[str, str]:
    """The reference answer and its verifier; a number is written as JSON writes it.

    A worked answer that ends in "#### 7", as GSM8K's do, is the number 7 unless the row names a verifier; so are $7$
    and an answer that is only a number. Raises UserError for a worked answer without a number in its place: `exact`
    would compare answers with all of its words, and none would be right.
    """
    value, named = row[key], row.get("verifier")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    reference = json.dumps(value) if number else checked_text(value, key, where)
    if named is not None:
        return reference, checked_text(named, "verifier", where)
    if final := FINAL.search(reference) or WRAPPED.fullmatch(reference) or ALONE.fullmatch(reference):
        return final[final.lastindex or 1].replace(",", ""), "number"
    if worked := re.search(r"####|\\boxed", reference):
        raise UserError(
            f"its `{key}` is a worked answer, and no number follows `{worked[0]}`",
            where=where,
            fix='Give the final answer alone, or name a verifier: "verifier": "contains".',
        )
    return reference, "exact"


def write_problem(asked: str, key: str, record: Problem) -> dict[str, Any]:
    return {asked: prompt_value(record.prompt), key: record.reference}
