"""Rows that wait take the places of finished ones: the same texts, fewer steps, and no more memory."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch
import transformers
from test_sampling import drawn_plainly, some_prompts, tiny_llama, word_tokenizer

from harness.policy import sampling as drawing_loop
from harness.policy.batching import like_lengths, take
from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.encoding import TextEncoder
from harness.policy.types import Prompt, Sampling
from methods.proxy_tuning import ProxyPolicy

torch.set_num_threads(1)
KEYS = [f"k{at}" for at in range(24)]
PROMPTS = some_prompts(24)


def tiny_gemma() -> Any:
    """Five layers of six keep the last four tokens alone."""
    torch.manual_seed(0)
    config = transformers.Gemma3TextConfig(
        vocab_size=49, hidden_size=24, intermediate_size=32, num_hidden_layers=6, num_attention_heads=2,
        num_key_value_heads=1, head_dim=12, sliding_window=5, max_position_embeddings=64, initializer_range=0.4,
    )  # fmt: skip
    return transformers.Gemma3ForCausalLM(config).eval()


class Watched(CausalPolicy):
    """Counts steps and joins, and notes the most bytes of keys and values that it held."""

    def __init__(self, model: Any, *, joins: bool = True) -> None:
        super().__init__(model, TextEncoder(word_tokenizer(), max_length=64))
        self.joins, self.steps, self.joined, self.held, self.max_rows = joins, 0, 0, 0, 6
        self.most = 1000

    def can_join(self, state: CausalState) -> bool:
        return self.joins and super().can_join(state)

    def join(self, state: CausalState, other: CausalState) -> CausalState:
        self.joined += 1
        if len(state.positions) + len(other.positions) > self.most:
            raise RuntimeError("not enough memory")
        return super().join(state, other)

    def extend(self, state: CausalState, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        self.steps += 1
        logits, state = super().extend(state, tokens, mask)
        held = (4 * (layer.keys.numel() + layer.values.numel()) for layer in state.cache.layers)
        self.held = max(self.held, sum(held))
        return logits, state


@pytest.mark.parametrize("model", [tiny_llama, tiny_gemma])
@pytest.mark.parametrize("sampling", [Sampling(20), Sampling(20, temperature=1.0, top_p=0.95, samples=3, seed=1)])
def test_rows_that_join_have_the_texts_of_rows_drawn_alone(model: Any, sampling: Sampling) -> None:
    joining = Watched(model())
    found = joining.sample(PROMPTS, sampling, KEYS)
    assert joining.joined > 3
    assert found == Watched(model(), joins=False).sample(PROMPTS, sampling, KEYS)
    for at in (0, 7, 23):
        for sample, completion in enumerate(found[at]):
            assert list(completion.token_ids) == drawn_plainly(joining, PROMPTS[at], sampling, KEYS[at], sample)


def test_lengths_that_pad_each_other_much_make_groups() -> None:
    """Worked by hand: 3 x 40 = 120 slots for 100 tokens are one read; 4 x 40 = 160 for 78 are groups."""
    assert like_lengths([40, 30, 30]) == [range(3)]
    assert like_lengths([40, 27, 6, 5]) == [range(2), range(2, 4)]
    assert like_lengths([40, 26, 6, 6]) == [range(1), range(1, 2), range(2, 4)]
    assert like_lengths([5, 40, 5]) == [range(1), range(1, 2), range(2, 3)]
    assert like_lengths([]) == [range(0)]


@pytest.mark.parametrize("model", [tiny_llama, tiny_gemma])
def test_one_long_prompt_does_not_pad_the_others_and_changes_no_text(model: Any) -> None:
    prompts = [Prompt(text=" ".join(f"w{(at + step) % 40}" for step in range(40 if at == 3 else 2 + at % 3)))
               for at in range(6)]  # fmt: skip
    joining, sampling = Watched(model()), Sampling(12, temperature=1.0, seed=2)
    widths: list[tuple[int, ...]] = []
    read = joining.read
    joining.read = lambda tokens, mask: (widths.append(tuple(tokens.shape)), read(tokens, mask))[1]  # type: ignore
    found = joining.sample(prompts, sampling, KEYS[:6])
    assert len(widths) > 1
    assert max(rows for rows, width in widths if width >= 40) == 1
    assert found == Watched(model(), joins=False).sample(prompts, sampling, KEYS[:6])


def test_a_proxy_joins_the_rows_of_its_three_parts() -> None:
    parts = [CausalPolicy(tiny_llama(seed=seed), TextEncoder(word_tokenizer(), max_length=64)) for seed in range(3)]
    proxy, other = ProxyPolicy(*parts, alpha=0.5), ProxyPolicy(*parts, alpha=0.5)
    proxy.max_rows, other.max_rows = 4, 1
    sampling = Sampling(16, temperature=1.0)
    assert proxy.sample(PROMPTS, sampling, KEYS) == other.sample(PROMPTS, sampling, KEYS)


def with_lengths(monkeypatch: pytest.MonkeyPatch, lengths: list[int]) -> None:
    """Answers end after these numbers of tokens, whatever they are."""

    def append(encoder: TextEncoder, row: Any, token: int, sampling: Sampling) -> None:
        row.ids.append(token)
        if len(row.ids) == lengths[row.request]:
            row.finish = "length"

    monkeypatch.setattr(drawing_loop, "_append", append)


def test_one_long_answer_does_not_hold_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """24 answers in batches of 6, each with one of 32 tokens, the others of 4: 4 x 31 steps if each waits for its own.

    Of 6 places the first answer keeps one. After every 4 tokens the others are free: 5, then 4 (as the second long
    answer keeps one), 3 and 3. The last long answer is among the last 3, so it ends after 16 + 32 tokens.
    """
    with_lengths(monkeypatch, [32 if at % 6 == 0 else 4 for at in range(24)])
    prompts = [Prompt(text="w1")] * 24
    alone, joining = Watched(tiny_llama(), joins=False), Watched(tiny_llama())
    expected = alone.sample(prompts, Sampling(32), KEYS)
    assert joining.sample(prompts, Sampling(32), KEYS) == expected
    assert alone.steps == 4 * 31
    assert joining.steps == 16 + 31


def test_a_batch_takes_no_row_after_as_many_steps_as_an_answer_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places. One row ends after 1 step and the other never waits long: a batch has at most 2 x 8 steps."""
    with_lengths(monkeypatch, [8, 5] * 12)
    ended: list[int] = []
    policy = Watched(tiny_llama())
    policy.max_rows = 2
    one_batch = drawing_loop._sample_batch

    def noted(*given: Any) -> Any:
        before = policy.steps
        rows = one_batch(*given)
        ended.append(policy.steps - before)
        return rows

    monkeypatch.setattr(drawing_loop, "_sample_batch", noted)
    policy.sample(PROMPTS, Sampling(8), KEYS)
    assert len(ended) > 3
    assert 8 < max(ended) < 16


