"""The vote and the reward choose as they say, from candidates that do not depend on who else is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers
from last_word import last_word_judge

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.engine.results.write import deterministic
from harness.errors import UserError
from harness.policy.policy import Policy
from harness.policy.reward_model import RewardModel
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message
from methods.best_of_n import BestOfN, ChoosingPolicy, rewarded, voted

PROMPT = Prompt(messages=(Message("user", "question"),))


def answers(*texts: str) -> tuple[Completion, ...]:
    return tuple(Completion(text, (at,), "stop") for at, text in enumerate(texts))


@pytest.mark.parametrize(
    ("texts", "chosen"),
    [
        (("it is 3", "it is 4", "so 4.0"), "it is 4"),
        (("it is 3", "it is 4"), "it is 3"),
        (("who knows", "no idea", "it is 4"), "it is 4"),
        (("who knows", "no idea"), "who knows"),
        (("1", "2", "2", "3", "3", "3"), "3"),
    ],
)
def test_a_vote_gives_the_first_text_with_the_commonest_answer(texts: tuple[str, ...], chosen: str) -> None:
    assert voted("number", answers(*texts)).text == chosen


class Counting(Policy):
    """Answers with the numbers 0, 1, 2, ... and remembers how it was asked."""

    encoder: Any = None

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked = sampling
        return [answers(*(f"{key} {at}" for at in range(sampling.samples))) for key in keys]


def test_each_given_answer_is_chosen_from_candidates_of_its_own_at_the_methods_temperature() -> None:
    policy = Counting()
    chosen = ChoosingPolicy(policy, 3, 0.7, lambda prompt, candidates: candidates[-1])
    drawn = chosen.sample([PROMPT, PROMPT], Sampling(max_new_tokens=5, samples=2, seed=4), ["a", "b"])
    assert [[one.text for one in row] for row in drawn] == [["a 2", "a 5"], ["b 2", "b 5"]]
    assert policy.asked == Sampling(max_new_tokens=5, samples=6, seed=4, temperature=0.7)
    with pytest.raises(UserError, match="gives no log-probabilities"):
        chosen.score([PROMPT], ["x"])


def test_the_seed_counts_although_nothing_is_trained_and_the_benchmark_draws_nothing(tmp_path: Path) -> None:
    """Candidates are drawn at the method's own temperature: greedy answers of two seeds are two outcomes."""
    (tmp_path / "vote.yaml").write_text(
        "name: vote\nbases: [microworld/small]\nseeds: [0, 1]\nbenchmarks: [{stories: {limit: 1}}]\n"
        "methods: [base, {best_of_n: {policy: base, samples: 2}}]\n"
    )
    plan = make_plan(load_experiment(tmp_path / "vote.yaml"), tmp_path / "store")
    keys = {label: {cell.key for cell in plan.cells if cell.entry.label == label} for label in ("base", "best_of_n")}
    assert {label: len(found) for label, found in keys.items()} == {"base": 1, "best_of_n": 2}
    assert [deterministic(entry.method) for entry in plan.experiment.methods] == [True, False]


@pytest.fixture
def judge(tmp_path: Path) -> Path:
    return last_word_judge(tmp_path)


def test_the_answer_with_the_highest_reward_is_given(judge: Path) -> None:
    reward = RewardModel.named(str(judge))
    values = [reward.of(PROMPT, word) for word in ("bad", "fine", "good")]
    assert values == sorted(values)
    assert values[0] < 0 < values[1] < values[2]
    assert rewarded(reward, PROMPT, answers("bad", "good", "fine", "good")).token_ids == (1,)
    assert reward.of(Prompt(text="question "), "good") == pytest.approx(values[2])


def test_a_reward_model_that_is_none_is_refused(tmp_path: Path, judge: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        RewardModel.named(str(tmp_path / "nowhere"))
    config = transformers.AutoConfig.from_pretrained(judge)
    config.num_labels = 3
    transformers.LlamaForSequenceClassification(config).save_pretrained(judge)
    with pytest.raises(UserError, match="it is not a reward model"):
        RewardModel.named(str(judge))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"temperature": 0.0}, "temperature 0.0"),
        ({"answer": "numbers"}, "unknown kind of answer 'numbers'"),
        ({"choose": "reward"}, "choose is 'reward' and reward_model ''"),
        ({"reward_model": "x"}, "choose is 'majority' and reward_model 'x'"),
    ],
)
def test_what_cannot_be_chosen_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(BestOfN(), **change).check()
