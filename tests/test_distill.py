"""Distillation: divergences as TRL has them, rows that are ours, teachers by method, folder, prompt and themselves."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from trl.experimental.gkd import GKDTrainer

from harness.engine.contract.tiny import DATA, WORDS, write_model
from harness.engine.search import searchable
from harness.errors import UserError
from harness.method import FitContext, FitReport, Input
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, TrainingData
from harness.training.labelled_rows import IGNORED
from harness.training.on_policy import Answers, Asked, both_collated, divergence_of
from methods.base import Base
from methods.distill import Distill
from methods.prompting import Prompting
from methods.sdft import Sdft
from methods.sft import Sft

METHOD = Distill(teacher=Base(), learning_rate=1e-2, epochs=2, batch_size=8, warmup_ratio=0.0, max_new_tokens=6)
SELF = Sdft(start=Base(), learning_rate=1e-2, epochs=2, batch_size=8, warmup_ratio=0.0, max_new_tokens=6)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base") / "model"
    return BaseModel(BaseSpec("base"), write_model(folder, 16, 0))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("larger") / "model"
    return BaseModel(BaseSpec(str(folder)), write_model(folder, 32, 1))


def fitted(
    method: Distill | Sdft, base: BaseModel, out: Path, micro_batch: int = 8, data: TrainingData = DATA, **policies: Any
) -> FitReport:
    out.mkdir(exist_ok=True)
    inputs = {role: Input(base.folder, base, load) for role, load in policies.items()}
    return method.fit(base, data, inputs, out, FitContext(0, micro_batch))


def test_divergences_by_hand() -> None:
    """p = (3/4, 1/4), q = (1/2, 1/2): KL(p || q) = 3/4 log 3/2 + 1/4 log 1/2 = 0.130812, KL(q || p) = 0.143841.

    Half between, m = (5/8, 3/8): (1/2 log 4/5 + 1/2 log 4/3 + 3/4 log 6/5 + 1/4 log 2/3) / 2 = 0.033822.
    """
    p, q = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.5, 0.5]]).log()
    found = [divergence_of(p, q, between).item() for between in (1.0, 0.0, 0.5)]
    assert found == pytest.approx([0.130812, 0.143841, 0.033822], abs=1e-6)


@pytest.mark.parametrize("between", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_divergences_are_those_of_trl(between: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 7, 20), torch.randn(1, 7, 20)
    expected = GKDTrainer.generalized_jsd_loss(student, teacher, beta=between, reduction="sum")
    ours = divergence_of(student[0].log_softmax(-1), teacher[0].log_softmax(-1), between).sum()
    assert float(ours) == pytest.approx(float(expected), abs=1e-5)


def test_both_read_the_same_answer_after_their_own_prompts(base: BaseModel) -> None:
    """A greedy answer is that of the policy, with the end that it drew; the share of 0 takes the demonstrations'."""
    asked = [Asked("a", Prompt(messages=(Message("user", "what says the cat"),)), (1, 4, 2), (1, 4, 5, 6, 2), (7, 0))]
    sampling = Sampling(3, 0.0, seed=0)
    drawn = base.policy().sample([asked[0].prompt], sampling, ["a, 1"])[0][0]
    for share, answer in ((1.0, list(drawn.drawn_ids)), (0.0, [7, 0])):
        answers = Answers(asked, base.encoder, sampling, share)
        ((own, other),) = answers.batch([0], base.load())
        assert own.input_ids == [1, 4, 2, *answer]
        assert other.input_ids == [1, 4, 5, 6, 2, *answer]
        assert own.labels == [IGNORED] * 3 + answer
        batch = both_collated([(own, other)])
        assert batch["teacher_labels"].tolist() == [[IGNORED] * 5 + answer]
        assert answers.generated_tokens == (len(drawn.token_ids) if share else 0)
        assert answers.read_tokens == 3 + len(answer)


def test_half_of_the_answers_are_the_models_own_and_each_draw_has_its_own_noise(base: BaseModel) -> None:
    prompt = Prompt(messages=(Message("user", "what says the cat"),))
    ids = base.encoder.encode(prompt).prompt
    answers = Answers(
        [Asked(f"{at}", prompt, ids, ids, (7, 0)) for at in range(200)], base.encoder, Sampling(1, 1.0), 0.5
    )
    answers.batch(range(200), base.load())
    assert 70 < answers.generated_tokens < 130
    own = Answers([Asked("a", prompt, ids, ids, (7, 0))], base.encoder, Sampling(6, 1.0))
    rows = [own.batch([0], base.load())[0][0].input_ids for _ in range(8)]
    assert len({tuple(row) for row in rows}) > 1


def test_a_model_that_is_its_own_teacher_has_nothing_to_learn(base: BaseModel, tmp_path: Path) -> None:
    """The reverse divergence from itself is 0, and so is its gradient, but for rounding."""
    curve = fitted(replace(METHOD, learning_rate=0.0), base, tmp_path, teacher=base.policy).notes["loss"]
    assert [loss for _, loss in curve] == pytest.approx([0.0] * len(curve), abs=1e-6)


@pytest.mark.parametrize("own", [{}, {"divergence": "generalised", "between": 0.2, "on_policy": 0.5}])
def test_the_model_comes_to_answer_as_its_teacher(base: BaseModel, larger: BaseModel, tmp_path: Path, own: Any) -> None:
    method = replace(METHOD, teacher=Sft(), teacher_model=str(larger.folder), epochs=8, **own)
    method.check()
    assert "teacher" not in method.requires()
    report = fitted(method, base, tmp_path)
    losses = [loss for _, loss in report.notes["loss"]]
    assert losses[-1] < losses[0] / 2
    assert report.notes["answers"] == 24 * 8
    assert report.training_tokens > report.generated_tokens > 0


