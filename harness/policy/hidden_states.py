"""Editing the residual stream of a model at given positions.

An edit lasts for one forward pass: hooks are added to the blocks before it and removed after it, also after an error,
so a shared model stays unchanged, and tokens decoded later are not edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.batching import padded
from harness.policy.causal import unwrapped

if TYPE_CHECKING:
    from harness.policy.causal import CausalPolicy
    from harness.policy.encoding import Encoded
    from harness.policy.types import Prompt


@dataclass(frozen=True)
class Places:
    """Positions of a batch (B, T), as two lists of one length N: which row, which column."""

    rows: list[int]
    columns: list[int]

    def __add__(self, other: Places) -> Places:
        """The positions of both."""
        return Places(self.rows + other.rows, self.columns + other.columns)


Edit = tuple[Places, Callable[["torch.Tensor"], "torch.Tensor"]]
"""Positions, and the function that replaces their hidden states (N, d)."""


def width_of(config: Any) -> int:
    """The width d of the residual stream."""
    return int(config.get_text_config().hidden_size)


def block_count(config: Any) -> int:
    """The number of decoder blocks."""
    return int(config.get_text_config().num_hidden_layers)


def decoder_blocks(model: Any) -> torch.nn.ModuleList:
    """The decoder blocks of a model: the outermost list with as many modules as the configuration has layers.

    A block's output is the residual stream (B, T, d). Raises UserError where the list is missing.
    """
    whole = unwrapped(model)
    layers = block_count(whole.config)
    for module in whole.get_decoder().modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == layers:
            return module
    raise UserError(
        f"no list of {layers} decoder blocks was found in {type(whole).__name__}",
        fix="Methods that edit hidden states need a model made of a list of blocks, such as Llama or GPT-2.",
    )


def first_and_last(starts: Sequence[int], lengths: Sequence[int], first: int, last: int) -> tuple[Places, Places]:
    """The first and the last positions of texts that begin at columns `starts` and are `lengths` tokens long.

    In a text of n tokens they are min(first, floor(n/2)) and min(last, ceil(n/2)), so they never
    overlap (section 3.2 of 2404.03592).
    """
    head, tail = Places([], []), Places([], [])
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        begins, ends = min(first, length // 2), min(last, length - length // 2)
        head += Places([row] * begins, [*range(start, start + begins)])
        tail += Places([row] * ends, [*range(start + length - ends, start + length)])
    return head, tail


@contextmanager
def edited(model: Any, edits: Mapping[int, Sequence[Edit]]) -> Iterator[None]:
    """Within this context, the outputs of these blocks are edited at those positions."""
    blocks = decoder_blocks(model)
    with changed_outputs((blocks[layer], partial(_edit, own)) for layer, own in edits.items()):
        yield


def _edit(edits: Sequence[Edit], hidden: torch.Tensor) -> torch.Tensor:
    for places, change in edits:
        if places.rows:
            at = tuple(torch.tensor(indices, device=hidden.device) for indices in (places.rows, places.columns))
            hidden = hidden.index_put(at, change(hidden[at]).to(hidden.dtype))
    return hidden


@contextmanager
def changed_outputs(changes: Iterable[tuple[Any, Callable[[torch.Tensor], torch.Tensor]]]) -> Iterator[None]:
    """Within this context, each module's output (B, T, d) is replaced by the function of it."""
    handles = [module.register_forward_hook(partial(_changed, change)) for module, change in changes]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _changed(change: Callable[[torch.Tensor], torch.Tensor], module: Any, arguments: Any, output: Any) -> Any:
    """Some modules return a tuple whose first element is the output."""
    return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)


def states_along(
    policy: CausalPolicy, prompts: Sequence[Prompt], completions: Sequence[str]
) -> Iterator[tuple[int, torch.Tensor]]:
    """(i, the output of every block (L, T, d) at the tokens of completions[i] after prompts[i]), in no order.

    States are in float32 on the CPU, before an edit of the block's own output.
    """
    encoded = [policy.encode(prompt, text) for prompt, text in zip(prompts, completions, strict=True)]
    requests = [one.fitted(policy.encoder.max_length, len(one.prefix) + len(one.completion)) for one in encoded]
    order = sorted(range(len(requests)), key=lambda at: -len(requests[at].completion))
    with torch.inference_mode():
        for start in range(0, len(order), policy.max_rows):
            chosen = order[start : start + policy.max_rows]
            yield from zip(chosen, _states(policy, [requests[at] for at in chosen]), strict=True)


def _states(policy: CausalPolicy, batch: Sequence[Encoded]) -> Iterator[torch.Tensor]:
    blocks = decoder_blocks(policy.model)
    seen: list[list[torch.Tensor]] = [[] for _ in blocks]
    tokens, mask = padded([[*one.prefix, *one.completion] for one in batch], policy.device)
    width = max(1, policy.budget // max(1, len(batch) * policy.vocabulary))
    _, state = policy.prefill(batch)
    with changed_outputs((block, partial(_noted, own)) for block, own in zip(blocks, seen, strict=True)):
        for start in range(0, tokens.shape[1], width):
            _, state = policy.extend(state, tokens[:, start : start + width], mask[:, start : start + width])
    whole = torch.stack([torch.cat(own, dim=1) for own in seen])
    for row, one in enumerate(batch):
        yield whole[:, row, len(one.prefix) : len(one.prefix) + len(one.completion)]


def _noted(seen: list[torch.Tensor], hidden: torch.Tensor) -> torch.Tensor:
    seen.append(hidden.float().cpu())
    return hidden
