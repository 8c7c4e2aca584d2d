"""Systematic corruptions of a correct function call, one function for each kind of failure.

Every corruption is checked by `failure_of` and drawn again where it does not fail in the named way, so a corrupted call
is never equivalent to the correct one and never carries a wrong label.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.scoring.calls import failures
from harness.scoring.calls.failures import failure_of, type_of
from harness.scoring.calls.notations import Calling, FunctionCall, same_value
from harness.scoring.calls.signatures import Signature, json_type

TRIES = 12
# values kept for each argument; more would only cost time
ENOUGH = 200


@dataclass
class Pool:
    """Names and values of the whole set, from which plausible wrong parts are drawn.

    arguments  for each function the names of its arguments
    values     for each argument name its values
    said       answers in words
    """

    arguments: dict[str, dict[str, None]] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def add(self, calling: Calling) -> None:
        """Add the parts of a correct answer."""
        for call in calling.calls:
            self.arguments.setdefault(call.name, {}).update(dict.fromkeys(call.arguments))
            for name, value in call.arguments.items():
                known = self.values.setdefault(name, [])
                if len(known) < ENOUGH and value not in known:
                    known.append(value)


@dataclass(frozen=True)
class Site:
    """One correct answer with everything that its corruptions need.

    asked      the user's last turn
    next_said  a later answer of the assistant in the same conversation, or ""
    """

    calling: Calling
    signatures: Mapping[str, Signature]
    pool: Pool
    asked: str
    next_said: str = ""


def corrupted(kind: str, site: Site, chance: random.Random) -> str | None:
    """A wrong answer of this kind, or None where the call cannot be wrong in this way."""
    for _ in range(TRIES):
        answer = CORRUPTIONS[kind](site, chance)
        if answer is None:
            return None
        if failure_of(site.calling, answer, site.signatures) == kind:
            return answer
    return None


def _with(site: Site, at: int, call: FunctionCall | None) -> str | None:
    calls = site.calling.calls
    return None if call is None else site.calling.write([*calls[:at], call, *calls[at + 1 :]])


def _edit(change: Callable[[Site, FunctionCall, random.Random], FunctionCall | None]) -> Callable[..., str | None]:
    """A corruption of the whole answer that changes one of its calls."""

    def corrupt(site: Site, chance: random.Random) -> str | None:
        at = chance.randrange(len(site.calling.calls))
        return _with(site, at, change(site, site.calling.calls[at], chance))

    return corrupt


def _wrong_function(site: Site, call: FunctionCall, chance: random.Random) -> FunctionCall | None:
    # functions that the prompt offers are more plausible mistakes
    for names in (site.signatures, site.pool.arguments):
        others = [name for name in names if name != call.name]
        if others:
            return replace(call, name=chance.choice(others))
    return None


def _missing_argument(site: Site, call: FunctionCall, chance: random.Random) -> FunctionCall | None:
    signature = site.signatures.get(call.name)
    names = [name for name in call.arguments if signature is None or name in signature.required]
    if not names:
        return None
    dropped = chance.choice(names)
    return replace(call, arguments={name: value for name, value in call.arguments.items() if name != dropped})


def _invented_argument(site: Site, call: FunctionCall, chance: random.Random) -> FunctionCall | None:
    signature = site.signatures.get(call.name)
    known = {*call.arguments, *site.pool.arguments.get(call.name, ()), *(signature.types if signature else ())}
    names = [name for name in site.pool.values if name not in known]
    if not names:
        return None
    name = chance.choice(names)
    return replace(call, arguments={**call.arguments, name: chance.choice(site.pool.values[name])})


def _wrong_value(site: Site, call: FunctionCall, chance: random.Random) -> FunctionCall | None:
    if not call.arguments:
        return None
    name = chance.choice(list(call.arguments))
    signature, right = site.signatures.get(call.name), call.arguments[name]
    choices = list(signature.choices.get(name, ())) if signature else []
    kind = type_of(right, site.calling.worded)
    alike = [v for v in choices or site.pool.values.get(name, []) if type_of(v, site.calling.worded) == kind]
    wrong = other_value(right, alike, site.pool.values, chance, worded=site.calling.worded)
    return replace(call, arguments={**call.arguments, name: wrong})


def _wrong_type(site: Site, call: FunctionCall, chance: random.Random) -> FunctionCall | None:
    if not call.arguments:
        return None
    name = chance.choice(list(call.arguments))
    signature = site.signatures.get(call.name)
    wrong = retyped(call.arguments[name], site.pool.values, chance, worded=site.calling.worded)
    allowed = signature.types.get(name, frozenset()) if signature else frozenset()
    # where the correct value already violates its schema, this would repair the call
    if json_type(wrong) in allowed or ("number" in allowed and json_type(wrong) == "integer"):
        return call
    return replace(call, arguments={**call.arguments, name: wrong})


def _wrong_format(site: Site, chance: random.Random) -> str | None:
    return chance.choice(_worded_slips(site.calling) if site.calling.worded else _json_slips(site.calling))


def _worded_slips(calling: Calling) -> Sequence[str]:
    (call,) = calling.calls
    reversed_order = dict(reversed(list(call.arguments.items())))
    values = " , ".join(map(str, call.arguments.values()))
    return (
        calling.text.strip().removesuffix("}").rstrip(),
        f"{call.name} ( {values} )",
        calling.write([replace(call, arguments=reversed_order)]),
    )


def _json_slips(calling: Calling) -> Sequence[str]:
    text = calling.text.strip()
    in_code = [
        f"{call.name}({', '.join(f'{name}={value!r}' for name, value in call.arguments.items())})"
        for call in calling.calls
    ]
    unquoted = text.replace('"', "'")
    return text[:-1].rstrip(), "\n".join(in_code), unquoted, text.replace('":', '"', 1)


def _no_call(site: Site, chance: random.Random) -> str | None:
    """The answer that the assistant gives later, once it knows the result; otherwise any answer in words."""
    usual = [site.next_said] if site.next_said else []
    others = [chance.choice(site.pool.said)] if site.pool.said else []
    return chance.choice(usual or others or [site.asked])


CORRUPTIONS: dict[str, Callable[[Site, random.Random], str | None]] = {
    failures.WRONG_FUNCTION: _edit(_wrong_function),
    failures.MISSING_ARGUMENT: _edit(_missing_argument),
    failures.INVENTED_ARGUMENT: _edit(_invented_argument),
    failures.WRONG_VALUE: _edit(_wrong_value),
    failures.WRONG_TYPE: _edit(_wrong_type),
    failures.WRONG_FORMAT: _wrong_format,
    failures.NO_CALL: _no_call,
}


VALUE_TRIES = 8


def other_value(
    right: Any, alike: Sequence[Any], pool: Mapping[str, Sequence[Any]], chance: random.Random, *, worded: bool = False
) -> Any:
    """A value of the same type: one that the same argument has elsewhere, or else a changed one.

    alike  values of the right type for this argument
    pool   all values by argument, for text without alternatives
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
    """The text with one digit changed; a text without digits is replaced by another text of the set."""
    digits = [at for at, letter in enumerate(value) if letter in "0123456789"]
    if digits:
        at = chance.choice(digits)
        return f"{value[:at]}{(int(value[at]) + chance.randrange(1, 10)) % 10}{value[at + 1 :]}"
    for _ in range(VALUE_TRIES):
        other = chance.choice(pool[chance.choice(list(pool))])
        if isinstance(other, str) and other.strip():
            return other
    return value


def retyped(value: Any, pool: Mapping[str, Sequence[Any]], chance: random.Random, *, worded: bool = False) -> Any:
    """The value with a wrong type, as models write it: numbers as text, text as a list, lists as text."""
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
