"""Supervised fine-tuning of all weights on the demonstrations (Zhou et al. 2023, 2305.11206, LIMA).

    loss = -(1/|R|) sum over r in R of log p(token_r | all before it),   R = answer tokens, end of turn

Defaults: learning rate and linear decay from LIMA; three epochs, 3 % warm-up and no weight decay from RFT's
scripts (Yuan et al. 2023, 2308.01825). Trains through TRL's SFTTrainer. A bfloat16 base is trained in float32
under bfloat16 autocast, and stored in float32, since bfloat16 loses small updates; `saved_in: base` halves its memory.

LIMA as published: 15 epochs, batch 32, weight decay .1, no warm-up, `final_rate: 0.1` (from 1e-5 down to 1e-6) and
`dropout: 0.3` on what blocks add to the residual stream, rising from 0 at the first block (0.2 for small models).
The authors chose its checkpoint by hand, since perplexity rises while quality rises. Here nothing stops early on a
loss unless `checkpoint` says so.

Residual dropout: block l of L drops with rate `dropout` * l / (L - 1); see `_residual_dropout.py`.

Options, with equations in harness/training/objectives.py; none changes anything at its default:
`loss: dft` weights each token's loss by its probability (Wu et al. 2025, 2508.05629). `loss_on: all` trains on prompts
too, except turns that the data marks as not to be imitated, and `loss_on: {prompt: 0.1}` gives their tokens that weight
(Shi et al. 2024, 2405.14394; Huerta-Enochian and Ko 2024, 2401.13586, who find 0.01 to 0.5 useful). `neftune` adds
noise to embeddings (Jain et al. 2023, 2310.05914, who use 5, 10 and 15). `kl: {weight: 0.1}` adds the divergence of the
model from the base on the labelled tokens, KL(base || model): the quantity that forgetting follows (Shenfeld et al.
2025, 2509.04259), as in Learning without Forgetting (Li and Hoiem 2016, 1606.09282). `replay: {share: 0.05, data: SET}`
mixes rows of another set of demonstrations in, of which a share of 1 to 5 % is common (Scialom et al. 2022, 2205.12393;
Ibrahim et al. 2024, 2403.08763); it is searched for test items as the demonstrations are. `start` names a method whose
trained model is trained further, and `demonstrations: {data: SET}` trains on another set than the experiment's:
together they train a second time, on other rows. The experiment's axis of data sizes draws nothing from that set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.records import Demonstration, TrainingData
from harness.training.checkpoints import BestPass, Rule, set_aside
from harness.training.labelled_rows import LabelsOf, training_rows, untrainable
from harness.training.loop import Optimisation, Optimizer, Parallel, seed_everything, train
from harness.training.models import SavedIn, load_model, model_folder, save_model, trainable_copy
from harness.training.objectives import Objective, noisy_embeddings, plain_labels, weighted_labels
from methods._replay import checked_replay, checked_set, other_set, replayed
from methods._residual_dropout import residual_dropout
from methods.base import Base

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Sft(Method):
    """All weights are trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    learning_rate: float = setting(1e-5, "peak value", search=(1e-6, 3e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(3, "passes over the demonstrations", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(16, "rows per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    parallel: Parallel | None = setting(None, "fsdp: several processes of this machine train it together")
    processes: int = setting(2, "their number, if `parallel` is set: one for each GPU", least=1)
    updates: int | None = setting(
        None, "total updates, instead of epochs; the demonstrations repeat as needed", least=1
    )
    final_rate: float = setting(0.0, "final learning rate as a share of the peak; above 0: linear only")
    dropout: float = setting(0.0, "residual dropout of the last block, rising from 0 at the first", search=(0.0, 0.3))
    packing: bool = setting(False, "pack rows into sequences without padding, if the model keeps them apart")
    checkpoint: Rule = setting(
        "last", "the pass over the demonstrations that is kept; see harness/training/checkpoints.py"
    )
    held_out: int = setting(50, "demonstrations held out to choose a checkpoint")
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")
    loss: Literal["nll", "dft"] = setting("nll", "-log p of a token, or that times p as dynamic fine-tuning has it")
    loss_on: Literal["answers", "all"] | dict[str, float] = setting(
        "answers", "the tokens that are trained: answers, all, or {prompt: 0.1}, the weight of a prompt's tokens"
    )
    neftune: float = setting(0.0, "noise on embeddings in training; its authors use 5 to 15", least=0)
    replay: dict[str, Any] | None = setting(
        None, "{share: 0.05, data: SET}: the share of rows that come from another set", path=True
    )
    demonstrations: dict[str, Any] | None = setting(
        None, "{data: SET}: all rows of another set, instead of the experiment's demonstrations", path=True
    )
    kl: dict[str, float] | None = setting(None, "{weight: 0.1}: the weight of the divergence from the base")
    start: Method = setting(Base(), "the method whose model is trained further")

    def __post_init__(self) -> None:
        """Note the digests of rows of other sets, so that the content key holds them."""
        if self.replay:
            object.__setattr__(self, "replay", checked_replay(self.replay))
        if self.demonstrations:
            object.__setattr__(self, "demonstrations", checked_set(self.demonstrations))

    @property
    def trains_on_prompts(self) -> bool:
        """Whether `loss_on` gives the tokens of prompts a weight."""
        return self._labels() is not None

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact that training starts from, unless that is the base."""
        return {} if self.start == Base() else {"start": ArtifactSpec(self.start)}

    @property
    def search_ranges(self) -> Mapping[str, tuple[Any, ...]]:
        """Noise is searched where the experiment has some."""
        return {"neftune": (1.0, 15.0)} if self.neftune else {}

    def check(self) -> None:
        """Refuse shares outside [0, 1), a final rate without a linear schedule, and an optimiser that is not there."""
        Optimisation.of(self)
        self.start.check()
        self._check_loss()
        if self.parallel and self.checkpoint != "last":
            raise UserError(
                f"parallel: {self.parallel} with checkpoint: {self.checkpoint}, which asks the whole model",
                fix="Use checkpoint: last, or leave parallel out.",
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}", fix="Give 0 or more and less than 1; LIMA uses 0.3.")
        if not 0 <= self.final_rate < 1:
            raise UserError(f"final_rate is {self.final_rate}", fix="Give 0 or more and less than 1; LIMA uses 0.1.")
        if self.final_rate and self.schedule != "linear":
            raise UserError(f"final_rate with schedule {self.schedule!r}", fix="Use linear, or final_rate: 0.")

    def _check_loss(self) -> None:
        """Refuse weights that are not one number of 0 or more, and losses that packing or several processes exclude."""
        for name, given, key in (("loss_on", self.loss_on, "prompt"), ("kl", self.kl, "weight")):
            if isinstance(given, dict) and (set(given) != {key} or not given[key] >= 0):
                raise UserError(f"{name} is {given}", fix=f"Give 0 or more: {name}: {{{key}: 0.1}}")
        if self.neftune and self.packing:
            raise UserError("neftune with packing: its noise depends on the length of a row", fix="Leave one out.")
        if self.parallel and (self.neftune or self._objective(None)):
            raise UserError(
                f"parallel: {self.parallel} with neftune, kl, loss: dft or a weight in loss_on", fix="Leave one out."
            )

    def _objective(self, base: BaseModel | None) -> Objective | None:
        """The loss, where it is not the usual one; without a base it has no reference model."""
        kl, weighted = (self.kl or {}).get("weight", 0.0), self._labels() is weighted_labels
        if not (kl or weighted or self.loss == "dft"):
            return None
        weight = self.loss_on["prompt"] if isinstance(self.loss_on, dict) else 1.0
        return Objective(self.loss == "dft", weight, kl, base.policy().model if base and kl else None)

    def _labels(self) -> LabelsOf | None:
        if isinstance(self.loss_on, dict):
            return weighted_labels if self.loss_on["prompt"] else None
        return plain_labels if self.loss_on == "all" else None

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations without a trained token."""
        return untrainable(self._rows(data), encoder, self.max_length, self._labels())

    def _rows(self, data: TrainingData) -> tuple[Demonstration, ...]:
        """The demonstrations to train on: the experiment's, or all of the other set."""
        return other_set(self.demonstrations["data"])[0] if self.demonstrations else data.demonstrations

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a fresh copy of the base and write it as a model folder."""
        trained, held_out = set_aside(self._rows(data), self.checkpoint, self.held_out)
        again = replayed(self.replay, len(trained), context.seed)
        rows = training_rows((*trained, *again), base.encoder, self.max_length, prompts=self._labels())
        seed_everything(context)
        model = trainable_copy(inputs["start"].load()) if inputs else base.load().float()
        best = BestPass(model, base.encoder, self.checkpoint, held_out)
        with residual_dropout(model, self.dropout):
            report = train(
                model, rows, base, Optimisation.of(self), context, each_pass=best.look, **self._loss_for(model, base)
            )
        best.restore()
        noted = save_model(model, base, out, self.saved_in) | ({"replayed": len(again)} if again else {})
        return replace(report, notes={**report.notes, **best.notes, **noted})

    def _loss_for(self, model: Any, base: BaseModel) -> dict[str, Any]:
        """The arguments of `train` for another loss than the usual one."""
        found: dict[str, Any] = {}
        if self.neftune:
            found["around"] = partial(noisy_embeddings, model, self.neftune)
        if objective := self._objective(base):
            from methods._sft_trainer import WeightedTrainer

            found |= {"loss_of": objective, "trainer_class": WeightedTrainer}
        return found

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained; the base is read too where the loss has a divergence from it."""
        read = int(bool((self.kl or {}).get("weight")))
        return Footprint(model.requires_grad_(True), policy=self.saved_in, forwards=read, pieces=True)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The fine-tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)
