"""A policy's answers as another policy reads them: divergence of next tokens, and ranks of the tokens written.

    D_t = KL(p(. | y_<t) || q(. | y_<t)) = sum_v p_v (ln p_v - ln q_v)      nats, over the whole vocabulary

With y drawn from p at temperature 1, the sum of D_t over an answer has the expectation KL(p || q) of whole answers,
like ln p(y) - ln q(y), but with less variance: each step's expectation is computed, not sampled (Rao-Blackwell).

    rank_t = 1 + |{v : q(v | y_<t) > q(y_t | y_<t)}|          1 is the token that q finds likeliest
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.batching import padded
from harness.policy.finished import PolicyRequest, in_batches, requests_digest
from harness.policy.logprobs import fit_for_scoring, row_logits
from harness.policy.stepwise import StepwisePolicy

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded
    from harness.policy.policy import Policy
    from harness.policy.types import Completion, Prompt

Read = Callable[[Sequence["torch.Tensor"], "torch.Tensor"], "torch.Tensor"]
"""From the logits (B, T, V) of each policy and the tokens that follow (B, T) to a value for each token (B, T)."""


def divergences(
    policy: Policy, other: Policy, prompts: Sequence[Prompt], drawn: Sequence[Completion]
) -> list[tuple[float, ...]]:
    """D_t in nats at each token of drawn[i], including its stop token, which `policy` wrote after prompts[i].

    Each policy encodes the prompt itself. Raises UserError for a policy without distributions over tokens, and where
    `other` lacks tokens of `policy`.
    """
    return _along(_pair(policy, other), prompts, drawn, lambda logits, _: _divergence(*logits), ())


def ranks(
    policy: Policy, other: Policy, prompts: Sequence[Prompt], drawn: Sequence[Completion]
) -> list[tuple[float, ...]]:
    """rank_t under `other` of each token of drawn[i], as in `divergences`; equal logits share the better rank."""
    return _along(_pair(policy, other)[1:], prompts, drawn, _rank, ("ranks",))


def _pair(policy: Policy, other: Policy) -> tuple[StepwisePolicy, StepwisePolicy]:
    steps = _stepwise(policy), _stepwise(other)
    if steps[0].vocabulary > steps[1].vocabulary:
        sizes = f"{steps[0].vocabulary} tokens, and the other {steps[1].vocabulary}"
        raise UserError(f"the policy has {sizes}", fix="Compare it with a model that has all of its tokens.")
    return steps


def _along(
    steps: Sequence[StepwisePolicy],
    prompts: Sequence[Prompt],
    drawn: Sequence[Completion],
    read: Read,
    more: tuple[object, ...],
) -> list[tuple[float, ...]]:
    """The values that `read` makes of the logits at each token of drawn[i]; `more` is part of the request's digest."""
    requests = [
        [fit_for_scoring(one, _written(one, prompt, answer)) for prompt, answer in zip(prompts, drawn, strict=True)]
        for one in steps
    ]
    order = sorted(range(len(prompts)), key=lambda at: -len(requests[0][at].prompt) - len(requests[0][at].completion))
    rows = min(one.max_rows for one in steps)
    batches = [order[start : start + rows] for start in range(0, len(order), rows)]
    asked = PolicyRequest(len(prompts), "answers read", lambda: requests_digest(chain(*requests), *more))
    with torch.inference_mode():
        found = dict(
            in_batches(steps, batches, lambda batch, _: _batch(steps, requests, batch, read), lambda at: at, asked)
        )
    return [tuple(found[at]) for at in range(len(prompts))]


def _stepwise(policy: Policy) -> StepwisePolicy:
    if not isinstance(policy, StepwisePolicy):
        raise UserError(f"{type(policy).__name__} gives no distributions over tokens")
    return policy


def _written(policy: StepwisePolicy, prompt: Prompt, answer: Completion) -> Encoded:
    """The prompt as this policy encodes it, with the drawn tokens rather than an encoding of their text."""
    return replace(policy.encode(prompt), completion=answer.drawn_ids)


def _batch(
    steps: Sequence[StepwisePolicy], requests: Sequence[Sequence[Encoded]], chosen: Sequence[int], read: Read
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """(request, its value at each token) of a batch that all policies read in parallel."""
    batches = [[own[at] for at in chosen] for own in requests]
    following = [[*request.prefix, *request.completion] for request in batches[0]]
    taken, _ = padded(following, torch.device("cpu"))
    # logits of all are in memory at once
    budget = min(one.budget for one in steps) // len(steps)
    streams = [row_logits(one, batch, following, budget=budget) for one, batch in zip(steps, batches, strict=True)]
    parts = []
    for group in zip(*streams, strict=True):
        start, width = group[0][0], group[0][1].shape[1]
        parts.append(read([logits for _, logits in group], taken[:, start : start + width]))
    values = torch.cat(parts, dim=1).double()
    for row, request in enumerate(batches[0]):
        yield chosen[row], tuple(values[row, len(request.prefix) : len(following[row])].tolist())


def _rank(logits: Sequence[torch.Tensor], taken: torch.Tensor) -> torch.Tensor:
    """(B, T) of logits (B, T, V) of one policy and the tokens written (B, T)."""
    (read,) = logits
    own = read.gather(-1, taken.to(read.device)[..., None])
    return (read > own).sum(-1).add(1).cpu()


def _divergence(own: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """(B, T) of logits (B, T, V) and (B, T, V or more); a token with p = 0 adds 0, whatever q is."""
    p, q = own.log_softmax(-1), other.log_softmax(-1)
    ratio = torch.where(p == -torch.inf, 0.0, p - q[..., : p.shape[-1]].to(p.device))
    # the terms have both signs, so rounding can make the sum slightly negative
    return (p.exp() * ratio).sum(-1).clamp_min(0.0).cpu()
