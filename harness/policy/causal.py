"""A policy that is one `transformers` model: the base, a trained model, or a model with adapters."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError
from harness.lazy import torch, transformers
from harness.policy.batching import padded
from harness.policy.encoding import Encoded, TextEncoder
from harness.policy.stepwise import StepwisePolicy


@dataclass
class CausalState:
    """The state after reading: the cache, which slots (B, T) hold real tokens, the next positions (B,)."""

    cache: Any
    mask: torch.Tensor
    positions: torch.Tensor


class CausalPolicy(StepwisePolicy):
    """Runs a causal language model with explicit masks and positions; logits are returned in fp32."""

    def __init__(self, model: Any, encoder: TextEncoder) -> None:
        self.model = model.eval()
        self.encoder = encoder
        self._keeps_last = "logits_to_keep" in inspect.signature(unwrapped(model).forward).parameters

    @property
    def device(self) -> torch.device:
        """The device of the model's weights."""
        return next(self.model.parameters()).device

    @property
    def vocabulary(self) -> int:
        """The width of the output layer, which may exceed the tokenizer's vocabulary."""
        return int(self.model.get_output_embeddings().weight.shape[0])

    def row_bytes(self, tokens: int) -> int:
        """Keys and values of one row in all layers, those of a sliding window only as long as the window."""
        weight = next(self.model.parameters())
        return cached_bytes(self.model.config.get_text_config(), tokens, weight.element_size())

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, CausalState]:
        """Read left-padded prompts; only the last position's logits (B, V) are computed."""
        return self.read(*padded([prompt.prompt for prompt in prompts], self.device, left=True))

    def read(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        """Read left-padded prompts (B, T), real where mask is true: logits (B, V) after the last token, state."""
        cache = transformers.DynamicCache(config=self.model.config)
        state = CausalState(cache, mask[:, :0], torch.zeros(len(tokens), dtype=torch.long, device=self.device))
        logits, state = self._forward(state, tokens, mask, last_only=True)
        return logits[:, -1], state

    def call(self, **inputs: Any) -> Any:
        """The model's own forward pass. Override it where another library runs the model."""
        return self.model(**inputs)

    def extend(self, state: CausalState, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        """Read tokens (B, T); padding is masked and takes no position."""
        return self._forward(state, tokens, mask, last_only=False)

    def select(self, state: CausalState, rows: torch.Tensor) -> CausalState:
        """Repeat or drop rows of the cache, and drop slots that no row uses any more."""
        state.cache.reorder_cache(rows)
        chosen = CausalState(state.cache, state.mask[rows], state.positions[rows])
        return _resized(chosen, _used(chosen.mask)) if self.can_join(chosen) else chosen

    def can_join(self, state: CausalState) -> bool:
        """Whether every layer of the cache holds keys and values of whole texts, or of a window at their end."""
        known = (transformers.cache_utils.DynamicLayer, transformers.cache_utils.DynamicSlidingWindowLayer)
        chunked = getattr(self.model.config.get_text_config(), "attention_chunk_size", None)
        return not chunked and all(type(layer) in known for layer in state.cache.layers)

    def join(self, state: CausalState, other: CausalState) -> CausalState:
        """Rows of both caches, aligned at their last token."""
        width = max(_used(state.mask), _used(other.mask))
        state, other = _resized(state, width), _resized(other, width)
        for own, added in zip(state.cache.layers, other.cache.layers, strict=True):
            if own.is_initialized:
                own.keys = torch.cat([own.keys, added.keys])
                own.values = torch.cat([own.values, added.values])
        masks, positions = zip((state.mask, state.positions), (other.mask, other.positions), strict=True)
        return CausalState(state.cache, torch.cat(masks), torch.cat(positions))

    def _forward(
        self, state: CausalState, tokens: torch.Tensor, mask: torch.Tensor, *, last_only: bool
    ) -> tuple[torch.Tensor, CausalState]:
        seen = torch.cat([state.mask, mask], dim=1)
        positions = (state.positions[:, None] + mask.cumsum(1) - 1).clamp(min=0)
        extra = {"logits_to_keep": 1} if last_only and self._keeps_last else {}
        output = self.call(
            input_ids=tokens,
            attention_mask=seen.long(),
            position_ids=positions,
            past_key_values=state.cache,
            use_cache=True,
            **extra,
        )
        if getattr(output, "past_key_values", None) is None:
            raise UserError(
                f"{type(unwrapped(self.model)).__name__} keeps nothing of what it has read",
                fix="Use a causal language model that transformers decodes with a cache, not an encoder such as BERT.",
            )
        following = state.positions + mask.sum(1)
        return output.logits.float(), CausalState(output.past_key_values, seen, following)


def _used(mask: torch.Tensor) -> int:
    """How many of the last slots hold a real token of some row (B, T)."""
    used = mask.any(0)
    return len(used) - int(used.int().argmax())


def _resized(state: CausalState, width: int) -> CausalState:
    """The state with its last `width` slots, or with empty ones before it; a window keeps one slot less than it has."""
    added = width - state.mask.shape[1]
    if not added:
        return state
    for layer in state.cache.layers:
        if not layer.is_initialized:  # it reads the keys of another layer
            continue
        held = min(width, layer.sliding_window - 1) if layer.is_sliding else width
        missing = (0, 0, held - layer.keys.shape[-2], 0)  # negative: slots are cut off
        layer.keys = torch.nn.functional.pad(layer.keys, missing)
        layer.values = torch.nn.functional.pad(layer.values, missing)
        if layer.is_sliding:
            layer.cumulative_length = width
    return CausalState(state.cache, torch.nn.functional.pad(state.mask, (added, 0)), state.positions)


def cached_bytes(config: Any, tokens: int, size: int) -> int:
    """The bytes of keys and values of so many tokens, each number of `size` bytes; 0 where the config does not say."""
    layers, heads = (getattr(config, name, None) for name in ("num_hidden_layers", "num_attention_heads"))
    if not layers or not heads:
        return 0
    width = (getattr(config, "head_dim", None) or config.hidden_size // heads) * (
        getattr(config, "num_key_value_heads", None) or heads
    )
    window = getattr(config, "sliding_window", None) or tokens
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
    lengths = {"full_attention": tokens, "sliding_attention": min(tokens, window)}
    return sum(2 * width * size * lengths.get(kind, 0) for kind in kinds)


def unwrapped(model: Any) -> Any:
    """The model beneath a PEFT wrapper, whose own `forward` hides the signature."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
