"""DPO: its loss by hand and as TRL has it, its rows token by token, and a reference that is the start."""

from __future__ import annotations

import copy
import math
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import datasets
import pytest
import torch
import transformers
import trl
from tokenizers import Tokenizer, models, pre_tokenizers
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.engine.search import draws, searchable
from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Policy
from harness.policy.types import Prompt
from harness.records import Message, PreferencePair, TrainingData
from harness.training.labelled_rows import IGNORED
from harness.training.loop import Optimisation, trl_config
from harness.training.models import trainable_copy
from methods._dpo_losses import LOSSES, pair_losses
from methods._pairs import collate_pairs, cut_pairs, preference_rows
from methods.base import Base
from methods.dpo import Dpo
from methods.sft import Sft

WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
METHOD = Dpo(start=Base(), learning_rate=1e-3, epochs=10, batch_size=4, warmup_ratio=0.0)
PAIRS = tuple(
    PreferencePair((Message("user", f"w{at} " * (1 + at % 3)),), f"w{at + 10} w{at + 9}", f"w{at + 8}", f"p{at}")
    for at in range(6)
)
DATA = TrainingData(preferences=PAIRS)
AS_TRL = ("sigmoid_norm", "apo_zero", "apo_down")
TALK = (Message("user", "w1"), Message("assistant", "w2"), Message("user", "w3 w4"))


def write_base(folder: Path, seed: int = 0) -> BaseModel:
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base"))


def started(base: BaseModel, load: Callable[[], Policy] | None = None) -> dict[str, Input]:
    return {"start": Input(base.folder, base, load or base.policy)}


def summed(policy: CausalPolicy, side: str) -> torch.Tensor:
    """log p of every pair's answer with its end of turn, as scoring has it."""
    prompts = [Prompt(messages=pair.prompt) for pair in PAIRS]
    return torch.tensor([s.logprob for s in policy.score(prompts, [f"{getattr(p, side)} <eos>" for p in PAIRS])])


def test_the_loss_of_a_pair_by_hand() -> None:
    """Chosen -2 against a start's -3, rejected -5 against -4: margin 1 - (-1) = 2, times beta 0.5 is 1.

    sigmoid: log(1 + e^-1) = 0.313262; smoothed by 0.1: 0.9 * 0.313262 + 0.1 * 1.313262 = 0.413262;
    ipo: (2 - 1 / (2 * 0.5))^2 = 1; with 0.2 of the chosen answer's mean -log p over 4 tokens: + 0.2 * 0.5.
    """
    own, start, tokens = torch.tensor([-2.0, -5.0]), torch.tensor([-3.0, -4.0]), torch.tensor([4, 7])
    half = replace(METHOD, beta=0.5)
    by_hand = {
        half: 0.313262,
        replace(half, label_smoothing=0.1): 0.413262,
        replace(half, loss="ipo"): 1.0,
        replace(half, nll=0.2): 0.413262,
    }
    for settings, expected in by_hand.items():
        assert pair_losses(settings, own, start, tokens).tolist() == pytest.approx([expected], abs=1e-6)
    assert pair_losses(METHOD, own, own, tokens).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_the_first_loss_is_log_2_and_every_one_of_a_policy_that_does_not_move(
    base: BaseModel, tmp_path: Path, micro_batch: int
) -> None:
    """Six pairs in batches of four end in a batch of two, which must not weigh twice or half."""
    still = replace(METHOD, learning_rate=0.0, epochs=1)
    losses = dict(still.fit(base, DATA, started(base), tmp_path, FitContext(0, micro_batch)).notes["loss"])
    assert losses == {1: pytest.approx(math.log(2), abs=1e-6), 2: pytest.approx(math.log(2), abs=1e-6)}


def test_the_reference_is_the_start_and_not_the_base_it_was_made_from(base: BaseModel, tmp_path: Path) -> None:
    tuned = write_base(tmp_path / "tuned", seed=1)
    still = replace(METHOD, learning_rate=0.0, epochs=1)
    report = still.fit(base, DATA, started(base, tuned.policy), tmp_path, FitContext(0, 4))
    assert report.notes["loss"][0][1] == pytest.approx(math.log(2), abs=1e-6)
    scores = still.load(base, tmp_path, {}).score([Prompt(messages=TALK)], ["w1"])
    assert scores == tuned.policy().score([Prompt(messages=TALK)], ["w1"])
    assert scores != base.policy().score([Prompt(messages=TALK)], ["w1"])


