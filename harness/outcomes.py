"""Outcomes on disk: one JSON line per item, checked as they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.benchmark import Outcome


def write_outcomes(path: Path, outcomes: Iterable[Outcome], each: Callable[[int], None]) -> int:
    """Write them in order and return their number. `each` is told how many are done.

    Raises ValueError where a benchmark breaks its contract: no item, an id twice, a value that is not finite.
    """
    seen: set[tuple[str, str]] = set()
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            _check(outcome, seen)
            file.write(json.dumps(_plain(asdict(outcome)), sort_keys=True) + "\n")
            each(len(seen))
    if not seen:
        raise ValueError("the benchmark yielded no item")
    return len(seen)


def read_outcomes(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file written by write_outcomes."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _check(outcome: Outcome, seen: set[tuple[str, str]]) -> None:
    place = (outcome.group, outcome.item)
    if place in seen:
        raise ValueError(f"the item {outcome.item!r} of group {outcome.group!r} came twice")
    seen.add(place)
    for name, value in {**outcome.metrics, **outcome.weights}.items():
        if not math.isfinite(value):
            raise ValueError(f"the item {outcome.item!r} has {name} = {value}")


def _plain(value: Any) -> Any:
    """Lone surrogates cannot be stored as UTF-8: they are written out as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
