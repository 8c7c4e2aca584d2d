"""Rows that hold more than one answer, or the right one: preference pairs, and problems with a reference."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.data import turns
from harness.data.prompt_rows import Row, alpaca_prompt, as_prompt, conversation, prompt_value, source_of
from harness.data.records import PreferencePair, Problem
from harness.data.turns import checked_text, read_turns
from harness.errors import UserError


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
    return {"conversations": turns.write_sharegpt(record.prompt), "chosen": chosen, "rejected": rejected}


def read_problem(asked: str, key: str, row: Row, where: str, id: str) -> Problem:
    prompt = as_prompt(row[asked], where, asked)
    reference = _reference(row[key], key, where)
    verifier = checked_text(row.get("verifier", "exact"), "verifier", where)
    return Problem(prompt, reference, verifier, id, source_of(row))


def read_alpaca_answer(row: Row, where: str, id: str) -> Problem:
    asked, reference = alpaca_prompt(row, where), _reference(row["answer"], "answer", where)
    return Problem(asked, reference, checked_text(row.get("verifier", "exact"), "verifier", where), id, source_of(row))


def _reference(value: Any, key: str, where: str) -> str:
    """The reference answer; a number is an answer too, and is written as JSON writes it."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return json.dumps(value) if number else checked_text(value, key, where)


def write_problem(asked: str, key: str, record: Problem) -> dict[str, Any]:
    return {asked: prompt_value(record.prompt), key: record.reference}
