"""A micro-batch in pieces: on a CPU, where more tokens at once gain no speed, pieces save memory.

The loss of an update is a sum over its rows, and so are its gradients: pieces that are read one after another give
those of the whole but for rounding. The rows of an update are sorted by length, so pieces have less padding.
What autograd keeps grows with the states of the layers, tokens x width x layers, so a piece is bounded by these: a
large model reads a row or two at a time, and a small one, whose calls cost more than its sums, reads all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

STATES = 1 << 23
"""Numbers in the layers' states of a piece: 485 tokens at 135 million parameters (30 layers of width 576). What other
bounds take is printed by tests/performance/test_peak_memory.py."""

PADDED, PACKED = (
    frozenset({"input_ids", "attention_mask", "labels"}),
    frozenset({"input_ids", "position_ids", "labels"}),
)


def tokens_at_once(config: Any) -> float:
    """The most tokens of a piece, by the model's configuration; unlimited where it does not tell its size."""
    text = config.get_text_config()
    layers = getattr(text, "num_hidden_layers", None)
    return max(1, STATES // (text.hidden_size * layers)) if layers else math.inf


def in_pieces(batch: Mapping[str, Any], most: float) -> list[Mapping[str, Any]]:
    """The pieces of a batch that `collate` or `pack` made of labelled rows; any other batch is left whole."""
    if batch.keys() == PADDED:
        lengths = batch["attention_mask"].sum(1).tolist()
        return [
            {name: part[first:end, : max(lengths[first:end])] for name, part in batch.items()}
            for first, end in runs(lengths, most)
        ]
    if batch.keys() == PACKED:
        starts = [*(batch["position_ids"][0] == 0).nonzero()[:, 0].tolist(), batch["input_ids"].shape[1]]
        lengths = [end - start for start, end in pairwise(starts)]
        return [
            {name: part[:, starts[first] : starts[end]] for name, part in batch.items()}
            for first, end in runs(lengths, most, packed=True)
        ]
    return [batch]


def runs(lengths: Sequence[int], most: float, *, packed: bool = False) -> Iterator[tuple[int, int]]:
    """(first, end) of runs of rows that have at most so many tokens, with padding; a longer row is a run of its own."""
    first = 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or _tokens(lengths[first : end + 1], packed=packed) > most:
            yield first, end
            first = end


def _tokens(lengths: Sequence[int], *, packed: bool) -> int:
    return sum(lengths) if packed else len(lengths) * max(lengths)
