"""Digests of the objects that all cells of a base share (tokenizer, encoder, model): they show a change."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.lazy import torch

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder

PASSING = {"deprecation_warnings", "verbose", "_in_target_context_manager"}  # fields that use alone changes
SETTINGS = '"added_tokens"'  # in a tokenizer's text, truncation and padding come before it: each call sets them


def tokenizer_state(tokenizer: Any) -> str:
    """Digest of a `transformers` tokenizer: vocabulary, rules and settings."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    text = str(backend.to_str()) if backend else repr(sorted(tokenizer.get_vocab().items()))
    return _digest([text[text.find(SETTINGS) :], *_plain_fields(tokenizer, PASSING)])


def encoder_state(encoder: TextEncoder) -> str:
    """Digest of an encoder's own fields, without what it derives from them."""
    return _digest([*_plain_fields(encoder, ()), *_plain_fields(encoder.chat, ())])


def model_state(model: Any) -> str:
    """Digest of a loaded model's weights, by norm and count of changes in place, and of its mode and hooks."""
    parts = [f"{model.training}"]
    for module in model.modules():
        parts.append(f"{len(module._forward_hooks)} {len(module._forward_pre_hooks)}")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            norm = float(torch.linalg.vector_norm(weight, dtype=torch.float32))
            parts.append(f"{name} {weight.data_ptr()} {weight._version} {norm!r} {weight.requires_grad}")
    return _digest(parts)


def _plain_fields(value: Any, passing: Any) -> list[str]:
    """The object's fields; of one that is not plain data only the type, since its text may hold an address."""
    derived = {name for name in vars(value) if isinstance(getattr(type(value), name, None), cached_property)}
    plain = (str, int, float, bool, tuple, list, dict, type(None))
    return [
        f"{name}={field!r}" if isinstance(field, plain) else f"{name}: {type(field).__name__}"
        for name, field in sorted(vars(value).items())
        if name not in derived and name not in passing
    ]


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
