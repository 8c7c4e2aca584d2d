"""Any PEFT type: what is trained, what is stored, and that answering reads what training read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file

from harness.engine.contract.bench import Bench
from harness.engine.contract.scores import (
    settings_that_change_nothing_score_as_the_base_within_rounding,
    two_loads_score_alike_to_the_last_bit,
)
from harness.engine.contract.tiny import COMPLETIONS, DATA, PROMPTS, write_model
from harness.errors import UserError
from harness.method import FitContext, FitReport
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.types import Prompt, Sampling
from methods.lora import Lora
from methods.peft import Peft

QUICK: dict[str, Any] = {"learning_rate": 1e-2, "epochs": 1, "batch_size": 8}
PROMPT_TYPES = {
    "prompt_tuning": {"num_virtual_tokens": 4},
    "p_tuning": {"num_virtual_tokens": 4, "encoder_hidden_size": 8},
    "prefix_tuning": {"num_virtual_tokens": 4},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return BaseModel(BaseSpec("tiny"), write_model(tmp_path_factory.mktemp("models") / "base", 16, 0))


def fitted(method: Peft | Lora, base: BaseModel, folder: Path) -> FitReport:
    folder.mkdir()
    return method.fit(base, DATA, {}, folder, FitContext(0, 4))


def stored(folder: Path) -> int:
    return sum(weight.numel() for weight in load_file(folder / "adapter_model.safetensors").values())


def test_lora_by_its_type_is_the_method_lora(base: BaseModel, tmp_path: Path) -> None:
    settings = {"r": 4, "lora_alpha": 8.0, "target_modules": "all-linear"}
    one, other = Peft(type="LORA", settings=settings, **QUICK), Lora(rank=4, alpha=8.0, **QUICK)
    scores = []
    for method, name in ((one, "peft"), (other, "lora")):
        fitted(method, base, tmp_path / name)
        scores.append(method.load(base, tmp_path / name, {}).score(PROMPTS, COMPLETIONS))
    assert scores[0] == scores[1]
    for file in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "peft" / file).read_bytes() == (tmp_path / "lora" / file).read_bytes()


@pytest.mark.parametrize(
    ("kind", "settings", "count"),
    [("ia3", {}, 2 * (16 + 16 + 32)), ("oft", {"oft_block_size": 4, "target_modules": ["q_proj"]}, 2 * 4 * 6)],
)
def test_the_trained_parameters_are_those_of_the_equation(
    kind: str, settings: dict[str, Any], count: int, base: BaseModel, tmp_path: Path
) -> None:
    """Two layers, 16 wide, 32 within. IA3: a scale for each output of k and v and each input of the down
    projection. OFT with blocks of 4: a 16-wide input has four, each skew matrix 4 x 3 / 2 = 6 numbers."""
    report = fitted(Peft(type=kind, settings=settings, **QUICK), base, tmp_path / kind)
    assert report.trained_parameters == count == stored(tmp_path / kind)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("ia3", None), ("vera", {"r": 4}), ("oft", {"oft_block_size": 4})],
    ids=["ia3", "vera", "oft"],
)
def test_the_merged_policy_scores_as_the_adapter_beside_the_weights(
    kind: str, settings: dict[str, Any] | None, base: BaseModel, tmp_path: Path
) -> None:
    from harness.policy.causal import CausalPolicy

    method = Peft(type=kind, settings=settings, **(QUICK | {"learning_rate": 0.1}))
    fitted(method, base, tmp_path / kind)
    unmerged = CausalPolicy(peft.PeftModel.from_pretrained(base.load(), str(tmp_path / kind)), base.encoder)
    merged = method.load(base, tmp_path / kind, {})
    everything = [policy.score(PROMPTS, COMPLETIONS) for policy in (unmerged, merged, base.policy())]
    for one, other, untuned in zip(*everything, strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert abs(other.logprob - untuned.logprob) > 1e-2


@pytest.mark.parametrize("start", ["pissa", "olora", "orthogonal"])
def test_a_lora_that_starts_from_a_decomposition_of_the_base_keeps_the_promises_on_scores(
    start: str, tmp_path: Path
) -> None:
    """PiSSA and OLoRA rewrite the base as (W - BA) + BA, and an orthogonal BA is 0: all equal it within rounding."""
    method = Peft(type="lora", settings={"init_lora_weights": start, "r": 4}, **QUICK)
    bench = Bench(method, tmp_path)
    settings_that_change_nothing_score_as_the_base_within_rounding(bench)
    two_loads_score_alike_to_the_last_bit(bench)


def test_a_lora_that_starts_from_a_random_decomposition_is_refused_with_the_reason() -> None:
    """Without training, `pissa_niter_4` of PEFT 0.21.2 moved a log-probability by 1.5 from fit to load."""
    with pytest.raises(UserError, match="pissa_niter_4' decomposes the weights at random"):
        Peft(type="lora", settings={"init_lora_weights": "pissa_niter_4", "r": 4}).check()


@pytest.mark.parametrize("kind", PROMPT_TYPES)
def test_a_learnt_prompt_scores_as_pefts_own_forward_pass(kind: str, base: BaseModel, tmp_path: Path) -> None:
    """PEFT's model reads prompt and answer at once, without padding and without a cache of ours."""
    method = Peft(type=kind, settings=PROMPT_TYPES[kind], **QUICK)
    report = fitted(method, base, tmp_path / kind)
    policy: Any = method.load(base, tmp_path / kind, {})
    adapted = peft.PeftModel.from_pretrained(base.load(), str(tmp_path / kind)).eval()
    untuned = base.policy().score(PROMPTS, COMPLETIONS)
    for prompt, answer, score, plain in zip(
        PROMPTS, COMPLETIONS, policy.score(PROMPTS, COMPLETIONS), untuned, strict=True
    ):
        request = policy.encode(prompt, answer)
        ids = torch.tensor([[*request.prompt, *request.prefix, *request.completion]])
        with torch.inference_mode():
            logits = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :]
        own = logits.float().log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[-len(request.completion) :, 0]
        assert score.token_logprobs == pytest.approx(own.tolist(), abs=1e-5)
        assert abs(score.logprob - plain.logprob) > 1e-2
    assert report.notes["stored_parameters"] == stored(tmp_path / kind)


