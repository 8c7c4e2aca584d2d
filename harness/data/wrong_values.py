"""Values in place of a right one: another of the same type, or the same in another type."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from harness.data.calls import same_value

TRIES = 8


def other_value(
    right: Any, alike: Sequence[Any], pool: Mapping[str, Sequence[Any]], chance: random.Random, *, worded: bool = False
) -> Any:
    """A value of the same type: one of those that the same argument has elsewhere, or else a changed one.

    alike  values of the right type for this argument;  pool  all values by argument, for text that has no like
    """
    others = [value for value in alike if not same_value(value, right, lenient=True)]
    if others:
        return chance.choice(others)
    if worded and str(right).isdigit():
        return str(int(right) + 1)
    return _changed(right, pool, chance)


def _changed(value: Any, pool: Mapping[str, Sequence[Any]], chance: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + chance.choice([1, 2, 5, 10])
    if isinstance(value, str):
        return _changed_text(value, pool, chance)
    if isinstance(value, list) and value:
        at = chance.randrange(len(value))
        shorter = len(value) > 1 and chance.random() < 0.5
        return value[:at] + ([] if shorter else [_changed(value[at], pool, chance)]) + value[at + 1 :]
    if isinstance(value, Mapping) and value:
        key = chance.choice(list(value))
        return {**value, key: _changed(value[key], pool, chance)}
    return value


def _changed_text(value: str, pool: Mapping[str, Sequence[Any]], chance: random.Random) -> str:
    """A number in the text becomes another; text without one becomes another text of the set."""
    digits = [at for at, letter in enumerate(value) if letter in "0123456789"]
    if digits:
        at = chance.choice(digits)
        return f"{value[:at]}{(int(value[at]) + chance.randrange(1, 10)) % 10}{value[at + 1 :]}"
    for _ in range(TRIES):
        other = chance.choice(pool[chance.choice(list(pool))])
        if isinstance(other, str) and other.strip():
            return other
    return value


def retyped(value: Any, pool: Mapping[str, Sequence[Any]], chance: random.Random, *, worded: bool = False) -> Any:
    """The value in a type that is not its own, as models slip: numbers as text, text as a list, lists as text."""
    if worded:
        digits = str(value).isdigit()
        fitting = [one for values in pool.values() for one in values if str(one).isdigit() != digits]
        return chance.choice(fitting) if fitting else value
    if isinstance(value, (bool, int, float)):
        return json.dumps(value)
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else [value]
    if isinstance(value, list):
        return ", ".join(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in value)
    return json.dumps(value, ensure_ascii=False)
