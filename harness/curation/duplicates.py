"""Exact and near duplicates: the first of several equal or almost equal rows is kept.

Exact: the same text except for spacing. Near: the Jaccard similarity of the sets of 5-word shingles is at least the
threshold. Candidates come from MinHash signatures (Broder 1997) of 125 values in 25 bands of 5, and each is
verified on its shingles, so none is a false positive. A pair of similarity s shares a band with probability
1 - (1 - s^5)^25: at 0.8 about 5 in 100,000 are missed, at 0.7 1 in 100, at 0.5 almost half. Words are compared without
case and punctuation, so only the exact rule distinguishes `1 + 2` from `1 - 2`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from harness.curation.ngrams import Hashes, WordHashes, distinct_values, mixed, ngram_hashes, text_of_each

Ints = NDArray[np.int64]
SHINGLE, BANDS, BAND_ROWS = 5, 25, 5
TEXTS_AT_ONCE, SHINGLES_AT_ONCE = 2000, 4_000_000
# rows from one template would give too many pairs: each is compared with the first rows of its bucket only
COMPARED_IN_BUCKET = 20


@dataclass(frozen=True)
class Duplicate:
    """A row that repeats an earlier one, by number, and their similarity (1 for the same text)."""

    row: int
    of: int
    similarity: float


def exact_duplicates(texts: Iterable[str]) -> list[Duplicate]:
    """The rows whose text, except for spacing, occurs in an earlier row."""
    first: dict[bytes, int] = {}
    found = []
    for row, text in enumerate(texts):
        key = blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if first.setdefault(key, row) != row:
            found.append(Duplicate(row, first[key], 1.0))
    return found


def near_duplicates(texts: Iterable[str], threshold: float = 0.8, seed: int = 0) -> list[Duplicate]:
    """The rows that are at least `threshold` similar to an earlier row that is itself kept.

    A text of fewer than five words is one shingle; a text without words has no duplicates. The seed draws the hashes.
    """
    shingles, counts, signatures = _shingled(texts, seed)
    starts = np.cumsum(counts) - counts
    pairs = _candidates(signatures, counts)
    kept = np.ones(len(counts), dtype=bool)
    found = []
    for low, high in _portions(counts[pairs].sum(axis=1)):
        # rows dropped in an earlier portion need no comparison
        part = pairs[low:high][kept[pairs[low:high]].all(axis=1)]
        for (of, row), similarity in zip(part.tolist(), _similarities(part, shingles, starts, counts), strict=True):
            if similarity >= threshold and kept[of] and kept[row]:
                kept[row] = False
                found.append(Duplicate(row, of, similarity))
    return found


def _shingled(texts: Iterable[str], seed: int) -> tuple[Hashes, Ints, NDArray[np.uint64]]:
    """Each text's distinct shingles (sorted), their number, and the signatures (T, 125)."""
    draw = np.random.default_rng(seed)
    factors = draw.integers(0, 2**64, BANDS * BAND_ROWS, dtype=np.uint64) | np.uint64(1)
    offsets = draw.integers(0, 2**64, BANDS * BAND_ROWS, dtype=np.uint64)
    hashes, waiting = WordHashes(), iter(texts)
    parts, sizes, signed = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty((0, len(factors)), np.uint64)]
    while block := list(islice(waiting, TEXTS_AT_ONCE)):
        shingles, counts = _distinct(*_shingles_of(*hashes.flat(block)), len(block))
        parts.append(shingles)
        sizes.append(counts)
        signed.append(_signatures(shingles, counts, factors, offsets))
    return np.concatenate(parts), np.concatenate(sizes), np.concatenate(signed)


def _shingles_of(words: Hashes, lengths: Ints) -> tuple[Hashes, Ints]:
    """All shingles and the text of each; a text shorter than a shingle gives one."""
    of_word = text_of_each(lengths)
    hashed, at = ngram_hashes(words, lengths, SHINGLE)
    short = np.flatnonzero((lengths > 0) & (lengths < SHINGLE))
    ends = np.cumsum(lengths)
    whole = [np.bitwise_xor.reduce(mixed(words[ends[t] - lengths[t] : ends[t]] + ARANGE[: lengths[t]])) for t in short]
    return np.append(hashed, np.array(whole, np.uint64)), np.append(of_word[at], short)


