"""Likeness of hidden states and change of weights: by definition, by hand, and against the library's own states."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from test_divergence import PROMPTS, Fixed, random_policy

from benchmarks.layers import Layers, cka, hsic, weight_changes
from harness.errors import UserError
from harness.policy.hidden_states import states_along

torch.set_num_threads(1)
TEXTS = ["fox bear", "the owl lives in the forest .", "red"]


def states(seed: int, tokens: int = 40, width: int = 6) -> torch.Tensor:
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))


def test_a_model_is_like_itself_and_like_a_rotated_shifted_and_scaled_copy() -> None:
    own = states(0)
    rotation, _ = torch.linalg.qr(states(1, 6, 6))
    for copy in (own, own @ rotation, 3 * own @ rotation + 5):
        assert cka(own, copy) == pytest.approx(1, abs=1e-5)
    assert cka(own, own * torch.tensor([9.0, 1, 1, 1, 1, 1])) < 0.9


def test_independent_states_have_likeness_0_on_average_also_where_they_are_wider_than_the_text() -> None:
    """The biased estimate is near 1 here: 12 tokens, 60 directions."""
    found = torch.tensor([cka(states(2 * seed, 12, 60), states(2 * seed + 1, 12, 60)) for seed in range(60)])
    assert abs(float(found.mean())) < 3 * float(found.std()) / 60**0.5
    assert float(found.abs().max()) < 1


def test_the_estimate_is_the_u_statistic_over_quadruples_of_different_tokens() -> None:
    """Song et al. 2012: the mean of k_ij l_ij + k_ij l_qr - 2 k_ij l_iq over different i, j, q, r."""
    first, second = ((it @ it.T).double().fill_diagonal_(0) for it in (states(3, 6, 2), states(4, 6, 3)))
    terms = [first[i, j] * (second[i, j] + second[q, r] - 2 * second[i, q]) for i, j, q, r in permutations(range(6), 4)]
    assert hsic(first, second) == pytest.approx(float(sum(terms)) / len(terms))


def test_too_few_tokens_and_constant_states_have_no_value() -> None:
    assert cka(states(0, 3), states(1, 3)) is None
    assert cka(torch.ones(8, 4), states(1, 8)) is None


@pytest.mark.parametrize("budget", [1, 1 << 26], ids=["in chunks", "whole"])
def test_states_of_ragged_texts_are_those_of_each_text_alone(budget: int) -> None:
    policy = random_policy(0)
    policy.budget = budget
    found = dict(states_along(policy, PROMPTS, TEXTS))
    for at, (prompt, text) in enumerate(zip(PROMPTS, TEXTS, strict=True)):
        encoded = policy.encode(prompt, text)
        ids = torch.tensor([[*encoded.prompt, *encoded.completion]])
        whole = policy.model(input_ids=ids, output_hidden_states=True).hidden_states
        # the library normalises the last of these
        torch.testing.assert_close(found[at][0], whole[1][0, len(encoded.prompt) :], rtol=0, atol=1e-4)
        assert found[at].shape == (2, len(encoded.completion), 16)


def test_the_change_of_weights_by_hand() -> None:
    """All weights of the first block doubled: a change of 1; the second block untouched."""
    base, policy = random_policy(1), random_policy(1)
    with torch.no_grad():
        for weight in policy.model.model.layers[0].parameters():
            weight.mul_(2)
    assert weight_changes(policy, base) == [pytest.approx(1), 0.0]


def test_items_are_blocks_of_parts_and_the_base_is_like_itself() -> None:
    policy = random_policy(4)
    policy.base = lambda: policy
    outcomes = list(Layers(limit=6, parts=3).evaluate(policy, seed=0))
    assert [outcome.item for outcome in outcomes[:3]] == ["part-0/block-1", "part-0/block-2", "part-1/block-1"]
    assert len({outcome.item for outcome in outcomes}) == len(outcomes) == 6
    assert {outcome.group for outcome in outcomes} == {"block 1", "block 2"}
    for outcome in outcomes:
        assert outcome.metrics["cka"] == pytest.approx(1)
        assert outcome.metrics["weights"] == 0
    policy.base = lambda: random_policy(5)
    other = list(Layers(limit=6, parts=3).evaluate(policy, seed=0))
    assert max(outcome.metrics["cka"] for outcome in other) < 0.99
    assert min(outcome.metrics["weights"] for outcome in other) > 1


def test_a_policy_that_is_not_one_model_is_refused() -> None:
    policy = Fixed(0.5, 0.5)
    policy.base = lambda: policy
    with pytest.raises(UserError, match="is not one model with blocks"):
        next(Layers(limit=1).evaluate(policy, seed=0))


def test_likeness_is_tested_and_the_change_of_weights_is_a_detail() -> None:
    assert [(metric.name, metric.role, metric.primary) for metric in Layers().metrics()] == [
        ("cka", "other", True),
        ("weights", "other", False),
    ]
