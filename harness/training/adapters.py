"""PEFT adapters: training one, writing it, and loading a model with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.method import FitContext, FitReport, Method
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation, require_bitsandbytes, require_trained_end, seed_everything, train
from harness.training.parallel import first_process

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel, Quantized
    from harness.records import Demonstration
    from harness.training.trl import LossOf


MergedIn = Literal["float32", "base"]
"""The precision of a loaded model with an adapter. In bfloat16 a small update is lost in the rounding of weights and
activations: tests/performance/test_lora_rounding.py prints how much of it."""


def require_quantizable(quantized: Quantized | None, merged_in: MergedIn, parallel: str | None) -> None:
    """Raise UserError where a frozen base in 4 bits cannot be had, or another setting contradicts it."""
    if quantized is None:
        return
    require_bitsandbytes(f"quantized is {quantized}", "leave quantized out")
    if merged_in != "float32":
        raise UserError(
            f"merged_in: {merged_in} with quantized: {quantized}, which is not merged into anything",
            fix="Leave one of them out: merged_in saves memory in answering, quantized in training too.",
        )
    if parallel:
        raise UserError(
            f"parallel: {parallel} with quantized: {quantized}, whose weights cannot be divided among processes",
            fix="Leave one of them out.",
        )


def fit_adapter(
    method: Method,
    config: Any,
    base: BaseModel,
    demonstrations: Sequence[Demonstration],
    out: Path,
    context: FitContext,
    *,
    max_length: int | None = None,
    loss_of: LossOf | None = None,
    merged_in: MergedIn | None = None,
    quantized: Quantized | None = None,
) -> FitReport:
    """Train the adapter of a PEFT configuration on a frozen copy of the base, and write only the adapter.

    method     its fields configure the optimisation
    loss_of    as for `train`
    merged_in  as for `adapted_copy`: noted in the report, unless the base is in float32
    quantized  the frozen copy is in 4 bits: noted too

    Raises UserError where the adapter does not fit the model.
    """
    import peft

    rows = training_rows(demonstrations, base.encoder, max_length)
    model = base.load(quantized)
    require_trained_end(model, base.encoder)
    seed_everything(context)
    try:
        adapted = peft.get_peft_model(model, config)
    except (ValueError, NotImplementedError) as error:
        raise UserError(
            f"PEFT cannot put this adapter on the model: {' '.join(str(error).split())}",
            where=base.spec.name,
            fix="Name layers that the model has as the adapter's targets, or change its settings.",
        ) from error
    report = train(adapted, rows, base, Optimisation.of(method), context, loss_of=loss_of)
    save_adapter(adapted, out)
    if quantized:
        return replace(report, notes={**report.notes, "frozen_in": quantized})
    if merged_in is None or base.spec.dtype == "float32":
        return report
    return replace(report, notes={**report.notes, "merged_in": merged_in.replace("base", base.spec.dtype)})


def save_adapter(model: Any, out: Path) -> None:
    """Write a PEFT adapter without paths of this machine, in an order that does not depend on hashes.

    Of several processes the first has the whole adapter and writes it.
    """
    if not first_process():
        return
    import peft
    from safetensors.torch import save_file

    weights = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    # copies: some adapters use one tensor under several names
    save_file({name: part.contiguous().clone() for name, part in weights.items()}, out / "adapter_model.safetensors")
    config = model.peft_config["default"].to_dict() | {"base_model_name_or_path": "", "inference_mode": True}
    if "tokenizer_name_or_path" in config:
        config["tokenizer_name_or_path"] = None
    # sets become sorted lists
    (out / "adapter_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True, default=sorted) + "\n", "utf-8"
    )


def adapted_copy(base: BaseModel, artifact: Path, merged_in: MergedIn, quantized: Quantized | None = None) -> Any:
    """A frozen copy of the base with a written adapter, merged into its weights where PEFT can do that.

    merged_in  float32: the copy is in float32 too, whatever the base's dtype
    quantized  the copy is in 4 bits as in training, and not merged: 4 bits would round the update away
    """
    import peft

    def adapted() -> Any:
        model = base.load(quantized)
        if quantized:
            return peft.PeftModel.from_pretrained(model, str(artifact))
        return peft.PeftModel.from_pretrained(model.float() if merged_in == "float32" else model, str(artifact))

    if quantized:
        return adapted().requires_grad_(False)
    try:
        return adapted().merge_and_unload().requires_grad_(False)
    except (NotImplementedError, AttributeError, ValueError):
        # the failed attempt may have changed weights
        return adapted().requires_grad_(False)
