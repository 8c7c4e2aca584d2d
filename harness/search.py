"""Settings drawn at random from the ranges that a method declares. The same words give the same settings anywhere.

Every field has a stream of its own, so a field more or less leaves the draws of the others as they are.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Sequence
from typing import Any

from harness.errors import UserError
from harness.method import Method

MOST_DRAWS = 200


def searchable(method: Method) -> list[str]:
    """The fields with a search range, in the order of their declaration."""
    return [item.name for item in dataclasses.fields(method) if item.metadata.get("search") is not None]  # type: ignore[arg-type]


def draws(method: Method, names: Sequence[str], count: int, seed: str) -> list[Method]:
    """Up to `count` settings of `names`, all different from one another and from the method itself.

    Fewer where the ranges hold no more, as far as that many tries tell. Combinations that the method's own `check`
    refuses are drawn again.
    """
    found: list[Method] = []
    for attempt in range(MOST_DRAWS * count):
        if len(found) == count:
            break
        drawn = dataclasses.replace(method, **{name: _draw(method, name, f"{seed}/{attempt}") for name in names})  # type: ignore[type-var]
        if drawn != method and drawn not in found and _allowed(drawn):
            found.append(drawn)
    return found


def _draw(method: Method, name: str, seed: str) -> Any:
    """One value of a field: (low, high) is a range of numbers, anything else a list of choices."""
    declared = next(item for item in dataclasses.fields(method) if item.name == name)  # type: ignore[arg-type]
    chance = random.Random(f"{seed}/{name}")
    search, log = declared.metadata["search"], declared.metadata["log"]
    if not is_range(search):
        return chance.choice(search)
    low, high = search
    whole = isinstance(low, int) and isinstance(high, int)
    if log:
        value = math.exp(chance.uniform(math.log(low), math.log(high)))
        return round(value) if whole else float(f"{value:.3g}")
    return chance.randint(low, high) if whole else float(f"{chance.uniform(low, high):.3g}")


def is_range(search: Sequence[Any]) -> bool:
    """Whether it is (low, high) of a number."""
    return len(search) == 2 and all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in search)


def _allowed(method: Method) -> bool:
    try:
        method.check()
    except UserError:
        return False
    return True
