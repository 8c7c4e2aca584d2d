"""Drawing completions: one prefill per prompt, Gumbel-max with hashed noise, finished rows dropped and replaced.

A token is the arg max of logits / temperature + noise(seed, item, sample, position, token), so in fp32 the text of an
item does not depend on the rest of its batch.

Rows that wait take the places of finished ones, so that one long answer does not hold a batch. A batch does so in its
first `max_new_tokens` steps alone: it ends after at most twice as many, which bounds what a kill costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.lazy import torch
from harness.policy.batching import (
    Waiting,
    by_prompt,
    cache_budget,
    like_lengths,
    padded,
    places,
    shared_prompts,
    take,
    within_cache,
)
from harness.policy.drawing import draw_tokens
from harness.policy.finished import PolicyRequest, Result, in_batches, requests_digest, watcher
from harness.policy.noise import stream_of
from harness.policy.types import Completion

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded, TextEncoder
    from harness.policy.policy import Steps
    from harness.policy.types import Sampling


@dataclass
class _Row:
    """An unfinished completion."""

    request: int
    sample: int
    stream: int
    ids: list[int] = field(default_factory=list)
    finish: str = ""
    stop_id: int | None = None


def _row(request: int, sample: int, sampling: Sampling, key: str) -> _Row:
    return _Row(request, sample, stream_of(sampling.salt, sampling.seed, key, sample))


def sample_encoded(
    policy: Steps, requests: Sequence[Encoded], sampling: Sampling, keys: Sequence[str]
) -> list[tuple[Completion, ...]]:
    """For each request its completions, in order."""
    if len(keys) != len(requests):
        raise ValueError(f"{len(requests)} prompts and {len(keys)} keys")
    reserve = sampling.max_new_tokens
    fitted = [r.fitted(policy.encoder.max_length, len(r.prefix) + reserve) for r in requests]
    batches = [
        [_row(at, sample, sampling, keys[at]) for at in batch for sample in range(sampling.samples)]
        for batch in _batches(fitted, max(1, policy.max_rows // sampling.samples))
    ]
    longest = [len(request.prompt) + len(request.prefix) + reserve for request in fitted]
    admitted = within_cache(policy, batches, lambda row: longest[row.request])
    each, budget = sampling.samples, cache_budget(policy)

    def room(rows: Sequence[_Row]) -> int:
        return places(policy, budget, max(longest[row.request] for row in rows))

    def place(row: _Row) -> int:
        return row.request * each + row.sample

    def drawn(batch: list[_Row], waiting: Waiting[_Row]) -> Iterator[Result]:
        for row in _sample_batch(policy, fitted, sampling, batch, lambda running: take(waiting, running, room)):
            yield place(row), (row.ids, row.finish, row.stop_id)

    asked = PolicyRequest(len(requests) * each, "answers", lambda: requests_digest(fitted, sampling, list(keys)))
    with torch.inference_mode():
        found = dict(in_batches([policy], admitted, drawn, place, asked))
    return [
        tuple(completion_of(policy.encoder, request, sampling, *found[at * each + n]) for n in range(each))
        for at, request in enumerate(fitted)
    ]


def _batches(requests: Sequence[Encoded], max_rows: int) -> Iterator[list[int]]:
    """Batches with assistant prefixes of one length.

    Unequal lengths would leave padding between a prefix and the tokens drawn after it, and a sliding window counts
    padding as tokens.
    """
    members: dict[int, list[int]] = {}
    for index, request in enumerate(requests):
        members.setdefault(len(request.prefix), []).append(index)
    for own in members.values():
        for chosen in by_prompt([requests[index] for index in own], max_rows):
            yield [own[at] for at in chosen]


def completion_of(
    encoder: TextEncoder, request: Encoded, sampling: Sampling, ids: Sequence[int], finish: str, stop_id: int | None
) -> Completion:
    """Leave out thoughts, and cut the answer at the first stop string; the ids stay as drawn."""
    thoughts, text = encoder.thoughts_and_answer(ids)
    found = [at for at in (text.find(stop) for stop in (*sampling.stop, *encoder.turn_openers)) if at >= 0]
    cut = text[: min(found)] if found else text
    if any(text.startswith(opener, len(cut)) for opener in encoder.turn_openers):
        cut = cut.rstrip("\n")  # the line's end before the opened turn
    return Completion(cut, tuple(ids), finish, request.truncated, stop_id, thoughts)


@dataclass
class _Running:
    """Unfinished rows, the logits (B, V) of their next token, the policy's state, and the noise of each row."""

    rows: list[_Row]
    logits: torch.Tensor
    state: Any
    streams: torch.Tensor
    positions: torch.Tensor


