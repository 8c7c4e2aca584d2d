"""Preference pairs of a row: their prompt, from wherever the row gives it, and their two answers.

Each side is a text, a turn, a list of turns or a text in the notation of HH-RLHF (Bai et al. 2022, arXiv 2204.05862).
Turns before the last answer are part of the prompt: both sides must agree on them, and they must agree with the
prompt that the row gives apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from harness.data.placed import Row
from harness.data.rows import (
    SYSTEM_COLUMNS,
    TOOL_COLUMNS,
    alpaca_prompt,
    as_prompt,
    prompt_value,
    source_of,
    with_system,
)
from harness.data.turns import checked_text, is_given, read_turns, text_turns, write_openai, write_sharegpt
from harness.errors import UserError
from harness.records import Message, PreferencePair

# what chat templates write around turns
RENDERED = re.compile(
    r"<\|\w+\|>|\[/?INST\]|<(?:start|end)_of_turn>|^#+ *(?:Human|User|Assistant|Instruction|Response):", re.M
)


class _Side(NamedTuple):
    """An answer, and the turns before it that its column has."""

    history: tuple[Message, ...]
    answer: str


def read_pair(asked: str, ending: str, row: Row, where: str, id: str) -> PreferencePair:
    """The pair of a row. asked: the column of the prompt, "" for none; ending: of the columns chosen and rejected.

    Raises UserError where the answers are equal, or the turns before them differ or contradict the prompt.
    """
    chosen, rejected = (_side(row[key + ending], key + ending, where) for key in ("chosen", "rejected"))
    if chosen == rejected:
        raise UserError("chosen and rejected are equal", where=where, fix="A pair needs two different answers.")
    given = _given(asked, row, where)
    histories = [_agreed(given, side.history, where) for side in (chosen, rejected)]
    if histories[0] != histories[1]:
        raise UserError(
            "chosen and rejected follow different turns",
            where=where,
            fix="Both answers must end the same conversation.",
        )
    prompt, answers = histories[0], (chosen.answer, rejected.answer)
    if not prompt:
        prompt, answers = _shared_beginning(row, ending, *answers, where)
    if asked != "instruction":
        prompt = with_system(prompt, row, where)
    if prompt[-1].role == "assistant":
        raise UserError("its prompt ends with an assistant's turn", where=where, fix="End it with the question.")
    return PreferencePair(prompt, *answers, id, source_of(row))


def write_pair(column: str, record: PreferencePair) -> dict[str, Any]:
    """The row as texts, except those that would be read as turns."""
    answers = {
        key: text if text_turns(text) is None else {"role": "assistant", "content": text}
        for key, text in (("chosen", record.chosen), ("rejected", record.rejected))
    }
    return {column: prompt_value(record.prompt), **answers}


def write_sharegpt_pair(record: PreferencePair) -> dict[str, Any]:
    """The row in ShareGPT's turns."""
    chosen, rejected = ({"from": "gpt", "value": text} for text in (record.chosen, record.rejected))
    return {"conversations": write_sharegpt(record.prompt), "chosen": chosen, "rejected": rejected}


def write_conversations(ending: str, record: PreferencePair) -> dict[str, Any]:
    """The row with both conversations whole."""
    return {
        key + ending: write_openai((*record.prompt, Message("assistant", answer)))
        for key, answer in (("chosen", record.chosen), ("rejected", record.rejected))
    }


def _shared_beginning(
    row: Row, ending: str, chosen: str, rejected: str, where: str
) -> tuple[tuple[Message, ...], tuple[str, str]]:
    """The whole words that both texts begin with, as the prompt, and the rest of each: TRL's implicit prompt.

    Raises UserError where there are none, or where another column may hold the prompt.
    """
    read = {"chosen" + ending, "rejected" + ending, "id", "source", *SYSTEM_COLUMNS, *TOOL_COLUMNS}
    others = [name for name, value in row.items() if name not in read and isinstance(value, (str, list, dict))]
    others = [name for name in others if is_given(row[name])]
    same = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False)))
    shared = same[: len(same) - len(re.split(r"\s", same)[-1])]
    answers = chosen[len(shared) :].strip(), rejected[len(shared) :].strip()
    if others or not shared.strip() or not all(answers):
        raise UserError(
            "it has no prompt",
            where=where,
            fix=f"Rename the column that holds it ({', '.join(others)}?) to `prompt`."
            if others
            else "Give `prompt`, or conversations as chosen and rejected.",
        )
    if marks := RENDERED.search(shared):
        raise UserError(
            f"chosen and rejected are written in the notation of a chat template ({marks[0]})",
            where=where,
            fix="Give them as lists of {role, content}.",
        )
    return (Message("user", shared.strip()),), answers


def _given(asked: str, row: Row, where: str) -> tuple[Message, ...]:
    """The prompt that the row gives apart from its answers; () for none."""
    if asked == "instruction":
        return alpaca_prompt(row, where)
    return as_prompt(row, asked, where) if asked and row[asked] is not None else ()


def _side(value: Any, key: str, where: str) -> _Side:
    turns = text_turns(value) if isinstance(value, str) else [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, (list, tuple)):
        return _Side((), checked_text(value, key, where))
    *history, last = read_turns(turns, f"{where}, {key}", continues=True)
    if last.role != "assistant":
        raise UserError(f"`{key}` does not end with an assistant's turn", where=where, fix="Give the answer last.")
    if not last.trained:
        raise UserError(
            f"the answer of `{key}` is marked not to be trained", where=where, fix="Remove the row, or the mark."
        )
    if last.thoughts:
        raise UserError(
            f"the answer of `{key}` has thoughts, which pairs do not hold",
            where=where,
            fix="Write them into its content, or remove them.",
        )
    return _Side(tuple(history), last.content)


def _agreed(given: tuple[Message, ...], history: tuple[Message, ...], where: str) -> tuple[Message, ...]:
    """The prompt given apart, continued by the turns before an answer. Raises UserError where they disagree."""
    if not history or not given:
        return history or given
    if history[0].role in ("assistant", "tool"):
        return (*given, *history)
    systems = [turns[:1] if turns[0].role == "system" else () for turns in (given, history)]
    asked, continued = given[len(systems[0]) :], history[len(systems[1]) :]
    same = all(
        one.role == other.role and one.content.strip() == other.content.strip()
        for one, other in zip(asked, continued, strict=False)
    )
    if not same or len(asked) > len(continued) or (all(systems) and systems[0] != systems[1]):
        raise UserError(
            "its prompt is not the beginning of its conversations",
            where=where,
            fix="Give the first turns of chosen and rejected as the prompt, or leave out the prompt.",
        )
    return (*(systems[1] or systems[0]), *continued)
