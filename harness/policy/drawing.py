"""Drawing one token for each row of logits: the arg max of logits / temperature + Gumbel noise.

`draw_plainly` computes the noise of every token. On a CPU and at a wide vocabulary that takes as long as the model, so
there `draw_tokens` first finds the few tokens that can win, and takes the arg max of these alone: the same tokens,
computed from the same bits. Only what cannot win is left out:

    top_p < 1   the likeliest tokens are sorted, down to a bound that falls until they reach the mass
    otherwise   with E = -log(uniform) the winner has the least E / p. As E >= 1 - uniform, a token whose
                (1 - uniform) / p exceeds another token's E / p cannot win, and 1 - uniform needs no logarithm
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.lazy import torch
from harness.policy.noise import FIRST, GOLDEN, SECOND, gumbel, gumbel_of, splitmix
from harness.policy.types import NotFinite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.policy.types import Sampling

WIDE = 1 << 13
"""From this vocabulary on, finding the candidates costs less than the noise of every token."""
FEW = 1 << 14
"""At most so many tokens are sorted to find a nucleus; for more, a winner is drawn and then looked for in it."""
CLOSE = 1e-9
"""The order in which a row's probabilities are added changes their sum by less than this."""
PART = 1 << 14
"""Tokens hashed at once, so that intermediate results stay in the processor's cache."""


def draw_tokens(
    logits: torch.Tensor, sampling: Sampling, streams: torch.Tensor, position: int | torch.Tensor
) -> torch.Tensor:
    """One token (B,) for logits (B, V): the arg max, with the noise of its stream unless temperature is 0.

    position  of the token in its text, the same in all rows or (B,)

    Raises NotFinite where logits are NaN or infinite: an arg max takes the first of them.
    """
    positions = torch.zeros_like(streams) + position
    wide = logits.device.type == "cpu" and logits.shape[-1] >= WIDE and sampling.temperature > 0
    if wide and bool((highest := logits.amax(-1)).isfinite().all()):
        tokens = _Candidates(logits, highest, sampling, streams, positions).drawn()
    else:
        tokens = draw_plainly(logits, sampling, streams, positions)
    if not bool(logits.gather(-1, tokens[:, None]).isfinite().all()):
        raise NotFinite
    return tokens