def _sample_batch(
    policy: Steps,
    requests: Sequence[Encoded],
    sampling: Sampling,
    batch: Sequence[_Row],
    following: Callable[[list[_Row]], list[_Row]],
) -> list[_Row]:
    """The finished rows of one batch, and of the rows that it took.

    following  given the unfinished rows, takes rows that join them
    """
    running, watching = _begun(policy, requests, sampling, batch), watcher()
    finished: list[_Row] = []
    step = 0
    while running.rows:
        if step < sampling.max_new_tokens and policy.can_join(running.state):
            while taken := following(running.rows):
                running = _joined(policy, running, _begun(policy, requests, sampling, taken))
        finished += _draw(policy, sampling, running)
        step += 1
        if watching and running.rows:
            watching.reached(len(finished))
    return finished


def _begun(policy: Steps, requests: Sequence[Encoded], sampling: Sampling, batch: Sequence[_Row]) -> _Running:
    """Rows before their first token; every sample of a prompt starts from the same prefill."""
    rows = [replace(row, ids=[]) for row in batch]  # a batch that memory did not hold begins again
    indices = list(dict.fromkeys(row.request for row in rows))
    logits, state = _start(policy, requests, indices)
    if sampling.samples > 1:
        at = {request: place for place, request in enumerate(indices)}
        copies = torch.tensor([at[row.request] for row in rows], device=policy.device)
        logits, state = logits[copies], policy.select(state, copies)
    streams = torch.tensor([row.stream for row in rows], device=policy.device)
    return _Running(rows, logits, state, streams, torch.zeros_like(streams))


def _joined(policy: Steps, running: _Running, new: _Running) -> _Running:
    logits, streams, positions = (
        torch.cat(pair)
        for pair in (
            (running.logits, new.logits), (running.streams, new.streams), (running.positions, new.positions)
        )
    )  # fmt: skip
    return _Running(running.rows + new.rows, logits, policy.join(running.state, new.state), streams, positions)


def _start(policy: Steps, requests: Sequence[Encoded], indices: Sequence[int]) -> tuple[torch.Tensor, Any]:
    """Logits (B, V) for the first new token of every request, after its assistant prefix."""
    prompts, prompt_of_row = shared_prompts(requests, indices)
    logits, state = _prefilled(policy, prompts)
    chosen = torch.tensor(prompt_of_row, device=policy.device)
    if len(prompts) != len(indices):
        logits, state = logits[chosen], policy.select(state, chosen)
    prefixes = [requests[index].prefix for index in indices]
    if not any(prefixes):
        return logits, state
    logits, state = policy.extend(state, *padded(prefixes, policy.device))
    return logits[:, -1], state


def _prefilled(policy: Steps, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
    """Logits (B, V) and state after the prompts, in groups of like length: one long prompt would pad all others."""
    first, *groups = like_lengths([len(prompt.prompt) for prompt in prompts])
    logits, state = policy.prefill([prompts[at] for at in first])
    if groups and not policy.can_join(state):
        return policy.prefill(prompts)
    found = [logits]
    for group in groups:
        logits, read = policy.prefill([prompts[at] for at in group])
        found, state = [*found, logits], policy.join(state, read)
    return torch.cat(found), state


def _draw(policy: Steps, sampling: Sampling, running: _Running) -> list[_Row]:
    """Draw a token for each row, and read it in the unfinished ones; the finished rows, which no longer run."""
    tokens = draw_tokens(running.logits, sampling, running.streams, running.positions)
    for row, token in zip(running.rows, tokens.tolist(), strict=True):
        _append(policy.encoder, row, token, sampling)
    finished = [row for row in running.rows if row.finish]
    keep = [at for at, row in enumerate(running.rows) if not row.finish]
    running.rows = [running.rows[at] for at in keep]
    if not keep:
        return finished
    if finished:
        kept = torch.tensor(keep, device=policy.device)
        tokens, running.streams, running.positions = tokens[kept], running.streams[kept], running.positions[kept]
        running.state = policy.select(running.state, kept)
    read = torch.ones_like(tokens[:, None], dtype=torch.bool)
    logits, running.state = policy.extend(running.state, tokens[:, None], read)
    running.logits, running.positions = logits[:, -1], running.positions + 1
    return finished


def _append(encoder: TextEncoder, row: _Row, token: int, sampling: Sampling) -> None:
    """Record a token and whether it ends the row."""
    if token in encoder.stop_ids:
        row.finish, row.stop_id = "stop", token
        return
    if token in encoder.special_ids and encoder.tokenizer.convert_ids_to_tokens(token) in sampling.stop:
        row.finish = "stop_string"
        return
    row.ids.append(token)
    stops = (*sampling.stop, *encoder.turn_openers)
    if stops and _ends(encoder, row.ids, stops):
        row.finish = "stop_string"
    elif len(row.ids) == sampling.max_new_tokens:
        row.finish = "length"


def _ends(encoder: TextEncoder, ids: list[int], stops: Sequence[str]) -> bool:
    """Whether a stop string has appeared. Only the tail is decoded: each token has at least one byte."""
    window = max(len(stop.encode()) for stop in stops) + 2
    written = (token for token in reversed(ids) if token not in encoder.special_ids)
    tail = encoder.text([*islice(written, window)][::-1])
    return any(stop in tail for stop in stops)
