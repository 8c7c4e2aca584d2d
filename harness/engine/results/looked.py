"""The looks of a run that may stop, and what they released, as matrix.json records them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.records import DataChoice

Place = tuple[str, DataChoice, str, str]
"""(base, data, method, benchmark): the cells of all seeds and parts that a release ends."""
Releases = Mapping[Place, int]
"""Place -> the number of the look, from 1, after which it needs no more work."""


@dataclass(frozen=True)
class Look:
    """A look at the results: the share of the items, the number of seeds, and its share of the error rate."""

    items: float
    seeds: int
    spent: float


@dataclass(frozen=True)
class Looked:
    """How far a run has come that may stop: the looks, how many are done, and what they released."""

    looks: tuple[Look, ...]
    reached: int = 0
    releases: Releases = field(default_factory=dict)


def recorded(looked: Looked) -> dict[str, object]:
    """The looks and the releases as matrix.json holds them."""
    ordered = sorted(looked.releases.items(), key=lambda one: (one[1], repr(one[0])))
    names = ("base", "data_quality", "data_size", "method", "benchmark", "look")
    return {
        "looks": [asdict(look) for look in looked.looks],
        "reached": looked.reached,
        "released": [
            dict(zip(names, (base, data.quality, data.size, method, benchmark, look), strict=True))
            for (base, data, method, benchmark), look in ordered
        ],
    }


def looked_of(raw: Mapping[str, Any]) -> Looked:
    """The looks and releases that `recorded` wrote."""
    released = {
        (one["base"], DataChoice(one["data_quality"], int(one["data_size"])), one["method"], one["benchmark"]): int(
            one["look"]
        )
        for one in raw["released"]
    }
    return Looked(tuple(Look(**look) for look in raw["looks"]), int(raw["reached"]), released)
