"""LoReFT against its equation written out, its published sizes, and its promise to touch nothing but prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from test_hidden_states import FAMILIES
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.engine.contract.scores import ROUNDING
from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.encoding import TextEncoder
from harness.policy.hidden_states import decoder_blocks
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, TrainingData
from harness.training.labelled_rows import IGNORED, training_rows
from methods._low_rank_edits import Weights, edit, weights_of
from methods.loreft import Loreft, ReftPolicy, load_interventions, prompt_lengths

WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(28))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
METHOD = Loreft(rank=4, prefix=2, suffix=3, learning_rate=2e-2, epochs=20, batch_size=4, warmup_ratio=0.0)
PAIRS = [(f"w{at} " * (1 + at % 4) + "w9", f"w{at + 10} w{at + 9}") for at in range(8)]
DATA = TrainingData(tuple(Demonstration((Message("user", q), Message("assistant", a)), q) for q, a in PAIRS))
PROMPTS = [
    *(Prompt(messages=(Message("user", question),)) for question, _ in PAIRS),
    Prompt(messages=(Message("user", "w1"),), assistant_prefix="w5 w6"),
    Prompt(text=""),
    Prompt(text="w1 w2 w3"),
]
ANSWERS = [*(answer for _, answer in PAIRS), "w1 w2 w3", "w4 w5", "w7"]
KEYS = [str(at) for at in range(len(PROMPTS))]


def words() -> Any:
    table = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=table, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=64, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words().save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


def fitted(method: Loreft, base: BaseModel, folder: Path, data: TrainingData = DATA) -> Path:
    folder.mkdir()
    method.fit(base, data, {}, folder, FitContext(0, 4))
    return folder


def logprobs_written_out(
    model: Any, prompt: tuple[int, ...], answer: tuple[int, ...], settings: Loreft, interventions: Mapping[str, Weights]
) -> list[float]:
    """The paper's equation at the paper's positions of one unpadded row, read at once without a cache."""
    n = len(prompt)
    first, last = [*range(min(settings.prefix, n // 2))], [*range(n - min(settings.suffix, n - n // 2), n)]
    at = {"prompt": first + last, "prefix": first, "suffix": last}

    def hook_of(key: str) -> Any:
        A, W, b = interventions[key]

        def hook(block: Any, arguments: Any, output: Any) -> Any:
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            for place in at[key.split("-")[1]]:
                h = hidden[0, place]
                hidden[0, place] = h + A.T @ (W @ h + b - (0 if settings.direft else A @ h))
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    blocks = decoder_blocks(model)
    handles = [blocks[int(key.split("-")[0])].register_forward_hook(hook_of(key)) for key in interventions]
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(-1)
    for handle in handles:
        handle.remove()
    return [float(logits[n - 1 + step, token]) for step, token in enumerate(answer)]


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=() if name in ("llama", "gpt2") else pytest.mark.slow) for name in FAMILIES]
)
@pytest.mark.parametrize("change", [{}, {"tied": False, "prefix": 1}, {"direft": True, "layers": (0, 2)}], ids=str)
def test_scores_are_those_of_the_equation_written_out_in_every_family(family: str, change: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(FAMILIES[family]).eval().requires_grad_(False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    settings = replace(METHOD, **change)
    parts = settings.new_interventions(settings.chosen_layers(model.config), 16).requires_grad_(False)
    interventions = {key: weights_of(part) for key, part in parts.items()}
    policy = ReftPolicy(model, TextEncoder(words(), max_length=64), settings, interventions)
    together = policy.score(PROMPTS, ANSWERS)
    for prompt, answer, score in zip(PROMPTS, ANSWERS, together, strict=True):
        encoded = policy.encode(prompt, answer)
        rest = (*encoded.prefix, *encoded.completion)
        expected = logprobs_written_out(model, encoded.prompt, rest, settings, interventions)[len(encoded.prefix) :]
        assert score.token_logprobs == pytest.approx(expected, abs=1e-5)
        assert policy.score([prompt], [answer])[0].token_logprobs == pytest.approx(score.token_logprobs, abs=1e-5)
    untouched = super(ReftPolicy, policy).prefill([policy.encode(PROMPTS[0])])[0]
    assert (policy.prefill([policy.encode(PROMPTS[0])])[0] - untouched).abs().max() > 1e-3


@pytest.mark.parametrize("direft", [False, True])
def test_an_identity_that_is_not_trained_is_the_base(base: BaseModel, tmp_path: Path, direft: bool) -> None:
    """To the last bit in each edit, where h + 0 = h; within rounding in scores, where a hook is another code path."""
    method = replace(METHOD, identity=True, direft=direft, learning_rate=0.0, epochs=1)
    policy: Any = method.load(base, fitted(method, base, tmp_path / "zero"), {})
    hidden = torch.randn(5, 16)
    for weights in policy.interventions.values():
        assert torch.equal(edit(weights, direft, hidden), hidden)
    for own, plain in zip(policy.score(PROMPTS, ANSWERS), base.policy().score(PROMPTS, ANSWERS), strict=True):
        assert own.token_logprobs == pytest.approx(plain.token_logprobs, abs=ROUNDING)
    hot = Sampling(max_new_tokens=6, temperature=1.0, samples=2)
    assert policy.sample(PROMPTS, hot, KEYS) == base.policy().sample(PROMPTS, hot, KEYS)


def test_training_keeps_the_rows_of_r_orthonormal_and_moves_them(base: BaseModel, tmp_path: Path) -> None:
    _, before = load_interventions(fitted(replace(METHOD, learning_rate=0.0, epochs=1), base, tmp_path / "0"), base)
    _, after = load_interventions(fitted(METHOD, base, tmp_path / "1"), base)
    for key, (directions, _, _) in after.items():
        assert torch.allclose(directions @ directions.T, torch.eye(4), atol=1e-6)
        assert (directions - before[key].directions).norm() > 0.1


@pytest.mark.parametrize(("rank", "width"), [(1, 5), (3, 5), (5, 5)])
def test_new_rows_are_orthonormal_at_any_rank_and_stay_so_wherever_they_are_turned(rank: int, width: int) -> None:
    torch.manual_seed(rank)
    (part,) = Loreft(rank=rank, layers=(0,)).new_interventions([0], width).values()
    for _ in range(3):
        directions = weights_of(part).directions
        assert torch.allclose(directions @ directions.T, torch.eye(rank), atol=1e-6)
        with torch.no_grad():
            part["turn"].add_(torch.randn(rank, width))


@pytest.mark.parametrize(
    ("method", "layers", "expected"),
    [
        (Loreft(rank=4), [0], 32_772),
        (Loreft(rank=4, prefix=5, suffix=5, tied=False), [3, 9, 18, 24], 262_176),
        (Loreft(), [*range(32)], 2_097_408),
        (Loreft(direft=True), [*range(32)], 2_097_408),
    ],
    ids=["one", "ultrafeedback", "commonsense", "direft"],
)
def test_the_published_settings_have_the_published_sizes(method: Loreft, layers: list[int], expected: int) -> None:
    """2 d r + r each at d = 4096: 2 * 4096 * 4 + 4 = 32,772; 8 of them; 32 of rank 8."""
    parts = method.new_interventions(layers, 4096)
    assert sum(weight.numel() for weight in parts.parameters() if weight.requires_grad) == expected


def test_it_learns_the_demonstrations_and_reports_what_it_trained(base: BaseModel, tmp_path: Path) -> None:
    report = METHOD.fit(base, DATA, {}, tmp_path, FitContext(0, 4))
    assert report.trained_parameters == 3 * (2 * 16 * 4 + 4)
    tuned, untuned = (
        sum(score.logprob for score in policy.score(PROMPTS[:8], ANSWERS[:8]))
        for policy in (METHOD.load(base, tmp_path, {}), base.policy())
    )
    assert tuned > 0.6 * untuned
    assert {path.name for path in tmp_path.iterdir()} == {"reft.safetensors", "reft.json"}
    assert json.loads((tmp_path / "reft.json").read_text()) == {"prefix": 2, "suffix": 3, "tied": True, "direft": False}
    assert set(load_file(tmp_path / "reft.safetensors")) == {
        f"{layer}-prompt.{name}" for layer in range(3) for name in ("directions", "weight", "bias")
    }


def test_the_trained_loss_is_the_loss_of_the_policy(base: BaseModel, tmp_path: Path) -> None:
    """At learning rate 0 every step's loss is -(1/|R|) sum log p, as the loaded policy scores answer and end."""
    method = replace(METHOD, learning_rate=0.0, epochs=1, batch_size=8)
    report = method.fit(base, DATA, {}, tmp_path, FitContext(0, 4))
    ended = [f"{answer} <eos>" for _, answer in PAIRS]
    scores = method.load(base, tmp_path, {}).score(PROMPTS[:8], ended)
    expected = -sum(score.logprob for score in scores) / sum(score.tokens for score in scores)
    assert report.notes["loss"] == [(1, pytest.approx(expected, abs=1e-5))]


