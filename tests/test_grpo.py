"""GRPO: advantages by hand, the ids that are ours, a reference that is the start, and answers that get better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import trl
from test_blocks import read_by_the_fused_head
from tokenizers import Tokenizer, models, pre_tokenizers

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.method import NO_SIGNAL, ArtifactSpec, FitContext, FitReport, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, Problem, TrainingData
from harness.training.models import trainable_copy
from methods._rollouts import Rollouts, trained_ids
from methods._verifying import require_verifiable
from methods.base import Base
from methods.grpo import Grpo
from methods.sft import Sft

WORDS = ["<eos>", "<unk>", "user", "assistant", *(f"w{at}" for at in range(20))]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + (' <eos> ' if m['role'] == 'assistant' else ' ') }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)
METHOD = Grpo(start=Base(), samples=4, batch_size=3, max_new_tokens=3, learning_rate=1e-2, epochs=2)
# prompts of three to five ids, so that a batch of them is padded
PROBLEMS = tuple(
    Problem((Message("user", " ".join(["w1"] * (1 + at))),), f"w{at + 5}", "contains", f"p{at}") for at in range(3)
)
DATA = TrainingData(problems=PROBLEMS)
SHAPES: dict[str, Any] = {
    "llama": transformers.LlamaConfig(
        vocab_size=len(WORDS), eos_token_id=0, max_position_embeddings=32, initializer_range=0.3, hidden_size=16,
        num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    ),
    "gpt2": transformers.GPT2Config(
        vocab_size=len(WORDS), bos_token_id=0, eos_token_id=0, n_positions=32, initializer_range=0.3, n_embd=16,
        n_layer=2, n_head=2,
    ),
}  # fmt: skip


def write_base(folder: Path, family: str = "llama", seed: int = 0) -> BaseModel:
    torch.manual_seed(seed)
    transformers.AutoModelForCausalLM.from_config(SHAPES[family]).save_pretrained(folder)
    table = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
    table.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=table, eos_token="<eos>", unk_token="<unk>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return BaseModel(BaseSpec(str(folder)), folder)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base"))


def fitted(method: Grpo, base: BaseModel, out: Path, seed: int = 0, micro_batch: int = 4) -> FitReport:
    out.mkdir()
    return method.fit(base, DATA, {"start": Input(base.folder, base, base.policy)}, out, FitContext(seed, micro_batch))


def batch_of(method: Grpo, base: BaseModel, scratch: Path, start: Policy | None = None) -> tuple[Any, Any, Rollouts]:
    """What TRL makes of the three problems before its first update, its trainer, and what drew the answers."""
    drawing = Sampling(method.max_new_tokens, method.temperature, samples=method.samples, seed=0)
    rollouts = Rollouts(PROBLEMS, base.encoder, drawing)
    copies = [trainable_copy(start or base.policy()) for _ in range(2)]
    trainer = method._trainer(*copies, rollouts, str(scratch), base, FitContext(0, 12))
    trainer.model.train()
    rows = [{"prompt": str(place)} for place in range(3) for _ in range(method.samples)]
    return trainer._generate_and_score_completions(rows), trainer, rollouts


def saying(rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch, groups: Sequence[Sequence[str]]) -> None:
    """Let these texts be what is drawn."""
    answers = [
        tuple(Completion(text, tuple(rollouts.encoder.tokens(text)), "stop", stop_id=0) for text in group)
        for group in groups
    ]
    monkeypatch.setattr(Rollouts, "_draw", lambda *arguments: answers)


def test_the_advantages_of_groups_by_hand(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, wrong, wrong: mean 1/4, variance ((3/4)^2 + 3 (1/4)^2) / 3 = 1/4, so (3/4) / (1/2) = 1.5 and -0.5.

    Two right: mean 1/2, variance 4 (1/4) / 3 = 1/3, so +-0.5 sqrt(3) = 0.866. All right: nothing. TRL adds 1e-4 to
    every standard deviation.
    """
    groups = [["w5", "w9", "w9", "w9"], ["w6", "w6 w6", "w1", "w2"], ["w7", "w7", "w7", "w7"]]
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, groups)
    half = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    batch, _, rollouts = batch_of(METHOD, base, tmp_path)
    expected = [0.75 / 0.5001, *[-0.25 / 0.5001] * 3, half, half, -half, -half, 0, 0, 0, 0]
    assert batch["advantages"].tolist() == pytest.approx(expected, abs=1e-5)
    assert rollouts.notes()["groups_without_signal"] == pytest.approx(1 / 3, abs=1e-6)
    assert rollouts.notes()["reward"] == [(1, pytest.approx(7 / 12, abs=1e-6))]
    plain, _, _ = batch_of(replace(METHOD, scale_rewards="none"), base, tmp_path)
    assert plain["advantages"].tolist() == pytest.approx([0.75, *[-0.25] * 3, 0.5, 0.5, -0.5, -0.5, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("answer", "said"),
    [("w9", "none of its 12 answers verified: no reward"), ("w5 w6 w7", "of each group all or no answers verified")],
)
def test_rewards_that_are_all_alike_are_said(
    answer: str, said: str, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = [[word if "w5" in answer else answer] * 4 for word in ("w5", "w6", "w7")]
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, groups)
    _, _, rollouts = batch_of(METHOD, base, tmp_path)
    assert said in rollouts.notes()[NO_SIGNAL]
    groups[1][0] = "w1 w2" if "w5" in answer else "w6"
    saying(rollouts, monkeypatch, groups)
    _, _, rollouts = batch_of(METHOD, base, tmp_path / "other")
    assert NO_SIGNAL not in rollouts.notes()


def test_the_trainer_reads_our_prompts_and_what_was_drawn_token_by_token(base: BaseModel, tmp_path: Path) -> None:
    """A prompt `user w1 assistant` is 2 5 3; an answer is what the start itself draws, with the end it drew."""
    batch, _, rollouts = batch_of(METHOD, base, tmp_path)
    prompts = [[2, *[5] * (1 + at), 3] for at in range(3)]
    drawn = base.policy().sample(
        [Prompt(messages=problem.prompt) for problem in PROBLEMS], rollouts.sampling, ["p0, 0", "p1, 0", "p2, 0"]
    )
    answers = [answer for group in drawn for answer in group]
    assert {answer.finish for answer in answers} == {"stop", "length"}
    for row, answer in enumerate(answers):
        prompt = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist()
        assert prompt == prompts[row // 4]
        ids = batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()
        assert ids == [*answer.token_ids, *([0] if answer.finish == "stop" else [])] == trained_ids(answer)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_trainer_s_log_probabilities_are_those_of_scoring_where_positions_count_too(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's own left padding would shift the absolute positions of gpt2's shorter prompts."""
    base = write_base(tmp_path / "model", family)
    groups = [["w5", "w9 w3", "w2", "w4 w8"], ["w6", "w6 w6", "w1", "w2"], ["w7", "w7", "w3 w7", "w7"]]
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, groups)
    batch, _, _ = batch_of(METHOD, base, tmp_path / "scratch")
    texts = [f"{text} <eos>" for group in groups for text in group]
    asked = [Prompt(messages=PROBLEMS[row // 4].prompt) for row in range(12)]
    summed = (batch["ref_per_token_logps"] * batch["completion_mask"]).sum(1).tolist()
    assert summed == pytest.approx([score.logprob for score in base.policy().score(asked, texts)], abs=1e-4)


def test_on_a_cpu_the_head_reads_no_padding_and_of_prompts_the_end_at_most(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """28 tokens of answers, and the last 0, 1 and 2 ids of prompts of 3, 4 and 5; 84 positions in all."""
    rows = read_by_the_fused_head(monkeypatch)
    groups = [["w5", "w9 w3", "w2", "w4 w8"], ["w6", "w6 w6", "w1", "w2"], ["w7", "w7", "w3 w7", "w7"]]
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, groups)
    batch_of(METHOD, base, tmp_path / "scratch")
    assert set(rows) == {28 + 4 * (0 + 1 + 2)}


def test_policy_and_reference_are_the_start_and_not_the_base_it_was_made_from(base: BaseModel, tmp_path: Path) -> None:
    start = write_base(tmp_path / "start", seed=1).policy()
    _, trainer, _ = batch_of(METHOD, base, tmp_path, start)
    wanted = start.model.state_dict()
    for model in (trainer.model, trainer.ref_model):
        weights = model.state_dict()
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert trainer.model is not trainer.ref_model


def test_divergence_from_the_start_is_zero_at_first_and_not_later(base: BaseModel, tmp_path: Path) -> None:
    divergence = dict(fitted(replace(METHOD, samples=16), base, tmp_path / "out").notes["kl"])
    assert divergence[1] == pytest.approx(0, abs=1e-6)
    assert divergence[2] > 1e-3


def test_a_rate_of_zero_leaves_the_start_bit_for_bit(base: BaseModel, tmp_path: Path) -> None:
    report = fitted(replace(METHOD, learning_rate=0.0, weight_decay=0.1), base, tmp_path / "out")
    tuned = METHOD.load(base, tmp_path / "out", {})
    assert isinstance(tuned, CausalPolicy)
    before, after = base.policy().model.state_dict(), tuned.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [value for _, value in report.notes["kl"]] == pytest.approx([0, 0], abs=1e-6)


def share(policy: Policy) -> float:
    sampling = Sampling(3, 1.0, samples=100, seed=9)
    drawn = policy.sample([Prompt(messages=one.prompt) for one in PROBLEMS], sampling, ["a", "b", "c"])
    right = [p.reference in answer.text.split() for p, group in zip(PROBLEMS, drawn, strict=True) for answer in group]
    return sum(right) / len(right)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"loss_type": "dr_grpo", "scale_rewards": "none"}, marks=pytest.mark.slow),
        pytest.param({"iterations": 2}, marks=pytest.mark.slow),
    ],
)
def test_answers_that_verify_become_likelier(changes: dict[str, Any], base: BaseModel, tmp_path: Path) -> None:
    method = replace(METHOD, samples=16, updates=12, beta=0.0, **changes)
    report = fitted(method, base, tmp_path / "out", micro_batch=48)
    assert share(METHOD.load(base, tmp_path / "out", {})) > share(base.policy()) + 0.2
    curve = [value for _, value in report.notes["reward"]]
    assert len(curve) == 12
    assert curve[-1] > curve[0] + 0.1


def test_tokens_are_counted_as_drawn_and_as_read(base: BaseModel, tmp_path: Path, monkeypatch: Any) -> None:
    """Two passes over prompts of 3, 4 and 5 ids with four answers each: 96 prompt ids.

    The answers have 1 + 2 + 1 + 1 tokens for each problem, 30 in all, and 24 ends, which are read but no output.
    """
    groups = [["w5", "w9 w5", "w9", "w9"]] * 3
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, groups)
    report = fitted(METHOD, base, tmp_path / "once")
    assert (report.generated_tokens, report.training_tokens) == (30, 96 + 30 + 24)
    assert report.notes["answers"] == 24
    twice = fitted(replace(METHOD, iterations=2), base, tmp_path / "twice")
    assert (twice.generated_tokens, twice.training_tokens) == (30, 300)


def test_equal_seeds_give_equal_bytes_and_another_seed_others(base: BaseModel, tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        fitted(METHOD, base, tmp_path / name, seed)
    one, two, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other"))
    assert one == two != other


def test_the_micro_batch_moves_nothing_beyond_rounding(base: BaseModel, tmp_path: Path) -> None:
    method, curves = replace(METHOD, samples=16, epochs=3), []
    for size in (6, 48):
        notes = fitted(method, base, tmp_path / str(size), micro_batch=size).notes
        curves.append([value for name in ("loss", "reward") for _, value in notes[name]])
    assert curves[0][2] > 1e-4
    assert curves[0] == pytest.approx(curves[1], rel=1e-3, abs=1e-6)


def test_mistakes_are_found_before_a_model_is_loaded() -> None:
    for changes in ({"samples": 1}, {"temperature": 0.0}, {"iterations": 0}, {"beta": -0.1}, {"epsilon": 0.0}):
        with pytest.raises(UserError):
            replace(METHOD, **changes).check()
    with pytest.raises(UserError, match="no problems"):
        require_verifiable(METHOD, ())
    with pytest.raises(UserError, match="unknown verifier 'nose'"):
        require_verifiable(METHOD, [replace(PROBLEMS[0], verifier="nose")])
    with pytest.raises(UserError, match="problem p0"):
        require_verifiable(METHOD, [replace(PROBLEMS[0], verifier="number", reference="none")])


def test_it_needs_problems_and_what_its_start_needs(tmp_path: Path) -> None:
    assert Grpo().requires() == {"start": ArtifactSpec(Sft())}
    (tmp_path / "p.jsonl").write_text('{"prompt": "2 and 2", "answer": "4", "verifier": "number"}\n')
    (tmp_path / "e.yaml").write_text(
        "name: x\nbases: [microworld/small]\nbenchmarks: [knowledge]\nmethods: [base, grpo]\nbaseline: base\n"
        "data: {problems: p.jsonl}\n"
    )
    with pytest.raises(UserError, match="sft needs demonstrations"):
        make_plan(load_experiment(tmp_path / "e.yaml"), tmp_path / "store")


GROUPS = [["w5", "w9 w3", "w2", "w4 w8"], ["w6", "w6 w6", "w1", "w2"], ["w7", "w1 w7", "w3 w7", "w7"]]
LENGTHS = torch.tensor([2, 3, 2, 3, 2, 3, 2, 2, 2, 3, 3, 2])


def moved_batch(
    method: Grpo, base: BaseModel, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], Any, torch.Tensor]:
    """A batch, its trainer with a policy that has moved since it was drawn, and the log ratios of its tokens."""
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, GROUPS)
    batch, trainer, _ = batch_of(method, base, scratch)
    trainer.current_gradient_accumulation_steps = 1
    with torch.no_grad():
        before = trainer._answer_logps(trainer.model, batch)
        torch.manual_seed(1)
        for weight in trainer.model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
        after = trainer._answer_logps(trainer.model, batch)
    return {**batch, "old_per_token_logps": before}, trainer, (after - before) * batch["completion_mask"]


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_what_each_loss_divides_the_tokens_losses_by_is_worked_out_by_hand(
    name: Any, base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer's own length and 12 answers, 12 answers of 3 tokens at most, or the tokens of all answers."""
    scale: Any = "none" if name == "dr_grpo" else "group"
    method = replace(METHOD, loss_type=name, scale_rewards=scale, epsilon=0.1, beta=0.0, iterations=2)
    batch, trainer, ratios = moved_batch(method, base, tmp_path, monkeypatch)
    ratio, lead = ratios.exp(), batch["advantages"][:, None]
    losses = -torch.min(ratio * lead, ratio.clamp(0.9, 1.1) * lead) * batch["completion_mask"]
    trainer.args.steps_per_generation = 1
    batch["num_items_in_batch"] = LENGTHS.sum().float()
    expected = {
        "grpo": (losses.sum(1) / LENGTHS).mean(),
        "dr_grpo": losses.sum() / (12 * 3),
        "dapo": losses.sum() / LENGTHS.sum(),
    }
    found = float(trainer._compute_loss(trainer.model, batch).detach())
    assert {one: found == pytest.approx(float(value), abs=1e-5) for one, value in expected.items()} == {
        one: one == name for one in expected
    }
    if name == "dr_grpo":  # one of four right, two, and all: r - mean r, which no deviation divides
        leads = [0.75, -0.25, -0.25, -0.25, 0.5, 0.5, -0.5, -0.5, 0, 0, 0, 0]
        assert batch["advantages"].tolist() == pytest.approx(leads, abs=1e-6)


def test_the_sequence_ratios_of_gspo_by_hand(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer's ratio is the exponential of its tokens' mean log ratio, clipped as a whole."""
    method = replace(METHOD, loss_type="gspo", epsilon=0.1, beta=0.0, iterations=2)
    batch, trainer, ratios = moved_batch(method, base, tmp_path, monkeypatch)
    ratio, lead = (ratios.sum(1) / LENGTHS).exp(), batch["advantages"]
    expected = -torch.min(ratio * lead, ratio.clamp(0.9, 1.1) * lead).mean()
    assert bool(((ratio - 1).abs() > 0.1).any())
    assert float(trainer._compute_loss(trainer.model, batch).detach()) == pytest.approx(float(expected), abs=1e-5)


def test_the_capped_ratios_of_cispo_by_hand(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token's -min(ratio, 1.2) A log p, with a gradient through log p alone, over the tokens of all answers."""
    method = replace(METHOD, loss_type="cispo", most_ratio=1.2, beta=0.0, iterations=2)
    batch, trainer, ratios = moved_batch(method, base, tmp_path, monkeypatch)
    capped, lead = ratios.exp().clamp(max=1.2), batch["advantages"][:, None]
    now = (ratios + batch["old_per_token_logps"]) * batch["completion_mask"]
    trainer.args.steps_per_generation = 1
    batch["num_items_in_batch"] = LENGTHS.sum().float()
    expected = -(capped * lead * now).sum() / LENGTHS.sum()
    assert bool((ratios.exp() > 1.2).any())
    assert float(trainer._compute_loss(trainer.model, batch).detach()) == pytest.approx(float(expected), abs=1e-5)


def test_rloo_compares_an_answer_with_the_others_and_has_the_loss_of_trl(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four right leads by 1 - 0, a wrong one by 0 - 1/3; two right: 1 - 1/3 and 0 - 2/3; four: 1 - 1 = 0."""
    method = replace(METHOD, loss_type="rloo", scale_rewards="none", epsilon=0.1, beta=0.0)
    batch, trainer, ratios = moved_batch(method, base, tmp_path, monkeypatch)
    leads = [1, *[-1 / 3] * 3, 2 / 3, 2 / 3, -2 / 3, -2 / 3, 0, 0, 0, 0]
    assert batch["advantages"].tolist() == pytest.approx(leads, abs=1e-6)
    theirs = {**batch, "old_logps": (batch["old_per_token_logps"] * batch["completion_mask"]).sum(1)}
    expected = trl.RLOOTrainer._compute_loss(trainer, trainer.model, theirs)
    assert float(trainer._compute_loss(trainer.model, batch).detach()) == pytest.approx(
        float(expected.detach()), abs=1e-5
    )
    assert bool(((ratios.sum(1).exp() - 1).abs() > 0.1).any())


def test_the_divergence_lessens_the_rewards_of_rloo(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """r - beta log(p / p_start) of each answer, less the mean of the others of its group."""
    saying(Rollouts(PROBLEMS, base.encoder, Sampling(3)), monkeypatch, GROUPS)
    method = replace(METHOD, loss_type="rloo", scale_rewards="none", beta=0.5)
    drawing = Sampling(3, 1.0, samples=4, seed=0)
    rollouts = Rollouts(PROBLEMS, base.encoder, drawing)
    other = write_base(tmp_path / "other", seed=1)
    trainer = method._trainer(
        trainable_copy(other.policy()), trainable_copy(base.policy()), rollouts, str(tmp_path), base, FitContext(0, 12)
    )
    trainer.model.train()
    batch = trainer._generate_and_score_completions([{"prompt": str(at)} for at in range(3) for _ in range(4)])
    texts = [f"{text} <eos>" for group in GROUPS for text in group]
    asked = [Prompt(messages=PROBLEMS[row // 4].prompt) for row in range(12)]
    apart = [
        a.logprob - b.logprob for a, b in zip(*(one.policy().score(asked, texts) for one in (other, base)), strict=True)
    ]
    right = [1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 1]
    rewards = [reward - 0.5 * one for reward, one in zip(right, apart, strict=True)]
    expected = []
    for at, reward in enumerate(rewards):
        group = rewards[at // 4 * 4 : at // 4 * 4 + 4]
        expected.append(reward - (sum(group) - reward) / 3)
    assert batch["advantages"].tolist() == pytest.approx(expected, abs=1e-4)


def test_one_update_of_gspo_is_one_of_grpo_and_one_of_cispo_that_of_dapo(base: BaseModel, tmp_path: Path) -> None:
    """Before the first update every ratio is 1, so only what is averaged tells the losses apart."""
    found = {}
    for name in ("grpo", "gspo", "dapo", "cispo"):
        method = replace(METHOD, loss_type=name, updates=1, beta=0.0, samples=16)
        fitted(method, base, tmp_path / name, micro_batch=48)
        found[name] = METHOD.load(base, tmp_path / name, {}).model.state_dict()
    for one, other in (("grpo", "gspo"), ("dapo", "cispo")):
        assert all(torch.allclose(found[one][name], found[other][name], atol=1e-4) for name in found[one])
    assert not all(torch.allclose(found["grpo"][name], found["dapo"][name], atol=1e-4) for name in found["grpo"])


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"most_ratio": 2.0}, "most_ratio is 2.0, which loss_type: grpo does not read"),
        ({"loss_type": "cispo", "epsilon": 0.1}, "epsilon is 0.1, which loss_type: cispo does not read"),
        ({"loss_type": "rloo"}, "scale_rewards is 'group', which loss_type: rloo does not read"),
    ],
)
def test_a_field_that_the_loss_does_not_read_is_refused(own: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(METHOD, **own).check()