def test_the_micro_batch_moves_nothing_beyond_rounding(base: BaseModel, larger: BaseModel, tmp_path: Path) -> None:
    curves = []
    for size in (2, 8):
        report = fitted(METHOD, base, tmp_path / str(size), size, teacher=larger.policy)
        curves.append([loss for _, loss in report.notes["loss"]])
    assert curves[0] == pytest.approx(curves[1], abs=1e-3)
    assert curves[0][0] > 0.1


def test_a_teacher_with_another_tokenizer_is_refused_in_one_line(
    base: BaseModel, larger: BaseModel, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(larger.folder, other)
    tokenizer = transformers.AutoTokenizer.from_pretrained(other)
    tokenizer.add_tokens(["purple"])
    tokenizer.save_pretrained(other)
    with pytest.raises(UserError, match="has another tokenizer than the base") as caught:
        fitted(replace(METHOD, teacher_model=str(other)), base, tmp_path / "out")
    assert "\n" not in caught.value.what


def test_padding_of_the_output_layer_does_not_count(base: BaseModel, tmp_path: Path) -> None:
    """A teacher that is the base with five more rows in its output layer has the same distribution over tokens."""
    padded = base.load()
    padded.resize_token_embeddings(len(WORDS) + 5)
    teacher = CausalPolicy(padded, base.encoder)
    curve = fitted(replace(METHOD, learning_rate=0.0), base, tmp_path, teacher=lambda: teacher).notes["loss"]
    assert [loss for _, loss in curve] == pytest.approx([0.0] * len(curve), abs=1e-5)


class Edited(CausalPolicy):
    """A policy that is more than its model."""

    def prefill(self, prompts: Any) -> Any:
        return super().prefill(prompts)


def test_a_teacher_that_is_more_than_a_model_and_a_prompt_is_refused(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="makes a Edited"):
        fitted(METHOD, base, tmp_path, teacher=lambda: Edited(base.load(), base.encoder))


def test_a_teacher_may_read_a_longer_prompt(base: BaseModel, tmp_path: Path) -> None:
    teacher = Prompting(demonstrations=1)
    (tmp_path / "shown").mkdir()
    teacher.fit(base, DATA, {}, tmp_path / "shown", FitContext(0, 8))
    load: Callable[[], Any] = lambda: teacher.load(base, tmp_path / "shown", {})  # noqa: E731
    report = fitted(replace(METHOD, learning_rate=0.0), base, tmp_path / "out", teacher=load)
    assert report.notes["loss"][0][1] > 0.01


def test_self_distillation_shows_the_answer_to_the_teacher_alone(base: BaseModel) -> None:
    talk = (
        Message("system", "be brief"),
        Message("user", "one"),
        Message("assistant", "two"),
        Message("user", "three"),
    )
    row = Demonstration((*talk, Message("assistant", "{prompt}")), "talk")
    method = replace(SELF, teacher_prompt="{prompt} as {demonstration}")
    assert method.hinted(row).messages == (*talk[:-1], Message("user", "three as three"))
    plain = Demonstration((*talk, Message("assistant", "four")), "plain")
    assert method.hinted(plain).messages[-1].content == "three as four"


@pytest.mark.parametrize("teacher", ["ema", "live", "start"])
def test_the_teacher_follows_the_model_the_start_or_an_average(base: BaseModel, tmp_path: Path, teacher: Any) -> None:
    """With a rate of 1 the average is the model before each update, so all but the start agree."""
    rate = 1.0 if teacher == "ema" else 0.05
    method = replace(SELF, teacher=teacher, rate=rate)
    curve = [loss for _, loss in fitted(method, base, tmp_path, start=base.policy).notes["loss"]]
    live = replace(SELF, teacher="live")
    wanted = [loss for _, loss in fitted(live, base, tmp_path / "live", start=base.policy).notes["loss"]]
    assert curve[0] == pytest.approx(wanted[0], abs=1e-5)
    assert (curve == pytest.approx(wanted, abs=1e-4)) == (teacher != "start")
    assert math.isfinite(curve[-1])


def test_a_demonstration_without_a_question_or_room_is_refused(base: BaseModel) -> None:
    alone = Demonstration((Message("system", "say"), Message("assistant", "one")), "alone")
    data = TrainingData((*DATA.demonstrations, alone))
    assert SELF.refused(data, base.encoder) == {"alone": "it has no user turn"}
    long = replace(SELF, max_new_tokens=60)
    assert len(long.refused(DATA, base.encoder)) == 24
    assert len(replace(METHOD, max_new_tokens=60).refused(DATA, base.encoder)) == 24


@pytest.mark.parametrize(
    ("method", "own", "complaint"),
    [
        (METHOD, {"between": 0.2}, "between is 0.2, which divergence: reverse_kl does not read"),
        (METHOD, {"on_policy": 1.5}, "on_policy is 1.5"),
        (METHOD, {"teacher_model": "x"}, "teacher and teacher_model are both given"),
        (METHOD, {"temperature": 0.0}, "temperature is 0"),
        (SELF, {"teacher": "live", "rate": 0.1}, "rate is 0.1, which teacher: live does not read"),
        (SELF, {"teacher_prompt": "{prompt}"}, "lacks {demonstration}"),
        (SELF, {"between": -1.0}, "between is -1.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(method: Any, own: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(method, **own).check()


def test_only_what_the_divergence_and_the_teacher_read_is_searched() -> None:
    assert "between" not in searchable(METHOD)
    assert "between" in searchable(replace(METHOD, divergence="generalised"))
    assert "rate" in searchable(SELF)
    assert "rate" not in searchable(replace(SELF, teacher="live"))
