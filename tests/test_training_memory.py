"""The settings that save memory in training: the same training, or a refusal that says what is missing."""

from __future__ import annotations

from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest
import torch
import transformers
import trl
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import FitContext, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.records import Demonstration, Message, PreferencePair, TrainingData
from harness.training import blocks, c_allocator, loop
from methods.base import Base
from methods.dpo import Dpo
from methods.grpo import Grpo
from methods.lora import Lora
from methods.peft import Peft
from methods.sft import Sft
from methods.sft_on_chosen import SftOnChosen

torch.set_num_threads(1)
WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
ASKED = [(Message("user", f"w{at}"),) for at in range(6)]
DATA = TrainingData(
    demonstrations=tuple(
        Demonstration((*asked, Message("assistant", f"w{at + 9} w{at}")), f"d{at}") for at, asked in enumerate(ASKED)
    ),
    preferences=tuple(
        PreferencePair(asked, f"w{at + 9} w{at}", f"w{at + 3}", f"p{at}") for at, asked in enumerate(ASKED)
    ),
)
QUICK: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 3, "batch_size": 2, "warmup_ratio": 0.0}
METHODS = [
    Sft(**QUICK, dropout=0.3),
    Lora(**QUICK, dropout=0.2),
    Peft(**QUICK),
    Dpo(**QUICK, start=Base()),
    SftOnChosen(**QUICK, start=Base()),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=32, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    table = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=table, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def fitted(method: Method, base: BaseModel, folder: Path) -> tuple[dict[str, torch.Tensor], Any]:
    """The weights that a fit writes, and its loss curve."""
    folder.mkdir()
    report = method.fit(base, DATA, {"start": Input(base.folder, base, base.policy)}, folder, FitContext(0, 2))
    (written,) = folder.glob("*.safetensors")
    return load_file(written), report.notes["loss"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_computing_activations_twice_trains_the_same_weights(
    method: Any, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout too: the second computation draws the same noise. That it happens is seen in the calls of a block."""
    calls: list[int] = []
    forward = transformers.models.llama.modeling_llama.LlamaMLP.forward
    counted = lambda self, hidden: (calls.append(1), forward(self, hidden))[1]  # noqa: E731
    monkeypatch.setattr(transformers.models.llama.modeling_llama.LlamaMLP, "forward", counted)
    plain, losses = fitted(method, base, tmp_path / "plain")
    once = len(calls)
    saved, again = fitted(replace(method, activation_checkpointing=True), base, tmp_path / "saved")
    assert len(calls) - once > once
    assert again == losses
    assert plain.keys() == saved.keys()
    for name, weight in plain.items():
        torch.testing.assert_close(saved[name], weight, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", [METHODS[0], METHODS[1], METHODS[2]], ids=lambda method: type(method).__name__)
def test_a_fit_whose_loss_is_read_in_blocks_trains_the_same_weights(
    method: Any, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, losses = fitted(method, base, tmp_path / "plain")
    monkeypatch.setattr(blocks, "BLOCK", 2 * len(WORDS))
    in_blocks, again = fitted(method, base, tmp_path / "blocks")
    assert [loss for _, loss in again] == pytest.approx([loss for _, loss in losses], abs=2e-6)
    for name, weight in plain.items():
        torch.testing.assert_close(in_blocks[name], weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, Grpo(start=Base())], ids=lambda method: type(method).__name__)
@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged"])
def test_an_optimiser_without_its_library_is_refused_before_anything_runs(
    method: Any, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"optimizer is {optimizer}, which needs bitsandbytes"):
        replace(method, optimizer=optimizer).check()
    method.check()


@pytest.mark.parametrize(
    ("optimizer", "named"), [("adamw_8bit", "adamw_bnb_8bit"), ("paged", "paged_adamw_32bit"), ("adamw", None)]
)
def test_the_optimiser_and_the_checkpointing_reach_the_library(
    optimizer: Any, named: str | None, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "find_spec", lambda name: ModuleSpec(name, None))
    settings = loop.Optimisation.of(Sft(optimizer=optimizer, activation_checkpointing=True))
    config = loop.trl_config(trl.SFTConfig, str(tmp_path), base, settings, FitContext(0, 2))
    assert config.activation_checkpointing is True
    assert config.optim == (named or trl.SFTConfig(str(tmp_path), bf16=False, use_cpu=True).optim)


def test_a_prefix_in_the_cache_is_not_trained_with_checkpointing() -> None:
    with pytest.raises(UserError, match="prefix_tuning: transformers drops the cache"):
        Peft(type="prefix_tuning", activation_checkpointing=True).check()


def test_only_a_checkpointed_fit_on_a_cpu_gives_freed_blocks_back_and_the_threshold_is_large_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    library = Mock()
    monkeypatch.setattr(c_allocator.ctypes, "CDLL", lambda name: library)
    with c_allocator.freed_at_once(False):
        pass
    assert library.mock_calls == []
    with pytest.raises(ValueError, match="diverged"), c_allocator.freed_at_once(True):
        raise ValueError("diverged")
    assert library.mock_calls == [call.mallopt(-3, 2**21), call.mallopt(-3, 2**25), call.malloc_trim(0)]


@pytest.mark.parametrize(
    ("device", "library", "own", "keeps"),
    [("cpu", "glibc", "", True), ("cuda:0", "glibc", "", False), ("cpu", "", "", False), ("cpu", "glibc", "9", False)],
)
def test_a_heap_is_known_on_glibc_unless_the_user_sets_its_threshold(
    device: str, library: str, own: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(c_allocator.platform, "libc_ver", lambda: (library, "2.36"))
    monkeypatch.setattr(c_allocator.os, "environ", {"MALLOC_MMAP_THRESHOLD_": own} if own else {})
    assert c_allocator.keeps_freed_blocks(device) is keeps
