"""The cost of drawing at a real model's vocabulary: the goal is 20 ms for 8 rows of 262,144 tokens on one core.

    pytest -m slow -s tests/performance/test_drawing_speed.py

CPU seconds of one thread, medians of interleaved rounds; before: the noise of every token and a sort of all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from harness.policy.drawing import draw_plainly, draw_tokens
from harness.policy.types import Sampling

ROWS, WIDTH, ROUNDS = 8, 262_144, 9


def milliseconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["peaked", "random", "flat"])
@pytest.mark.parametrize("top_p", [1.0, 0.95])
def test_drawing_costs_a_fraction_of_the_noise_of_every_token(kind: str, top_p: float) -> None:
    """Peaked is closest to a language model: 50 tokens hold nearly all of the mass."""
    torch.set_num_threads(1)
    logits = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0))
    logits = logits * {"peaked": 2, "random": 4, "flat": 1}[kind]
    if kind == "peaked":
        logits[:, :50] += 15
    sampling, streams = Sampling(8, temperature=1.0, top_p=top_p), torch.arange(ROWS) * 7919
    draw_tokens(logits, sampling, streams, 0)  # the hashes of the tokens are kept
    now, before = [], []
    for position in range(ROUNDS):
        now.append(milliseconds(lambda at=position: draw_tokens(logits, sampling, streams, at)))
        before.append(
            milliseconds(lambda at=position: draw_plainly(logits, sampling, streams, torch.full((ROWS,), at)))
        )
    fast, slow = statistics.median(now), statistics.median(before)
    print(f"\n{kind}, top_p {top_p}: {fast:.1f} ms of CPU, before {slow:.1f} ms ({slow / fast:.1f} x)")
    assert fast < slow / 2
