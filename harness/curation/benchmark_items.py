"""The items of a benchmark's file, for decontamination: question and reference answer, found by column name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.readers import Faults, label_of, placed_rows
from harness.errors import UserError
from harness.records import TestItem, TestSet

# the first of these columns that a row has is used; case is ignored
ASKED = ("prompt", "question", "problem", "instruction", "turns", "conversations", "messages", "input")
ANSWERED = ("reference", "answer", "best answer", "target", "output", "completion", "response")
IDENTIFIED = ("id", "key", "question_id", "problem_id", "task_id")


def read_test_set(name: str, templates: Sequence[str] = (), split: str = "test") -> TestSet:
    """The items of a file, folder or hub id; raises UserError where a row has no question."""
    items = []
    for number, where, row in placed_rows(name, Faults("stop"), split):
        named = {str(key).lower(): value for key, value in row.items()}
        asked = _first(named, ASKED)
        if not asked.strip():
            raise UserError(
                f"its columns are {', '.join(map(str, row))}",
                where=where,
                fix=f"An item needs one of {', '.join(ASKED)}.",
            )
        # choices belong to the question
        choices = [text_in(named[key]) for key in sorted(named) if key.startswith("choice")]
        text = "\n".join([asked, text_in(named.get("input", "")) if "instruction" in named else "", *choices]).strip()
        items.append(TestItem(_first(named, IDENTIFIED) or str(number), text, _first(named, ANSWERED)))
    if not items:
        raise UserError("it has no rows", where=name, fix="Give a file with at least one item.")
    return TestSet(label_of(name), tuple(_with_own_ids(items)), tuple(templates))


def text_in(value: Any) -> str:
    """The text of a value: a line for each turn or list element; numbers as JSON writes them."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, Mapping):
        return text_in(value.get("content", value.get("value", "")))
    if isinstance(value, (list, tuple)):
        return "\n".join(text_in(part) for part in value)
    return json.dumps(value)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text_in(row[name]) for name in names if row.get(name) not in (None, "")), "")


def _with_own_ids(items: Sequence[TestItem]) -> list[TestItem]:
    """The items with a number after each repeated id, so that every item is counted."""
    seen: dict[str, int] = {}
    own = []
    for item in items:
        seen[item.id] = seen.get(item.id, 0) + 1
        own.append(item if seen[item.id] == 1 else TestItem(f"{item.id}#{seen[item.id]}", item.text, item.answer))
    return own
