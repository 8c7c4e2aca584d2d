"""Residual dropout, as LIMA trains with it (Zhou et al. 2023, 2305.11206).

Block l of L drops with rate top * l / (L - 1). Every block adds twice to the residual stream, after attention and after
its feed-forward part; each addition drops separately, in training mode only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.hidden_states import changed_outputs, decoder_blocks

# families that normalise their additions (Gemma 2, OLMo 2) add the norms' outputs, all others the parts' own outputs;
# OPT's feed-forward part is not a module, but ends with fc2
_AFTER_NORMS = (("post_attention_layernorm",), ("post_feedforward_layernorm",))
_PARTS = (("self_attn", "self_attention", "attention", "attn"), ("mlp", "feed_forward", "fc2"))


def dropout_rates(blocks: int, top: float) -> list[float]:
    """The rate of each block, from 0 at the first to `top` at the last; a single block has `top`."""
    return [top * block / (blocks - 1) for block in range(blocks)] if blocks > 1 else [top] * blocks


@contextmanager
def residual_dropout(model: Any, top: float) -> Iterator[None]:
    """Within this context, dropout applies to the blocks' additions. Raises UserError where they are not found."""
    blocks = list(decoder_blocks(model)) if top else []
    rates = dropout_rates(len(blocks), top)
    parts = [(part, rate) for block, rate in zip(blocks, rates, strict=True) if rate for part in additions(block)]
    with changed_outputs((part, partial(_dropped, part, rate)) for part, rate in parts):
        yield


def additions(block: Any) -> list[Any]:
    """The two modules of a decoder block whose outputs are added to the residual stream."""
    children = dict(block.named_children())
    names = _AFTER_NORMS if _AFTER_NORMS[1][0] in children else _PARTS
    found = [[children[name] for name in alike if name in children] for alike in names]
    if any(len(one) != 1 for one in found):
        raise UserError(
            f"it is not known where {type(block).__name__} adds to the residual stream, so dropout cannot be applied",
            fix="Set dropout to 0, or use a model of the Llama, Qwen, Mistral, Gemma, GPT-2, NeoX or OPT family.",
        )
    return [one[0] for one in found]


def _dropped(part: Any, rate: float, hidden: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.dropout(hidden, rate, training=part.training)
