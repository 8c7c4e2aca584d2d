"""The loss in blocks of positions: the same loss and gradients as of all logits at once, and when it is used."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
import transformers
import trl
from trl.trainer.utils import add_fused_lm_head

from harness.training import blocks
from harness.training.labelled_rows import IGNORED
from harness.training.trl import completion_loss

torch.set_num_threads(1)
SHAPE = {
    "vocab_size": 61, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.4, "pad_token_id": 0,
}  # fmt: skip


def made(kind: str) -> Any:
    """A small model of one family."""
    torch.manual_seed(0)
    families = {
        "tied": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SHAPE, tie_word_embeddings=True)),
        "untied": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SHAPE)),
        "soft-capped": (
            transformers.Gemma2ForCausalLM,
            transformers.Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=3.0),
        ),
        "scaled": (transformers.GraniteForCausalLM, transformers.GraniteConfig(**SHAPE, logits_scaling=7.0)),
        "biased": (
            transformers.PhiForCausalLM,
            transformers.PhiConfig(**{**SHAPE, "num_key_value_heads": 4}, tie_word_embeddings=False),
        ),
    }
    if kind == "adapted":
        torch.manual_seed(1)
        config = peft.LoraConfig(r=3, target_modules="all-linear", init_lora_weights=False)
        return peft.get_peft_model(made("tied"), config)
    model_class, config = families[kind]
    return model_class(config)


def batch_of() -> dict[str, torch.Tensor]:
    """Four rows of 11 to 20 tokens, of which about half are labelled, at other places in each row."""
    draw = torch.Generator().manual_seed(3)
    tokens = torch.randint(1, 61, (4, 20), generator=draw)
    mask = torch.arange(20)[None] < torch.tensor([20, 17, 11, 14])[:, None]
    labelled = (torch.rand(4, 20, generator=draw) < 0.5) & mask
    labels = tokens.masked_fill(~labelled, IGNORED)
    return {"input_ids": tokens.masked_fill(~mask, 0), "attention_mask": mask.long(), "labels": labels}


def gradients(model: Any) -> torch.Tensor:
    """All gradients in one vector; the model's are cleared."""
    found = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("kind", ["tied", "untied", "soft-capped", "scaled", "biased", "adapted"])
@pytest.mark.parametrize("positions", [1, 7])
def test_loss_and_gradients_in_blocks_equal_those_of_all_logits(
    kind: str, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 61 * positions)
    model, batch = made(kind), batch_of()
    model.eval()
    whole = completion_loss(model, batch, 50)
    whole.backward()
    expected = gradients(model)
    loss = blocks.blockwise_loss(model, batch, 50)
    assert loss is not None
    loss.backward()
    found = gradients(model)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    # float32 sums in another order: 1.2e-6 was seen on one processor
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert "forward" not in vars(model.get_base_model().model if kind == "adapted" else model.model)


def test_packed_rows_are_read_in_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 61 * 5)
    model, batch = made("tied"), batch_of()
    packed = {
        "input_ids": batch["input_ids"].reshape(1, -1),
        "labels": batch["labels"].reshape(1, -1),
        "position_ids": torch.arange(20).repeat(4)[None],
    }
    loss = blocks.blockwise_loss(model, packed, 9)
    assert loss is not None
    assert loss.item() == pytest.approx(completion_loss(model, packed, 9).item(), rel=1e-6)


def test_no_more_logits_than_a_block_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 61 * 6)
    model, batch = made("untied"), batch_of()
    rows: list[int] = []
    model.lm_head.register_forward_hook(lambda module, read, output: rows.append(output.numel() // 61))
    blocks.blockwise_loss(model, batch, 1)
    labelled = int((batch["labels"][:, 1:] != IGNORED).sum())
    assert max(rows) == 6
    # the first call reads a position of each row, since the model does not run without its head
    assert sum(rows[1:]) == labelled
    assert rows[0] == 4


def test_a_batch_of_one_block_is_left_to_the_plain_loss() -> None:
    assert blocks.blockwise_loss(made("tied"), batch_of(), 1) is None


def test_a_model_whose_hidden_states_are_not_found_is_left_to_the_plain_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a module of the name that the class declares, `base_model` is the model itself, which gives logits."""
    monkeypatch.setattr(blocks, "BLOCK", 61)
    monkeypatch.setattr(transformers.LlamaForCausalLM, "base_model_prefix", "nowhere")
    assert blocks.blockwise_loss(made("tied"), batch_of(), 1) is None


def test_the_backbone_runs_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 61)
    model, batch = made("tied"), batch_of()
    expected = model(batch["input_ids"]).logits
    broken = model.lm_head.register_forward_hook(lambda module, read, output: output[:, :, :3])
    with pytest.raises((IndexError, RuntimeError)):
        blocks.blockwise_loss(model, batch, 1)
    broken.remove()
    assert torch.equal(model(batch["input_ids"]).logits, expected)


@pytest.mark.parametrize("kind", ["tied", "soft-capped", "scaled", "biased"])
def test_log_probs_of_labelled_tokens_and_their_gradients_are_those_of_the_head_at_every_position(kind: str) -> None:
    model, batch = made(kind), batch_of()
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    whole = model(**batch, use_cache=False, fused_lm_head=True)
    everywhere = whole.log_probs
    everywhere.sum(1).pow(2).sum().backward()
    expected = gradients(model)
    alone = blocks.fused_log_probs(model, batch)
    alone.sum(1).pow(2).sum().backward()
    assert torch.allclose(alone, everywhere, atol=1e-5)
    assert torch.allclose(blocks.fused_head(model, **batch).entropy, whole.entropy, atol=1e-5)
    assert (gradients(model) - expected).norm() < 1e-5 * expected.norm()


def read_by_the_fused_head(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many positions TRL's fused head reads, call by call from now on."""
    rows: list[int] = []
    whole = trl.trainer.utils._ChunkedLogProbFunction.apply

    def counted(states: torch.Tensor, *others: Any) -> Any:
        rows.append(len(states))
        return whole(states, *others)

    monkeypatch.setattr(trl.trainer.utils._ChunkedLogProbFunction, "apply", counted)
    return rows


def test_the_fused_head_reads_the_labelled_positions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = read_by_the_fused_head(monkeypatch)
    model, batch = made("tied"), batch_of()
    add_fused_lm_head(model)
    blocks.fused_log_probs(model, batch)
    nothing = blocks.fused_log_probs(model, {**batch, "labels": torch.full((4, 20), IGNORED)})
    assert rows == [int((batch["labels"][:, 1:] != IGNORED).sum()), 4 * 19]
    assert not nothing.any()
    with pytest.raises(AttributeError):  # the hook is gone: the model answers as before
        model(batch["input_ids"]).log_probs  # noqa: B018
