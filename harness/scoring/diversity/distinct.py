"""Diversity where answers can be compared exactly, without an embedder.

    agreement         probability that two of n samples are equal:   sum c (c - 1) / (n (n - 1))
    distinct_of_one   distinct answers expected in k of a policy's n samples:   sum 1 - C(n - c, k) / C(n, k)
    distinct_of_each  distinct answers expected in one sample of each policy:   sum 1 - prod (1 - c_j / n_j)

The last two are unbiased (the first of them is Hurlbert's rarefaction, 1971), so that k policies together and k samples
of one are compared at equal numbers of answers, whatever number was drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence


def agreement(answers: Sequence[str]) -> float | None:
    """The share of pairs of equal answers; unbiased for sum p^2. None for fewer than two answers."""
    size = len(answers)
    if size < 2:
        return None
    return sum(count * (count - 1) for count in Counter(answers).values()) / (size * (size - 1))


def agreement_between(one: Sequence[str], other: Sequence[str]) -> float | None:
    """The share of equal pairs, one answer of each; unbiased for sum p q. None where one has no answers."""
    if not one or not other:
        return None
    counts = Counter(other)
    return sum(count * counts[answer] for answer, count in Counter(one).items()) / (len(one) * len(other))


def distinct_of_one(counts: Mapping[str, int], samples: int, draws: int) -> float | None:
    """Distinct answers expected in `draws` of one policy's samples; None where it has fewer samples."""
    if samples < draws or draws < 1:
        return None
    return sum(1 - math.comb(samples - count, draws) / math.comb(samples, draws) for count in counts.values())


def distinct_of_each(counts: Sequence[Mapping[str, int]], samples: Sequence[int]) -> float | None:
    """Distinct answers expected in one sample of each policy; None where one has no samples."""
    if not counts or not all(samples):
        return None
    answers = sorted({answer for one in counts for answer in one})
    return sum(
        1 - math.prod(1 - one.get(answer, 0) / size for one, size in zip(counts, samples, strict=True))
        for answer in answers
    )


def class_overlap(one: Collection[str], other: Collection[str]) -> float | None:
    """Answers that both give as a share of those that either gives; None without answers."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else None


SHORT = 5


def partition(texts: Sequence[str], alike: Callable[[int, int], bool]) -> list[int]:
    """The class of each text by NoveltyBench's greedy partition, numbered in the order of first members.

    alike  whether the texts at two indices are alike; asked only where one has more than SHORT words
    """
    firsts: list[int] = []
    classes = []
    for at, text in enumerate(texts):
        found = next((place for place, first in enumerate(firsts) if _same(texts[first], text, alike, first, at)), None)
        if found is None:
            found = len(firsts)
            firsts.append(at)
        classes.append(found)
    return classes


def _same(one: str, other: str, alike: Callable[[int, int], bool], first: int, at: int) -> bool:
    """NoveltyBench's rule for short texts: shared different words, in lower case, against the longer text's length."""
    words, others = one.lower().split(), other.lower().split()
    if len(words) <= SHORT and len(others) <= SHORT:
        return 2 * len(set(words) & set(others)) >= max(len(words), len(others))
    return alike(first, at)