def test_every_assistant_turn_is_a_row_of_its_own_whose_prompt_is_all_before_it(base: BaseModel) -> None:
    turns = [("user", "w1 w2"), ("assistant", "w3"), ("user", "w4"), ("assistant", "w5 w6")]
    talk = Demonstration(tuple(Message(role, text) for role, text in turns), "talk")  # type: ignore[arg-type]
    first, second = training_rows((talk,), base.encoder, per_turn=True).rows
    text = ["user", "w1", "w2", "assistant", "w3", "<eos>", "user", "w4", "assistant", "w5", "w6", "<eos>"]
    ids = [WORDS.index(word) for word in text]
    assert (first.input_ids, first.labels) == (ids[:6], [IGNORED] * 4 + ids[4:6])
    assert (second.input_ids, second.labels) == (ids, [IGNORED] * 9 + ids[9:])
    width = torch.tensor([first.labels + [IGNORED] * 6, second.labels])
    assert prompt_lengths(width) == [4, 9]
    (joined,) = training_rows((talk,), base.encoder).rows
    assert joined.labelled == first.labelled + second.labelled


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": (0, 3)}, r"layers \[0, 3\] reach beyond the model, which has 3"),
        ({"layers": (-1,)}, "reach beyond the model"),
        ({"rank": 17}, "rank 17 is more than the model's width of 16"),
    ],
)
def test_layers_and_ranks_that_the_model_lacks_are_refused_before_it_is_loaded(
    base: BaseModel, tmp_path: Path, change: dict[str, Any], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "load", lambda: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match=complaint):
        replace(METHOD, **change).fit(base, DATA, {}, tmp_path, FitContext(0, 4))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rank": 0}, "rank is 0"),
        ({"prefix": 0, "suffix": 0}, "no position to edit"),
        ({"prefix": -1}, "no position to edit"),
        ({"layers": "3;9"}, "layers is '3;9'"),
        ({"layers": (1, 1)}, r"layers is \[1, 1\]"),
        ({"layers": ()}, r"layers is \[\]"),
    ],
)
def test_fields_that_make_no_sense_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(METHOD, **change).check()


