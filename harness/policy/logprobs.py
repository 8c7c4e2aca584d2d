"""Log-probabilities of given completions: each distinct prompt is read once, however many choices it has."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from harness.lazy import torch
from harness.policy.batching import by_prompt, like_lengths, padded, shared_prompts, within_cache
from harness.policy.encoding import Encoded
from harness.policy.finished import PolicyRequest, Result, in_batches, requests_digest
from harness.policy.types import NotFinite, Prompt, Score

if TYPE_CHECKING:
    from harness.policy.policy import Steps


def score_encoded(policy: Steps, requests: Sequence[Encoded]) -> list[Score]:
    """One score per request, in order."""
    fitted = [fit_for_scoring(policy, request) for request in requests]
    longest = [len(one.prompt) + len(one.prefix) + len(one.completion) for one in fitted]
    alike = (
        [batch[at] for at in group]
        for batch in by_prompt(fitted, policy.max_rows)
        for group in like_lengths([len(fitted[index].prompt) for index in batch])
    )
    batches = within_cache(policy, alike, lambda index: longest[index])

    def scored(batch: list[int], _: object) -> Iterator[Result]:
        for index, values, greedy in _score_batch(policy, fitted, batch):
            score = _score(fitted[index], values, greedy)
            yield index, (score.logprob, score.tokens, score.is_greedy, score.token_logprobs, score.truncated)

    asked = PolicyRequest(len(fitted), "texts", lambda: requests_digest(fitted))
    with torch.inference_mode():
        found = dict(in_batches([policy], batches, scored, lambda index: index, asked))
    parts = (found[index] for index in range(len(fitted)))
    return [Score(total, tokens, best, tuple(each), cut) for total, tokens, best, each, cut in parts]


def score_tokens(policy: Steps, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[Score]:
    """One score per (context ids, completion ids), in order; the context is a prompt of bare text."""
    decode = policy.encoder.tokenizer.decode
    requests = [Encoded(tuple(read), (), tuple(ids), Prompt(text=decode(list(read)))) for read, ids in pairs]
    return score_encoded(policy, requests)


def fit_for_scoring(policy: Steps, request: Encoded) -> Encoded:
    """Leave room for the tokens after the prompt, except the last token of the completion, which is never read."""
    following = len(request.prefix) + len(request.completion)
    return request.fitted(policy.encoder.max_length, max(following - 1, 0))


def _score(request: Encoded, values: torch.Tensor, greedy: torch.Tensor) -> Score:
    kept = values.double()
    if bool(kept.isnan().any()):
        raise NotFinite
    return Score(
        logprob=float(kept.sum()),
        tokens=len(request.completion),
        is_greedy=bool(greedy.all()),
        token_logprobs=tuple(kept.tolist()),
        truncated=request.truncated,
    )


def _score_batch(
    policy: Steps, requests: Sequence[Encoded], indices: Sequence[int]
) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """(request, log-probabilities, whether each token is the arg max) of every request's completion."""
    prompts, rows = shared_prompts(requests, indices)
    following = [[*requests[index].prefix, *requests[index].completion] for index in indices]
    first, state = policy.prefill(prompts)
    ordered = sorted(range(len(indices)), key=lambda row: -len(following[row]))
    # in groups: one long choice would otherwise pad the short ones of all prompts
    groups = like_lengths([len(following[row]) for row in ordered])
    for group in groups:
        members = ordered[group.start : group.stop]
        chosen = torch.tensor([rows[row] for row in members], device=policy.device)
        own = state if group is groups[-1] else copy.deepcopy(state)  # reading on consumes a state
        values, greedy = _reduced(policy, first, own, chosen, [following[row] for row in members])
        for at, row in enumerate(members):
            span = slice(len(requests[indices[row]].prefix), len(following[row]))
            yield indices[row], values[at, span], greedy[at, span]


def _reduced(
    policy: Steps, first: torch.Tensor, state: Any, chosen: torch.Tensor, following: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities (B, T) of the tokens that follow the chosen prompts, and whether each is the arg max."""
    targets, _ = padded(following, policy.device)
    logprobs, greedy = torch.zeros(targets.shape), torch.zeros(targets.shape, dtype=torch.bool)
    for start, logits in _logit_chunks(policy, first, state, chosen, following, budget=policy.budget):
        stop = start + logits.shape[1]
        values, best = _reduce(logits, targets[:, start:stop])
        logprobs[:, start:stop], greedy[:, start:stop] = values.cpu(), best.cpu()
    return logprobs, greedy


def row_logits(
    policy: Steps, batch: Sequence[Encoded], following: Sequence[Sequence[int]], *, budget: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """(position, logits (B, T, V)) over the tokens that follow each row's own prompt, B x T x V within the budget."""
    first, state = policy.prefill(batch)
    every_row = torch.arange(len(batch), device=policy.device)
    yield from _logit_chunks(policy, first, state, every_row, following, budget=budget)


def _logit_chunks(
    policy: Steps,
    first: torch.Tensor,
    state: Any,
    chosen: torch.Tensor,
    following: Sequence[Sequence[int]],
    *,
    budget: int,
) -> Iterator[tuple[int, torch.Tensor]]:
    """(position, logits (B, T, V)) over the tokens that follow the prompts, B x T x V within the budget.

    first, state  the result of `prefill`
    chosen        (B,) for each row the index of its prompt
    """
    yield 0, first[chosen][:, None]
    tokens, mask = padded([ids[:-1] for ids in following], policy.device)
    width = max(1, budget // max(1, len(chosen) * policy.vocabulary))
    if tokens.shape[1]:
        state = policy.select(state, chosen)
    for start in range(0, tokens.shape[1], width):
        stop = start + width
        logits, state = policy.extend(state, tokens[:, start:stop], mask[:, start:stop])
        yield start + 1, logits


def _reduce(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """fp32 log-probabilities (B, T) of targets (B, T) under logits (B, T, V), and whether they are the arg max."""
    logits = logits.float()
    taken, total = logits.gather(-1, targets[..., None])[..., 0], logits.logsumexp(-1)
    # under an infinite logit every other token would silently have probability 0
    return taken - total.masked_fill(total.isinf(), torch.nan), logits.argmax(-1) == targets


def differentiable_logprobs(policy: Steps, requests: Sequence[Encoded]) -> list[torch.Tensor]:
    """Log-probabilities (T_i,) of each completion, with gradients; one row per request; prompts are not shared."""
    batch = [fit_for_scoring(policy, request) for request in requests]
    following = [[*request.prefix, *request.completion] for request in batch]
    targets, _ = padded(following, policy.device)
    parts = [
        _reduce(logits, targets[:, at : at + logits.shape[1]])[0]
        for at, logits in row_logits(policy, batch, following, budget=policy.budget)
    ]
    values = torch.cat(parts, dim=1)
    return [values[row, len(request.prefix) : len(following[row])] for row, request in enumerate(batch)]
