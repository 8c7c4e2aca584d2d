"""Whether a new instruction is unlike all that are known: Self-Instruct's rule, ROUGE-L below 0.7.

ROUGE-L is the F1 of the longest common subsequence of words. It is computed here, on words of every script, because
rouge_score knows the letters a to z alone and would call every Hindi sentence new; a test holds both against each
other on English.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from harness.data.words import words_of

SIMILAR = 0.7


@dataclass
class Novelty:
    """The instructions known so far.

    places  of each word the known texts that hold it, with how often: most texts share too few words with a new one
            to be compared at all
    """

    limit: float = SIMILAR
    words: dict[str, Sequence[str]] = field(default_factory=dict)
    places: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, id: str, text: str) -> None:
        """Let later texts be compared with this one."""
        self.words[id] = words_of(text)
        for word, count in Counter(self.words[id]).items():
            self.places.setdefault(word, {})[id] = count

    def forget(self, ids: Collection[str]) -> None:
        """Compare no longer with these: what is not kept must not stand in the way of another attempt."""
        for id in ids:
            for word in set(self.words.pop(id)):
                del self.places[word][id]

    def like(self, text: str, leave_out: Collection[str] = ()) -> str:
        """The id of a known text whose ROUGE-L reaches the limit, or ""; ids in `leave_out` are not compared."""
        words = words_of(text)
        shared: Counter[str] = Counter()
        for word, count in Counter(words).items():
            for id, times in self.places.get(word, {}).items():
                shared[id] += min(count, times)
        for id, common in shared.items():
            other = self.words[id]
            # no common subsequence is longer than the words that both have
            if id not in leave_out and _f1(common, words, other) >= self.limit <= rouge_l(words, other):
                return id
        return ""


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of the longest common subsequence, between 0 and 1.

    >>> round(rouge_l("a b c d".split(), "a x c".split()), 4)  # 2 * (2/4) * (2/3) / (2/4 + 2/3)
    0.5714
    """
    return _f1(common_subsequence(one, other), one, other)


def _f1(common: int, one: Sequence[str], other: Sequence[str]) -> float:
    return 2 * common / (len(one) + len(other)) if common else 0.0


def common_subsequence(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, a whole row of the table at a time in the bits of one number.

    Crochemore and others, A fast and practical bit-vector algorithm for the longest common subsequence problem, 2001.
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        matched = row & places.get(word, 0)
        row = (row + matched | row & ~places.get(word, 0)) & full
    return len(one) - row.bit_count()
