"""A trained model as a folder beside its base: written, and read back as a policy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.base_model import BaseModel
from harness.causal_policy import CausalPolicy
from harness.lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")


def save_model(model: Any, base: BaseModel, out: Path) -> None:
    """Write a trained model as a folder that `transformers` reads, in the base's dtype; no tokenizer."""
    # the trainer changed this copy's (cache off, tokens aligned)
    model.config = copy.deepcopy(base.config)
    model.to(getattr(torch, base.spec.dtype)).save_pretrained(out)


def load_model(base: BaseModel, artifact: Path) -> CausalPolicy:
    """The model of such a folder, frozen, behind the base's chat template."""
    return CausalPolicy(BaseModel(base.spec, artifact).load().requires_grad_(False), base.encoder)
