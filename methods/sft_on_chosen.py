"""Fine-tuning on the chosen answers of preference pairs alone, the control of DPO.

    loss = -(1/|R|) sum over r in R of log p(token_r | all before it),   R = tokens of chosen answers, end of turn

The same start as `dpo` (by default sft) and the same pairs, without the rejected answers. A gain of DPO over this
method is due to contrast; the rest of its gain is due to more good answers. The authors of RFT (Yuan et al. 2023,
2308.01825) call training on right answers alone rejection sampling; here the answers are given.

Defaults are those of sft, except for one epoch as in dpo. Trains all weights through TRL's SFTTrainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.records import Demonstration, Message, TrainingData
from harness.training.labelled_rows import training_rows, untrainable
from harness.training.loop import Optimisation, Optimizer, Parallel, seed_everything, train
from harness.training.models import SavedIn, load_model, model_folder, save_model, trainable_copy
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class SftOnChosen(Method):
    """All weights are trained on the chosen answers, from a start."""

    needs = frozenset({"preferences"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    start: Method = setting(Sft(), "the method whose model is trained further")
    learning_rate: float = setting(1e-5, "peak value", search=(1e-6, 3e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(1, "passes over the pairs", search=(1, 5), least=1, quick=3)
    batch_size: int = setting(16, "chosen answers per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    parallel: Parallel | None = setting(None, "fsdp: several processes of this machine train it together")
    processes: int = setting(2, "their number, if `parallel` is set: one for each GPU", least=1)
    updates: int | None = setting(None, "total updates, instead of epochs; the pairs repeat as needed", least=1)
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact that training starts from."""
        return {"start": ArtifactSpec(self.start)}

    def check(self) -> None:
        """Check the start's own fields, and that the optimiser is installed."""
        Optimisation.of(self)
        self.start.check()

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Pairs whose chosen answer has no trained token."""
        return untrainable(_demonstrations(data), encoder, self.max_length)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        if not data.preferences:
            raise UserError(
                "there are no preference pairs to train on", fix="Name a set, such as `data: {preferences: NAME}`."
            )
        rows = training_rows(_demonstrations(data), base.encoder, self.max_length)
        model = trainable_copy(inputs["start"].load())
        seed_everything(context)
        report = train(model, rows, base, Optimisation.of(self), context)
        noted = save_model(model, base, out, self.saved_in)
        return replace(report, notes={**report.notes, **noted})

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained."""
        return Footprint(model.requires_grad_(True), policy=self.saved_in, per_pair=1, pieces=True)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The fine-tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)


def _demonstrations(data: TrainingData) -> list[Demonstration]:
    """Each pair's prompt with its chosen answer."""
    return [Demonstration((*pair.prompt, Message("assistant", pair.chosen)), pair.id) for pair in data.preferences]
