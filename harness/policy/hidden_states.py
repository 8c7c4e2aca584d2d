"""Editing the residual stream of a model at given positions.

An edit lasts for one forward pass: hooks are added to the blocks before it and removed after it, also after an error,
so a shared model stays unchanged, and tokens decoded later are not edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.causal import unwrapped


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
