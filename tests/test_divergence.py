"""Divergence from the base: zero for the base, a worked case by hand, and a plain double-precision loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from saying import Sayer

from benchmarks._asked_once import KINDS
from benchmarks.divergence import Divergence
from harness.errors import UserError
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.causal import CausalPolicy
from harness.policy.divergence import divergences
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.stepwise import StepwisePolicy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message

torch.set_num_threads(1)
TOKENIZER = make_tokenizer()
PROMPTS = [Prompt(messages=(Message("user", text),)) for text in ("name an animal .", "where is it ?", "a")]
KEYS = ["a", "b", "c"]


def random_policy(seed: int) -> CausalPolicy:
    """Wide weights: distributions far from uniform, and far from each other's."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    return CausalPolicy(model, TextEncoder(TOKENIZER, max_length=256))


class Fixed(StepwisePolicy):
    """Says the same distribution at every place, over as many tokens as it has probabilities."""

    device = torch.device("cpu")

    def __init__(self, *probabilities: float) -> None:
        self.encoder = TextEncoder(TOKENIZER, max_length=256)
        self.logits = torch.tensor(probabilities).log()

    @property
    def vocabulary(self) -> int:
        return self.logits.numel()

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        return self.logits.expand(len(prompts), -1), None

    def extend(self, state: Any, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self.logits.expand(*tokens.shape, -1), None

    def select(self, state: Any, rows: torch.Tensor) -> Any:
        return None


def test_a_worked_case_in_nats_for_every_token_and_the_stop_token() -> None:
    """1/2 ln(1/2 : 1/4) + 1/2 ln(1/2 : 3/4) = 1/2 ln 2 + 1/2 ln 2/3 = 1/2 ln 4/3 = 0.1438."""
    answers = [Completion("", (0, 1, 1), "length"), Completion("", (), "stop", stop_id=1)]
    found = divergences(Fixed(0.5, 0.5), Fixed(0.25, 0.75), PROMPTS[:2], answers)
    assert [len(steps) for steps in found] == [3, 1]
    assert [value for steps in found for value in steps] == pytest.approx([math.log(4 / 3) / 2] * 4)


def test_what_the_policy_never_says_adds_nothing_and_tokens_that_it_lacks_are_the_bases_alone() -> None:
    """1 ln(1 : 1/2) = ln 2; and 1/2 ln(1/2 : 1/4) twice = ln 2 where a third token has the base's other half."""
    answer = [Completion("", (0,), "length")]
    assert divergences(Fixed(1.0, 0.0), Fixed(0.5, 0.5), PROMPTS[:1], answer) == [(pytest.approx(math.log(2)),)]
    narrow = divergences(Fixed(0.5, 0.5), Fixed(0.25, 0.25, 0.5), PROMPTS[:1], answer)
    assert narrow == [(pytest.approx(math.log(2)),)]
    assert divergences(Fixed(1.0, 0.0), Fixed(1.0, 0.0), PROMPTS[:1], answer) == [(0.0,)]


def test_a_policy_with_more_tokens_than_its_base_is_refused() -> None:
    with pytest.raises(UserError, match="3 tokens, and the other 2"):
        divergences(Fixed(0.2, 0.3, 0.5), Fixed(0.5, 0.5), PROMPTS[:1], [Completion("", (0,), "length")])


def plain(policy: CausalPolicy, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return policy.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)


@pytest.mark.parametrize("budget", [1, 1 << 26], ids=["in chunks", "whole"])
def test_ragged_batches_equal_a_plain_loop_over_both_models(budget: int) -> None:
    policy, base = random_policy(0), random_policy(1)
    policy.budget = base.budget = budget
    drawn = [answers[0] for answers in policy.sample(PROMPTS, Sampling(9, temperature=1.0), KEYS)]
    for prompt, answer, steps in zip(PROMPTS, drawn, divergences(policy, base, PROMPTS, drawn), strict=True):
        context = [*policy.encode(prompt).prompt]
        ids = [*answer.token_ids, *([] if answer.stop_id is None else [answer.stop_id])]
        p, q = (plain(one, context + ids)[len(context) - 1 : -1] for one in (policy, base))
        expected = (p.exp() * (p - q)).sum(-1)
        assert torch.tensor(steps) == pytest.approx(expected.numpy(), abs=1e-4)
        assert min(steps) > 0.01


def test_its_sum_has_the_mean_of_the_log_ratio_of_whole_answers_and_less_variance() -> None:
    policy, base = random_policy(2), random_policy(3)
    prompts, keys = PROMPTS[:1] * 400, [str(at) for at in range(400)]
    drawn = [answers[0] for answers in policy.sample(prompts, Sampling(6, temperature=1.0), keys)]
    sums = torch.tensor([sum(steps) for steps in divergences(policy, base, prompts, drawn)])
    ids = [[*one.token_ids, *([] if one.stop_id is None else [one.stop_id])] for one in drawn]
    ratios = []
    for own in ids:
        context = [*policy.encode(prompts[0]).prompt]
        at = torch.arange(len(own)), torch.tensor(own)
        p, q = (plain(one, context + own)[len(context) - 1 : -1][at].sum() for one in (policy, base))
        ratios.append(float(p - q))
    ratio = torch.tensor(ratios)
    error = float((sums - ratio).std()) / math.sqrt(400)
    assert abs(float(sums.mean() - ratio.mean())) < 3 * error
    assert float(sums.std()) < float(ratio.std())


def test_a_base_lies_at_zero_and_every_kind_of_prompt_is_a_group() -> None:
    policy = random_policy(4)
    policy.base = lambda: policy
    outcomes = list(Divergence(limit=2, max_new_tokens=6).evaluate(policy, seed=0))
    assert {outcome.metrics["kl_per_token"] for outcome in outcomes} == {0.0}
    assert {outcome.group for outcome in outcomes} == set(KINDS)
    other = random_policy(5)
    policy.base = lambda: other
    for outcome in Divergence(limit=2, max_new_tokens=6).evaluate(policy, seed=0):
        tokens = outcome.metrics["kl_per_answer"] / outcome.metrics["kl_per_token"]
        assert tokens == pytest.approx(round(tokens))
        assert 1 <= tokens <= 6
        assert not outcome.weights, "answers have other lengths under other methods, and such weights cannot be paired"


def test_the_seed_draws_and_prompts_of_ones_own_are_read(tmp_path: Path) -> None:
    policy, file = random_policy(6), tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "name an animal ."}\n{"prompt": "where is it ?"}\n', "utf-8")
    policy.base = lambda: random_policy(7)
    texts = []
    for seed in (0, 0, 1):
        outcomes = list(Divergence(prompts=str(file), max_new_tokens=8).evaluate(policy, seed))
        assert len(outcomes) == 2
        texts.append([outcome.completions for outcome in outcomes])
    assert texts[0] == texts[1] != texts[2]


def test_without_a_base_or_distributions_it_says_so() -> None:
    with pytest.raises(UserError, match="base model is not known"):
        next(Divergence(limit=1).evaluate(random_policy(0), seed=0))
    sayer = Sayer(lambda prompt, key: "a")
    with pytest.raises(UserError, match="gives no distributions"):
        divergences(sayer, sayer, PROMPTS[:1], [Completion("a", (0,), "stop")])
