"""The noise: its bits against published and plain-integer references, its law, and that rows never mix."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from harness.policy.noise import gumbel, splitmix, stream_of

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def finalised(value: int) -> int:
    """splitmix64's output for a state, in Python's own integers."""
    mixed = (value + GOLDEN) & MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
    return mixed ^ (mixed >> 31)


def before(value: int) -> int:
    """The state whose splitmix64 output is this value."""
    for shift, factor in ((31, 0x94D049BB133111EB), (27, 0xBF58476D1CE4E5B9), (30, 1)):
        value = value ^ (value >> shift) ^ (value >> 2 * shift)
        value = value * pow(factor, -1, 1 << 64) & MASK
    return (value - GOLDEN) & MASK


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def uniform(noise: torch.Tensor) -> torch.Tensor:
    """Gumbel noise back to the uniform numbers it was made of."""
    return torch.exp(-torch.exp(-noise))


def test_splitmix_gives_the_published_stream_of_seed_1234567() -> None:
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    states = torch.tensor([signed((1234567 + step * GOLDEN) & MASK) for step in range(5)])
    assert [value & MASK for value in splitmix(states).tolist()] == published


def test_splitmix_equals_plain_integers_at_the_edges_of_int64() -> None:
    values = [0, 1, -1, (1 << 63) - 1, -(1 << 63), 0x0123456789ABCDEF, -GOLDEN % (1 << 62)]
    expected = [signed(finalised(value & MASK)) for value in values]
    assert splitmix(torch.tensor(values)).tolist() == expected


def test_gumbel_equals_the_hash_of_stream_position_and_token_in_plain_integers() -> None:
    streams, positions, width = [5, -9, stream_of("salt", 3, "item", 2)], [0, 7, 300], 6
    noise = gumbel(torch.tensor(streams), torch.tensor(positions), width)
    for row, (stream, position) in enumerate(zip(streams, positions, strict=True)):
        base = finalised((stream & MASK) ^ finalised(position))
        for token in range(width):
            bits = finalised(base ^ finalised(token))
            expected = -math.log(-math.log(((bits >> 12) + 0.5) * 2.0**-52))
            assert noise[row, token].item() == pytest.approx(expected, rel=1e-12)


def test_noise_is_uniform_under_the_hash_over_tokens_streams_and_positions() -> None:
    count = 20_000
    zeros = torch.zeros(count, dtype=torch.long)
    counted = torch.arange(count)
    along = {
        "tokens": gumbel(torch.tensor([11]), torch.tensor([0]), count)[0],
        "streams": gumbel(counted, zeros, 1)[:, 0],
        "positions": gumbel(zeros, counted, 1)[:, 0],
    }
    for name, noise in along.items():
        assert stats.kstest(uniform(noise).numpy(), "uniform").pvalue > 0.001, name
        assert stats.kstest(noise.numpy(), "gumbel_r").pvalue > 0.001, name


@pytest.mark.parametrize("axis", ["streams", "positions", "tokens"])
def test_neighbours_share_nothing(axis: str) -> None:
    """Consecutive counters are the hardest case for a hash: pairs must fill the unit square evenly."""
    count = 40_000
    counted, zeros = torch.arange(count), torch.zeros(count, dtype=torch.long)
    noise = {
        "streams": lambda: gumbel(counted, zeros, 1)[:, 0],
        "positions": lambda: gumbel(zeros, counted, 1)[:, 0],
        "tokens": lambda: gumbel(torch.tensor([3]), torch.tensor([1]), count)[0],
    }[axis]()
    first, second = uniform(noise[:-1]).numpy(), uniform(noise[1:]).numpy()
    assert abs(stats.spearmanr(first, second).statistic) < 4 / math.sqrt(count)
    cells = torch.zeros(64)
    cells.index_add_(0, torch.tensor((first * 8).astype(int) * 8 + (second * 8).astype(int)), torch.ones(count - 1))
    assert stats.chisquare(cells.numpy()).pvalue > 0.001


def test_the_winner_among_equal_tokens_is_every_token_equally_often() -> None:
    winners = gumbel(torch.arange(30_000), torch.zeros(30_000, dtype=torch.long), 10).argmax(-1)
    assert stats.chisquare(torch.bincount(winners, minlength=10).numpy()).pvalue > 0.001


def test_noise_repeats_bit_for_bit_and_a_row_is_the_same_alone_or_in_a_batch() -> None:
    streams, positions = torch.arange(-50, 50) * 977, torch.arange(100) % 13
    whole = gumbel(streams, positions, 500)
    assert torch.equal(whole, gumbel(streams, positions, 500))
    for row in (0, 42, 99):
        assert torch.equal(whole[row], gumbel(streams[row : row + 1], positions[row : row + 1], 500)[0])


def test_a_wider_vocabulary_leaves_the_noise_of_its_first_tokens_alone() -> None:
    narrow, wide = (gumbel(torch.tensor([8]), torch.tensor([2]), width) for width in (100, 164))
    assert torch.equal(narrow, wide[:, :100])


def test_noise_is_finite_where_the_hash_is_all_zeros_or_all_ones() -> None:
    """The stream that hashes to such bits is found by running the hash backwards."""
    for bits in (0, MASK):
        row = before(bits) ^ finalised(0)
        stream = signed(before(row) ^ finalised(0))
        noise = gumbel(torch.tensor([stream]), torch.tensor([0]), 1).item()
        assert math.isfinite(noise)
        assert (noise > 30) == (bits == MASK)


def test_streams_differ_wherever_any_part_differs() -> None:
    parts = [("", 0, "item", 0), ("", 0, "item", 1), ("", 1, "item", 0), ("s", 0, "item", 0), ("", 0, "item1", 0)]
    assert len({stream_of(*part) for part in parts}) == len(parts)
    assert stream_of("a", "bc") != stream_of("ab", "c")
    assert -(1 << 63) <= stream_of("lone surrogate \ud800") < 1 << 63


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_hashes_to_the_same_bits() -> None:
    counters = torch.arange(-1000, 1000) * 0x1234567
    assert torch.equal(splitmix(counters), splitmix(counters.cuda()).cpu())
