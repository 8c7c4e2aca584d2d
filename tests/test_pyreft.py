"""The library and our LoReFT are one method: from equal weights they score, learn and decode alike."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import ROOT
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, TrainingData
from methods._low_rank_edits import Weights, reflected
from methods._pyreft_library import PyreftPolicy
from methods.loreft import Loreft, ReftPolicy, load_interventions
from methods.pyreft import Pyreft

needs_library = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("pyreft", "pyvene")), reason="pyreft is not installed"
)
WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(28))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
# eight rows in batches of two are four steps an epoch, so five epochs are twenty steps
FIELDS: dict[str, Any] = {"rank": 3, "prefix": 3, "suffix": 4, "learning_rate": 1e-2, "epochs": 5, "batch_size": 2}
PAIRS = [("w1 " * (at % 5) + f"w{at}", f"w{at + 10} w{at + 9}") for at in range(8)]
DATA = TrainingData(tuple(Demonstration((Message("user", q), Message("assistant", a)), q) for q, a in PAIRS))
PROMPTS = [
    *(Prompt(messages=(Message("user", question),)) for question, _ in PAIRS),
    Prompt(messages=(Message("user", "w1"),), assistant_prefix="w5 w6"),
    Prompt(text=""),
]
ANSWERS = [*(answer for _, answer in PAIRS), "w1 w2 w3", "w4 w5"]
KEYS = [str(at) for at in range(len(PROMPTS))]
CONTEXT = FitContext(0, 2)


def write_base(folder: Path, dtype: str = "float32") -> BaseModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=64, initializer_range=0.3, **shape
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    table = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=table, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder), dtype=dtype), folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base"))


def random_weights(keys: list[str]) -> dict[str, Weights]:
    torch.manual_seed(1)
    rows = {key: torch.nn.init.orthogonal_(torch.empty(3, 16)) for key in keys}
    return {key: Weights(own, torch.randn(3, 16) / 4, torch.randn(3)) for key, own in rows.items()}


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def pair(base: BaseModel, request: pytest.FixtureRequest) -> tuple[ReftPolicy, PyreftPolicy]:
    """Our policy and the library's, of the same random weights."""
    settings = Loreft(**FIELDS | {"tied": request.param})
    weights = random_weights([f"{layer}-{part}" for part in settings.parts for layer in (0, 1)])
    ours = ReftPolicy(base.load().requires_grad_(False), base.encoder, settings, weights)
    return ours, PyreftPolicy(base.load().requires_grad_(False), base.encoder, settings, weights)


@needs_library
def test_both_score_alike_however_prompts_are_batched(pair: tuple[ReftPolicy, PyreftPolicy], base: BaseModel) -> None:
    ours, library = pair
    untouched = base.policy().score(PROMPTS, ANSWERS)
    for one, other, plain in zip(ours.score(PROMPTS, ANSWERS), library.score(PROMPTS, ANSWERS), untouched, strict=True):
        assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)
        assert abs(one.logprob - plain.logprob) > 1e-3


@needs_library
def test_both_draw_the_same_tokens(pair: tuple[ReftPolicy, PyreftPolicy]) -> None:
    ours, library = pair
    greedy = Sampling(max_new_tokens=12)
    drawn = ours.sample(PROMPTS, greedy, KEYS)
    assert [c.token_ids for row in drawn for c in row] == [
        c.token_ids for row in library.sample(PROMPTS, greedy, KEYS) for c in row
    ]
    assert len({completion.text for row in drawn for completion in row}) > 3


@needs_library
def test_both_have_the_same_gradients(pair: tuple[ReftPolicy, PyreftPolicy]) -> None:
    """Of all answers' log-probabilities, in W, b and R itself, where no parametrization stands between."""
    ours, library = pair
    for weights in ours.interventions.values():
        for tensor in weights:
            tensor.requires_grad_(True)
    for part in library.library.interventions.values():
        part.requires_grad_(True)
    for policy in pair:
        torch.cat(policy.logprobs(PROMPTS[:8], ANSWERS[:8])).sum().backward()
    for weights, part in zip(ours.interventions.values(), library.library.interventions.values(), strict=True):
        source = part.learned_source
        for own, other in zip(
            weights, (part.rotate_layer.weight.grad.T, source.weight.grad, source.bias.grad), strict=True
        ):
            assert own.grad is not None
            assert own.grad.norm() > 1e-3
            assert torch.allclose(own.grad, other, atol=1e-5 * float(other.abs().max()) + 1e-6)