def test_the_losses_while_training_do_not_depend_on_the_micro_batch(base: BaseModel, tmp_path: Path) -> None:
    method, curves = replace(METHOD, epochs=2, nll=0.2, label_smoothing=0.1), []
    for size in (1, 4):
        (tmp_path / str(size)).mkdir()
        report = method.fit(base, DATA, started(base), tmp_path / str(size), FitContext(0, size))
        curves.append([loss for _, loss in report.notes["loss"]])
    assert curves[0] == pytest.approx(curves[1], abs=1e-5)
    assert len(curves[0]) == 3


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_training_prefers_the_chosen_answers_and_leaves_the_start_as_it_was(
    base: BaseModel, tmp_path: Path, loss: Any
) -> None:
    start = base.policy()
    before = {name: weight.clone() for name, weight in start.model.state_dict().items()}
    method = replace(METHOD, loss=loss)
    method.fit(base, DATA, started(base), tmp_path, FitContext(0, 4))
    policy = method.load(base, tmp_path, {})
    margins = [(summed(p, "chosen") - summed(p, "rejected")) for p in (policy, start)]
    assert bool((margins[0] > margins[1] + 1).all())
    assert all(torch.equal(weight, before[name]) for name, weight in start.model.state_dict().items())
    assert "forward" not in start.model.__dict__
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "config.json", "generation_config.json"}


def test_rows_hold_the_ids_and_the_boundary_that_scoring_uses(base: BaseModel) -> None:
    pair = PreferencePair(TALK, "w5 w6", "w7", "talk")
    batch = collate_pairs(
        [
            {f"{side}_{name}": getattr(row, name) for name in ("input_ids", "labels")
             for side, row in zip(("chosen", "rejected"), rows, strict=True)}
            for rows in preference_rows([pair], base.encoder)
        ]
    )  # fmt: skip
    prompt = [WORDS.index(word) for word in ["user", "w1", "assistant", "w2", "<eos>", "user", "w3", "w4", "assistant"]]
    assert tuple(prompt) == base.encoder.encode(Prompt(messages=TALK), "w5 w6").prompt
    five, six, seven = (WORDS.index(f"w{at}") for at in (5, 6, 7))
    assert batch["input_ids"].tolist() == [[*prompt, five, six, 0], [*prompt, seven, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1] * 12, [1] * 11 + [0]]
    masked = [IGNORED] * len(prompt)
    assert batch["answers"].tolist() == [[*masked, five, six, 0], [*masked, seven, 0, IGNORED]]
    ((chosen, rejected),) = preference_rows([pair], base.encoder, end=False)
    assert (chosen.labels, rejected.labels) == ([*masked, five, six, IGNORED], [*masked, seven, IGNORED])


def test_ids_boundaries_and_losses_are_those_of_trl_on_the_same_pairs(base: BaseModel, tmp_path: Path) -> None:
    """TRL tokenises by itself and takes its own loss; a policy that has moved gives both the same figure."""
    pairs = [*PAIRS, PreferencePair(TALK, "w5 w6", "w7", "talk")]
    conversations = [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in pair.prompt],
            "chosen": [{"role": "assistant", "content": pair.chosen}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in pairs
    ]
    model, reference = (trainable_copy(base.policy()) for _ in range(2))
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    moved = CausalPolicy(copy.deepcopy(model).requires_grad_(False), base.encoder)
    settings = Optimisation.of(replace(METHOD, batch_size=8))
    arguments = trl_config(trl.DPOConfig, str(tmp_path), base, settings, FitContext(0, 8), max_length=None, beta=0.3)
    trainer = trl.DPOTrainer(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=datasets.Dataset.from_list(conversations),
        processing_class=base.tokenizer,
    )
    rows = [*trainer.train_dataset]
    for theirs, (chosen, rejected) in zip(rows, preference_rows(pairs, base.encoder), strict=True):
        for side, own in (("chosen", chosen), ("rejected", rejected)):
            assert theirs["prompt_ids"] + theirs[f"{side}_ids"] == own.input_ids
            assert own.labels == [IGNORED] * len(theirs["prompt_ids"]) + theirs[f"{side}_ids"]
    own = torch.cat([summed(moved, "chosen"), summed(moved, "rejected")])
    start = torch.cat([summed(base.policy(), "chosen"), summed(base.policy(), "rejected")])
    tokens = torch.tensor([3] * 6 + [2] * 6)
    seen = set()
    for asked in ({}, {"label_smoothing": 0.2, "loss": "robust"}, *({"loss": name} for name in AS_TRL)):
        settings = replace(METHOD, **{"beta": 0.3, **asked})
        trainer.loss_types, trainer.label_smoothing = [settings.loss], settings.label_smoothing
        loss = trainer.compute_loss(model, trainer._prepare_inputs(trainer.data_collator(rows[:6])))
        expected = float(loss.detach())
        assert float(pair_losses(settings, own, start, tokens).mean()) == pytest.approx(expected, abs=1e-5)
        assert abs(expected - math.log(2)) > 1e-3
        seen.add(expected)
    assert len(seen) == 5


