"""Finding the test items that a training row covers: test items are indexed, training rows streamed.

    index = NgramIndex(texts_of_items, size=8)
    for block in blocks_of(training_texts, ROWS_AT_ONCE):
        for rows, items, words in index.coverage(block): ...

Memory holds the index (about 40 bytes per test n-gram, and 16 MiB) and one block of training texts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.data.words import words_of

Ints = NDArray[np.int64]
# limits on texts and on occurrences processed together, which bound the memory
ROWS_AT_ONCE = 2000
PAIRS_AT_ONCE = 4_000_000
FILTER_BITS = 24


class Covered(NamedTuple):
    """Pairs of a training row and a test item that share an n-gram, and how many of the item's words the row covers."""

    rows: Ints
    items: Ints
    words: Ints


class NgramIndex:
    """The n-grams of the test items: from a hash to all its places."""

    def __init__(self, texts: Sequence[str], size: int = 8) -> None:
        self.size = size
        self.hashes = WordHashes()
        words, self.lengths = self.hashes.flat(texts)
        hashed, starts = ngram_hashes(words, self.lengths, size)
        order = np.argsort(hashed, kind="stable")
        self.known, first = np.unique(hashed[order], return_index=True)
        self.bounds = np.append(first, len(hashed)).astype(np.int64)
        item_of_word = text_of_each(self.lengths)
        first_word = np.cumsum(self.lengths) - self.lengths
        self.items = item_of_word[starts[order]]
        self.places = starts[order] - first_word[self.items]
        # most training n-grams occur in no test item: this table rules out nearly all of them
        self.filter = np.zeros(1 << FILTER_BITS, dtype=bool)
        self.filter[self._bucket(self.known)] = True

    def coverage(self, texts: Sequence[str], start: int = 0) -> Iterator[Covered]:
        """The covered pairs of a block of training texts, in portions; the first text has the number `start`."""
        words, lengths = self.hashes.flat(texts)
        hashed, at = ngram_hashes(words, lengths, self.size)
        grams, found = self._found(hashed)
        rows = text_of_each(lengths)[at[found]]
        # an n-gram that a row repeats counts once
        pairs = distinct_values(rows * len(self.known) + grams)
        rows, grams = np.divmod(pairs, max(1, len(self.known)))
        for low, high in self._portions(rows, grams):
            yield self._covered(rows[low:high] + start, grams[low:high])

    def _found(self, hashed: Hashes) -> tuple[Ints, Ints]:
        """The numbers of the known n-grams among these, and their places."""
        if not len(self.known):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        likely = np.flatnonzero(self.filter[self._bucket(hashed)])
        spot = np.searchsorted(self.known, hashed[likely])
        spot[spot == len(self.known)] = 0
        same = self.known[spot] == hashed[likely]
        return spot[same], likely[same]

    def _portions(self, rows: Ints, grams: Ints) -> Iterator[tuple[int, int]]:
        """Bounds of portions, between rows, so that few occurrences are compared at once."""
        total = np.cumsum(self.bounds[grams + 1] - self.bounds[grams])
        ends: Ints = np.append(np.flatnonzero(np.diff(rows)) + 1, len(rows))
        low = high = 0
        for end in ends:
            if high > low and total[end - 1] - (total[low - 1] if low else 0) > PAIRS_AT_ONCE:
                yield low, high
                low = high
            high = int(end)
        if high > low:
            yield low, high

    def _covered(self, rows: Ints, grams: Ints) -> Covered:
        """The union of the n-grams' words, per row and item."""
        counts = self.bounds[grams + 1] - self.bounds[grams]
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        at = np.repeat(self.bounds[grams], counts) + offset
        rows, items, places = np.repeat(rows, counts), self.items[at], self.places[at]
        order = np.lexsort((places, items, rows))
        rows, items, places = rows[order], items[order], places[order]
        last = np.append((np.diff(rows) != 0) | (np.diff(items) != 0), True)
        # each n-gram covers up to where the next one begins; the last one covers all its words
        adds = np.minimum(np.append(np.diff(places), self.size), self.size)
        adds[last] = self.size
        ends = np.flatnonzero(last)
        summed = np.cumsum(adds)[ends]
        return Covered(rows[ends], items[ends], np.diff(summed, prepend=0))

    @staticmethod
    def _bucket(hashed: Hashes) -> NDArray[np.uint64]:
        return hashed >> np.uint64(64 - FILTER_BITS)


Hashes = NDArray[np.uint64]
BASE = np.uint64(0x9E3779B97F4A7C15)


class WordHashes:
    """A cached 64-bit hash per word. The cache may be emptied at any time: hashes depend on the word alone."""

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
        """Hashes of the words of all texts, concatenated, and the number of words of each text."""
        hashes: list[int] = []
        lengths: list[int] = []
        for text in texts:
            words = words_of(text)
            lengths.append(len(words))
            known = self.known
            hashes += [known[word] if word in known else self.__missing(word) for word in words]
        return np.array(hashes, dtype=np.uint64), np.array(lengths, dtype=np.int64)


def ngram_hashes(words: Hashes, lengths: NDArray[np.int64], size: int) -> tuple[Hashes, NDArray[np.int64]]:
    """Hashes of all n-grams within one text, and the position of each one's first word.

    words    (W,) word hashes of the texts, concatenated
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


def distinct_values(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The distinct values in order. np.unique hashes first, which took ten times as long on dense codes."""
    ordered = np.sort(values, kind="stable")
    new = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    found: NDArray[np.int64] = ordered[new]
    return found
