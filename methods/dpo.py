"""DPO: chosen answers become likelier than rejected ones, relative to a start (Rafailov et al. 2023, 2305.18290).

    loss = -log sigmoid(beta (h_w - h_l)),   h = log p(answer | prompt) - log p_start(answer | prompt)

Log-probabilities are summed over the answer's tokens and its end of turn. The start, by default sft, is both the
initial model and the reference model, so the first loss is log 2. Its log-probabilities are computed before training,
and no second model is in memory.
Options: `loss` takes ipo, robust, sigmoid_norm, apo_zero, apo_down, simpo or orpo, whose equations and papers are in
`_dpo_losses.py`; `label_smoothing` e gives -(1 - e) log sigmoid(z) - e log sigmoid(-z) (the authors' code);
`mask_termination` leaves the end of turn out of both answers, and `nll` adds that multiple of the chosen answer's mean
-log p, both as in Llama 3 (2407.21783), which uses 0.2. simpo and orpo read no reference model, and orpo trains the
base itself. A field that the loss does not read is refused, and each loss has search ranges of its own.

Defaults: beta 0.1, batch 64 and one epoch as in the authors' code, learning rate 1e-6 after a warm-up as in the
paper's appendix; the optimiser is AdamW, where the authors used RMSprop. 0.1 is also the beta of APO's and ORPO's
authors; those of SimPO use 2 to 10 and advise a gamma of half of it, and Tulu 3 uses 5 with sigmoid_norm. Trains all
weights through TRL's DPOTrainer, on rows that are tokenised here, since TRL's tokenisation could move the boundary
between prompt and answer. The loss is also computed here: TRL's depends on the micro-batch, lacks label smoothing and
averages IPO over tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.records import TrainingData
from harness.training.labelled_rows import IGNORED
from harness.training.loop import (
    Optimisation,
    Optimizer,
    data_order,
    require_trained_end,
    seed_everything,
    sorted_within_batches,
)
from harness.training.models import SavedIn, load_model, model_folder, save_model, trainable_copy
from methods._dpo_losses import LOSSES, pair_losses
from methods._pairs import Pair, cut_pairs, preference_rows, refused_pairs, train_on_pairs
from methods.base import Base
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Dpo(Method):
    """All weights are trained on preference pairs, from a start that remains the reference model."""

    needs = frozenset({"preferences"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    start: Method = setting(Sft(), "the method whose model is trained further and is the reference model")
    beta: float = setting(
        0.1, "strength of the KL penalty towards the start; orpo: weight of the odds", search=(0.01, 5.0), log=True
    )
    loss: Literal["sigmoid", "ipo", "robust", "sigmoid_norm", "apo_zero", "apo_down", "simpo", "orpo"] = setting(
        "sigmoid", "the loss of a pair; see methods/_dpo_losses.py", search=("sigmoid", "ipo")
    )
    gamma: float | None = setting(
        None, "simpo: by how much beta times the mean log p of a chosen answer should lead; none: half of beta", least=0
    )
    label_smoothing: float = setting(0.0, "assumed share of wrongly labelled pairs", search=(0.0, 0.3))
    nll: float = setting(0.0, "weight of the chosen answer's mean -log p", search=(0.0, 1.0))
    mask_termination: bool = setting(False, "leave the end of turn out of the loss", search=(False, True))
    learning_rate: float = setting(1e-6, "peak value", search=(1e-7, 1e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(1, "passes over the pairs", search=(1, 5), least=1, quick=3)
    batch_size: int = setting(64, "pairs per update", search=(8, 16, 32, 64, 128), least=1, quick=8)
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
        if not 0 <= self.label_smoothing < 0.5:
            raise UserError(
                f"label_smoothing is {self.label_smoothing}", fix="Give 0 or more and less than 0.5, such as 0.1."
            )
        self._check_loss()

    def _check_loss(self) -> None:
        """Refuse fields that the loss does not read, and values that belong to another loss."""
        own = LOSSES[self.loss]
        for name in ("gamma", "label_smoothing", "nll"):
            if getattr(self, name) and name not in own.uses:
                users = " or ".join(loss for loss, one in LOSSES.items() if name in one.uses)
                raise UserError(
                    f"{name} is {getattr(self, name)}, which loss: {self.loss} does not read",
                    fix=f"Leave out {name}, or use loss: {users}.",
                )
        if self.beta < own.least_beta:
            raise UserError(
                f"beta is {self.beta} with loss: {self.loss}, where it multiplies means over tokens",
                fix=f"Give {own.least_beta:g} or more; the authors of simpo use 2 to 10, those of sigmoid_norm 5.",
            )
        if self.loss == "robust" and not self.label_smoothing:
            raise UserError(
                "loss: robust with label_smoothing 0 is sigmoid",
                fix="Give the share of pairs that are labelled wrongly, such as label_smoothing: 0.1.",
            )
        if self.loss == "orpo" and self.start != Base():
            raise UserError("loss: orpo trains the base itself, and start is another method", fix="Write start: base.")

    @property
    def search_ranges(self) -> Mapping[str, tuple[Any, ...] | None]:
        """The ranges that the loss gives to fields; None for one that it does not read."""
        unused = {"gamma", "label_smoothing", "nll"} - LOSSES[self.loss].uses
        return {**dict.fromkeys(unused, None), **dict(LOSSES[self.loss].ranges)}

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Pairs without a token of an answer, and pairs of equal answers."""
        return refused_pairs(data.preferences, encoder, self.max_length, end=not self.mask_termination)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        pairs = preference_rows(data.preferences, base.encoder, self.max_length, end=not self.mask_termination)
        model = trainable_copy(inputs["start"].load())
        if self.mask_termination:
            require_trained_end(model, base.encoder)
        seed_everything(context)
        lengths = [len(chosen.input_ids) + len(rejected.input_ids) for chosen, rejected in pairs]
        order = sorted_within_batches(data_order(len(pairs), self.epochs, context.seed), lengths, self.batch_size)
        curve = self._train(model, [pairs[index] for index in order], base, context)
        noted = save_model(model, base, out, self.saved_in)
        return FitReport(
            trained_parameters=sum(weight.numel() for weight in model.parameters()),
            training_tokens=sum(lengths[index] for index in order),
            notes={"rows": len(pairs), "rows_truncated": cut_pairs(pairs, base.encoder), "loss": curve, **noted},
        )

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained; the start's log-probabilities are computed once, where the loss reads them."""
        read = int(LOSSES[self.loss].reference)
        return Footprint(model.requires_grad_(True), policy=self.saved_in, forwards=read)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)

    def _train(
        self, model: Any, pairs: Sequence[Pair], base: BaseModel, context: FitContext
    ) -> list[tuple[int, float]]:
        from methods._dpo_trainer import DpoTrainer

        # a loss without a reference model needs no log-probabilities of the start
        known = {} if LOSSES[self.loss].reference else {"start_logprobs": [[0.0, 0.0]] * len(pairs)}
        return train_on_pairs(self, model, pairs, base, context, trainer_class=DpoTrainer, loss=pair_loss, **known)


def pair_loss(settings: Dpo, model: Any, inputs: Any, pairs: Any) -> torch.Tensor:
    """The mean loss over the pairs of the whole update, of which this batch of `collate_pairs` is a part."""
    from methods._dpo_trainer import answer_logprobs

    tokens = (inputs["answers"] != IGNORED).sum(1)
    return pair_losses(settings, answer_logprobs(model, inputs), inputs["start"], tokens).sum() / pairs
