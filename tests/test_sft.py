"""Fine-tuning writes a model folder that holds what was trained, and says so in the base's dtype."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, TrainingData
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation, seed_everything, train
from methods.sft import Sft

WORDS = ["<eos>", "<unk>", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
METHOD = Sft(learning_rate=1e-2, epochs=20, batch_size=2)
PAIRS = [(f"w{at}", f"w{at + 6} w{at + 12}") for at in range(6)]
DATA = TrainingData(tuple(Demonstration((Message("user", q), Message("assistant", a)), f"d{q}") for q, a in PAIRS))
PROMPTS = [Prompt(messages=(Message("user", question),)) for question, _ in PAIRS]
ANSWERS = [answer for _, answer in PAIRS]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        eos_token_id=0,
        max_position_embeddings=32,
        tie_word_embeddings=True,
        initializer_range=0.2,
        **shape,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


@pytest.fixture(scope="module")
def artifact(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sft")
    METHOD.fit(base, DATA, {}, folder, FitContext(0, 4))
    return folder


def test_an_update_too_small_for_bfloat16_is_kept_unless_it_is_saved_in_the_dtype_of_the_base(
    base: BaseModel, tmp_path: Path
) -> None:
    narrow = BaseModel(replace(base.spec, dtype="bfloat16"), base.folder)
    # 60 updates of 1e-6 move a weight of 0.2 by 6e-5 at most, and half a unit in its last place is 5e-4
    method = replace(METHOD, learning_rate=1e-6, schedule="constant")
    found = {}
    for saved_in in ("float32", "base"):
        own = replace(method, saved_in=saved_in)
        (tmp_path / saved_in).mkdir()
        report = own.fit(narrow, DATA, {}, tmp_path / saved_in, FitContext(0, 4))
        assert report.notes["saved_in"] == saved_in.replace("base", "bfloat16")
        found[saved_in] = own.load(narrow, tmp_path / saved_in, {}).model
    start = narrow.policy().model.get_input_embeddings().weight
    large = start.abs() > 0.125
    moved = {name: (model.get_input_embeddings().weight.float() - start.float()) for name, model in found.items()}
    assert found["float32"].dtype == torch.float32
    assert (moved["float32"][large] != 0).float().mean() > 0.9
    assert (moved["base"][large] == 0).all()


def test_a_float32_base_notes_no_precision(base: BaseModel, tmp_path: Path) -> None:
    assert "saved_in" not in replace(METHOD, epochs=1).fit(base, DATA, {}, tmp_path, FitContext(0, 4)).notes


def test_a_loaded_artifact_scores_as_the_model_that_was_trained_to_the_last_bit(
    base: BaseModel, artifact: Path
) -> None:
    seed_everything(FitContext(0, 4))
    model = base.load()
    train(model, training_rows(DATA.demonstrations, base.encoder), base, Optimisation.of(METHOD), FitContext(0, 4))
    # torch multiplies by a weight that requires a gradient in another shape, which rounds otherwise
    trained = CausalPolicy(model.requires_grad_(False), base.encoder)
    assert METHOD.load(base, artifact, {}).score(PROMPTS, ANSWERS) == trained.score(PROMPTS, ANSWERS)


def test_the_demonstrations_are_learned_and_end_with_the_end_of_turn(base: BaseModel, artifact: Path) -> None:
    policy = METHOD.load(base, artifact, {})
    keys = [str(at) for at in range(len(PROMPTS))]
    drawn = [completions[0] for completions in policy.sample(PROMPTS, Sampling(max_new_tokens=6), keys)]
    assert [completion.text for completion in drawn] == ANSWERS
    assert {completion.finish for completion in drawn} == {"stop"}


def test_tied_embeddings_are_stored_once_beside_the_bases_own_configuration(base: BaseModel, artifact: Path) -> None:
    assert {path.name for path in artifact.iterdir()} == {"model.safetensors", "config.json", "generation_config.json"}
    with safe_open(artifact / "model.safetensors", "pt") as weights:
        assert "lm_head.weight" not in weights.keys()  # noqa: SIM118
    assert json.loads((artifact / "config.json").read_text()) == json.loads((base.folder / "config.json").read_text())


@pytest.mark.slow
def test_a_bfloat16_base_gives_a_bfloat16_artifact_that_scores_as_it_is_stored(base: BaseModel, tmp_path: Path) -> None:
    narrow = BaseModel(replace(base.spec, dtype="bfloat16"), base.folder)
    method = replace(METHOD, saved_in="base")
    method.fit(narrow, DATA, {}, tmp_path, FitContext(0, 4))
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.bfloat16"}  # noqa: SIM118
    policy = method.load(narrow, tmp_path, {})
    assert policy.model.dtype == torch.bfloat16
    assert policy.score(PROMPTS, ANSWERS) == method.load(narrow, tmp_path, {}).score(PROMPTS, ANSWERS)
    tuned, untuned = (sum(s.logprob for s in p.score(PROMPTS, ANSWERS)) for p in (policy, narrow.policy()))
    assert tuned > untuned / 2


def test_the_report_says_what_was_trained(base: BaseModel, tmp_path: Path) -> None:
    shown = []
    context = FitContext(0, 4, lambda *step: shown.append(step[:2]))
    report = replace(METHOD, epochs=2).fit(base, DATA, {}, tmp_path, context)
    assert report.trained_parameters == sum(weight.numel() for weight in base.load().parameters())
    assert shown == [(step, 6) for step in range(1, 7)]
    assert report.notes["rows"] == 6
    assert report.notes["labelled_tokens"] == 2 * 6 * 3
