"""Steering: a direction of the hidden states is added at one block (Panickssery et al. 2023, 2312.06681, CAA).

    h <- h + strength v,   v = mean over pairs of ( mean of h over the chosen answer - mean over the rejected one )

h is the output of the block (the residual stream), read where the model reads the answer's tokens; answers of one
token, such as the paper's letters of a choice, give the paper's own vector. It is added at every position, in the
prompt too, and to each token while decoding; `prompt: false` leaves the prompt out, as in the paper. No weight changes
and nothing is optimised: a fit reads each pair once, and every seed gives the same vector.

`layer` is a number, counted from 0, or a share of the depth below 1. Defaults: 0.4 of the depth, since the paper's best
blocks are 13 of 32 and 14 of 40; strength 1, the middle of its positive range. Both are to be chosen on validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, Input, Method, setting
from harness.policy.batching import padded
from harness.policy.edited import EditedPolicy
from harness.policy.hidden_states import block_count, changed_outputs, decoder_blocks
from harness.records import PreferencePair, TrainingData
from harness.training.labelled_rows import IGNORED, TrainingRow, refusals
from methods._pairs import Pair, rows_of

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy

VECTOR = "steering.safetensors"


@dataclass(frozen=True)
class Steering(Method):
    """The mean difference of hidden states between chosen and rejected answers is added while the base runs."""

    needs = frozenset({"preferences"})
    trains = False
    depends_on_seed: ClassVar[bool] = False
    costs: ClassVar[bool] = True

    strength: float = setting(1.0, "multiple of the vector; 0 is the base", search=(0.0, 4.0), null=0.0, quick=8.0)
    layer: int | float = setting(0.4, "the edited block: its number, or a share of the depth", search=(0.1, 0.9))
    prompt: bool = setting(True, "edit the prompt's positions too", search=(False, True))
    max_length: int | None = setting(None, "longest prompt with answer, in tokens; none: the model's context")

    def check(self) -> None:
        """Refuse a layer that no model has."""
        if self.layer < 0 or (isinstance(self.layer, float) and self.layer >= 1):
            raise UserError(
                f"layer is {self.layer}", fix="Give the number of a block, counted from 0, or a share such as 0.4."
            )

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Pairs with an answer of which no token is left within the length."""

        def fault(pair: PreferencePair) -> str:
            _answers(pair, encoder, self.max_length)
            return ""

        return refusals(data.preferences, fault)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Read every pair and write strength times the mean difference."""
        from safetensors.torch import save_file

        layer = self.block_of(base.config)
        if not data.preferences:
            raise UserError("no preference pairs are given to read", fix="Name some under data: preferences.")
        rows = [row for pair in data.preferences for row in _answers(pair, base.encoder, self.max_length)]
        means = answer_means(base.policy().model, layer, rows, context)
        vector = (means[0::2] - means[1::2]).mean(0)
        save_file({f"block-{layer}": (self.strength * vector).float().contiguous()}, out / VECTOR)
        tokens = sum(len(row.input_ids) for row in rows)
        notes = {"block": layer, "norm": float(vector.norm()), "pairs": len(rows) // 2}
        return FitReport(trained_parameters=len(vector), training_tokens=tokens, notes=notes)

    def footprint(self, model: Any) -> None:
        """No weight is trained."""

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The shared base, whose block is edited while this policy runs it."""
        from safetensors.torch import load_file

        ((name, vector),) = load_file(artifact / VECTOR, base.spec.device).items()
        # copied out of the file's memory map, where alignment, and so the last bit, is arbitrary
        change = Added(vector.clone())
        policy = base.policy()
        return EditedPolicy(policy.model, base.encoder, {int(name.split("-")[1]): change}, prompts=self.prompt)

    def block_of(self, config: Any) -> int:
        """The number of the edited block. Raises UserError for one that the model does not have."""
        there = block_count(config)
        layer = int(self.layer * there) if isinstance(self.layer, float) else self.layer
        if layer >= there:
            raise UserError(
                f"layer {layer} is beyond the model, which has {there}", fix=f"Choose among 0 to {there - 1}."
            )
        return layer


class Added:
    """Adds a vector (d,) to every position; a vector of zeros leaves each bit as it is."""

    def __init__(self, vector: torch.Tensor) -> None:
        self.vector = vector

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """The hidden states (B, T, d) with the vector added, in their own dtype."""
        return hidden + self.vector.to(hidden.dtype)


def _answers(pair: PreferencePair, encoder: TextEncoder, max_length: int | None) -> Pair:
    """The rows of both answers, whose labels are those of the answer without its end of turn."""
    rows = rows_of(pair, encoder, max_length, end=False)
    if not all(row.labelled for row in rows):
        raise UserError(
            f"pair {pair.id} has an answer of which no token is left", fix="Remove it, or raise max_length."
        )
    return rows


def answer_means(model: Any, layer: int, rows: Sequence[TrainingRow], context: FitContext) -> torch.Tensor:
    """The mean hidden state (N, d) of each row's answer at the output of a block, in double precision.

    Rows are read by falling length; what comes after an answer, or pads a batch on its right, does not reach it.
    """
    order = sorted(range(len(rows)), key=lambda at: -len(rows[at].input_ids))
    device, seen, means = next(model.parameters()).device, list[Any](), dict[int, Any]()

    def kept(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden)
        return hidden

    with torch.inference_mode(), changed_outputs([(decoder_blocks(model)[layer], kept)]):
        for start in range(0, len(order), context.micro_batch):
            batch = order[start : start + context.micro_batch]
            tokens, mask = padded([rows[at].input_ids for at in batch], device)
            seen.clear()
            model(input_ids=tokens, attention_mask=mask.long(), use_cache=False)
            for row, at in enumerate(batch):
                columns = [column for column, label in enumerate(rows[at].labels) if label != IGNORED]
                means[at] = seen[0][row, columns].double().mean(0).cpu()
            context.progress(start + len(batch), len(order), "")
    return torch.stack([means[at] for at in range(len(rows))])
