"""Sampling noise that depends on the sampled token, not on its batch.

The noise of one token is a hash of (seed, item, sample, position, token id). The arg max of logits + Gumbel noise is a
draw from the softmax, and two similar policies that share the noise almost always choose the same token (common random
numbers): in our measurements inverse-CDF coupling agreed on 60 % of tokens where Gumbel noise agreed on 99 %.

The hash is splitmix64 (Steele, Lea, Flood 2014), computed in int64 so that CPU and GPU give equal bits.
"""

from __future__ import annotations

import hashlib

from harness.lazy import torch


def _signed(value: int) -> int:
    """The int64 with the bits of this unsigned 64-bit number."""
    return value - (1 << 64) if value >= 1 << 63 else value


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


def stream_of(*parts: str | int) -> int:
    """A signed 64-bit number that names a stream of noise, such as (seed, item, sample)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little", signed=True)


def _shift_right(value: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift: the shift of int64 would copy the sign bit."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)


def splitmix(counter: torch.Tensor) -> torch.Tensor:
    """The splitmix64 finaliser of an int64 tensor of any shape."""
    mixed = counter + GOLDEN
    mixed = (mixed ^ _shift_right(mixed, 30)) * FIRST
    mixed = (mixed ^ _shift_right(mixed, 27)) * SECOND
    return mixed ^ _shift_right(mixed, 31)


def gumbel(streams: torch.Tensor, positions: torch.Tensor, vocabulary: int) -> torch.Tensor:
    """Standard Gumbel noise (B, V) in float64 for int64 streams (B,) at int64 positions (B,)."""
    rows = splitmix(streams ^ splitmix(positions))
    tokens = torch.arange(vocabulary, device=streams.device)
    return _gumbel(rows[:, None] ^ splitmix(tokens)[None, :])


def gumbel_of(streams: torch.Tensor, positions: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The same noise (N,) for single tokens (N,), each with its stream (N,) and position (N,)."""
    return _gumbel(splitmix(streams ^ splitmix(positions)) ^ splitmix(tokens))


def _gumbel(counter: torch.Tensor) -> torch.Tensor:
    bits = splitmix(counter)
    uniform = (_shift_right(bits, 12).double() + 0.5) * 2.0**-52  # with 53 bits the largest value would round to 1
    return -torch.log(-torch.log(uniform))
