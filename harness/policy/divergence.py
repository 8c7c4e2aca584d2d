"""The divergence of a policy's next-token distributions from another policy's, along texts that the first wrote.

    D_t = KL(p(. | y_<t) || q(. | y_<t)) = sum_v p_v (ln p_v - ln q_v)      nats, over the whole vocabulary

With y drawn from p at temperature 1, the sum of D_t over an answer has the expectation KL(p || q) of whole answers,
like ln p(y) - ln q(y), but with less variance: each step's expectation is computed, not sampled (Rao-Blackwell).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.finished import PolicyRequest, in_batches, requests_digest
from harness.policy.logprobs import fit_for_scoring, row_logits
from harness.policy.stepwise import StepwisePolicy

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded
    from harness.policy.policy import Policy
    from harness.policy.types import Completion, Prompt


def divergences(
    policy: Policy, other: Policy, prompts: Sequence[Prompt], drawn: Sequence[Completion]
) -> list[tuple[float, ...]]:
    """D_t in nats at each token of drawn[i], including its stop token, which `policy` wrote after prompts[i].

    Each policy encodes the prompt itself. Raises UserError for a policy without distributions over tokens, and where
    `other` lacks tokens of `policy`.
    """
    steps = _stepwise(policy), _stepwise(other)
    if steps[0].vocabulary > steps[1].vocabulary:
        sizes = f"{steps[0].vocabulary} tokens, and the other {steps[1].vocabulary}"
        raise UserError(f"the policy has {sizes}", fix="Compare it with a model that has all of its tokens.")
    requests = [
        [fit_for_scoring(one, _written(one, prompt, answer)) for prompt, answer in zip(prompts, drawn, strict=True)]
        for one in steps
    ]
    order = sorted(range(len(prompts)), key=lambda at: -len(requests[0][at].prompt) - len(requests[0][at].completion))
    rows = min(one.max_rows for one in steps)
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]
    asked = PolicyRequest(len(prompts), "answers read", lambda: requests_digest((*requests[0], *requests[1])))
    with torch.inference_mode():
        found = dict(in_batches(steps, batches, lambda batch, _: _batch(steps, requests, batch), lambda at: at, asked))
    return [tuple(found[at]) for at in range(len(prompts))]


def _stepwise(policy: Policy) -> StepwisePolicy:
    if not isinstance(policy, StepwisePolicy):
        raise UserError(f"{type(policy).__name__} gives no distributions over tokens")
    return policy


def _written(policy: StepwisePolicy, prompt: Prompt, answer: Completion) -> Encoded:
    """The prompt as this policy encodes it, with the drawn tokens rather than an encoding of their text."""
    return replace(policy.encode(prompt), completion=answer.drawn_ids)


def _batch(
    steps: tuple[StepwisePolicy, StepwisePolicy], requests: Sequence[Sequence[Encoded]], chosen: Sequence[int]
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """(request, its D_t) of a batch that both policies read in parallel."""
    batches = [[own[at] for at in chosen] for own in requests]
    following = [[*request.prefix, *request.completion] for request in batches[0]]
    # logits of both are in memory at once
    budget = min(one.budget for one in steps) // 2
    streams = [row_logits(one, batch, following, budget=budget) for one, batch in zip(steps, batches, strict=True)]
    parts = [_divergence(p.log_softmax(-1), q.log_softmax(-1)) for (_, p), (_, q) in zip(*streams, strict=True)]
    values = torch.cat(parts, dim=1).double()
    for row, request in enumerate(batches[0]):
        yield chosen[row], tuple(values[row, len(request.prefix) : len(following[row])].tolist())


def _divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(B, T) of log p (B, T, V) and log q (B, T, V or more); a token with p = 0 adds 0, whatever q is."""
    ratio = torch.where(p == -torch.inf, 0.0, p - q[..., : p.shape[-1]].to(p.device))
    # the terms have both signs, so rounding can make the sum slightly negative
    return (p.exp() * ratio).sum(-1).clamp_min(0.0).cpu()
