"""How alike unrelated answers are to one embedder: the floor that its similarities stand on, and its threshold.

0.8 means one thing to one embedder and another to the next (2510.22954 found random pairs at 0.1 to 0.2 with theirs).
So the threshold is the cosine that answers to unrelated prompts exceed in one of a hundred pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from harness.diversity.embedders import Embed
from harness.diversity.similarity import random_pairs, threshold_above

TEXTS = 1000
PAIRS = 2000
SEED = 0


@dataclass(frozen=True)
class Floor:
    """The mean cosine of unrelated answers, and the one that few of them exceed."""

    mean: float
    threshold: float


def floor_of(prompts: Iterable[tuple[str, Sequence[str]]], count: int, embed: Embed) -> Floor | None:
    """From (cluster, answers) of `count` prompts; prompts of one cluster are related. None with fewer than two.

    About a thousand answers are drawn in one pass, so that a million need no memory.
    """
    drawn = _drawn(prompts, count)
    if len(drawn) < 2:
        return None
    units = embed([text for texts in drawn.values() for text in texts])
    units = units[:, units.any(axis=0)]
    ends = numpy.cumsum([len(texts) for texts in drawn.values()])
    cosines = random_pairs(numpy.split(units, ends[:-1]), PAIRS, SEED)
    return Floor(float(cosines.mean()), threshold_above(cosines))


def _drawn(prompts: Iterable[tuple[str, Sequence[str]]], count: int) -> dict[str, list[str]]:
    """Cluster -> answers, as many of each prompt; of more prompts than answers are wanted, some."""
    chance = numpy.random.default_rng(SEED)
    each = max(TEXTS // max(count, 1), 1)
    found: dict[str, list[str]] = {}
    for cluster, answers in prompts:
        if answers and chance.random() * count < TEXTS:
            # in an order that does not depend on who gave which
            ordered = sorted(answers)
            found.setdefault(cluster, []).extend(ordered[at] for at in chance.permutation(len(answers))[:each])
    return found
