"""Drawing completions: one prefill per prompt, Gumbel-max with hashed noise, finished rows dropped.

A token is the arg max of logits / temperature + noise(seed, item, sample, position, token), so in fp32 the text of an
item does not depend on the rest of its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from harness.lazy import torch
from harness.policy.batching import by_prompt, padded, shared_prompts, within_cache
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
    each = sampling.samples

    def place(row: _Row) -> int:
        return row.request * each + row.sample

    def drawn(batch: list[_Row]) -> Iterator[Result]:
        for row in _sample_batch(policy, fitted, batch, sampling):
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
        for places in by_prompt([requests[index] for index in own], max_rows):
            yield [own[place] for place in places]


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


def _sample_batch(policy: Steps, requests: Sequence[Encoded], batch: Sequence[_Row], sampling: Sampling) -> list[_Row]:
    """Decode one batch to its end; every sample of a prompt starts from the same prefill."""
    rows = [replace(row, ids=[]) for row in batch]  # a batch that memory did not hold begins again
    indices = list(dict.fromkeys(row.request for row in rows))
    logits, state = _start(policy, requests, indices)
    if sampling.samples > 1:
        places = {request: place for place, request in enumerate(indices)}
        copies = torch.tensor([places[row.request] for row in rows], device=policy.device)
        logits, state = logits[copies], policy.select(state, copies)
    _decode(policy, logits, state, rows, sampling)
    return rows


def _start(policy: Steps, requests: Sequence[Encoded], indices: Sequence[int]) -> tuple[torch.Tensor, Any]:
    """Logits (B, V) for the first new token of every request, after its assistant prefix."""
    prompts, prompt_of_row = shared_prompts(requests, indices)
    logits, state = policy.prefill(prompts)
    chosen = torch.tensor(prompt_of_row, device=policy.device)
    if len(prompts) != len(indices):
        logits, state = logits[chosen], policy.select(state, chosen)
    prefixes = [requests[index].prefix for index in indices]
    if not any(prefixes):
        return logits, state
    logits, state = policy.extend(state, *padded(prefixes, policy.device))
    return logits[:, -1], state


def _decode(policy: Steps, logits: torch.Tensor, state: Any, rows: list[_Row], sampling: Sampling) -> None:
    """Fill the rows token by token, dropping finished rows."""
    streams = torch.tensor([row.stream for row in rows], device=policy.device)
    alive, watching = rows, watcher()
    for position in range(sampling.max_new_tokens):
        tokens = draw_tokens(logits, sampling, streams, position)
        for row, token in zip(alive, tokens.tolist(), strict=True):
            _append(policy.encoder, row, token, sampling, position)
        keep = [at for at, row in enumerate(alive) if not row.finish]
        if not keep:
            return
        if watching:
            watching.reached(len(rows) - len(keep))
        if len(keep) < len(alive):
            kept = torch.tensor(keep, device=policy.device)
            alive, tokens, streams = [alive[at] for at in keep], tokens[kept], streams[kept]
            state = policy.select(state, kept)
        logits, state = policy.extend(state, tokens[:, None], torch.ones_like(tokens[:, None], dtype=torch.bool))
        logits = logits[:, -1]


def _append(encoder: TextEncoder, row: _Row, token: int, sampling: Sampling, position: int) -> None:
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
    elif position + 1 == sampling.max_new_tokens:
        row.finish = "length"


def _ends(encoder: TextEncoder, ids: list[int], stops: Sequence[str]) -> bool:
    """Whether a stop string has appeared. Only the tail is decoded: each token has at least one byte."""
    window = max(len(stop.encode()) for stop in stops) + 2
    written = (token for token in reversed(ids) if token not in encoder.special_ids)
    tail = encoder.text([*islice(written, window)][::-1])
    return any(stop in tail for stop in stops)
