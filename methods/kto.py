"""KTO: good answers become likelier and bad ones less likely, each judged alone (Ethayarajh et al. 2024, 2402.01306).

    loss = mean of  d (1 - sigmoid(beta (h - z)))  over good answers and  u (1 - sigmoid(beta (z - h)))  over bad ones
    h = log p(answer | prompt) - log p_start(answer | prompt),  d = `desirable`,  u = `undesirable`   (eq. 7 and 8)
    z = max(0, mean of h over the update's prompts, each with the answer that belongs to the next one), without gradient

Log-probabilities are summed over the answer's tokens and its end of turn. The start, by default sft, is both the
initial model and the reference model. Answers are judged one by one: rows with a `label`, or preference pairs, each of
which is a good and a bad answer. Both labels must occur.

Defaults: beta 0.1, weights of 1 and learning rate 5e-6 as in the paper, which advises a batch of 8 to 128 and, where
one label is rare, weights with which d times the good answers is 1 to 1.5 times u times the bad ones; the rest is
dpo's. Trains all weights through TRL's DPOTrainer, with the loss of its KTOTrainer computed here: TRL takes z over a
micro-batch and not over the update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.records import JudgedAnswer, TrainingData
from harness.training.labelled_rows import TrainingRow, answer_row, refusals
from harness.training.loop import Optimisation, Optimizer, data_order, seed_everything, sorted_within_batches
from harness.training.models import SavedIn, load_model, model_folder, save_model, trainable_copy
from methods._pairs import NOTHING_LEFT, collate_pairs, train_on_pairs
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Kto(Method):
    """All weights are trained on judged answers, from a start that remains the reference model."""

    needs = frozenset({"judged"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    start: Method = setting(Sft(), "the method whose model is trained further and is the reference model")
    beta: float = setting(0.1, "strength of the KL penalty towards the start", search=(0.01, 1.0), log=True)
    desirable: float = setting(1.0, "weight of good answers", search=(0.5, 2.0), log=True, least=0)
    undesirable: float = setting(1.0, "weight of bad answers", search=(0.5, 2.0), log=True, least=0)
    learning_rate: float = setting(5e-6, "peak value", search=(1e-7, 1e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(1, "passes over the answers", search=(1, 5), least=1, quick=3)
    batch_size: int = setting(64, "answers per update", search=(16, 32, 64, 128), least=2, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.1, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting(
        "constant_with_warmup", "course of the learning rate", search=("constant_with_warmup", "linear", "cosine")
    )
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    max_length: int | None = setting(None, "longest prompt with answer, in tokens; none: the model's context")
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact that training starts from."""
        return {"start": ArtifactSpec(self.start)}

    def check(self) -> None:
        """Refuse values for which the loss is not defined, and an optimiser that is not installed."""
        Optimisation.of(self)
        self.start.check()
        if self.beta <= 0:
            raise UserError(f"beta is {self.beta}", fix="Give a positive number, such as 0.1.")
        if not self.desirable + self.undesirable:
            raise UserError("desirable and undesirable are 0", fix="Give one of them a weight, such as 1.")

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Answers without a token within max_length."""
        return refusals(data.judged, lambda one: "" if self._row(one, one, encoder).labelled else NOTHING_LEFT)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        from methods._kto_trainer import KtoTrainer

        if len({one.good for one in data.judged}) < 2:
            raise UserError(
                "the judged answers do not have both labels",
                fix="Give good and bad ones, such as `data: {judged: FILE}` with rows that have a label.",
            )
        rows = [self._row(one, one, base.encoder) for one in data.judged]
        if lost := sum(not row.labelled for row in rows):
            raise UserError(f"{lost} judged answers have {NOTHING_LEFT}", fix="Remove them, or raise max_length.")
        model = trainable_copy(inputs["start"].load())
        seed_everything(context)
        lengths = [len(row.input_ids) for row in rows]
        order = sorted_within_batches(data_order(len(rows), self.epochs, context.seed), lengths, self.batch_size)
        elsewhere = [
            self._row(data.judged[at], data.judged[after], base.encoder)
            for at, after in zip(order, [*order[1:], order[0]], strict=True)
        ]
        good = [data.judged[at].good for at in order]
        # the trainer and the collation of pairs: here an answer, and the one that z is estimated with
        pairs = list(zip([rows[at] for at in order], elsewhere, strict=True))
        own = {"trainer_class": KtoTrainer, "loss": judged_loss, "collated": collate_judged}
        curve = train_on_pairs(self, model, pairs, base, context, good=good, **own)
        noted = save_model(model, base, out, self.saved_in)
        counts = {"rows": len(rows), "rows_good": sum(one.good for one in data.judged)}
        return FitReport(
            trained_parameters=sum(weight.numel() for weight in model.parameters()),
            training_tokens=sum(lengths[index] for index in order),
            notes={**counts, "loss": curve, **noted},
        )

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained; the start reads every row and its mismatched one, which the model reads too."""
        return Footprint(model.requires_grad_(True), policy=self.saved_in, forwards=3)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)

    def _row(self, asked: JudgedAnswer, answered: JudgedAnswer, encoder: TextEncoder) -> TrainingRow:
        """The prompt of one with the answer of another."""
        return answer_row(asked.messages[:-1], answered.messages[-1].content, encoder, self.max_length)


def collate_judged(rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """The tensors of `collate_pairs`, and which answers (B,) are good."""
    return {**collate_pairs(rows), "good": torch.tensor([bool(row["good"]) for row in rows])}


def judged_losses(settings: Kto, gained: torch.Tensor, good: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """The losses (B,) of answers, given h (B,), whether each is good (B,), and z."""
    towards = torch.where(good, gained - shift, shift - gained)
    weights = torch.where(good, settings.desirable, settings.undesirable)
    return weights * (1 - torch.sigmoid(settings.beta * towards))


def judged_loss(settings: Kto, model: Any, inputs: Any, answers: Any) -> torch.Tensor:
    """The mean loss over the answers of the whole update, of which this batch of `collate_judged` is a part."""
    from methods._kto_trainer import half_logprobs

    gained = half_logprobs(model, inputs, 0) - inputs["start"].chunk(2)[0]
    return judged_losses(settings, gained, inputs["good"], inputs["shift"]).sum() / answers
