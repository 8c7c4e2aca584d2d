"""Rows of one update side by side in one sequence: no padding is computed, and no row sees another.

    tokens (1, T1 + T2 + ...),   positions 0..T1-1, 0..T2-1, ...

`transformers` keeps rows apart where positions start again, but not for every family and every attention. So
before anything is trained, two rows are read packed and alone; where their logits differ the model is refused.
An update's loss and gradient are those of the padded rows, but for rounding. It saves time on a GPU, not on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import LazyModule
from harness.training_rows import IGNORED

if TYPE_CHECKING:
    import torch
else:
    torch = LazyModule("torch")

# how far logits may lie apart, relative to the largest: rounding only
CLOSE = {True: 1e-3, False: 5e-2}


def pack(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Tensors (1, T) of rows, one after the other; each row's first token is read, never predicted."""
    packed: dict[str, list[int]] = {"input_ids": [], "labels": [], "position_ids": []}
    for row in rows:
        packed["input_ids"] += row["input_ids"]
        packed["labels"] += [IGNORED, *row["labels"][1:]]
        packed["position_ids"] += range(len(row["input_ids"]))
    return {name: torch.tensor([values]) for name, values in packed.items()}


def require_apart(model: Any, rows: Sequence[Sequence[int]]) -> None:
    """Raise UserError where the model, as it is loaded, lets packed rows (token ids) see one another."""
    if len(rows) < 2:
        return
    device = next(model.parameters()).device
    packed = pack([{"input_ids": list(ids), "labels": list(ids)} for ids in rows[:2]])
    was_training = model.training
    model.eval()
    with torch.no_grad():
        inputs = {name: packed[name].to(device) for name in ("input_ids", "position_ids")}
        together = model(**inputs, use_cache=False).logits[0, len(rows[0]) :].float()
        alone = model(input_ids=torch.tensor([list(rows[1])], device=device), use_cache=False).logits[0].float()
    model.train(was_training)
    close = CLOSE[next(model.parameters()).dtype is torch.float32]
    if (together - alone).abs().max() > close * alone.abs().max():
        raise UserError(
            f"{type(model).__name__} does not keep packed rows apart", fix="Set packing to false for this model."
        )
