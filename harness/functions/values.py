"""Whether an argument's value is one of the accepted ones: BFCL's rules (its ast_checker; Apache-2.0), written anew.

A whole number is accepted for a float. Texts are equal where they differ in case, spaces, ,./-_*^ or the kind of
quotes. A dictionary's values each have a list of accepted ones, in which "" means that the key may lack.
Beyond BFCL: a whole number counts as a float inside lists too, and lists and dictionaries may be nested deeper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