def draw_plainly(
    logits: torch.Tensor, sampling: Sampling, streams: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """One token (B,) for logits (B, V), from the noise of every token; streams and positions are (B,)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    scaled = logits.double() / sampling.temperature
    if sampling.top_p < 1:
        scaled = nucleus(scaled, sampling.top_p)
    return (scaled + gumbel(streams, positions, logits.shape[-1])).argmax(-1)


def nucleus(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    """Logits (B, V), minus infinity outside the smallest set of tokens that reaches mass top_p."""
    ordered, order = torch.sort(logits.softmax(-1), dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return logits.masked_fill(dropped, -torch.inf)


class _Candidates:
    """The tokens that can win in rows (B, V) of logits on a CPU, given each row's highest (B,), which are finite."""

    def __init__(
        self,
        logits: torch.Tensor,
        highest: torch.Tensor,
        sampling: Sampling,
        streams: torch.Tensor,
        positions: torch.Tensor,
    ) -> None:
        self.logits, self.highest = logits, highest
        self.temperature, self.top_p = sampling.temperature, sampling.top_p
        self.streams, self.positions = streams, positions
        width = logits.shape[-1]
        self._seeds = splitmix(streams ^ splitmix(self.positions)).numpy().view(np.uint64)
        # used again in each row: fresh memory of this size would cost as much as the sums
        self._weights, self._ratios = torch.empty(width), np.empty(width, np.float32)
        self._rounded = np.empty(width, np.float32)
        self._hashes = np.empty((2, PART), np.uint64)
        self._scaled, self._shares = torch.empty(2, width, dtype=torch.float64)

    def drawn(self) -> torch.Tensor:
        """The winner (B,) of each row."""
        rows = range(len(self.logits))
        return self._best(rows, [self._could_win(row) if self.top_p >= 1 else self._of_nucleus(row) for row in rows])

    def _best(self, numbers: Sequence[int], found: Sequence[Any]) -> torch.Tensor:
        """For each of these rows its candidate of the largest value, the first of several."""
        counts = [len(tokens) for tokens in found]
        rows = torch.tensor(list(numbers)).repeat_interleave(torch.tensor(counts))
        tokens = torch.from_numpy(np.concatenate(found))
        noise = gumbel_of(self.streams[rows], self.positions[rows], tokens)
        values = self.logits[rows, tokens].double() / self.temperature + noise
        parts = zip(tokens.split(counts), values.split(counts), strict=True)
        return torch.stack([own[its.argmax()] for own, its in parts])

    def _could_win(self, row: int, allowed: Any = None) -> Any:
        """The tokens, in rising order, that may have a row's largest value, at most among `allowed` (V,)."""
        weights = torch.sub(self.logits[row], self.highest[row], out=self._weights)
        weights = weights.div_(self.temperature).clamp_(min=-80).exp_().numpy()
        least = self._least_exponentials(row)
        ratios = np.divide(least, weights, out=least)
        if allowed is not None:
            ratios[~allowed] = np.inf
        rival = int(ratios.argmin())
        spread = float(ratios[rival]) * float(weights[rival])  # of the rival: at least 1 - uniform, but for rounding
        spread = spread * (1 + 1e-5) + 1e-8
        if weights[rival] < 1e-30 or spread >= 1:  # under the clamp the weight is too large
            return np.arange(len(ratios)) if allowed is None else np.flatnonzero(allowed)
        bound = -math.log1p(-spread) / float(weights[rival])
        return np.flatnonzero(ratios <= np.float32(bound * (1 + 1e-3)))

    def _least_exponentials(self, row: int) -> Any:
        """Lower bounds (V,) of -log(uniform) of every token: 1 - uniform in float32."""
        tokens, bounds = _hashed_tokens(len(self._ratios)), self._ratios
        for start in range(0, len(tokens), PART):
            part = tokens[start : start + PART]
            bounds[start : start + PART] = _top_bits(part, self._seeds[row], *self._hashes[:, : len(part)])
        bounds *= np.float32(2.0**-64)
        # the hash as a fraction f from -1/2 to 1/2: uniform is f, or 1 + f where f is negative
        above = np.ceil(bounds, out=self._rounded)
        above -= np.float32(2.0**-30)
        return np.subtract(above, bounds, out=bounds)

    def _of_nucleus(self, row: int) -> Any:
        """The tokens of a row's nucleus, or its winner alone where more than FEW tokens would have to be sorted."""
        scaled = self._scaled.copy_(self.logits[row]).div_(self.temperature)
        shares = torch.softmax(scaled, -1, out=self._shares).numpy()
        bound = 2.0**-10
        while len(found := np.flatnonzero(shares >= bound)) <= FEW:
            # the bound keeps equal shares together, so these tokens come first in the order of all
            own = shares[found]
            order = np.argsort(-own, kind="stable")
            reached = own[order].cumsum()
            if len(found) and reached[-1] >= self.top_p:
                return np.sort(found[order[reached - own[order] < self.top_p]])
            bound /= 8
        return self._winner_inside(row, shares)

    def _winner_inside(self, row: int, shares: Any) -> Any:
        """The winner of a wide nucleus: the best of all tokens, or of those likelier than one that is outside."""
        allowed = None
        while True:
            token = int(self._best([row], [self._could_win(row, allowed)]))
            likelier = shares > shares[token]
            before = shares.sum(where=likelier) + np.count_nonzero(shares[:token] == shares[token]) * shares[token]
            if abs(before - self.top_p) < CLOSE:
                return np.flatnonzero(nucleus(self._scaled[None], self.top_p)[0].isfinite().numpy())
            if before < self.top_p:
                return np.array([token])
            allowed = shares >= shares[token]
            allowed[token:] &= likelier[token:]


def _top_bits(tokens: Any, seed: Any, mixed: Any, shifted: Any) -> Any:
    """splitmix64 of tokens ^ seed as int64, without the last step, which changes the lower 33 bits alone.

    mixed, shifted  arrays to compute in
    """
    np.bitwise_xor(tokens, seed, out=mixed)
    mixed += np.uint64(GOLDEN % (1 << 64))
    for shift, factor in ((30, FIRST), (27, SECOND)):
        mixed ^= np.right_shift(mixed, np.uint64(shift), out=shifted)
        mixed *= np.uint64(factor % (1 << 64))
    return mixed.view(np.int64)


@lru_cache(maxsize=4)
def _hashed_tokens(vocabulary: int) -> Any:
    return splitmix(torch.arange(vocabulary)).numpy().view(np.uint64)
