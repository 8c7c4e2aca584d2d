"""Outcomes on disk: one JSON line per item, checked as they are written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from numbers import Real
from pathlib import Path
from typing import Any

from harness.benchmark import Excerpt, JointOutcome, Outcome

_CHANCE = "chance"  # a metric that every benchmark may give: the value that random answers to the item reach


def write_outcomes(
    path: Path,
    outcomes: Iterable[Outcome],
    each: Callable[[int], None],
    declared: Collection[str] = (),
    *,
    sparse: bool = True,
    may_be_empty: bool = False,
) -> int:
    """Write them in order and return their number; calls `each` with the number written so far.

    declared  the metrics that an outcome may hold; empty: any
    sparse    whether an outcome may leave out a metric that is declared
    may_be_empty  whether there may be no outcome: of a part of few items
    Raises ValueError, with the item and the line that yielded it, where a benchmark breaks its contract: no item, an id
    twice or not a text, a metric that is missing or not declared, a value that is not a finite number. A metric that is
    None is left out.
    """
    seen: set[tuple[str, ...]] = set()
    if not isinstance(outcomes, Iterable):
        raise ValueError(f"the benchmark's `evaluate` gave a {type(outcomes).__name__} in place of outcomes")
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            try:
                given, outcome = outcome, _valid(outcome, declared)
                if not sparse and (missing := set(declared) - {*given.metrics}):
                    what = f"the item {outcome.item!r} has no {min(missing)}"
                    raise ValueError(f"{what}; give None where it cannot be computed")
                _once((outcome.group, outcome.item), seen)
            except ValueError as error:
                raise ValueError(f"{error}{_line_that_yields(outcomes)}") from None
            file.write(json.dumps(_plain(asdict(outcome)), sort_keys=True) + "\n")
            each(len(seen))
    if not seen and not may_be_empty:
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


def write_joint_outcomes(
    path: Path,
    outcomes: Iterable[JointOutcome],
    each: Callable[[int], None],
    declared: Collection[str] = (),
    known: Collection[tuple[str, ...]] = (),
) -> int:
    """The same for joint outcomes, item by item, one for each set of policies; returns the number of items.

    known  the sets of policies that may be compared; empty: any
    """
    items: set[tuple[str, ...]] = set()
    sets: set[tuple[str, ...]] = set()
    last: tuple[str, ...] = ()
    with path.open("w", encoding="utf-8") as file:
        for outcome in outcomes:
            outcome = _valid_joint(outcome, declared, known)
            place = (outcome.group, outcome.item)
            if place != last:
                # only the names of earlier items are kept: there may be millions of outcomes
                _once(place, items)
                last, sets = place, set()
                each(len(items))
            _once((*outcome.policies, *place), sets)
            file.write(json.dumps(_plain(asdict(outcome)), sort_keys=True) + "\n")
    if not items:
        raise ValueError("the benchmark compared no item")
    return len(items)


def _line_that_yields(outcomes: Any) -> str:
    """` (FILE:LINE)` that a generator, or one that it delegates to, has reached; "" for other iterables."""
    while getattr(getattr(outcomes, "gi_yieldfrom", None), "gi_frame", None):
        outcomes = outcomes.gi_yieldfrom
    frame = getattr(outcomes, "gi_frame", None)
    return f" ({frame.f_code.co_filename}:{frame.f_lineno})" if frame else ""


def _once(place: tuple[str, ...], seen: set[tuple[str, ...]]) -> None:
    if place in seen:
        raise ValueError(f"the item {place[-1]!r} of group {place[-2]!r} came twice")
    seen.add(place)


def _texts(outcome: Any, kind: type, single: Iterable[str], several: Iterable[str]) -> None:
    """Raise ValueError where it is not of that kind, or a field that must hold a text, or texts, does not."""
    if not isinstance(outcome, kind):
        name = f"{'an' if kind is Outcome else 'a'} {kind.__name__}"
        raise ValueError(f"the benchmark yielded a {type(outcome).__name__}, not {name}: {outcome!r:.80}")
    item = getattr(outcome, "item", "")
    for name in single:
        if not isinstance(value := getattr(outcome, name), str):
            raise ValueError(f"the item {item!r} has {name} = {value!r:.80}, which is not a text")
    for name in several:
        texts = getattr(outcome, name)
        if not isinstance(texts, (tuple, list)) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"the item {item!r} has {name} = {texts!r:.80}, which is not a tuple of texts")


def _valid_joint(outcome: JointOutcome, declared: Collection[str], known: Collection[tuple[str, ...]]) -> JointOutcome:
    """The joint outcome with plain numbers."""
    _texts(outcome, JointOutcome, ("item", "cluster", "group", "prompt"), ("policies",))
    if known and tuple(outcome.policies) not in known:
        said = ", ".join(outcome.policies)
        raise ValueError(f"the item {outcome.item!r} compares policies that were not asked for: {said}")
    for excerpt in outcome.excerpts:
        _texts(excerpt, Excerpt, ("title",), ("policies", "texts"))
        if not {*excerpt.policies} <= {*outcome.policies}:
            raise ValueError(f"the item {outcome.item!r} has an excerpt of policies that it does not compare")
    _finite(outcome.item, {one.title: one.value for one in outcome.excerpts})
    metrics = _finite(outcome.item, outcome.metrics)
    _declared(outcome.item, metrics, declared)
    return replace(outcome, metrics=metrics)


def _declared(item: str, named: Iterable[str], declared: Collection[str]) -> None:
    if unknown := [name for name in named if declared and name not in declared]:
        known = ", ".join(one for one in declared if one != _CHANCE)
        raise ValueError(f"the item {item!r} has the metric {unknown[0]!r}; the benchmark declares {known}")


def _valid(outcome: Outcome, declared: Collection[str]) -> Outcome:
    """The outcome with plain numbers."""
    _texts(outcome, Outcome, ("item", "cluster", "group", "prompt", "reference"), ("completions", "flags"))
    metrics, weights = _finite(outcome.item, outcome.metrics), _finite(outcome.item, outcome.weights)
    _declared(outcome.item, {**metrics, **weights}, [*declared, _CHANCE] if declared else ())
    if negative := [name for name, weight in weights.items() if weight < 0]:
        raise ValueError(f"the item {outcome.item!r} has a negative weight of {negative[0]}")
    return replace(outcome, metrics=metrics, weights=weights)


def _finite(item: str, values: Mapping[str, Any]) -> dict[str, float]:
    """The values as plain numbers, without those that are None."""
    if not isinstance(values, Mapping):
        raise ValueError(f"the item {item!r} has {values!r:.80} in place of a mapping from metric to value")
    found: dict[str, float] = {}
    for name, value in values.items():
        if value is None:
            continue
        if not isinstance(name, str) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"the item {item!r} has {name} = {value!r:.80}, which is not a finite number")
        found[name] = value if isinstance(value, (int, float)) else float(value)
    return found


def _plain(value: Any) -> Any:
    """The value with lone surrogates, which UTF-8 cannot store, as escapes."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value
