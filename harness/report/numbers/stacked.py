"""One metric in several blocks as one array: blocks x methods x seeds x clusters, where they share items and seeds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from harness.report.numbers.matrix import MethodInfo
from harness.report.numbers.panel import Comparable, Measured


@dataclass(frozen=True)
class Stacked:
    """totals (blocks, methods, seeds, clusters) and the weights of clusters; `reason` says why there are none."""

    methods: tuple[str, ...] = ()
    totals: NDArray[numpy.float64] = field(default_factory=lambda: numpy.zeros(0))
    weights: NDArray[numpy.float64] = field(default_factory=lambda: numpy.zeros(0))
    reason: str = ""


def stacked(
    measured: Sequence[Measured | None], methods: Sequence[MethodInfo], without: Collection[str] = ()
) -> Stacked:
    """The methods on the base that have scores in every block, less those `without`; None is a block without scores."""
    known = [one for one in measured if one is not None]
    if len(known) < len(measured) or not known:
        return Stacked(reason="no scores in some blocks")
    own = [method.label for method in methods if not method.on_small_base and method.label not in without]
    labels = tuple(label for label in own if all(label in one.panel.methods for one in known))
    if not labels:
        return Stacked(reason="no method has scores in every block")
    found = [one.panel.comparable(labels) for one in known]
    if reason := _unlike(known, found):
        return Stacked(labels, reason=reason)
    totals = numpy.stack([numpy.stack([scores.totals for scores in one.scores]) for one in found])
    return Stacked(labels, totals, found[0].scores[0].weights)


def _unlike(measured: Sequence[Measured], found: Sequence[Comparable]) -> str:
    """Why the blocks do not fit into one array; "" where they do."""
    first = measured[0].panel
    if reason := next((one.reason for one in found if not one.scores), ""):
        return reason
    if any(
        one.dropped or not numpy.array_equal(own.panel.items, first.items)
        for own, one in zip(measured, found, strict=True)
    ):
        return "the blocks do not share their items"
    if any(not numpy.array_equal(one.scores[0].weights, found[0].scores[0].weights) for one in found):
        return "the blocks weigh items in different ways"
    if any(one.panel.log != first.log for one in measured):
        return "the blocks are on two scales"
    return "" if len({one.seeds for one in found}) == 1 else "the blocks do not share their seeds"
