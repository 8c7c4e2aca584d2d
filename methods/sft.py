"""Supervised fine-tuning: imitate the demonstrations with all weights (LIMA, Zhou et al. 2023, 2305.11206).

    loss = -(1/|R|) sum over r in R of log p(token_r | all before it),   R = answer tokens, end of turn

Defaults: learning rate and linear decay from LIMA; three epochs, 3 % warm-up and no weight decay from RFT's
scripts (Yuan et al. 2023, 2308.01825). Trains through TRL's SFTTrainer. A bfloat16 base is trained in float32
under bfloat16 autocast, and stored in bfloat16.

LIMA as published: 15 epochs, batch 32, weight decay .1, no warm-up, `final_rate: 0.1` (from 1e-5 down to 1e-6) and
`dropout: 0.3` on what blocks add to the residual stream, rising from 0 at the first block (0.2 for small models).
Its checkpoint was picked by hand, since perplexity rises while quality rises: nothing here stops early on a
loss unless `checkpoint` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.method import FitContext, FitReport, Input, Method, setting
from harness.records import TrainingData
from harness.training.checkpoints import BestPass, Rule, set_aside
from harness.training.labelled_rows import training_rows
from harness.training.loop import Optimisation, seed_everything, train
from harness.training.models import load_model, save_model
from harness.training.residual_dropout import residual_dropout

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Sft(Method):
    """All weights are trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    learning_rate: float = setting(1e-5, "peak value", search=(1e-6, 3e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(3, "passes over the demonstrations", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(16, "rows per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights but norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates with a rising rate", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    updates: int | None = setting(
        None, "updates in all, in place of epochs: the demonstrations repeat until then", least=1
    )
    final_rate: float = setting(0.0, "share of the learning rate that is left at the end; above 0: linear only")
    dropout: float = setting(0.0, "residual dropout of the last block, rising from 0 at the first", search=(0.0, 0.3))
    packing: bool = setting(False, "rows share a sequence, without padding; where the model keeps them apart")
    checkpoint: Rule = setting(
        "last", "which pass over the demonstrations is kept: see harness/training/checkpoints.py"
    )
    held_out: int = setting(50, "demonstrations that are set aside to choose a checkpoint by")
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")

    def check(self) -> None:
        """Rates must be rates, and a rate's end belongs to a straight line."""
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}", fix="It is 0 or more and below 1; LIMA has 0.3.")
        if not 0 <= self.final_rate < 1:
            raise UserError(f"final_rate is {self.final_rate}", fix="It is a share below 1; LIMA has 0.1.")
        if self.final_rate and self.schedule != "linear":
            raise UserError(f"final_rate with schedule {self.schedule!r}", fix="Use linear, or final_rate: 0.")

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a fresh copy of the base and write it as a model folder."""
        trained, held_out = set_aside(data.demonstrations, self.checkpoint, self.held_out)
        rows = training_rows(trained, base.encoder, self.max_length)
        seed_everything(context)
        model = base.load().float()
        best = BestPass(model, base.encoder, self.checkpoint, held_out)
        with residual_dropout(model, self.dropout):
            report = train(model, rows, base, Optimisation.of(self), context, each_pass=best.look)
        best.restore()
        save_model(model, base, out)
        return replace(report, notes={**report.notes, **best.notes})

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The fine-tuned model behind the base's chat template."""
        return load_model(base, artifact)
