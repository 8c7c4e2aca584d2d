"""The common shape of scores that others measured: one method on one benchmark at one seed, item by item.

Every reader yields `Scored`; `judged.py` writes them as a results folder, and the writers of other formats write the
`Scored` of a results folder. A reader raises UserError with file and row for a score that is
text or not finite, and for an item that comes twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.benchmark import Metric
from harness.errors import UserError
from harness.files import sha256

NOT_STATED = "not stated"
Texts = tuple[str, tuple[str, ...], str]
"""Prompt, completions and reference of an item."""
TEXTS = 100_000_000
"""Characters of prompts and answers that are kept of all files together, to show some of them side by side."""


@dataclass(frozen=True)
class Source:
    """A file that scores were read from.

    path    as the user named it, or below the folder that the user named
    format  such as "lm-eval samples"
    facts   what the file states about the whole run, such as the version of the library that scored
    """

    path: Path
    format: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256(self.path)


@dataclass(frozen=True)
class LoggedMetric:
    """A metric's values on the items, None where an item has none.

    weights           where they are not 1
    higher_is_better  as the file says, or assumed where it does not
    declared          the metric as a results folder declares it, in a file that `bakeoff export` wrote
    """

    name: str
    values: Sequence[float | None]
    weights: Sequence[float] | None = None
    higher_is_better: bool = True
    description: str = "score as its file gives it"
    declared: Metric | None = None


@dataclass(frozen=True)
class Scored:
    """One method on one benchmark, or on a part of it, at one seed.

    seed      of the training; None where the file does not state it
    items, clusters, groups   per item; groups: one text for all of them, or one each
    metrics   the first is the one that is tested
    protocol  how the benchmark was asked, such as its version: fields in which two methods must not differ
    texts     item -> (prompt, completions, reference), of the items whose texts are kept
    carried   what a file of `bakeoff export` says of method and study beyond its format (`carried.py`)
    """

    method: str
    benchmark: str
    seed: int | None
    source: Source
    items: Any
    clusters: Any
    groups: Any
    metrics: tuple[LoggedMetric, ...]
    protocol: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)
    carried: Mapping[str, Any] = field(default_factory=dict)


def finite(value: Any, where: str, what: str = "the score") -> float:
    """The value as a number. Raises UserError for text and for what is not finite."""
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return float(value)
    kind = "text" if isinstance(value, str) else "not a finite number"
    raise UserError(
        f"{what} is {value!r}, which is {kind}",
        where=where,
        fix="Write a number (right: 1, wrong: 0), and leave out the row of an item that was not scored.",
    )


def same_item_twice(item: str, where: str, first: str) -> UserError:
    """The error for an item that a method has twice on a benchmark at one seed."""
    return UserError(
        f"the item {item!r} comes twice for one method, benchmark and seed; the first is {first}",
        where=where,
        fix="Keep one of them; several answers to one item are one score, such as their mean.",
    )


def without_scores(path: Path, lacks: str) -> UserError:
    """The error for a file without a single score."""
    return UserError(f"it holds no scores: {lacks}", where=str(path), fix="`docs/judging.md` lists what can be read.")


def only_one(methods: Iterable[str], path: Path) -> str:
    """The one method of a path that the user gave a name."""
    found = sorted(set(methods))
    if len(found) != 1:
        raise UserError(
            f"a name was given to {len(found)} methods at once: {', '.join(found)}",
            where=str(path),
            fix="Name each: `bakeoff judge base=FOLDER/first sft=FOLDER/second`.",
        )
    return found[0]


@dataclass(frozen=True)
class LeftOut:
    """A part of a file that cannot be judged, with the reason: the report names it."""

    source: Source
    what: str
    why: str
