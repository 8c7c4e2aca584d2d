"""Comparison of several policies' answers to one prompt: by vectors (`Crowd`) and by the answers' values (`Said`).

The value of a set of policies is the mean over its pairs of policies:

    similarity  mean cosine of an answer of the one with an answer of the other   (2510.22954, inter-model)
    within      mean cosine of two answers of one policy, averaged over the policies
    alike       share of the cosines between the two policies above a threshold
    mix         number of policies among the N nearest answers to an answer, where N is the number of answers of one
                policy (2510.22954, top-N mix); 1: answers are closest to those of their own policy

A value is None where it cannot be computed: no answers, or one answer where two are needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy

from harness.scoring.diversity.distinct import (
    agreement,
    agreement_between,
    class_overlap,
    distinct_of_each,
    distinct_of_one,
)
from harness.scoring.diversity.similarity import (
    Embed,
    Moments,
    Vectors,
    models_among_nearest,
    random_pairs,
    share_between_above,
    threshold_above,
)

Names = Sequence[str]


@dataclass(frozen=True)
class Closest:
    """Two answers of different policies, each as (policy, index of the answer), and their cosine."""

    cosine: float
    one: tuple[str, int]
    other: tuple[str, int]


def embedded(texts: Mapping[str, Sequence[str]], embed: Embed) -> dict[str, Vectors]:
    """Policy -> unit vectors (n, d) of its answers; each different text is embedded once."""
    distinct = sorted({text for row in texts.values() for text in row})
    if not distinct:
        return {name: numpy.zeros((0, 1)) for name in texts}
    units = embed(distinct)
    # unused dimensions do not change cosines, and lexical vectors have thousands of them
    units = units[:, units.any(axis=0)]
    place = {text: at for at, text in enumerate(distinct)}
    return {name: units[numpy.array([place[text] for text in row], dtype=int)] for name, row in texts.items()}


class Crowd:
    """Unit vectors (n, d) of each policy's answers in one space; values of a pair are computed once."""

    def __init__(self, units: Mapping[str, Vectors]) -> None:
        self.units = units
        self.moments = {name: Moments.of(rows) for name, rows in units.items()}
        self._shares: dict[tuple[str, str, float], float | None] = {}

    def similarity(self, names: Names) -> float | None:
        """Mean cosine between policies."""
        return _mean(self.moments[one].between(self.moments[other]) for one, other in combinations(names, 2))

    def within(self, names: Names) -> float | None:
        """Mean cosine within policies."""
        return _mean(self.moments[name].within() for name in names)

    def alike(self, names: Names, threshold: float) -> float | None:
        """Share of cosines between policies above the threshold."""
        return _mean(self._share(one, other, threshold) for one, other in combinations(names, 2))

    def mix(self, names: Names) -> float | None:
        """Number of policies among the nearest answers; ties go to the lower index of the answer, then to the name."""
        nearest = min(len(self.units[name]) for name in names)
        rows = sorted((at, name) for name in names for at in range(len(self.units[name])))
        if not nearest:
            return None
        units = numpy.stack([self.units[name][at] for at, name in rows])
        numbers = {name: number for number, name in enumerate(names)}
        return models_among_nearest(units, [numbers[name] for _, name in rows], nearest)

    def extremes(self, names: Names) -> tuple[Closest, Closest] | None:
        """The most and the least similar pair of answers of different policies; ties go to the earliest."""
        found: list[Closest] = []
        for one, other in combinations(names, 2):
            if not len(self.units[one]) or not len(self.units[other]):
                continue
            cosines = (self.units[one] @ self.units[other].T).round(9)
            for at in (int(cosines.argmax()), int(cosines.argmin())):
                row, column = divmod(at, cosines.shape[1])
                found.append(Closest(float(cosines[row, column]), (one, row), (other, column)))
        if not found:
            return None
        return max(found, key=lambda pair: pair.cosine), min(found, key=lambda pair: pair.cosine)

    def _share(self, one: str, other: str, threshold: float) -> float | None:
        key = (one, other, threshold)
        if key not in self._shares:
            self._shares[key] = share_between_above(self.units[one], self.units[other], threshold)
        return self._shares[key]


class Said:
    """The values that policies answer.

    answers  policy -> value of each of its answers
    valid    policy -> the valid ones among them; None where the valid values are unknown
    """

    def __init__(self, answers: Mapping[str, Sequence[str]], valid: Mapping[str, Sequence[str]] | None = None) -> None:
        self.answers = answers
        self.valid = None if valid is None else {name: Counter(row) for name, row in valid.items()}

    def agreement(self, names: Names) -> float | None:
        """The probability that answers of two policies are equal."""
        return _mean(agreement_between(self.answers[one], self.answers[other]) for one, other in combinations(names, 2))

    def within(self, names: Names) -> float | None:
        """The probability that two answers of one policy are equal."""
        return _mean(agreement(self.answers[name]) for name in names)

    def overlap(self, names: Names) -> float | None:
        """Valid answers that both of two policies give, as a share of those that either gives."""
        if self.valid is None or not all(self.answers[name] for name in names):
            return None
        return _mean(class_overlap(self.valid[one], self.valid[other]) for one, other in combinations(names, 2))

    def together(self, names: Names) -> float | None:
        """Distinct valid answers expected in one answer of each policy."""
        if self.valid is None:
            return None
        return distinct_of_each([self.valid[name] for name in names], [len(self.answers[name]) for name in names])

    def alone(self, names: Names) -> float | None:
        """Distinct valid answers expected in as many answers of one policy, mean over the policies."""
        if self.valid is None:
            return None
        return _mean(distinct_of_one(self.valid[name], len(self.answers[name]), len(names)) for name in names)


def _mean(values: Iterable[float | None]) -> float | None:
    """None where a value is missing, since the mean of the rest would describe other policies."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and len(known) == len(found) else None


TEXTS = 1000
PAIRS = 2000
SEED = 0


@dataclass(frozen=True)
class SimilarityFloor:
    """The mean cosine of unrelated answers, and the threshold that few of them exceed."""

    mean: float
    threshold: float


def floor_of(prompts: Iterable[tuple[str, Sequence[str]]], count: int, embed: Embed) -> SimilarityFloor | None:
    """The floor from (cluster, answers) of `count` prompts; None with fewer than two clusters.

    Prompts of one cluster are related. About a thousand answers are drawn in one pass, so memory stays small.
    """
    drawn = _drawn(prompts, count)
    if len(drawn) < 2:
        return None
    units = embed([text for texts in drawn.values() for text in texts])
    units = units[:, units.any(axis=0)]
    ends = numpy.cumsum([len(texts) for texts in drawn.values()])
    cosines = random_pairs(numpy.split(units, ends[:-1]), PAIRS, SEED)
    return SimilarityFloor(float(cosines.mean()), threshold_above(cosines))


def _drawn(prompts: Iterable[tuple[str, Sequence[str]]], count: int) -> dict[str, list[str]]:
    """Cluster -> answers, equally many per prompt; a random part of the prompts where there are more than TEXTS."""
    chance = numpy.random.default_rng(SEED)
    each = max(TEXTS // max(count, 1), 1)
    found: dict[str, list[str]] = {}
    for cluster, answers in prompts:
        if answers and chance.random() * count < TEXTS:
            # sorted, so that the order of the policies does not count
            ordered = sorted(answers)
            found.setdefault(cluster, []).extend(ordered[at] for at in chance.permutation(len(answers))[:each])
    return found
