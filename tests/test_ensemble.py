"""An ensemble of policies: the mean of probabilities by hand, and the identities that follow from it."""

from __future__ import annotations

import math

import pytest
from test_proxy_tuning import ANSWERS, GREEDY, KEYS, PROMPTS, Make, make  # noqa: F401  (make is a fixture)

from harness.errors import UserError
from harness.policy.types import Prompt, Sampling
from harness.records import Message
from methods.best_of_n import BestOfN
from methods.ensemble import Ensemble, EnsemblePolicy
from methods.lora import Lora
from methods.sft import Sft


def test_one_member_and_a_member_twice_give_that_member(make: Make) -> None:  # noqa: F811
    one = make(0)
    for members in ([one], [one, one]):
        ensemble = EnsemblePolicy(*members)
        for own, other in zip(ensemble.score(PROMPTS, ANSWERS), one.score(PROMPTS, ANSWERS), strict=True):
            assert own.token_logprobs == pytest.approx(other.token_logprobs, abs=1e-5)
        assert ensemble.sample(PROMPTS, GREEDY, KEYS) == one.sample(PROMPTS, GREEDY, KEYS)


def test_the_probability_of_a_token_is_the_mean_of_the_members(make: Make) -> None:  # noqa: F811
    members = [make(0), make(1), make(2, hidden=8)]
    prompt = Prompt(messages=(Message("user", "w1 w2 w3"),))
    alone = [math.exp(member.score([prompt], ["w1"])[0].token_logprobs[0]) for member in members]
    (found,) = EnsemblePolicy(*members).score([prompt], ["w1"])
    assert math.exp(found.token_logprobs[0]) == pytest.approx(sum(alone) / 3, rel=1e-4)
    assert max(alone) > 1.5 * min(alone)


def test_a_ragged_batch_equals_its_rows_one_by_one(make: Make) -> None:  # noqa: F811
    ensemble = EnsemblePolicy(make(0), make(1))
    hot = Sampling(max_new_tokens=6, temperature=1.0, samples=2)
    alone = [ensemble.sample([p], hot, [k])[0] for p, k in zip(PROMPTS, KEYS, strict=True)]
    assert ensemble.sample(PROMPTS, hot, KEYS) == alone


def test_every_member_is_required_and_none_without_probabilities_is_accepted() -> None:
    assert [one.method for one in Ensemble((Sft(), Lora())).requires().values()] == [Sft(), Lora()]
    with pytest.raises(UserError, match="methods is empty"):
        Ensemble(()).check()
    with pytest.raises(UserError, match="best_of_n gives no log-probabilities"):
        Ensemble((Sft(), BestOfN())).check()
