"""Outcomes on disk: one JSON line per item, checked as they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.benchmark import JointOutcome, Outcome


def write_outcomes(path: Path, outcomes: Iterable[Outcome], each: Callable[[int], None]) -> int:
    """Write them in order and return their number; calls `each` with the number written so far.

    Raises ValueError where a benchmark breaks its contract: no item, an id twice, a value that is not finite.
    """
    seen: set[tuple[str, ...]] = set()
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            _once((outcome.group, outcome.item), seen)
            _finite(outcome.item, {**outcome.metrics, **outcome.weights})
            file.write(json.dumps(_plain(asdict(outcome)), sort_keys=True) + "\n")
            each(len(seen))
    if not seen:
        raise ValueError("the benchmark yielded no item")
    return len(seen)


def read_outcomes(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file of outcomes or joint outcomes, as dictionaries."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def answered(path: Path) -> Iterator[Outcome]:
    """The lines of a file of outcomes, as `Outcome`."""
    for row in read_outcomes(path):
        yield Outcome(**{**row, **{name: tuple(row[name]) for name in ("completions", "flags")}})


def write_joint_outcomes(path: Path, outcomes: Iterable[JointOutcome], each: Callable[[int], None]) -> int:
    """The same for joint outcomes, item by item, one for each set of policies; returns the number of items."""
    items: set[tuple[str, ...]] = set()
    sets: set[tuple[str, ...]] = set()
    last: tuple[str, ...] = ()
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            place = (outcome.group, outcome.item)
            if place != last:
                # only the names of earlier items are kept: there may be millions of outcomes
                _once(place, items)
                last, sets = place, set()
                each(len(items))
            _once((*outcome.policies, *place), sets)
            _finite(outcome.item, {**outcome.metrics, **{one.title: one.value for one in outcome.excerpts}})
            file.write(json.dumps(_plain(asdict(outcome)), sort_keys=True) + "\n")
    if not items:
        raise ValueError("the benchmark compared no item")
    return len(items)


def _once(place: tuple[str, ...], seen: set[tuple[str, ...]]) -> None:
    if place in seen:
        raise ValueError(f"the item {place[-1]!r} of group {place[-2]!r} came twice")
    seen.add(place)


def _finite(item: str, values: Mapping[str, float]) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"the item {item!r} has {name} = {value}")


def _plain(value: Any) -> Any:
    """The value with lone surrogates, which UTF-8 cannot store, as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
