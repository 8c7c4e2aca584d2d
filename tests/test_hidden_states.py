"""Blocks are found in every family of decoders, and an edit touches its positions, for one pass only."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import transformers

from harness.errors import UserError
from harness.policy.hidden_states import Places, block_count, decoder_blocks, edited, first_and_last, width_of

SHAPE = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
GROUPED = SHAPE | {"num_key_value_heads": 1, "head_dim": 8}
FAMILIES = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "mistral": transformers.MistralConfig(**GROUPED),
    "qwen2": transformers.Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": transformers.Qwen3Config(**GROUPED),
    "gemma": transformers.GemmaConfig(**GROUPED),
    "gemma2": transformers.Gemma2Config(**GROUPED),
    "gpt2": transformers.GPT2Config(vocab_size=32, n_embd=16, n_layer=3, n_head=2),
    "neox": transformers.GPTNeoXConfig(**SHAPE),
    "opt": transformers.OPTConfig(
        vocab_size=32, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, ffn_dim=24, word_embed_proj_dim=16
    ),
}


def make(config: transformers.PretrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_edit_reads_and_replaces_the_residual_stream_of_its_positions_alone(family: str) -> None:
    model = make(FAMILIES[family])
    tokens = torch.randint(3, 32, (2, 6))
    before = model(tokens, output_hidden_states=True)
    assert len(decoder_blocks(model)) == block_count(model.config) == 3
    assert width_of(model.config) == 16
    seen = []

    def moved(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden)
        return hidden.flip(-1)

    with edited(model, {0: [(Places([1, 0], [2, 4]), moved)]}):
        during = model(tokens, output_hidden_states=True)
    assert torch.equal(seen[0], before.hidden_states[1][[1, 0], [2, 4]])
    changed = (during.logits - before.logits).abs().amax(-1) > 1e-6
    # a causal model shows an edit at its position and later ones
    assert changed.tolist() == [[False] * 4 + [True] * 2, [False] * 2 + [True] * 4]
    assert torch.equal(model(tokens).logits, before.logits)


def test_hooks_go_even_when_the_model_fails() -> None:
    model = make(FAMILIES["llama"])
    with pytest.raises(IndexError), edited(model, {0: [(Places([9], [0]), lambda hidden: hidden)]}):
        model(torch.ones(1, 2, dtype=torch.long))
    assert not any(block._forward_hooks for block in decoder_blocks(model))


def test_a_model_without_a_list_of_blocks_is_refused() -> None:
    class Odd(torch.nn.Module):
        config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(num_hidden_layers=2))

        def get_decoder(self) -> torch.nn.Module:
            return torch.nn.ModuleList([torch.nn.Identity()])

    with pytest.raises(UserError, match="no list of 2 decoder blocks was found in Odd"):
        decoder_blocks(Odd())


def test_first_and_last_positions_of_texts_short_and_long_never_meet() -> None:
    """Lengths 1, 2, 3, 5 and 9 with 2 + 3: min(2, n//2) first, min(3, n - n//2) last, counted from each start."""
    head, tail = first_and_last([8, 7, 6, 4, 0], [1, 2, 3, 5, 9], 2, 3)
    by_row = [
        [[c for r, c in zip(p.rows, p.columns, strict=True) if r == row] for p in (head, tail)] for row in range(5)
    ]
    assert by_row == [[[], [8]], [[7], [8]], [[6], [7, 8]], [[4, 5], [6, 7, 8]], [[0, 1], [6, 7, 8]]]
