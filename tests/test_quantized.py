"""QLoRA: a frozen base in 4 bits under an adapter. What needs bitsandbytes skips where it is not installed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from harness.training import loop
from harness.training.footprint import NF4_BYTES, saved_by_nf4
from methods.lora import Lora

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "vocab_size": len(WORDS),
    "eos_token_id": 0,
    "max_position_embeddings": 32,
    "initializer_range": 0.3,
}
METHOD = Lora(rank=4, alpha=8.0, learning_rate=1e-2, epochs=3, batch_size=4, quantized="nf4")
PAIRS = [(f"w{at}", f"w{at + 10} w{at + 9}") for at in range(8)]
DATA = TrainingData(tuple(Demonstration((Message("user", q), Message("assistant", a)), q) for q, a in PAIRS))
PROMPTS = [Prompt(messages=(Message("user", question),)) for question, _ in PAIRS]
ANSWERS = [answer for _, answer in PAIRS]


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    folder = tmp_path / "base"
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def scores(policy: Any) -> list[float]:
    return [one.logprob for one in policy.score(PROMPTS, ANSWERS)]


def test_a_base_in_4_bits_without_the_library_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="quantized is nf4, which needs bitsandbytes"):
        METHOD.check()
    replace(METHOD, quantized=None).check()


@pytest.mark.parametrize(("field", "value"), [("merged_in", "base"), ("parallel", "fsdp")])
def test_settings_that_a_base_in_4_bits_contradicts_are_refused(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: "installed")
    with pytest.raises(UserError, match=f"{field}: {value} with quantized: nf4"):
        replace(METHOD, **{field: value}).check()


def test_the_estimate_counts_frozen_linear_layers_without_the_head_in_4_bits() -> None:
    """By hand: each of 2 layers has 4 matrices of 64 x 64 and 3 of 64 x 128, 40,960 weights of 4 bytes.

    A constant of 1 byte for each 64 weights and one of 4 bytes for each 256 constants: 0.5 + 1/64 + 4/16,384 bytes.
    """
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).requires_grad_(False)
    assert pytest.approx(0.515869, abs=1e-6) == NF4_BYTES
    assert saved_by_nf4(model) == pytest.approx(2 * 40_960 * (4 - 0.515869), abs=1)
    assert saved_by_nf4(model.requires_grad_(True)) == 0


def test_an_adapter_learns_on_a_base_in_4_bits_and_is_loaded_as_it_was_trained(base: BaseModel, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="a base in 4 bits needs bakeoff[bitsandbytes]")
    folder = tmp_path / "artifact"
    folder.mkdir()
    report = METHOD.fit(base, DATA, {}, folder, FitContext(0, 4))
    assert report.notes["frozen_in"] == "nf4"
    losses = [loss for _, loss in report.notes["loss"]]
    assert losses[-1] < losses[0]
    tuned = METHOD.load(base, folder, {})
    assert scores(tuned) == scores(METHOD.load(base, folder, {}))
    assert sum(scores(tuned)) > sum(scores(CausalPolicy(base.load("nf4"), base.encoder)))
    held = [part for name, part in tuned.model.named_parameters() if name.endswith("proj.base_layer.weight")]
    assert len(held) == 14
    assert {part.dtype for part in held} == {torch.uint8}
    assert sum(part.numel() for part in held) == 40_960  # bytes: two weights in each


def test_with_nothing_learnt_the_policy_is_the_base_in_4_bits(base: BaseModel, tmp_path: Path) -> None:
    """The control for what the rounding does alone: near the base, and not the base."""
    pytest.importorskip("bitsandbytes", reason="a base in 4 bits needs bakeoff[bitsandbytes]")
    folder = tmp_path / "artifact"
    folder.mkdir()
    method = replace(METHOD, learning_rate=0.0, epochs=1)
    method.fit(base, DATA, {}, folder, FitContext(0, 4))
    rounded = scores(CausalPolicy(base.load("nf4"), base.encoder))
    assert scores(method.load(base, folder, {})) == pytest.approx(rounded, abs=1e-5)
    exact = scores(base.policy())
    assert scores(method.load(base, folder, {})) != pytest.approx(exact, abs=1e-3)
    assert torch.corrcoef(torch.tensor([rounded, exact]))[0, 1] > 0.8