def untouchable(base: BaseModel) -> dict[str, Input]:
    return started(base, lambda: pytest.fail("the start was loaded"))


def test_a_pair_that_prefers_nothing_is_refused_before_a_model_is_loaded(base: BaseModel, tmp_path: Path) -> None:
    twins = TrainingData(preferences=(*PAIRS, replace(PAIRS[0], rejected=PAIRS[0].chosen, id="twins")))
    with pytest.raises(UserError, match=r"1 preference pairs \(twins\) have a chosen answer that equals the rejected"):
        METHOD.fit(base, twins, untouchable(base), tmp_path, FitContext(0, 4))


def test_answers_that_truncation_makes_alike_or_empty_are_refused(base: BaseModel, tmp_path: Path) -> None:
    alike = TrainingData(preferences=(replace(PAIRS[0], chosen="w1 w2", rejected="w1 w3", id="cut"),))
    with pytest.raises(UserError, match=r"\(cut\) have a chosen answer that equals"):
        replace(METHOD, max_length=4).fit(base, alike, untouchable(base), tmp_path, FitContext(0, 4))
    with pytest.raises(UserError, match=r"\(cut\) have no token of an answer"):
        replace(METHOD, max_length=3).fit(base, alike, untouchable(base), tmp_path, FitContext(0, 4))


def test_no_pairs_are_an_error_and_missing_preferences_one_of_the_plan(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no preference pairs"):
        METHOD.fit(base, TrainingData(), untouchable(base), tmp_path, FitContext(0, 4))
    file = tmp_path / "experiment.yaml"
    file.write_text(
        "name: x\nbases: [microworld/small]\nmethods: [{dpo: {start: base}}]\nbenchmarks: [knowledge]\n"
        "seeds: [0]\nbaseline: dpo\n"
    )
    with pytest.raises(UserError, match="dpo needs preferences, and the experiment names none"):
        make_plan(load_experiment(file), tmp_path / "store")


class Wrapped(CausalPolicy):
    """A policy that is more than its model."""


def test_a_start_that_is_more_than_one_model_is_refused(base: BaseModel) -> None:
    with pytest.raises(UserError, match="makes a Wrapped"):
        trainable_copy(Wrapped(base.policy().model, base.encoder))


def test_a_start_whose_adapter_peft_cannot_merge_is_refused(base: BaseModel) -> None:
    """Saved, it would be the adapter alone: what was trained would be gone."""
    policy = CausalPolicy(base.load(), base.encoder)
    policy.model.peft_config = {}
    with pytest.raises(UserError, match="trains the weights of one model"):
        trainable_copy(policy)


def test_pairs_that_lose_an_end_are_counted(base: BaseModel) -> None:
    """`user w0 assistant w10 w9 <eos>` has six tokens: within five the chosen answer loses its end, the other not."""
    rows = preference_rows(PAIRS[:1], base.encoder)
    assert [len(row.input_ids) for row in rows[0]] == [6, 5]
    assert cut_pairs(rows, base.encoder) == 0
    assert cut_pairs(preference_rows(PAIRS[:1], base.encoder, 5), base.encoder) == 1


def test_a_masked_end_that_the_start_never_learned_is_refused(base: BaseModel, tmp_path: Path) -> None:
    blank = write_base(tmp_path / "blank")
    with torch.no_grad():
        blank.policy().model.get_input_embeddings().weight[0] = 0
    with pytest.raises(UserError, match="never trained '<eos>'"):
        replace(METHOD, mask_termination=True).fit(blank, DATA, started(blank), tmp_path, FitContext(0, 4))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"label_smoothing": 0.5}, "label_smoothing is 0.5"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "label_smoothing is 0.1, which loss: ipo does not read"),
        ({"gamma": 1.0}, "gamma is 1.0, which loss: sigmoid does not read"),
        ({"loss": "orpo", "nll": 0.2}, "nll is 0.2, which loss: orpo does not read"),
        ({"loss": "simpo"}, "beta is 0.1 with loss: simpo, where it multiplies means over tokens"),
        ({"loss": "robust"}, "loss: robust with label_smoothing 0 is sigmoid"),
        ({"loss": "orpo", "start": Sft()}, "orpo trains the base itself"),
    ],
)
def test_settings_under_which_the_loss_means_nothing_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(METHOD, **change).check()


