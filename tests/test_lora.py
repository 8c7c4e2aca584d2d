"""The adapter is what PEFT makes of our settings; merged, it scores as the model that was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import peft
import peft.optimizers
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt
from harness.records import Demonstration, Message, TrainingData
from methods.lora import Lora

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
METHOD = Lora(rank=4, alpha=8.0, learning_rate=2e-2, epochs=3, batch_size=4)
PAIRS = [(f"w{at}", f"w{at + 10} w{at + 9}") for at in range(8)]
DATA = TrainingData(tuple(Demonstration((Message("user", q), Message("assistant", a)), q) for q, a in PAIRS))
PROMPTS = [Prompt(messages=(Message("user", question),)) for question, _ in PAIRS]
ANSWERS = [answer for _, answer in PAIRS]


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    folder = tmp_path / "base"
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    # at the default range of 0.02 a frozen output layer is too small for an adapter to be heard
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=32, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def fitted(method: Lora, base: BaseModel, folder: Path) -> Path:
    folder.mkdir()
    method.fit(base, DATA, {}, folder, FitContext(0, 4))
    return folder


def test_the_merged_policy_scores_as_the_unmerged_adapter(base: BaseModel, tmp_path: Path) -> None:
    folder = fitted(METHOD, base, tmp_path / "lora")
    unmerged = CausalPolicy(peft.PeftModel.from_pretrained(base.load(), str(folder)), base.encoder)
    merged = METHOD.load(base, folder, {})
    assert not isinstance(merged.model, peft.PeftModel)
    moved = 0.0
    everything = (policy.score(PROMPTS, ANSWERS) for policy in (unmerged, merged, base.policy()))
    for one, two, untuned in zip(*everything, strict=True):
        assert one.logprob == pytest.approx(two.logprob, abs=1e-5)
        moved += two.logprob - untuned.logprob
    assert moved > 5


@pytest.mark.parametrize("change", [{"rslora": True}, {"dora": True}], ids=["rslora", "dora"])
def test_its_variants_train_and_load(base: BaseModel, tmp_path: Path, change: dict[str, bool]) -> None:
    method = replace(METHOD, epochs=1, **change)
    folder = fitted(method, base, tmp_path / "variant")
    tuned, untuned = (policy.score(PROMPTS, ANSWERS) for policy in (method.load(base, folder, {}), base.policy()))
    assert sum(score.logprob for score in tuned) > sum(score.logprob for score in untuned)


def test_the_trained_parameters_are_the_ranks_times_the_layers_sides(base: BaseModel, tmp_path: Path) -> None:
    """Two layers, each q k v o of 16 x 16 and gate up down of 16 x 32: rank x (in + out) apiece."""
    report = METHOD.fit(base, DATA, {}, tmp_path, FitContext(0, 4))
    assert report.trained_parameters == 2 * 4 * (4 * (16 + 16) + 3 * (16 + 32))
    stored = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(weight.numel() for weight in stored.values()) == report.trained_parameters


def test_the_adapter_names_no_base_and_its_order_is_fixed(base: BaseModel, tmp_path: Path) -> None:
    folder = fitted(METHOD, base, tmp_path / "lora")
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == ""
    assert config["target_modules"] == sorted(config["target_modules"])
    assert "lm_head" not in config["target_modules"]


def test_only_the_named_layers_are_adapted(base: BaseModel, tmp_path: Path) -> None:
    folder = fitted(replace(METHOD, epochs=1, targets=("q_proj", "v_proj")), base, tmp_path / "few")
    adapted = {name.split(".")[-3] for name in load_file(folder / "adapter_model.safetensors")}
    assert adapted == {"q_proj", "v_proj"}


def test_an_end_of_turn_that_an_adapter_cannot_teach_is_an_error(base: BaseModel, tmp_path: Path) -> None:
    model = base.load()
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 0
    model.save_pretrained(base.folder)
    with pytest.raises(UserError, match="never trained '<eos>'"):
        METHOD.fit(base, DATA, {}, tmp_path, FitContext(0, 4))


def in_bfloat16(base: BaseModel) -> BaseModel:
    return BaseModel(replace(base.spec, dtype="bfloat16"), base.folder)


def test_an_update_too_small_for_bfloat16_moves_scores_unless_it_is_merged_in_bfloat16(
    base: BaseModel, tmp_path: Path
) -> None:
    """Weights of about 0.3 in bfloat16 are 0.002 apart, and each element of the update is below a tenth of that."""
    half = in_bfloat16(base)
    method = replace(METHOD, learning_rate=1e-5, warmup_ratio=0.0)
    folder = fitted(method, half, tmp_path / "small")
    weights = load_file(folder / "adapter_model.safetensors")
    update = max(
        float((weights[name] @ weights[name.replace("lora_B", "lora_A")]).abs().max()) * 2
        for name in weights
        if "lora_B" in name
    )
    assert 0 < update < 2e-4
    kept = method.load(half, folder, {})
    lost = replace(method, merged_in="base").load(half, folder, {})
    assert next(kept.model.parameters()).dtype is torch.float32
    assert next(lost.model.parameters()).dtype is torch.bfloat16
    untouched = CausalPolicy(half.load().float(), base.encoder).score(PROMPTS, ANSWERS)
    moved = [one.logprob - two.logprob for one, two in zip(kept.score(PROMPTS, ANSWERS), untouched, strict=True)]
    assert sum(moved) > 0
    changed = sum(
        int((one != two).sum()) for one, two in zip(lost.model.parameters(), half.load().parameters(), strict=True)
    )
    assert changed < 0.1 * sum(part.numel() for part in lost.model.parameters())


@pytest.mark.parametrize(("merged_in", "noted"), [("float32", "float32"), ("base", "bfloat16")])
def test_the_report_of_a_fit_says_in_which_precision_the_adapter_is_merged(
    base: BaseModel, tmp_path: Path, merged_in: str, noted: str
) -> None:
    method = replace(METHOD, epochs=1, merged_in=merged_in)
    assert method.fit(in_bfloat16(base), DATA, {}, tmp_path, FitContext(0, 4)).notes["merged_in"] == noted
    assert "merged_in" not in method.fit(base, DATA, {}, tmp_path, FitContext(0, 4)).notes


def test_sixteen_times_the_alpha_trains_as_lora_plus_with_ratio_sixteen() -> None:
    """PEFT's optimiser for LoRA+ is the oracle; B is 16 times smaller here, and alpha 16 times larger."""
    answers = []
    inputs, wanted = torch.randn(2, 32, 8, generator=torch.Generator().manual_seed(1))
    for alpha in (4, 64):
        torch.manual_seed(0)
        config = peft.LoraConfig(r=2, lora_alpha=alpha, target_modules=["0"])
        model = peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(8, 8)), config)
        if alpha == 4:
            optimizer = peft.optimizers.create_loraplus_optimizer(
                model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16
            )
        else:
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        untrained = model(inputs).detach()
        for _ in range(50):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(inputs), wanted).backward()
            optimizer.step()
        answers.append(model(inputs).detach())
    assert (answers[0] - untrained).abs().max() > 0.1
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-4)
