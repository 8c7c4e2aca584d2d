"""Drawing at wide vocabularies: the same tokens as from the noise of every token, which each test computes itself."""

from __future__ import annotations

import math

import pytest
import torch

from harness.policy.drawing import CLOSE, FEW, WIDE, draw_tokens
from harness.policy.noise import gumbel
from harness.policy.types import NotFinite, Sampling

torch.set_num_threads(1)
ROWS, WIDTH = 48, WIDE + 3_333


def drawn_from_all(logits: torch.Tensor, sampling: Sampling, streams: torch.Tensor, position: int) -> torch.Tensor:
    """Every token's noise, and a sort of all probabilities: how this project drew before it looked for candidates."""
    scaled = logits.double() / sampling.temperature
    if sampling.top_p < 1:
        ordered, order = torch.sort(scaled.softmax(-1), dim=-1, descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
    return (scaled + gumbel(streams, torch.full_like(streams, position), logits.shape[-1])).argmax(-1)


def rows_of(kind: str, width: int = WIDTH) -> torch.Tensor:
    """Logits (ROWS, width) of one kind, the same in each run."""
    draw = torch.Generator().manual_seed(7)
    spread = torch.randn(ROWS, width, generator=draw)
    raised = torch.randint(0, width, (ROWS, 30), generator=draw)
    return {
        "random": lambda: spread * 4,
        "flat": lambda: spread / 100,
        "peaked": lambda: spread.scatter_add(1, raised, torch.full((ROWS, 30), 15.0)),
        "one token": lambda: spread.scatter_add(1, raised[:, :1], torch.full((ROWS, 1), 90.0)),
        "tied": lambda: spread.round(),
        "tied in bfloat16": lambda: (spread * 4).bfloat16().float(),
        "all equal": lambda: torch.zeros(ROWS, width),
        "half impossible": lambda: (spread * 4).masked_fill(spread > 0, -torch.inf),
        "one possible": lambda: torch.full((ROWS, width), -torch.inf).scatter(1, raised[:, :1], 3.0),
        "huge": lambda: spread * 1e6,
    }[kind]()


KINDS = ("random", "flat", "peaked", "one token", "tied", "tied in bfloat16", "all equal", "half impossible",
         "one possible", "huge")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_give_the_tokens_that_the_noise_of_all_gives(kind: str) -> None:
    logits, streams = rows_of(kind), torch.arange(ROWS) * 7919 - 100_000
    for position, (temperature, top_p) in enumerate([(1.0, 1.0), (0.7, 0.9), (1.3, 0.5), (0.05, 1.0), (5.0, 0.999)]):
        sampling = Sampling(8, temperature=temperature, top_p=top_p)
        expected = drawn_from_all(logits, sampling, streams, position)
        assert torch.equal(draw_tokens(logits, sampling, streams, position), expected), (temperature, top_p)


@pytest.mark.parametrize("kind", ["peaked", "tied", "all equal", "random"])
def test_a_nucleus_wider_than_what_is_sorted_gives_the_same_tokens(kind: str) -> None:
    """Half of 65,536 equal tokens have a mass of exactly 0.5, so that only the sorted sum decides on the border."""
    logits, streams = rows_of(kind, 1 << 16)[:12], torch.arange(12) * 104_729
    assert FEW < 1 << 15
    assert CLOSE > 0
    for position, top_p in enumerate((0.5, 0.25, 0.99)):
        sampling = Sampling(8, temperature=2.0, top_p=top_p)
        expected = drawn_from_all(logits, sampling, streams, position)
        assert torch.equal(draw_tokens(logits, sampling, streams, position), expected), top_p


def test_draws_of_many_rows_follow_the_law() -> None:
    """Two of 8,192 tokens share the mass 1 : 3, so 600 draws give the second 450 times, with a deviation of 10.6."""
    logits = torch.full((600, WIDE), -50.0)
    logits[:, 4] = math.log(1)
    logits[:, 8_000] = math.log(3)
    tokens = draw_tokens(logits, Sampling(1, temperature=1.0), torch.arange(600), 0)
    assert set(tokens.tolist()) == {4, 8_000}
    assert abs(int((tokens == 8_000).sum()) - 450) < 4 * 10.6


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_logit_that_is_not_a_number_or_infinite_stops_the_draw(value: float, top_p: float) -> None:
    logits = rows_of("random")
    logits[3, 77] = value
    with pytest.raises(NotFinite):
        draw_tokens(logits, Sampling(1, temperature=1.0, top_p=top_p), torch.arange(ROWS), 0)


def test_rows_without_any_possible_token_stop_the_draw() -> None:
    with pytest.raises(NotFinite):
        draw_tokens(torch.full((2, WIDE), -torch.inf), Sampling(1, temperature=1.0), torch.arange(2), 0)