ARANGE = np.arange(SHINGLE, dtype=np.uint64)


def _distinct(shingles: Hashes, texts: Ints, count: int) -> tuple[Hashes, Ints]:
    order = np.lexsort((shingles, texts))
    shingles, texts = shingles[order], texts[order]
    new = np.append(True, (np.diff(texts) != 0) | (shingles[1:] != shingles[:-1]))[: len(texts)]
    return shingles[new], np.bincount(texts[new], minlength=count).astype(np.int64)


def _signatures(shingles: Hashes, counts: Ints, factors: Hashes, offsets: Hashes) -> NDArray[np.uint64]:
    """The smallest shingle hash per text and hash function; zeros for a text without shingles."""
    signatures = np.zeros((len(counts), len(factors)), dtype=np.uint64)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return signatures
    starts = (np.cumsum(counts) - counts)[filled]
    for number, (factor, offset) in enumerate(zip(factors, offsets, strict=True)):
        signatures[filled, number] = np.minimum.reduceat(shingles * factor + offset, starts)
    return signatures


def _candidates(signatures: NDArray[np.uint64], counts: Ints) -> Ints:
    """Pairs (P, 2) of rows that agree in a whole band, earlier row first; sorted by the later row."""
    filled, total = np.flatnonzero(counts), len(counts)
    codes = np.empty(0, np.int64)
    for band in range(BANDS):
        keys = np.zeros(len(filled), np.uint64)
        for column in range(band * BAND_ROWS, (band + 1) * BAND_ROWS):
            keys = mixed(keys ^ signatures[filled, column])
        order = np.argsort(keys, kind="stable")
        codes = distinct_values(np.append(codes, _in_buckets(filled[order], keys[order], total)))
    return np.stack([codes % total, codes // total], axis=1) if total else np.empty((0, 2), np.int64)


def _in_buckets(rows: Ints, keys: Hashes, total: int) -> Ints:
    """The pairs within runs of equal keys as numbers, later row * total + earlier row."""
    same = np.append(False, keys[1:] == keys[:-1])[: len(rows)]
    place = np.arange(len(rows)) - np.maximum.accumulate(np.where(same, 0, np.arange(len(rows))))
    found = [np.empty(0, np.int64)]
    for back in range(1, COMPARED_IN_BUCKET + 1):
        at = np.flatnonzero(place >= back)
        # in a large bucket a row is compared with the earliest rows, not with the nearest
        earlier = at - np.where(place[at] > COMPARED_IN_BUCKET, place[at] - back + 1, back)
        found.append(rows[at] * total + rows[earlier])
    return np.concatenate(found)


def _similarities(pairs: Ints, shingles: Hashes, starts: Ints, counts: Ints) -> list[float]:
    """The Jaccard similarity of each pair."""
    flat, lengths = pairs.ravel(), counts[pairs.ravel()]
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values = shingles[np.repeat(starts[flat], lengths) + offset]
    of_pair = np.repeat(np.arange(len(flat)) // 2, lengths)
    order = np.lexsort((values, of_pair))
    values, of_pair = values[order], of_pair[order]
    shared = (values[1:] == values[:-1]) & (of_pair[1:] == of_pair[:-1])
    common = np.bincount(of_pair[1:][shared], minlength=len(pairs))
    similarities: list[float] = (common / (counts[pairs].sum(axis=1) - common)).tolist()
    return similarities


def _portions(sizes: Sequence[int] | Ints) -> Iterator[tuple[int, int]]:
    """Bounds of portions, so that few shingles are in memory at once."""
    low = total = 0
    for at, size in enumerate(sizes):
        if at > low and total + size > SHINGLES_AT_ONCE:
            yield low, at
            low, total = at, 0
        total += int(size)
    if low < len(sizes):
        yield low, len(sizes)