def test_a_learnt_prompt_answers_one_token_after_another_as_it_scores(base: BaseModel, tmp_path: Path) -> None:
    method = Peft(type="prefix_tuning", settings={"num_virtual_tokens": 4}, **QUICK)
    fitted(method, base, tmp_path / "prefix")
    policy = method.load(base, tmp_path / "prefix", {})
    prompts = [*PROMPTS, *(Prompt(text=f"{word} says ") for word in ("red", "two", "cat"))]
    drawn = policy.sample(prompts, Sampling(max_new_tokens=3), [str(at) for at in range(len(prompts))])
    kept = [(p, c[0]) for p, c in zip(prompts, drawn, strict=True) if len(c[0].text.split()) == len(c[0].token_ids)]
    assert kept
    assert all(s.is_greedy for s in policy.score([p for p, _ in kept], [c.text for _, c in kept]))


def test_virtual_tokens_take_their_room_from_the_context(base: BaseModel, tmp_path: Path) -> None:
    method = Peft(type="prompt_tuning", settings={"num_virtual_tokens": 60}, **QUICK)
    with pytest.raises(UserError, match="within 4 tokens"):
        fitted(method, base, tmp_path / "long")
    with pytest.raises(UserError, match="64 virtual tokens leave no room in a context of 64"):
        fitted(replace(method, settings={"num_virtual_tokens": 64}), base, tmp_path / "longer")


def test_a_prompt_that_begins_as_a_text_leaves_no_path_in_the_artifact(base: BaseModel, tmp_path: Path) -> None:
    settings = {"num_virtual_tokens": 3, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "what says the"}
    fitted(Peft(type="prompt_tuning", settings=settings, **QUICK), base, tmp_path / "text")
    written = json.loads((tmp_path / "text" / "adapter_config.json").read_text())
    assert written["tokenizer_name_or_path"] is None


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Peft(type="ia4"), "Did you mean 'ia3'?"),
        (Peft(type="vera", settings={"rank": 4}), "vera has no setting 'rank'"),
        (Peft(type="lora", settings={"lora_alhpa": 4}), "Did you mean 'lora_alpha'?"),
        (Peft(type="lora", settings={"task_type": "SEQ_CLS"}), "no setting 'task_type'"),
        (Peft(type="adalora"), "a training loop of its own"),
        (Peft(type="xlora"), "trained already"),
        (Peft(type="prefix_tuning", settings={"num_virtual_tokens": 2}, learning_rate=0.0), "starts at random"),
    ],
)
def test_what_peft_or_this_harness_cannot_do_is_refused_before_training(method: Peft, said: str) -> None:
    with pytest.raises(UserError) as caught:
        method.check()
    assert said in str(caught.value)


def test_layers_that_the_model_lacks_are_a_mistake_of_the_user(base: BaseModel, tmp_path: Path) -> None:
    method = Peft(type="lora", settings={"target_modules": ["nowhere"]}, **QUICK)
    with pytest.raises(UserError, match="PEFT cannot put this adapter on the model"):
        fitted(method, base, tmp_path / "nowhere")
