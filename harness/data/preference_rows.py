"""Preference pairs of a row: their prompt, from wherever the row gives it, and their two answers.

Each side is a text, a turn, a list of turns or a text in the notation of HH-RLHF (Bai et al. 2022, arXiv 2204.05862).
Turns before the last answer are part of the prompt: both sides must agree on them, and they must agree with the
prompt that the row gives apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from harness.data.readers import Row
from harness.data.rows import alpaca_prompt, prompt_value, source_of, with_system
from harness.data.turns import checked_text, is_turns, parsed_turns, read_turns, write_openai, write_sharegpt
from harness.errors import UserError
from harness.records import Message, PreferencePair, Role

SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
SPEAKERS: dict[str, Role] = {"Human": "user", "Assistant": "assistant"}


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
    prompt = histories[0]
    if not prompt:
        raise UserError("it has no prompt", where=where, fix="Give `prompt`, or conversations as chosen and rejected.")
    if asked != "instruction":
        prompt = with_system(prompt, row, where)
    if prompt[-1].role == "assistant":
        raise UserError("its prompt ends with an assistant's turn", where=where, fix="End it with the question.")
    return PreferencePair(prompt, chosen.answer, rejected.answer, id, source_of(row))


def write_pair(column: str, record: PreferencePair) -> dict[str, Any]:
    """The row as texts, except those that would be read as turns."""
    asked = prompt_value(record.prompt)
    if isinstance(asked, str) and _turns_in(asked, prompt=True) is not None:
        asked = write_openai(record.prompt)
    answers = {
        key: text if _turns_in(text) is None else {"role": "assistant", "content": text}
        for key, text in (("chosen", record.chosen), ("rejected", record.rejected))
    }
    return {column: asked, **answers}


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


def _given(asked: str, row: Row, where: str) -> tuple[Message, ...]:
    """The prompt that the row gives apart from its answers; () for none."""
    if asked == "instruction":
        return alpaca_prompt(row, where)
    value = row[asked] if asked else None
    if value is None:
        return ()
    if isinstance(value, str) and (turns := _turns_in(value, prompt=True)) is None:
        return (Message("user", checked_text(value, asked, where)),)
    return read_turns(turns if isinstance(value, str) else value, where)


def _side(value: Any, key: str, where: str) -> _Side:
    turns = _turns_in(value) if isinstance(value, str) else [value] if isinstance(value, Mapping) else value
    if not isinstance(turns, (list, tuple)):
        return _Side((), checked_text(value, key, where))
    *history, last = read_turns(turns, f"{where}, {key}", continues=True)
    if last.role != "assistant":
        raise UserError(f"`{key}` does not end with an assistant's turn", where=where, fix="Give the answer last.")
    if last.thoughts:
        raise UserError(
            f"the answer of `{key}` has thoughts, which pairs do not hold",
            where=where,
            fix="Write them into its content, or remove them.",
        )
    return _Side(tuple(history), last.content)


def _turns_in(text: str, *, prompt: bool = False) -> list[Any] | None:
    """The turns that the text is, as JSON, as Python or HH-RLHF writes them, else None.

    prompt  whether a last, empty turn of the assistant may be left out
    """
    if is_turns(text):
        return list(parsed_turns(text))
    if not re.match(r"\s*Human:", text):
        return None
    parts = SPEAKER.split(text)[1:]
    turns = [
        {"role": SPEAKERS[name], "content": said.strip()} for name, said in zip(parts[::2], parts[1::2], strict=True)
    ]
    if all(turn["role"] == "user" for turn in turns):
        return None
    return turns[:-1] if prompt and not turns[-1]["content"] else turns


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
