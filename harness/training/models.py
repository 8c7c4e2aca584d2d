"""A trained model as a folder: written, and loaded as a policy."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch
from harness.method import PlainWeights
from harness.policy.base_model import BaseModel
from harness.policy.causal import CausalPolicy
from harness.training.parallel import first_process

if TYPE_CHECKING:
    from harness.policy.policy import Policy


SavedIn = Literal["float32", "base"]
"""The precision of a trained model on the disk and when loaded. In bfloat16 a small update is lost in rounding:
tests/performance/test_saved_rounding.py prints how much of it."""


def save_model(model: Any, base: BaseModel, out: Path, saved_in: SavedIn = "base") -> dict[str, str]:
    """Write a trained model as a folder that `transformers` reads, without a tokenizer.

    Of several processes the first has the whole model and writes it.

    saved_in  the precision. Returns what the report notes of it: nothing, where the base is in float32.
    """
    dtype = base.spec.dtype if saved_in == "base" else "float32"
    noted: dict[str, str] = {} if base.spec.dtype == "float32" else {"saved_in": dtype}
    if not first_process():
        return noted
    # the trainer changed the copy's config (cache off, tokens aligned)
    model.config = copy.deepcopy(base.config)
    model.to(getattr(torch, dtype)).save_pretrained(out)
    return noted


def load_model(base: BaseModel, artifact: Path, saved_in: SavedIn = "base") -> CausalPolicy:
    """The frozen model of such a folder, with the base's chat template."""
    spec = base.spec if saved_in == "base" else replace(base.spec, dtype="float32")
    return CausalPolicy(BaseModel(spec, artifact).load().requires_grad_(False), base.encoder)


def model_folder(saved_in: SavedIn, dtype: str) -> PlainWeights | str:
    """The files that a backend loads of a saved model on a base of that dtype, or why it cannot."""
    if saved_in == "float32" != dtype:
        return "it is saved in float32; with saved_in: base a backend loads it, and small updates are lost"
    return PlainWeights("artifact")


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
