"""Which failure an answer is, beside the calls that are accepted: the taxonomy of function_calling.

Of the whole answer: not_a_call, unparsable, wrong_number_of_calls. Of the call that comes nearest to an accepted one
which no call meets: wrong_function, missing_argument, extra_argument, wrong_type, wrong_value. Where no function fits
the request: needless_call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.scoring.calls.failures import tries_to_call
from harness.scoring.calls.notations import FunctionCall, calls_in

NOT_A_CALL = "not_a_call"
UNPARSABLE = "unparsable"
WRONG_NUMBER = "wrong_number_of_calls"
NEEDLESS_CALL = "needless_call"
# from the worst to the nearest miss
OF_ONE_CALL = ("wrong_function", "missing_argument", "extra_argument", "wrong_type", "wrong_value")
FAILURES = (NOT_A_CALL, UNPARSABLE, WRONG_NUMBER, *OF_ONE_CALL, NEEDLESS_CALL)


@dataclass(frozen=True)
class Accepted:
    """A call that is wanted.

    arguments  of each argument the accepted values, among which "" says that it may lack
    schemas    of each argument what the function declares
    required   arguments that the function declares as required
    """

    name: str
    arguments: Mapping[str, Sequence[Any]]
    schemas: Mapping[str, Mapping[str, Any]]
    required: frozenset[str]


def failure_in(answer: str, wanted: Sequence[Accepted], offered: Sequence[str]) -> str:
    """The failure of an answer, or "" where it is right. `wanted` is empty where no call is.

    Where no call is wanted, what cannot be read as calls is right, as in BFCL.
    """
    calls = calls_in(answer)
    if not wanted:
        return NEEDLESS_CALL if calls else ""
    if calls is None:
        return UNPARSABLE if tries_to_call(answer, offered) else NOT_A_CALL
    if not calls:
        return NOT_A_CALL
    if len(calls) != len(wanted):
        return WRONG_NUMBER
    return _worst(calls, wanted)


def _worst(calls: Sequence[FunctionCall], wanted: Sequence[Accepted]) -> str:
    """The failure that remains when as many calls as possible are matched, whatever their order."""
    failures = [[call_failure(call, one) for call in calls] for one in wanted]
    partner = _matching([[not failure for failure in row] for row in failures])
    unmet = next((at for at in range(len(wanted)) if at not in partner.values()), None)
    if unmet is None:
        return ""
    left = [failures[unmet][at] for at in range(len(calls)) if at not in partner]
    return max(left, key=OF_ONE_CALL.index)


def _matching(fits: Sequence[Sequence[bool]]) -> dict[int, int]:
    """The largest set of pairs, call -> wanted one, by augmenting paths; fits[wanted][call]."""
    partner: dict[int, int] = {}

    def place(wanted: int, tried: set[int]) -> bool:
        for call, fit in enumerate(fits[wanted]):
            if fit and call not in tried:
                tried.add(call)
                if call not in partner or place(partner[call], tried):
                    partner[call] = wanted
                    return True
        return False

    for wanted in range(len(fits)):
        place(wanted, set())
    return partner


def call_failure(call: FunctionCall, wanted: Accepted) -> str:
    """What is wrong with one call beside one that is wanted, or ""."""
    if call.name != wanted.name:
        return "wrong_function"
    needed = {name for name, values in wanted.arguments.items() if "" not in values} | wanted.required
    if needed - set(call.arguments):
        return "missing_argument"
    if set(call.arguments) - set(wanted.arguments):
        return "extra_argument"
    given = [(value, wanted.schemas.get(name, {}), wanted.arguments[name]) for name, value in call.arguments.items()]
    if not all(has_type(value, schema, values) for value, schema, values in given):
        return "wrong_type"
    return "" if all(is_accepted(value, values) for value, _, values in given) else "wrong_value"


IGNORED = re.compile(r"[ ,./\-_*^]")
KINDS: Mapping[str, tuple[type, ...]] = {
    "integer": (int,),
    "float": (float, int),
    "number": (float, int),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "dict": (dict,),
    "object": (dict,),
}


def has_type(value: Any, schema: Mapping[str, Any], accepted: Sequence[Any]) -> bool:
    """Whether the value has the declared type, or that of an accepted value."""
    return _as_declared(value, schema) or any(_alike(value, one) for one in accepted if one != "")


def is_accepted(value: Any, accepted: Sequence[Any]) -> bool:
    """Whether the value equals one of the accepted ones."""
    return any(_fits(value, one) for one in accepted)


def spelling(text: str) -> str:
    """What remains of a text where spelling is not to count."""
    return IGNORED.sub("", text).lower().replace("'", '"')


def _is_a(value: Any, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds  # true is no number


def _as_declared(value: Any, schema: Mapping[str, Any]) -> bool:
    kinds = KINDS.get(str(schema.get("type")))
    if kinds is None:
        return True
    items = schema.get("items")
    if isinstance(value, list) and list in kinds and isinstance(items, Mapping):
        return all(_as_declared(one, items) for one in value)
    return _is_a(value, kinds)


def _alike(value: Any, accepted: Any) -> bool:
    if isinstance(value, list) and isinstance(accepted, list):
        return all(any(_alike(one, other) for other in accepted[:50]) for one in value)
    return type(value) is type(accepted)


def _fits(value: Any, accepted: Any) -> bool:
    if isinstance(accepted, dict):
        return isinstance(value, dict) and _dictionary_fits(value, accepted)
    if isinstance(accepted, list):
        same_length = isinstance(value, list) and len(value) == len(accepted)
        return same_length and all(_fits(one, other) for one, other in zip(value, accepted, strict=True))
    if isinstance(value, str) and isinstance(accepted, str):
        return spelling(value) == spelling(accepted)
    numbers = _is_a(value, (int, float)) and _is_a(accepted, (int, float))
    return (numbers or type(value) is type(accepted)) and bool(value == accepted)


def _dictionary_fits(value: Mapping[str, Any], accepted: Mapping[str, Any]) -> bool:
    lists = {key: one if isinstance(one, list) else [one] for key, one in accepted.items()}
    known = all(key in lists and is_accepted(one, lists[key]) for key, one in value.items())
    return known and all(key in value or "" in one for key, one in lists.items())
