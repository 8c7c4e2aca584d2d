"""Batches of requests: similar lengths together, equal prompts once, as many rows as memory holds."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from harness.lazy import torch

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded
    from harness.policy.policy import Steps

Row = TypeVar("Row")
Done = TypeVar("Done")
Waiting: TypeAlias = deque[list[Row]]
"""Batches that wait, in order. A list in it is replaced, never changed."""
NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc", "out of memory",
             "ALLOC_FAILED")  # fmt: skip
"""Words of errors that torch, the C++ library and the system raise where memory runs out, on CPU and GPU."""

FEW_TOKENS = 64
"""About as many tokens as a CPU computes while it reads the weights from memory once."""
CPU_CACHE = 1 << 31
"""2 GiB: 256 rows of 1,000 tokens at 8 KB a token, and 46 rows at the 46 KB of a 135M model in float32."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: torch raises a plain RuntimeError for it on a CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, (RuntimeError, OSError)) and any(words.lower() in said for words in NO_MEMORY)


def free_memory() -> None:
    """Give back what failed attempts held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halving(
    policies: Sequence[Steps], batches: Iterable[Sequence[Row]], do: Callable[[list[Row], Waiting[Row]], Iterable[Done]]
) -> Iterator[Done]:
    """The results of `do` on each batch, in order; where memory runs out, only the batch in hand is halved.

    `do` may take rows of the batches that wait into the one in hand. The policies' `max_rows` is lowered to the rows
    that fit, so that no later batch is larger. Raises the error where memory does not hold one row.
    """
    waiting: Waiting[Row] = deque(list(batch) for batch in batches)
    while waiting:
        batch = waiting.popleft()
        most = min(policy.max_rows for policy in policies)
        if len(batch) > most:
            waiting.extendleft([batch[at : at + most] for at in range(0, len(batch), most)][::-1])
            continue
        left = waiting.copy()
        try:
            done = list(do(batch, left))
        except Exception as error:
            tried = len(batch) + sum(map(len, waiting)) - sum(map(len, left))
            if tried == 1 or not out_of_memory(error):
                raise
            done = None
        if done is not None:
            waiting = left
            yield from done
            continue
        # not in the except block, where the traceback still holds what the failed attempt had allocated
        free_memory()
        for policy in policies:
            policy.max_rows = min(tried, most) // 2
        waiting.appendleft(batch)


def shared_prompts(requests: Sequence[Encoded], indices: Iterable[int]) -> tuple[list[Encoded], list[int]]:
    """The distinct prompts of these requests, and for each of the requests its prompt."""
    found: dict[tuple[int, ...], int] = {}
    prompts: list[Encoded] = []
    rows: list[int] = []
    for index in indices:
        request = requests[index]
        if request.prompt not in found:
            found[request.prompt] = len(prompts)
            prompts.append(request)
        rows.append(found[request.prompt])
    return prompts, rows


def by_prompt(requests: Sequence[Encoded], max_rows: int) -> Iterator[list[int]]:
    """Batches of requests, longest prompts first and equal prompts together.

    The order depends only on the requests, so a repeated run forms the same batches.
    """
    shared: dict[tuple[int, ...], list[int]] = {}
    for index, request in enumerate(requests):
        shared.setdefault(request.prompt, []).append(index)
    ordered = sorted(shared.items(), key=lambda pair: (-len(pair[0]), pair[1][0]))
    indices: list[int] = []
    for _, members in ordered:
        for start in range(0, len(members), max_rows):
            part = members[start : start + max_rows]
            if indices and len(indices) + len(part) > max_rows:
                yield indices
                indices = []
            indices = [*indices, *part]
    if indices:
        yield indices


def like_lengths(lengths: Sequence[int]) -> list[range]:
    """Successive rows in groups of like length; one group where padding to the longest adds less than half.

    A group has lengths from two thirds of its first to its first. There is one, too, where padding adds few tokens:
    reading the weights once more would take longer.
    """
    whole = max(lengths, default=0) * len(lengths)
    if whole - sum(lengths) < FEW_TOKENS or 2 * whole <= 3 * sum(lengths):
        return [range(len(lengths))]
    starts = [0]
    for at, length in enumerate(lengths):
        longest = lengths[starts[-1]]
        if 3 * length < 2 * longest or length > longest:
            starts.append(at)
    return [range(start, end) for start, end in pairwise([*starts, len(lengths)])]


def cache_budget(policy: Steps) -> int:
    """The bytes that a batch's caches may take: half of what is free on a GPU, CPU_CACHE on a CPU."""
    if policy.cache_budget is not None:
        return policy.cache_budget
    return torch.cuda.mem_get_info(policy.device)[0] // 2 if policy.device.type == "cuda" else CPU_CACHE


def within_cache(
    policy: Steps, batches: Iterable[Sequence[Row]], tokens_of: Callable[[Row], int]
) -> Iterator[list[Row]]:
    """The batches, divided where the caches of their rows, each as long as the longest, would exceed the budget."""
    budget = cache_budget(policy)
    for batch in batches:
        rest = list(batch)
        while rest:
            admitted = places(policy, budget, max(map(tokens_of, rest)))
            yield rest[:admitted]
            rest = rest[admitted:]


def places(policy: Steps, budget: int, tokens: int) -> int:
    """How many rows of so many tokens a batch may have, whose caches may take `budget` bytes."""
    row = policy.row_bytes(tokens)
    return min(policy.max_rows, max(1, budget // row)) if row else policy.max_rows


def take(waiting: Waiting[Row], running: Sequence[Row], room: Callable[[Sequence[Row]], int]) -> list[Row]:
    """Rows of the next batch that take free places next to the running rows, once a quarter of all places is free.

    room  how many places there are in a batch of these rows
    """
    if not waiting:
        return []
    following = waiting[0]
    all_places = room([*running, *following])
    free = all_places - len(running)
    if 4 * free < all_places or free <= 0:
        return []
    waiting.popleft()
    if following[free:]:
        waiting.appendleft(following[free:])
    return following[:free]


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
