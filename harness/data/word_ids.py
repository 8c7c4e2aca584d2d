"""Words as numbers and n-grams as hashes, many texts at once in numpy.

An n-gram's hash is a polynomial of its word hashes modulo 2^64, mixed by splitmix64. Two different n-grams
share a hash with probability 2^-64: some 4e-7 expected collisions for 10 million against a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.data.words import words_of

Hashes = NDArray[np.uint64]
BASE = np.uint64(0x9E3779B97F4A7C15)


class WordHashes:
    """A 64-bit hash per word, remembered; the memory is bounded, for a hash does not depend on when it is asked for."""

    AT_MOST = 500_000

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def __missing(self, word: str) -> int:
        if len(self.known) >= self.AT_MOST:
            self.known.clear()
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        self.known[word] = value
        return value

    def flat(self, texts: Iterable[str]) -> tuple[Hashes, NDArray[np.int64]]:
        """Hashes of the words of all texts, one after another, and the number of words of each text."""
        hashes: list[int] = []
        lengths: list[int] = []
        for text in texts:
            words = words_of(text)
            lengths.append(len(words))
            known = self.known
            hashes += [known[word] if word in known else self.__missing(word) for word in words]
        return np.array(hashes, dtype=np.uint64), np.array(lengths, dtype=np.int64)


def ngram_hashes(words: Hashes, lengths: NDArray[np.int64], size: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all n-grams that lie within one text, and the position of each one's first word.

    words    (W,) word hashes of the texts one after another
    lengths  (T,) words of each text
    """
    count = len(words) - size + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    hashed = np.zeros(count, dtype=np.uint64)
    for at in range(size):
        hashed *= BASE
        hashed += words[at : at + count]
    ends = np.repeat(np.cumsum(lengths), lengths)[:count]
    starts = np.flatnonzero(np.arange(count) + size <= ends)
    return mixed(hashed[starts]), starts


def mixed(values: Hashes) -> Hashes:
    """The splitmix64 finaliser."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def text_of_each(lengths: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """For each word, the number of its text."""
    return np.repeat(np.arange(len(lengths)), lengths)


def distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The different values in order. np.unique hashes them first, which took ten times as long on dense codes."""
    ordered = np.sort(values, kind="stable")
    new = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    found: NDArray[np.int64] = ordered[new]
    return found
