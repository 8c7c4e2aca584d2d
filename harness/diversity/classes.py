"""How many distinct answers there are, by a greedy partition (NoveltyBench, Zhang et al. 2025, 2504.05228).

Each answer is compared with the first member of every class so far, in the order of the classes, and joins the first
that it is like; else it opens one. Of answers that both have five words or fewer, those are alike whose shared
words, counted twice, reach the length of the longer; longer ones are compared by `alike`. NoveltyBench asks a
classifier there; here it is a similarity above the embedder's own floor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

SHORT = 5
PATIENCE = 0.8


def partition(texts: Sequence[str], alike: Callable[[int, int], bool]) -> list[int]:
    """The class of each text, numbered from 0 in the order of their first members."""
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
    words, others = one.split(), other.split()
    if len(words) <= SHORT and len(others) <= SHORT:
        shared = sum((Counter(words) & Counter(others)).values())
        return 2 * shared >= max(len(words), len(others))
    return alike(first, at)


def distinct(classes: Sequence[int]) -> int | None:
    """How many classes there are; None without answers."""
    return len(set(classes)) or None


def utility(classes: Sequence[int], rewards: Sequence[float], patience: float = PATIENCE) -> float | None:
    """The rewards of each class's first member, weighted by patience^place over all places; None without answers.

    It is what a user gets who reads on with that probability, and gains nothing from what was said before.
    """
    if not classes:
        return None
    weights = [patience**place for place in range(len(classes))]
    seen: set[int] = set()
    total = 0.0
    for weight, name, reward in zip(weights, classes, rewards, strict=True):
        total += weight * reward * (name not in seen)
        seen.add(name)
    return total / sum(weights)
