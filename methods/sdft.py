"""Self-distillation: the model with a demonstration in its context teaches itself (Shenfeld et al. 2026, 2601.19897).

    loss = mean over tokens of KL(p(. | x, y_<t) || q(. | x, c, y_<t)),   y drawn from p(. | x), c the answer given to x

p is the model and q the same model, whose prompt also shows the demonstration's answer (`teacher_prompt`). So it learns
from demonstrations on its own answers, which its authors find to forget less than sft does. `teacher: ema` takes for q
an average of the weights, which moves by `rate` towards the model before every update; `live` the model itself; `start`
the model before training. It depends on the model's ability to use a context: a base should be tuned first, so the
start is sft by default. The divergence is that of `distill`; `between` below 1 is GKD's generalised one.

Defaults: the rate of 0.05 and one answer to each prompt at temperature 1 are TRL's, whose trainer keeps the start as
the teacher and reads 100 tokens at each place; here all are read. The other settings are those of distill.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, TrainingData
from harness.training.loop import Optimisation, Optimizer, seed_everything
from harness.training.models import SavedIn, load_model, model_folder, trainable_copy
from harness.training.on_policy import Answers, asked_of, too_long_answers
from methods._distillation import fit_towards
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Sdft(Method):
    """All weights are trained on the model's own answers, towards itself with the demonstration in its context."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    start: Method = setting(Sft(), "the method whose model is trained further")
    teacher: Literal["ema", "live", "start"] = setting("ema", "whose weights read the demonstration")
    rate: float = setting(0.05, "ema: how far the teacher moves to the model before each update")
    teacher_prompt: str = setting(
        "{prompt}\n\nHere is a good answer:\n{demonstration}\n\nNow answer in your own words.",
        "the last user turn as the teacher reads it",
    )
    between: float = setting(1.0, "1 is KL(model || teacher), 0 the other direction")
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
        """The rate, where the teacher is an average."""
        return {"rate": (0.01, 0.5)} if self.teacher == "ema" else {}

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact that training starts from."""
        return {"start": ArtifactSpec(self.start)}

    def check(self) -> None:
        """Refuse shares outside 0 to 1, a rate that no teacher reads, and a prompt without its two parts."""
        Optimisation.of(self)
        self.start.check()
        for name in ("between", "rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}", fix="Give a number from 0 to 1.")
        if self.teacher != "ema" and self.rate != 0.05:
            raise UserError(
                f"rate is {self.rate}, which teacher: {self.teacher} does not read", fix="Leave it out, or use ema."
            )
        if lacking := [part for part in ("{prompt}", "{demonstration}") if part not in self.teacher_prompt]:
            raise UserError(f"teacher_prompt lacks {lacking[0]}", fix="Write a text with {prompt} and {demonstration}.")
        if self.temperature <= 0:
            raise UserError(f"temperature is {self.temperature}", fix="Give more than 0, such as 1.")

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations whose prompt, as the teacher reads it, leaves no room for an answer, or has no user turn."""
        without = {one.id: "it has no user turn" for one in data.demonstrations if _last_user(one) is None}
        asked = [
            Demonstration((*self.hinted(one).messages, one.messages[-1]), one.id)
            for one in data.demonstrations
            if one.id not in without
        ]
        return {**without, **too_long_answers(asked, encoder, self.max_new_tokens)}

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        if not data.demonstrations:
            raise UserError("no demonstrations are given to ask", fix="Name some under data: demonstrations.")
        if lost := self.refused(data, base.encoder):
            name, why = next(iter(lost.items()))
            raise UserError(f"{len(lost)} demonstrations cannot be used: {why}", where=name, fix="Remove them.")
        policy = base.policy()
        sampling = Sampling(self.max_new_tokens, self.temperature, seed=context.seed, salt="sdft")
        asked = [asked_of(one, policy, policy, self.hinted(one), sampling) for one in data.demonstrations]
        model = trainable_copy(inputs["start"].load())
        teacher = model if self.teacher == "live" else copy.deepcopy(model).requires_grad_(False)
        seed_everything(context)
        answers = Answers(asked, base.encoder, sampling)
        following = _following(teacher, self.rate) if self.teacher == "ema" else None
        return fit_towards(self, model, teacher, answers, base, out, context, between=self.between, before=following)

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained; the teacher is held unless it is the model itself, and reads every answer."""
        own = {"further": int(self.teacher != "live"), "forwards": 1, "sampled": (1, self.max_new_tokens)}
        return Footprint(model.requires_grad_(True), policy=self.saved_in, **own)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The trained model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)

    def hinted(self, one: Demonstration) -> Prompt:
        """The prompt of a demonstration as the teacher reads it: its last user turn shows the answer."""
        at = _last_user(one)
        assert at is not None
        shown = self.teacher_prompt.replace("{demonstration}", one.messages[-1].content)
        turn = replace(one.messages[at], content=shown.replace("{prompt}", one.messages[at].content))
        return Prompt(messages=(*one.messages[:at], turn, *one.messages[at + 1 : -1]))


def _last_user(one: Demonstration) -> int | None:
    users = [at for at, message in enumerate(one.messages[:-1]) if message.role == "user"]
    return users[-1] if users else None


def _following(teacher: Any, rate: float) -> Callable[[Any], None]:
    """A function that moves the teacher's weights towards those of a model."""

    def move(model: Any) -> None:
        with torch.no_grad():
            for own, other in zip(teacher.parameters(), model.parameters(), strict=True):
                own.lerp_(other.detach(), rate)

    return move
