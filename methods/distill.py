"""On-policy distillation: the model's own answers, towards what a teacher would say (Agarwal et al. 2023, 2306.13649).

    loss = mean over tokens of KL(p || q),   p the model's distribution, q the teacher's, after the model's own tokens

The reverse divergence on the model's own answers is that of MiniLLM too (Gu et al. 2023, 2306.08543), without its
estimate of what follows a token. `divergence: generalised` takes GKD's between both directions, with `between` b: 0 is
KL(q || p), 1 the reverse one (harness/training/on_policy.py). With `on_policy` below 1 that share of the answers is the
model's own, and the others are those of the demonstrations. The teacher is another method on the same base, by default
sft, which may have a prompt of its own (`prompting`: the context is distilled into the weights), or the model of a
folder, `teacher_model`, which must have the base's tokenizer. Answers to the last turn of each demonstration are drawn.

Defaults: temperature 1 and answers of the model alone, GKD's purely on-policy setting; the optimisation is that of sft,
with one pass. Trains all weights through TRL's SFTTrainer; the divergences are tested against those of its GKDTrainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.records import TrainingData
from harness.training.loop import Optimisation, Optimizer, seed_everything
from harness.training.models import SavedIn, load_model, model_folder, trainable_copy
from harness.training.on_policy import Answers, asked_of, too_long_answers
from methods._distillation import fit_towards
from methods.base import Base
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


@dataclass(frozen=True)
class Distill(Method):
    """All weights are trained on the model's own answers, towards the distributions of a teacher."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    teacher: Method = setting(Sft(), "the method whose policy is the teacher, if `teacher_model` is empty")
    teacher_model: str = setting("", "the folder of a model with the base's tokenizer, as the teacher", folder=True)
    start: Method = setting(Base(), "the method whose model is trained further")
    divergence: Literal["reverse_kl", "generalised"] = setting("reverse_kl", "reverse, or GKD's between both")
    between: float = setting(0.5, "generalised: 0 is KL(teacher || model), 1 the reverse one")
    on_policy: float = setting(1.0, "share of answers that the model draws; the others are the demonstrations'")
    temperature: float = setting(1.0, "sampling temperature", search=(0.7, 1.2))
    max_new_tokens: int = setting(256, "longest sampled answer in tokens", least=1, quick=6)
    learning_rate: float = setting(1e-5, "peak value", search=(1e-7, 1e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(1, "passes over the prompts", search=(1, 5), least=1, quick=3)
    batch_size: int = setting(16, "answers per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    updates: int | None = setting(None, "total updates, instead of epochs; the prompts repeat as needed", least=1)
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")

    @property
    def search_ranges(self) -> Mapping[str, tuple[Any, ...]]:
        """Where the divergence is generalised, what it is between."""
        return {"between": (0.1, 0.9)} if self.divergence == "generalised" else {}

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of the teacher and of what training starts from, where they are methods."""
        found = {} if self.teacher_model else {"teacher": ArtifactSpec(self.teacher)}
        return found if self.start == Base() else {**found, "start": ArtifactSpec(self.start)}

    def check(self) -> None:
        """Refuse shares outside 0 to 1, fields that the divergence does not read, and two teachers."""
        Optimisation.of(self)
        self.teacher.check()
        self.start.check()
        for name in ("between", "on_policy"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}", fix="Give a number from 0 to 1.")
        if self.divergence == "reverse_kl" and self.between != 0.5:
            raise UserError(
                f"between is {self.between}, which divergence: reverse_kl does not read",
                fix="Leave it out, or use divergence: generalised.",
            )
        if self.teacher_model and self.teacher != Sft():
            raise UserError("teacher and teacher_model are both given", fix="Leave one of them out.")
        if self.temperature <= 0:
            raise UserError(f"temperature is {self.temperature}", fix="Give more than 0, such as 1.")

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations whose prompt leaves no room for an answer."""
        return too_long_answers(data.demonstrations, encoder, self.max_new_tokens)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        teacher = self._teacher(base, inputs)
        start = inputs["start"].load() if "start" in inputs else base.policy()
        sampling = Sampling(self.max_new_tokens, self.temperature, seed=context.seed, salt="distill")
        asked = [
            asked_of(one, base.policy(), teacher, Prompt(messages=one.messages[:-1]), sampling)
            for one in data.demonstrations
        ]
        if not asked:
            raise UserError("no demonstrations are given to ask", fix="Name some under data: demonstrations.")
        model = trainable_copy(start)
        seed_everything(context)
        answers = Answers(asked, base.encoder, sampling, self.on_policy)
        between = 1.0 if self.divergence == "reverse_kl" else self.between
        return fit_towards(self, model, teacher.model, answers, base, out, context, between=between)

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained; a teacher of the base's size is held and reads every answer."""
        own = {"further": 1, "forwards": 1, "sampled": (1, self.max_new_tokens)}
        return Footprint(model.requires_grad_(True), policy=self.saved_in, **own)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The trained model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)

    def _teacher(self, base: BaseModel, inputs: Mapping[str, Input]) -> CausalPolicy:
        """The teacher. Raises UserError where its tokens are others, or where it is more than a model and a prompt."""
        if self.teacher_model:
            spec = BaseSpec(self.teacher_model, dtype=base.spec.dtype, device=base.spec.device)
            made = BaseModel(spec, Path(self.teacher_model).expanduser())
            if made.tokenizer.get_vocab() != base.tokenizer.get_vocab():
                raise UserError(
                    f"the teacher {self.teacher_model} has another tokenizer than the base",
                    fix="Choose a larger model of the base's family.",
                )
            return CausalPolicy(made.policy().model, made.encoder)
        found = inputs["teacher"].load()
        plain = all(getattr(type(found), name, 0) is getattr(CausalPolicy, name) for name in ("prefill", "extend"))
        if not isinstance(found, CausalPolicy) or not plain:
            raise UserError(
                f"the teacher makes a {type(found).__name__}, whose distributions are not those of one model",
                fix="Choose a teacher that trains weights or changes the prompt, such as sft or prompting.",
            )
        return found
