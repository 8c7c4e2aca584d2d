"""A copy of a policy's model to train, where the policy is one model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from harness.causal_policy import CausalPolicy
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.policy import Policy


def trainable_copy(start: Policy) -> Any:
    """The model of a start in float32, every weight of it open to training.

    Raises UserError where the start is more than one model, or a model that is edited while it runs.
    """
    # PEFT wraps a model whose adapter it cannot merge: saved, it would be the adapter without the trained weights
    if type(start) is not CausalPolicy or hasattr(start.model, "peft_config"):
        made = start.model if type(start) is CausalPolicy else start
        raise UserError(
            f"the start makes a {type(made).__name__}, and this method trains the weights of one model",
            fix="Choose a start that trains weights, such as sft or lora, or base.",
        )
    return copy.deepcopy(start.model).float().requires_grad_(True)