def test_the_default_start_is_fine_tuning() -> None:
    assert Dpo().requires() == {"start": ArtifactSpec(Sft())}
    Dpo().check()


def test_simpo_and_orpo_by_hand() -> None:
    """Chosen -2 over 4 tokens, rejected -6 over 3: means -0.5 and -2.

    simpo, beta 2, gamma 1: 2 (-0.5) - 2 (-2) - 1 = 2, log(1 + e^-2) = 0.126928; without gamma it is half of beta, 1.
    orpo: P = e^-0.5 = 0.606531 with log odds 0.432752, and e^-2 = 0.135335 with -1.854586; their difference 2.287339
    gives log(1 + 0.101536) = 0.096706; 0.5 + 0.1 * 0.096706 = 0.509671.
    """
    own, tokens, nothing = torch.tensor([-2.0, -6.0]), torch.tensor([4, 3]), torch.zeros(2)
    simpo = replace(METHOD, loss="simpo", beta=2.0)
    for settings in (simpo, replace(simpo, gamma=1.0)):
        assert pair_losses(settings, own, nothing, tokens).item() == pytest.approx(0.126928, abs=1e-6)
    orpo = replace(METHOD, loss="orpo")
    assert pair_losses(orpo, own, nothing, tokens).item() == pytest.approx(0.509671, abs=1e-6)
    # with a probability of 1 the odds are infinite, and the loss and its gradient remain numbers
    certain = torch.tensor([0.0, -6.0], requires_grad=True)
    pair_losses(orpo, certain, nothing, tokens).sum().backward()
    assert bool(certain.grad.isfinite().all())


def test_simpo_and_the_odds_of_orpo_are_those_of_trl() -> None:
    torch.manual_seed(4)
    own, tokens, nothing = -9 * torch.rand(8) - 0.1, torch.tensor([2, 3, 4, 5] * 2), torch.zeros(8)
    simpo = replace(METHOD, loss="simpo", beta=2.5, gamma=1.4)
    device = types.SimpleNamespace(device="cpu")
    theirs = types.SimpleNamespace(
        alpha=0.0, loss_type="simpo", simpo_gamma=1.4, beta=2.5, label_smoothing=0.0, accelerator=device
    )
    expected, *_ = CPOTrainer.cpo_loss(theirs, *(own / tokens).chunk(2))
    assert pair_losses(simpo, own, nothing, tokens).tolist() == pytest.approx(expected.tolist(), abs=1e-5)
    orpo = replace(METHOD, loss="orpo", beta=0.25)
    odds, *_ = ORPOTrainer.odds_ratio_loss(
        types.SimpleNamespace(beta=0.25, accelerator=device), *(own / tokens).chunk(2)
    )
    expected = -(own / tokens).chunk(2)[0] - odds
    assert pair_losses(orpo, own, nothing, tokens).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_robust_without_wrong_labels_is_sigmoid() -> None:
    own, start, tokens = torch.tensor([-2.0, -5.0]), torch.tensor([-3.0, -4.0]), torch.tensor([4, 7])
    losses = [pair_losses(replace(METHOD, loss=loss), own, start, tokens) for loss in ("robust", "sigmoid")]
    assert torch.equal(*losses)


@pytest.mark.parametrize("loss", ["simpo", "orpo"])
def test_a_loss_without_a_reference_learns_from_the_base_and_reads_no_log_probabilities_of_it(
    base: BaseModel, tmp_path: Path, loss: Any
) -> None:
    method = replace(METHOD, loss=loss, beta=2.0)
    method.check()
    method.fit(base, DATA, started(base), tmp_path, FitContext(0, 4))
    policy, start = method.load(base, tmp_path, {}), base.policy()
    margins = [(summed(one, "chosen") - summed(one, "rejected")) for one in (policy, start)]
    assert bool((margins[0] > margins[1] + 1).all())
    assert method.footprint(base.load()).forwards == 0


def test_a_search_draws_from_the_ranges_of_the_loss_and_no_field_that_it_does_not_read() -> None:
    simpo = replace(METHOD, loss="simpo", beta=2.0)
    assert {"gamma", "beta", "nll"} <= set(searchable(simpo))
    assert "label_smoothing" not in searchable(simpo)
    drawn = draws(simpo, ["beta", "gamma"], 40, "a")
    assert len(drawn) == 40
    assert all(2 <= one.beta <= 10 and 0.3 <= one.gamma <= 5 for one in drawn)
    assert "gamma" not in searchable(METHOD)
    assert all(one.beta <= 5 for one in draws(METHOD, ["beta"], 40, "a"))
    assert set(LOSSES) == set(get_args(get_type_hints(Dpo)["loss"]))
