"""Rows of a batch by the bytes of their caches: what a row takes, how many are admitted, and the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from test_sampling import some_prompts, tiny_llama, word_tokenizer

from harness.microworld.build import SIZES
from harness.microworld.pretrain import CONTEXT, new_model
from harness.policy.batching import CPU_CACHE, within_cache
from harness.policy.causal import CausalPolicy, cached_bytes
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.types import Sampling
from methods.proxy_tuning import ProxyPolicy

torch.set_num_threads(1)
FAMILIES: dict[str, Any] = {
    "grouped heads": transformers.LlamaConfig(
        vocab_size=20, hidden_size=24, intermediate_size=8, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2,
    ),
    "sliding windows": transformers.Gemma3TextConfig(
        vocab_size=20, hidden_size=24, intermediate_size=8, num_hidden_layers=7, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, sliding_window=5, max_position_embeddings=64,
    ),
    "old names": transformers.GPT2Config(vocab_size=20, n_embd=24, n_layer=2, n_head=3, n_positions=64),
}  # fmt: skip


class Counted(CausalPolicy):
    """Notes how many rows each batch has when it is decoded."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows: list[int] = []

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        self.rows.append(len(prompts))
        return super().prefill(prompts)


def policy(budget: int | None = None) -> Counted:
    made = Counted(tiny_llama(), TextEncoder(word_tokenizer(), max_length=64))
    made.cache_budget = budget
    return made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [4, 30])
def test_the_estimate_is_what_the_library_keeps(family: str, tokens: int) -> None:
    """A sliding window of 5 keeps 4 states: the fifth is the token that is read. The estimate counts all 5."""
    config = FAMILIES[family]
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        cache = transformers.DynamicCache(config=config)
        model(torch.ones(1, tokens, dtype=torch.long), past_key_values=cache, use_cache=True)
    held = sum(4 * (layer.keys.numel() + layer.values.numel()) for layer in cache.layers)
    estimated = cached_bytes(config, tokens, 4)
    windows = config.layer_types.count("sliding_attention") if family == "sliding windows" and tokens > 5 else 0
    assert estimated - windows * 2 * 4 * 16 == held


def test_a_model_that_does_not_say_how_wide_it_is_has_no_estimate() -> None:
    assert cached_bytes(transformers.PretrainedConfig(), 100, 4) == 0


def test_batches_are_divided_where_the_longest_row_times_their_number_exceeds_the_budget() -> None:
    """A token takes 2 layers x 2 heads x 8 numbers x keys and values x 4 bytes = 256 bytes."""
    made = policy(budget=256 * 30)
    assert made.row_bytes(1) == 256
    assert [*within_cache(made, [[10, 9, 8, 4, 3, 2], [40, 1]], lambda tokens: tokens)] == [
        [10, 9, 8], [4, 3, 2], [40], [1]
    ]  # fmt: skip
    assert [*within_cache(policy(), [[10, 9], [8]], lambda tokens: tokens)] == [[10, 9], [8]]


def test_samples_and_scores_under_a_budget_equal_those_without_one() -> None:
    prompts, keys = some_prompts(9), [f"k{at}" for at in range(9)]
    sampling = Sampling(max_new_tokens=8, temperature=1.0, samples=3)
    whole, cramped = policy(), policy(budget=256 * 80)
    assert cramped.sample(prompts, sampling, keys) == whole.sample(prompts, sampling, keys)
    assert max(cramped.rows) < max(whole.rows)
    scores = zip(cramped.score(prompts, ["w1 w2"] * 9), whole.score(prompts, ["w1 w2"] * 9), strict=True)
    assert all(one.logprob == pytest.approx(other.logprob, abs=1e-5) for one, other in scores)


def test_a_proxy_counts_the_caches_of_its_three_parts() -> None:
    parts = [policy() for _ in range(3)]
    assert ProxyPolicy(*parts, alpha=1.0).row_bytes(10) == 3 * parts[0].row_bytes(10)


def test_the_embedded_worlds_batches_are_those_of_256_rows_as_before() -> None:
    rows = [list(range(256))]
    for shape, _ in SIZES.values():
        made = CausalPolicy(new_model(shape, seed=0), TextEncoder(word_tokenizer(), max_length=CONTEXT))
        assert 3 * 256 * made.row_bytes(CONTEXT) < CPU_CACHE
        assert [*within_cache(made, rows, lambda _: CONTEXT)] == rows