def test_a_prompt_is_read_with_hooks_and_nothing_after_it(base: BaseModel, tmp_path: Path) -> None:
    policy = METHOD.load(base, fitted(replace(METHOD, epochs=1), base, tmp_path / "reft"), {})
    assert isinstance(policy, ReftPolicy)
    blocks, hooked = decoder_blocks(policy.model), []
    run = policy.call

    def call(**inputs: Any) -> Any:
        hooked.append([len(block._forward_hooks) for block in blocks])
        return run(**inputs)

    policy.call = call  # type: ignore[method-assign]
    policy.sample(PROMPTS[:3], Sampling(max_new_tokens=4), KEYS[:3])
    assert hooked[0] == [1, 1, 1]
    assert len(hooked) > 1
    assert hooked[1:] == [[0, 0, 0]] * (len(hooked) - 1)
    assert not any(block._forward_hooks for block in blocks)


@pytest.mark.slow
def test_a_bfloat16_base_learns_and_keeps_its_edits_in_float32(base: BaseModel, tmp_path: Path) -> None:
    narrow = BaseModel(replace(base.spec, dtype="bfloat16"), base.folder)
    policy = METHOD.load(narrow, fitted(METHOD, narrow, tmp_path / "narrow"), {})
    stored = load_file(tmp_path / "narrow" / "reft.safetensors")
    assert {str(tensor.dtype) for tensor in stored.values()} == {"torch.float32"}
    rows = stored["0-prompt.directions"]
    assert torch.allclose(rows @ rows.T, torch.eye(4), atol=1e-6)
    tuned, untuned = (sum(s.logprob for s in p.score(PROMPTS[:8], ANSWERS[:8])) for p in (policy, narrow.policy()))
    assert tuned > 0.7 * untuned
