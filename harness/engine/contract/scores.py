"""Clauses about scoring and sampling: nothing but the method, its seed and the item may matter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.engine.contract.afresh import scores_in_a_new_process
from harness.engine.contract.bench import Bench
from harness.engine.contract.promise import NotApplicable, expect
from harness.engine.contract.tiny import COMPLETIONS, KEYS, PROMPTS, WORDS
from harness.policy.batching import padded
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling, Score

ROUNDING = 1e-5
"""How far a token's log-probability may move by the order of additions in float32."""


def scored(policy: Policy) -> list[Score]:
    """The scores of the contract's prompts and completions."""
    return policy.score(PROMPTS, COMPLETIONS)


def expect_same(first: Sequence[Score], second: Sequence[Score], what: str) -> None:
    """Break the clause at the first score that is not the same to the last bit."""
    for at, (one, other) in enumerate(zip(first, second, strict=True)):
        expect(one == other, f"{what}, to the last bit", f"{one.logprob!r} and {other.logprob!r} for item {at}")


def expect_near(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], what: str) -> None:
    """Break the clause where log-probabilities of tokens are further apart than rounding explains."""
    for at, (one, other) in enumerate(zip(first, second, strict=True)):
        apart = max((abs(a - b) for a, b in zip(one, other, strict=True)), default=0.0)
        expect(apart <= ROUNDING, f"{what}, within {ROUNDING} per token", f"a difference of {apart:.2g} in item {at}")


def two_loads_score_alike_to_the_last_bit(bench: Bench) -> None:
    """Scores are finite log-probabilities, and a second load gives the same ones."""
    first, second = (scored(bench.scoring()) for _ in range(2))
    expect_same(first, second, "the same scores from two loads")
    for score in first:
        proper = math.isfinite(score.logprob) and score.logprob < 0
        expect(proper, "finite log-probabilities below 0", f"a score of {score.logprob}")


def a_new_process_scores_alike_to_the_last_bit(bench: Bench) -> None:
    """All that decides a score is in the artifact and the base, nothing in the process that trained."""
    here = scored(bench.scoring())
    there = scores_in_a_new_process(bench.method, bench.folder)
    expect_same(here, there, "the same scores from a load in a new process")


def settings_that_change_nothing_score_as_the_base_to_the_last_bit(bench: Bench) -> None:
    """A learning rate of 0, a strength of 0, no demonstrations."""
    bench.must_score()
    expect_same(scored(bench.zero()), scored(bench.base.policy()), "the base's own scores where nothing is changed")


def batching_moves_nothing_beyond_rounding(bench: Bench) -> None:
    """Ragged prompts together, padded on the left, and each of them alone."""
    policy = bench.scoring()
    alone = [policy.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    expect_near(_tokens(scored(policy)), _tokens(alone), "the scores of a batch as each item scores alone")


def the_order_of_a_batch_moves_nothing_beyond_rounding(bench: Bench) -> None:
    """The same items, the last one first."""
    policy = bench.scoring()
    turned = policy.score(PROMPTS[::-1], COMPLETIONS[::-1])[::-1]
    expect_near(_tokens(scored(policy)), _tokens(turned), "the same scores whatever the order of a batch")


def padding_on_either_side_scores_alike(bench: Bench) -> None:
    """One forward pass over whole rows, padded on the right, beside the policy's own left-padded reading."""
    policy = bench.scoring()
    if not isinstance(policy, CausalPolicy) or _reads_its_own_way(policy):
        raise NotApplicable("its policy reads prompts in a way of its own, which batching alone tests")
    expect_near(_tokens(scored(policy)), _right_padded(policy), "the same scores from padding on the right")


def a_greedy_sample_scores_as_greedy(bench: Bench) -> None:
    """Sampling and scoring run the same model."""
    policy = bench.scoring()
    prompts = [*PROMPTS, *(Prompt(text=f"{word} says ") for word in WORDS[4:])]
    drawn = policy.sample(prompts, Sampling(max_new_tokens=3), [str(at) for at in range(len(prompts))])
    pairs = [(p, answers[0]) for p, answers in zip(prompts, drawn, strict=True) if answers[0].text]
    # an answer can be read back unless it holds special tokens, which leave no text
    encode: Any = getattr(policy, "encode", None) or policy.encoder.encode
    pairs = [(p, answer) for p, answer in pairs if encode(p, answer.text).completion == answer.token_ids]
    if not pairs:
        raise NotApplicable("no greedy sample is plain text")
    scores = policy.score([p for p, _ in pairs], [answer.text for _, answer in pairs])
    for (_, answer), score in zip(pairs, scores, strict=True):
        expect(score.is_greedy, "greedy samples that score as greedy", f"{answer.text!r}, which does not")


def a_sample_does_not_depend_on_its_batch(bench: Bench) -> None:
    """An item's own key decides its noise."""
    if "sample" not in bench.method.gives:
        raise NotApplicable("it only scores")
    policy, sampling = bench.policy(), Sampling(max_new_tokens=4, temperature=1.0, seed=3)
    together = policy.sample(PROMPTS, sampling, KEYS)
    alone = [policy.sample([p], sampling, [k])[0] for p, k in zip(PROMPTS, KEYS, strict=True)]
    for one, other in zip(together, alone, strict=True):
        expect(one == other, "the same sample in a batch as alone", f"{one[0].text!r} and {other[0].text!r}")


def _tokens(scores: Sequence[Score]) -> list[tuple[float, ...]]:
    return [score.token_logprobs for score in scores]


def _reads_its_own_way(policy: CausalPolicy) -> bool:
    own, plain = type(policy), CausalPolicy
    return any(getattr(own, name) is not getattr(plain, name) for name in ("prefill", "read", "extend", "call"))


def _right_padded(policy: CausalPolicy) -> list[list[float]]:
    """The completions' log-probabilities from one pass over prompt and completion, without a cache."""
    import torch

    requests = [policy.encode(p, c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    tokens, mask = padded([[*r.prompt, *r.prefix, *r.completion] for r in requests], policy.device)
    with torch.inference_mode():
        logits = policy.model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).logits
    logprobs = logits.float().log_softmax(-1)
    rows = []
    for row, request in enumerate(requests):
        end = int(mask[row].sum())
        places = range(end - len(request.completion), end)
        rows.append([float(logprobs[row, at - 1, tokens[row, at]]) for at in places])
    return rows