@pytest.mark.parametrize("model", [tiny_llama, tiny_gemma])
def test_joined_rows_stay_within_the_budget_of_caches(model: Any) -> None:
    policy = Watched(model())
    policy.cache_budget = 5 * policy.row_bytes(40)
    policy.max_rows = 256
    policy.sample(PROMPTS, Sampling(20, temperature=1.0, samples=3), KEYS)
    assert policy.joined > 3
    assert policy.held <= policy.cache_budget


def test_where_memory_does_not_hold_joined_rows_the_batch_begins_again_with_fewer() -> None:
    sampling = Sampling(20, temperature=1.0, samples=2)
    cramped = Watched(tiny_llama())
    cramped.most = 4
    assert cramped.sample(PROMPTS, sampling, KEYS) == Watched(tiny_llama()).sample(PROMPTS, sampling, KEYS)
    assert cramped.max_rows <= 4


def test_rows_are_taken_once_a_quarter_of_the_places_is_free() -> None:
    """Eight places. With seven running rows one is free, an eighth; with six rows two are."""
    waiting = deque([[1, 2, 3], [4]])
    assert take(waiting, [0] * 7, lambda rows: 8) == []
    assert take(waiting, [0] * 6, lambda rows: 8) == [1, 2]
    assert [*waiting] == [[3], [4]]
    assert take(waiting, [0], lambda rows: 8) == [3]
    assert [*waiting] == [[4]]
    assert take(deque(), [0], lambda rows: 8) == []