@needs_library
@pytest.mark.parametrize("tied", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["tied", "untied"])
def test_twenty_equal_steps_end_in_equal_weights(
    base: BaseModel, tmp_path: Path, tied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From equal weights and equal coordinates: the library completes R to a square matrix at random."""
    fields = FIELDS | {"tied": tied}
    ours, library = Loreft(**fields), Pyreft(**fields)
    made = Loreft.new_interventions(ours, ours.chosen_layers(base.config), 16)
    before = {key: part["start"].clone() for key, part in made.items()}
    waiting = iter(made.values())

    def equal_part(self: Pyreft, width: int) -> Any:
        part = original(self, width)
        own = next(waiting)
        with torch.no_grad():
            orthogonal = part.rotate_layer.parametrizations.weight
            orthogonal[0].base.copy_(reflected(own["start"], own["sign"] * torch.eye(width)))
            orthogonal.original.copy_(-torch.eye(width, self.rank))
            part.learned_source.weight.copy_(own["weight"])
            part.learned_source.bias.copy_(own["bias"])
        return part

    original = Pyreft._new_part
    monkeypatch.setattr(Pyreft, "_new_part", equal_part)
    for name, method in (("library", library), ("ours", ours)):
        (tmp_path / name).mkdir()
        if name == "ours":
            monkeypatch.setattr(Loreft, "new_interventions", lambda self, layers, width: made)
        report = method.fit(base, DATA, {}, tmp_path / name, CONTEXT)
        assert len(report.notes["loss"]) == 20
        assert report.trained_parameters == (1 if tied else 2) * 3 * (2 * 16 * 3 + 3)
    (_, one), (_, other) = (load_interventions(tmp_path / name, base) for name in ("ours", "library"))
    assert one.keys() == other.keys() == before.keys()
    for key, weights in one.items():
        for own, theirs in zip(weights, other[key], strict=True):
            assert torch.allclose(own, theirs, atol=1e-5)
        assert (weights.directions - reflected(before[key], torch.eye(16, 3)).T).norm() > 0.01
    scores = [method.load(base, tmp_path / name, {}).score(PROMPTS, ANSWERS) for name, method in
              (("ours", ours), ("library", library))]  # fmt: skip
    for own, theirs in zip(*scores, strict=True):
        assert own.logprob == pytest.approx(theirs.logprob, abs=1e-4)


def save_as_pyreft(folder: Path, weights: dict[str, Weights], *, by_path: bool = False) -> None:
    """The files of `ReftModel.save`: one pickled OrderedDict of tensors per intervention."""
    folder.mkdir()
    for key, (directions, weight, bias) in weights.items():
        layer, part = key.split("-")
        place = f"comp_model_layers[{layer}]_output" if by_path else f"layer_{layer}_comp_block_output"
        tensors = OrderedDict(weight=weight, bias=bias, rotate_layer=directions.T)
        torch.save(tensors, folder / f"intkey_{place}_unit_pos_nunit_1#{int(part == 'suffix')}.bin")
    torch.save({}, folder / "pytorch_model.bin")


@needs_library
@pytest.mark.parametrize("by_path", [True, False], ids=["by path", "by component"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_published_checkpoint_is_imported_as_safetensors_and_scores_as_its_weights(
    base: BaseModel, tmp_path: Path, tied: bool, by_path: bool
) -> None:
    settings = Loreft(**FIELDS | {"tied": tied})
    weights = random_weights([f"{layer}-{part}" for part in settings.parts for layer in (0, 1)])
    save_as_pyreft(tmp_path / "published", weights, by_path=by_path)
    method = Pyreft(checkpoint=str(tmp_path / "published"), **FIELDS)
    out = tmp_path / "artifact"
    out.mkdir()
    assert method.fit(base, TrainingData(), {}, out, CONTEXT).notes["interventions"] == len(weights)
    assert {path.name for path in out.iterdir()} == {"reft.safetensors", "reft.json"}
    expected = ReftPolicy(base.policy().model, base.encoder, settings, weights).score(PROMPTS, ANSWERS)
    for policy in (method.load(base, out, {}), settings.load(base, out, {})):
        for one, other in zip(policy.score(PROMPTS, ANSWERS), expected, strict=True):
            assert one.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)


@needs_library
def test_importing_the_library_prints_nothing() -> None:
    script = "from methods.pyreft import library; library()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == ""


@needs_library
def test_what_the_library_itself_saves_is_read(base: BaseModel, tmp_path: Path) -> None:
    import pyreft

    model = base.load()
    part = pyreft.LoreftIntervention(embed_dim=16, low_rank_dimension=3, dtype=torch.bfloat16)
    config = pyreft.ReftConfig(representations=[{"layer": 1, "component": "block_output", "intervention": part}])
    reft = pyreft.get_reft_model(model, config)
    reft.save(str(tmp_path / "saved"))
    out = tmp_path / "artifact"
    out.mkdir()
    Pyreft(checkpoint=str(tmp_path / "saved"), **FIELDS).fit(base, TrainingData(), {}, out, CONTEXT)
    _, found = load_interventions(out, base)
    assert found.keys() == {"1-prompt"}
    assert torch.equal(found["1-prompt"].weight, part.learned_source.weight.float())
    assert torch.equal(found["1-prompt"].directions, part.rotate_layer.weight.T)


class Sprung:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


@needs_library
@pytest.mark.parametrize(
    ("content", "name", "complaint"),
    [
        (None, "", "holds no interventions"),
        ({"weight": torch.zeros(3, 8), "bias": torch.zeros(3)}, "", "LoReFT has weight, bias, rotate_layer"),
        (Sprung(), "", "holds more than tensors"),
        ({}, "intkey_layer_0_comp_mlp_output_unit_pos_nunit_1#0.bin", "something other than the output of a block"),
        ({"weight": torch.zeros(3, 8), "bias": torch.zeros(3), "rotate_layer": torch.zeros(8, 3)}, "", "8 wide, and"),
    ],
    ids=["empty", "direft", "code", "mlp", "width"],
)
def test_a_checkpoint_that_is_something_else_is_refused(
    base: BaseModel, tmp_path: Path, content: Any, name: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        torch.save(content, tmp_path / (name or "intkey_layer_0_comp_block_output_unit_pos_nunit_1#0.bin"))
    with pytest.raises(UserError, match=complaint):
        Pyreft(checkpoint=str(tmp_path), **FIELDS).fit(base, TrainingData(), {}, tmp_path, CONTEXT)
    assert not (tmp_path / "sprung").exists()


@needs_library
def test_weights_of_the_model_beside_a_checkpoint_are_refused(base: BaseModel, tmp_path: Path) -> None:
    save_as_pyreft(tmp_path / "published", random_weights(["0-prompt"]))
    torch.save({"lm_head.weight": torch.zeros(2)}, tmp_path / "published" / "pytorch_model.bin")
    with pytest.raises(UserError, match="also holds weights of the model itself"):
        Pyreft(checkpoint=str(tmp_path / "published"), **FIELDS).fit(base, TrainingData(), {}, tmp_path, CONTEXT)


@pytest.mark.slow
@needs_library
def test_a_bfloat16_base_trains_and_answers_through_the_library(tmp_path: Path) -> None:
    base = write_base(tmp_path / "narrow", "bfloat16")
    out = tmp_path / "artifact"
    out.mkdir()
    method = Pyreft(**FIELDS)
    method.fit(base, DATA, {}, out, CONTEXT)
    tuned, untuned = (
        sum(score.logprob for score in policy.score(PROMPTS[:8], ANSWERS[:8]))
        for policy in (method.load(base, out, {}), base.policy())
    )
    assert tuned > untuned


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyvene" else found(name))
    with pytest.raises(UserError, match=r"not installed: pyvene\n.*pip install --no-deps pyreft"):
        Pyreft().check()
    Loreft().check()


@needs_library
def test_direft_belongs_to_our_own_implementation() -> None:
    with pytest.raises(UserError, match="Use loreft"):
        replace(Pyreft(), direft=True).check()
    assert issubclass(PyreftPolicy, CausalPolicy)
