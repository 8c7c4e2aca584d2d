"""Digests of the objects that all cells of a base share (configuration, tokenizer, encoder, model)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
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
    """Digest of a loaded model: its weights, by norm and count of changes in place, its modules and its settings."""
    parts = [f"{model.training}", *(f"{settings}" for settings in _settings_of(model))]
    for name, module in model.named_modules():
        own = "forward" in vars(module)  # another function in place of the class's own
        parts.append(f"{name} {type(module).__qualname__} {own} {module.training}")
        parts.append(f"{len(module._forward_hooks)} {len(module._forward_pre_hooks)}")
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            real = tensor if tensor.is_floating_point() else tensor.float()
            norm = float(torch.linalg.vector_norm(real, dtype=torch.float32))
            parts.append(f"{name} {tensor.data_ptr()} {tensor._version} {norm!r} {tensor.requires_grad}")
    return _digest(parts)


def policy_state(policy: Any) -> str:
    """Digest of the shared policy's own fields, without those that the engine sets."""
    return _digest([model_state(policy.model), *_plain_fields(policy, {"max_rows", "digest", "base"})])


def config_state(config: Any) -> str:
    """Digest of a `transformers` configuration."""
    return _digest([config.to_json_string(use_diff=False)])


def _settings_of(model: Any) -> Iterator[str]:
    """The model's configuration and its settings for generation."""
    for settings in (model.config, getattr(model, "generation_config", None)):
        if settings is not None:
            yield settings.to_json_string(use_diff=False)


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
