"""A trained model as a folder: written, and loaded as a policy."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.base_model import BaseModel
from harness.policy.causal import CausalPolicy
from harness.training.parallel import first_process

if TYPE_CHECKING:
    from harness.policy.policy import Policy


def save_model(model: Any, base: BaseModel, out: Path) -> None:
    """Write a trained model as a folder that `transformers` reads, in the base's dtype, without a tokenizer.

    Of several processes the first has the whole model and writes it.
    """
    if not first_process():
        return
    # the trainer changed the copy's config (cache off, tokens aligned)
    model.config = copy.deepcopy(base.config)
    model.to(getattr(torch, base.spec.dtype)).save_pretrained(out)


def load_model(base: BaseModel, artifact: Path) -> CausalPolicy:
    """The frozen model of such a folder, with the base's chat template."""
    return CausalPolicy(BaseModel(base.spec, artifact).load().requires_grad_(False), base.encoder)


def trainable_copy(start: Policy) -> Any:
    """A copy of the start's model in float32, with every weight trainable.

    Raises UserError where the start is not one plain model: several models, or one that is edited while it runs.
    """
    # PEFT wraps a model whose adapter it cannot merge; saving that would write the adapter without the trained weights
    if type(start) is not CausalPolicy or hasattr(start.model, "peft_config"):
        made = start.model if type(start) is CausalPolicy else start
        raise UserError(
            f"the start makes a {type(made).__name__}, and this method trains the weights of one model",
            fix="Choose a start that trains weights, such as sft or lora, or base.",
        )
    return copy.deepcopy(start.model).float().requires_grad_(True)
