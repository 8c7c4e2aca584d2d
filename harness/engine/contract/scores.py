"""Clauses about scoring and sampling: only the method, its seed and the item may matter.

Runs of one code path on one machine agree to the last bit. Where the path differs, results agree within ROUNDING.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from harness.engine.contract.bench import Bench, NotApplicable, expect
from harness.engine.contract.isolation import quiet
from harness.engine.contract.tiny import COMPLETIONS, KEYS, PROMPTS, WORDS
from harness.method import Method
from harness.policy.batching import padded
from harness.policy.causal import CausalPolicy
from harness.policy.logprobs import fit_for_scoring
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling, Score

ROUNDING = 2**-24 * 400**0.5 * 8
"""How far apart two code paths may put a token's log-probability in float32: about 1e-5.

Float32 rounds each result by at most u = 2^-24 of its size. About 400 rounded operations separate a token from its
log-probability in the tiny models: 170 in each of the two blocks (norms, projections, attention and residual sums over
16 to 32 terms), 50 in the last norm, the output layer and the softmax. Their errors are close to independent, so they
grow with the root of that number (Higham and Mary 2019, doi 10.1137/18M1226312). Logits and log-probabilities are
below 8 in size here. The product is u * sqrt(400) * 8.
"""
MODELS = ("auto.modeling_auto", "auto.tokenization_auto", "llama.modeling_llama")
PRELOADED = ["torch", "peft", *(f"transformers.models.{name}" for name in MODELS), __name__]


def scored(policy: Policy) -> list[Score]:
    """The scores of the contract's prompts and completions."""
    return policy.score(PROMPTS, COMPLETIONS)


def expect_same(first: Sequence[Score], second: Sequence[Score], what: str) -> None:
    """Break the clause at the first score that differs in any bit."""
    for at, (one, other) in enumerate(zip(first, second, strict=True)):
        expect(one == other, f"{what}, to the last bit", f"{one.logprob!r} and {other.logprob!r} for item {at}")


def expect_near(first: Sequence[Score], second: Sequence[Score], what: str) -> None:
    """Break the clause at the first item with a token whose log-probabilities differ by more than ROUNDING."""
    for at, (one, other) in enumerate(zip(first, second, strict=True)):
        tokens = zip(one.token_logprobs, other.token_logprobs, strict=True)
        apart = max((abs(a - b) for a, b in tokens), default=0.0)
        expect(
            apart <= ROUNDING, f"{what}, within {ROUNDING:.1g} per token", f"a difference of {apart:.2g} in item {at}"
        )


def two_loads_score_alike_to_the_last_bit(bench: Bench) -> None:
    """Scores are finite log-probabilities, and a second load gives the same ones."""
    first, second = (scored(bench.scoring()) for _ in range(2))
    expect_same(first, second, "the same scores from two loads")
    for score in first:
        proper = math.isfinite(score.logprob) and score.logprob < 0
        expect(proper, "finite log-probabilities below 0", f"a score of {score.logprob}")


def a_new_process_scores_alike_to_the_last_bit(bench: Bench) -> None:
    """Scores depend on the artifact and the base alone, not on the process that trained."""
    here = scored(bench.scoring())
    expect_same(here, scores_in_a_new_process(bench.method, bench.folder), "the same scores from a new process")


def scores_in_a_new_process(method: Method, folder: Path) -> list[Score]:
    """The scores of the artifact of seed 0 in a bench's folder, computed with as many threads as here.

    The process is forked from a clean interpreter that has imported the libraries and has its own hash seed. That
    interpreter starts once and serves every method, since the imports take seconds.
    """
    import torch

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_reopened_scores, method, folder, torch.get_num_threads()).result()


def _reopened_scores(method: Method, folder: Path, threads: int) -> list[Score]:
    import torch

    quiet()
    torch.set_num_threads(threads)
    return scored(Bench(method, folder).reopened())


def settings_that_change_nothing_score_as_the_base_within_rounding(bench: Bench) -> None:
    """Every setting with a `null` has that value, such as a learning rate of 0 or no demonstrations.

    An edit of zero, a merged adapter and a base rewritten as (W - BA) + BA take another path than the base.
    """
    bench.scoring()
    expect_near(scored(bench.zero()), scored(bench.base.policy()), "the base's own scores where nothing is changed")


def batching_moves_nothing_beyond_rounding(bench: Bench) -> None:
    """Prompts of unequal length score together, padded on the left, as each scores alone."""
    policy = bench.scoring()
    alone = [policy.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    expect_near(scored(policy), alone, "the scores of a batch as each item scores alone")


def the_order_of_a_batch_moves_nothing_beyond_rounding(bench: Bench) -> None:
    """The same items score alike in reverse order."""
    policy = bench.scoring()
    turned = policy.score(PROMPTS[::-1], COMPLETIONS[::-1])[::-1]
    expect_near(scored(policy), turned, "the same scores whatever the order of a batch")


def padding_on_either_side_scores_alike(bench: Bench) -> None:
    """One forward pass over whole rows, padded on the right, agrees with the policy's left-padded reading."""
    policy = bench.scoring()
    if not isinstance(policy, CausalPolicy) or _reads_its_own_way(policy):
        raise NotApplicable("its policy reads prompts in its own way, which batching alone tests")
    expect_near(scored(policy), _right_padded(policy), "the same scores from padding on the right")


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
    """The noise of a sample follows from the item's own key."""
    if "sample" not in bench.method.gives:
        raise NotApplicable("it only scores")
    policy, sampling = bench.policy(), Sampling(max_new_tokens=4, temperature=1.0, seed=3)
    together = policy.sample(PROMPTS, sampling, KEYS)
    alone = [policy.sample([p], sampling, [k])[0] for p, k in zip(PROMPTS, KEYS, strict=True)]
    for one, other in zip(together, alone, strict=True):
        expect(one == other, "the same sample in a batch as alone", f"{one[0].text!r} and {other[0].text!r}")


def _reads_its_own_way(policy: CausalPolicy) -> bool:
    own, plain = type(policy), CausalPolicy
    return any(getattr(own, name) is not getattr(plain, name) for name in ("prefill", "read", "extend", "call"))


def _right_padded(policy: CausalPolicy) -> list[Score]:
    """The completions' scores from one pass over prompt and completion, without a cache."""
    import torch

    pairs = zip(PROMPTS, COMPLETIONS, strict=True)
    requests = [fit_for_scoring(policy, policy.encode(prompt, completion)) for prompt, completion in pairs]
    tokens, mask = padded([[*r.prompt, *r.prefix, *r.completion] for r in requests], policy.device)
    with torch.inference_mode():
        logits = policy.model(input_ids=tokens, attention_mask=mask.long(), use_cache=False).logits
    logprobs = logits.float().log_softmax(-1)
    scores = []
    for row, request in enumerate(requests):
        length, end = len(request.completion), int(mask[row].sum())
        own = tuple(float(logprobs[row, at - 1, tokens[row, at]]) for at in range(end - length, end))
        scores.append(Score(sum(own), length, False, own))
    return scores
