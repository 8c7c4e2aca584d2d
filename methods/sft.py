"""Supervised fine-tuning: imitate the demonstrations with all weights (LIMA, Zhou et al. 2023, 2305.11206).

    loss = -(1/|R|) sum over r in R of log p(token_r | all before it),   R = answer tokens, end of turn

Defaults: learning rate and linear decay from LIMA; three epochs, 3 % warm-up and no weight decay from RFT's
scripts (Yuan et al. 2023, 2308.01825). LIMA trained for 15 epochs and picked a checkpoint by hand, since
perplexity rises while quality rises: nothing here stops early on a loss. Trains through TRL's SFTTrainer.
A bfloat16 base is trained in float32 under bfloat16 autocast, and stored in bfloat16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.base_model import BaseModel
from harness.causal_policy import CausalPolicy
from harness.data.records import TrainingData
from harness.method import FitContext, FitReport, Input, Method, setting
from harness.training import Optimisation, save_model, seed_everything, train, training_rows

if TYPE_CHECKING:
    from harness.policy import Policy


@dataclass(frozen=True)
class Sft(Method):
    """All weights are trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    learning_rate: float = setting(1e-5, "peak learning rate of AdamW", search=(1e-6, 3e-3), log=True)
    epochs: int = setting(3, "passes over the demonstrations", search=(1, 15))
    batch_size: int = setting(16, "rows per update", search=(8, 16, 32, 64))
    weight_decay: float = setting(0.0, "decay of all weights but norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates with a rising rate", search=(0.0, 0.1))
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    updates: int | None = setting(None, "updates in all, in place of epochs: the demonstrations repeat until then")
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a fresh copy of the base and write it as a model folder."""
        rows = training_rows(data.demonstrations, base.encoder, self.max_length)
        seed_everything(context)
        model = base.load().float()
        report = train(model, rows, base, Optimisation.of(self), context)
        save_model(model, base, out)
        return report

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The fine-tuned model behind the base's chat template."""
        return CausalPolicy(BaseModel(base.spec, artifact).load().requires_grad_(False), base.encoder)
