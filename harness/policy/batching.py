"""Batches of requests: similar lengths together, equal prompts once, a limited number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from harness.lazy import torch

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded


def by_prompt(requests: Sequence[Encoded], max_rows: int) -> Iterator[tuple[list[Encoded], list[int], list[int]]]:
    """Batches of (distinct prompts, for each row its prompt, for each row its request), longest first.

    The order depends only on the requests, so a repeated run forms the same batches.
    """
    shared: dict[tuple[int, ...], list[int]] = {}
    for index, request in enumerate(requests):
        shared.setdefault(request.prompt, []).append(index)
    ordered = sorted(shared.items(), key=lambda pair: (-len(pair[0]), pair[1][0]))
    prompts: list[Encoded] = []
    rows: list[int] = []
    indices: list[int] = []
    for _, members in ordered:
        for start in range(0, len(members), max_rows):
            part = members[start : start + max_rows]
            if rows and len(rows) + len(part) > max_rows:
                yield prompts, rows, indices
                prompts, rows, indices = [], [], []
            rows = [*rows, *[len(prompts)] * len(part)]
            indices = [*indices, *part]
            prompts = [*prompts, requests[part[0]]]
    if rows:
        yield prompts, rows, indices


def padded(
    sequences: Sequence[Sequence[int]], device: torch.device, *, left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) filled with 0, and the mask (B, T) of real tokens."""
    width = max((len(ids) for ids in sequences), default=0)
    tokens = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, ids in enumerate(sequences):
        span = slice(width - len(ids), width) if left else slice(0, len(ids))
        tokens[row, span] = torch.tensor(list(ids), dtype=torch.long)
        mask[row, span] = True
    return tokens.to(device), mask.to(device)
