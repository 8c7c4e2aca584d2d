"""GRPO: answers that verify become likelier than others of their group (Shao et al. 2024, 2402.03300, DeepSeekMath).

    A_i = (r_i - mean r) / (std r + 1e-4),   r_i = 1 where answer i of the problem's group verifies, else 0
    loss = mean over answers of mean over tokens of  -min(s A_i, clip(s, 1 - epsilon, 1 + epsilon) A_i) + beta KL
    s = p / p_old,   KL = p_start / p - log(p_start / p) - 1,   both of a token given all before it

The standard deviation divides by the group's size less one. A group in which all answers verify, or none, gives no
gradient. `loss_type` dapo (2503.14476) takes the mean over the tokens of an update; dr_grpo (2503.20783) divides by
`max_new_tokens` and belongs with `scale_rewards: none`, which leaves out the standard deviation; `batch` takes that of
the whole update. With `iterations` at 1, as in the paper, s is 1 and nothing is clipped. Further values of `loss_type`:

    gspo    s is the ratio of whole answers to the power 1 / length   (Zheng et al. 2025, 2507.18071, eq. 7)
    cispo   -min(s, `most_ratio`) A log p, no gradient through s, mean over tokens   (MiniMax 2025, 2506.13585, eq. 4)
    rloo    -min(s A, clip(s) A) with s the ratio of whole answers, r_i lessened by beta log(p / p_start) and
            A_i = r_i - mean of the others' r   (Ahmadian et al. 2024, 2402.14740)

At `iterations` 1 gspo equals grpo. Its authors clip at 3e-4; cispo's cap is 5 as in ScaleRL (2510.13786).

Defaults: learning rate 1e-6, beta 0.04, clipping at 0.2, 16 problems per update and one update per batch as in the
paper, which samples 64 answers of up to 1,024 tokens; here 8 of up to 256 are sampled. Form is not rewarded. The
start, by default sft, is both the initial model and the reference model: two copies of the model in its artifact.

Trains all weights through TRL's GRPOTrainer, with its advantages and its loss. Answers are sampled here, with the
prompt ids and the stop tokens of evaluation and with noise that the seed alone decides. TRL would reload the reference
model from the path in the model's config; here it is set. TRL also left-pads prompts without passing positions, which
is wrong for a model with absolute positions; here rows are padded on the right.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.types import Sampling
from harness.records import TrainingData
from harness.training.labelled_rows import too_long
from harness.training.loop import Optimisation, Optimizer, seed_everything, thinned, trl_config
from harness.training.models import SavedIn, load_model, model_folder, save_model, trainable_copy
from methods._rollouts import Rollouts
from methods._verifying import check_judges, judge_of, require_verifiable, unjudged
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


DEFAULT_EPSILON = 0.2
AS_TRL = {"gspo": "grpo", "rloo": "grpo"}


@dataclass(frozen=True)
class Grpo(Method):
    """All weights are trained on the model's own answers to problems, rewarded where they verify."""

    needs = frozenset({"problems"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    start: Method = setting(Sft(), "the method whose model is trained further and is the reference model")
    samples: int = setting(8, "answers sampled per problem: the group", search=(4, 8, 16, 64), quick=4)
    beta: float = setting(0.04, "strength of the KL penalty towards the start; 0: none", search=(0.0, 0.1))
    temperature: float = setting(1.0, "sampling temperature", search=(0.7, 1.2))
    max_new_tokens: int = setting(256, "longest sampled answer in tokens", quick=4)
    epsilon: float = setting(DEFAULT_EPSILON, "clipping range of the probability ratio", search=(0.1, 0.3))
    iterations: int = setting(1, "updates on each batch of answers", search=(1, 4))
    loss_type: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo", "rloo"] = setting(
        "grpo", "how tokens are averaged, and what is clipped", search=("grpo", "dr_grpo", "dapo")
    )
    most_ratio: float | None = setting(None, "cispo: the largest probability ratio that counts; none: 5", least=1)
    scale_rewards: Literal["group", "batch", "none"] = setting(
        "group", "the set whose standard deviation divides a reward", search=("group", "batch", "none")
    )
    learning_rate: float = setting(1e-6, "peak value", search=(1e-7, 1e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(1, "passes over the problems", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(16, "problems per update, each with its group", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.0, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting(
        "constant_with_warmup", "course of the learning rate", search=("constant_with_warmup", "linear", "cosine")
    )
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    updates: int | None = setting(None, "total batches, instead of epochs; problems repeat as needed", least=1)
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")
    execute: bool = setting(False, "run answers to problems with the verifier unit_tests in a sandbox")
    reward_model: str = setting("", "for the verifier reward: the folder of a sequence classifier", folder=True)
    threshold: float | None = setting(None, "for the verifier reward: the least reward of a right answer")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact that training starts from."""
        return {"start": ArtifactSpec(self.start)}

    def check(self) -> None:
        """Refuse groups without two different answers to compare, and an optimiser that is not installed."""
        Optimisation.of(self)
        self.start.check()
        if self.samples < 2:
            raise UserError(
                f"samples is {self.samples}", fix="Give 2 or more: an answer is compared with the others of its group."
            )
        if self.temperature <= 0:
            raise UserError(
                f"temperature is {self.temperature}", fix="Give more than 0; at 0 all answers of a group are equal."
            )
        if min(self.max_new_tokens, self.iterations) < 1:
            raise UserError(
                f"max_new_tokens is {self.max_new_tokens} and iterations {self.iterations}", fix="Give 1 or more."
            )
        if self.beta < 0 or not 0 < self.epsilon < 1:
            raise UserError(
                f"beta is {self.beta} and epsilon {self.epsilon}", fix="beta is 0 or more, epsilon between 0 and 1."
            )
        check_judges(self)
        self._check_loss()

    def _check_loss(self) -> None:
        """Refuse fields that the loss does not read."""
        if self.most_ratio is not None and self.loss_type != "cispo":
            raise UserError(
                f"most_ratio is {self.most_ratio}, which loss_type: {self.loss_type} does not read",
                fix="Leave out most_ratio, or use loss_type: cispo.",
            )
        if self.epsilon != DEFAULT_EPSILON and self.loss_type == "cispo":
            raise UserError(
                f"epsilon is {self.epsilon}, which loss_type: cispo does not read", fix="Give most_ratio instead."
            )
        if self.loss_type == "rloo" and self.scale_rewards != "none":
            raise UserError(
                f"scale_rewards is {self.scale_rewards!r}, which loss_type: rloo does not read",
                fix="Write scale_rewards: none: an answer's reward is compared with the others' mean alone.",
            )

    @property
    def search_ranges(self) -> Mapping[str, tuple[Any, ...] | None]:
        """gspo clips far smaller ratios; cispo clips at `most_ratio`, and rloo scales no reward."""
        own: dict[str, dict[str, tuple[Any, ...] | None]] = {
            "gspo": {"epsilon": (3e-4, 0.1)},
            "cispo": {"epsilon": None, "most_ratio": (1.2, 8.0)},
            "rloo": {"scale_rewards": None},
        }
        return own.get(self.loss_type, {})

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Problems that leave no room for an answer, or that these settings cannot verify."""
        return {**too_long(data.problems, encoder, self.max_new_tokens), **unjudged(self, data.problems)}

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a copy of the start and write it as a model folder."""
        require_verifiable(self, data.problems)
        start = inputs["start"].load()
        model, reference = trainable_copy(start), trainable_copy(start).requires_grad_(False)
        seed_everything(context)
        drawing = Sampling(self.max_new_tokens, self.temperature, samples=self.samples, seed=context.seed, salt="grpo")
        rollouts = Rollouts(data.problems, base.encoder, drawing, judge_of(self, base.spec.device))
        losses, divergence = self._train(model, reference, rollouts, base, context)
        noted = save_model(model, base, out, self.saved_in)
        return FitReport(
            trained_parameters=sum(weight.numel() for weight in model.parameters()),
            training_tokens=rollouts.read_tokens * self.iterations,
            generated_tokens=rollouts.generated_tokens,
            notes={**rollouts.notes(), "kl": divergence, "loss": losses, **noted},
        )

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained while the start and its frozen copy, the reference model, are held."""
        reads = 1 + bool(self.beta)
        sampled = (self.samples, self.max_new_tokens)
        return Footprint(model.requires_grad_(True), policy=self.saved_in, further=2, forwards=reads, sampled=sampled)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)

    def _train(
        self, model: Any, reference: Any, rollouts: Rollouts, base: BaseModel, context: FitContext
    ) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """Train the model in place; the curves of the loss and of KL."""
        from harness.training.trl import run_trainer

        with tempfile.TemporaryDirectory() as scratch:
            trainer = self._trainer(model, reference, rollouts, scratch, base, context)
            losses = run_trainer(trainer, context)
            return thinned(losses), thinned([line["kl"] for line in trainer.state.log_history if "kl" in line])

    def _trainer(
        self, model: Any, reference: Any, rollouts: Rollouts, scratch: str, base: BaseModel, context: FitContext
    ) -> Any:
        """TRL's trainer over all batches of problems, in their order."""
        import datasets
        import trl

        from methods._grpo_trainer import GrpoTrainer

        count, wanted = len(rollouts.problems), Optimisation.of(self)
        batches = self.updates or -(-count * self.epochs // self.batch_size)
        order = replace(wanted, updates=batches).order(count, context.seed)
        own = {
            "beta": 0.0,
            "epsilon": self.epsilon,
            "epsilon_high": (self.most_ratio or 5.0) if self.loss_type == "cispo" else None,
            "importance_sampling_level": "sequence" if self.loss_type == "gspo" else "token",
            "loss_type": AS_TRL.get(self.loss_type, self.loss_type),
            "scale_rewards": self.scale_rewards,
            "num_generations": self.samples,
            "num_iterations": self.iterations,
            "temperature": self.temperature,
            "max_completion_length": self.max_new_tokens,
            "shuffle_dataset": False,
            "disable_dropout": True,
            "logging_strategy": "steps",
            "logging_steps": 1,
        }
        answers = replace(wanted, batch_size=self.batch_size * self.samples)
        trainer = GrpoTrainer(
            model=model,
            reward_funcs=verified,
            args=trl_config(trl.GRPOConfig, scratch, base, answers, context, **own),
            train_dataset=datasets.Dataset.from_dict({"prompt": [str(place) for place in order]}),
            processing_class=copy.deepcopy(base.tokenizer),  # TRL may add a pad token
        )
        # as an argument it would warn of being experimental
        trainer.rollout_func = rollouts
        trainer.leaves_one_out = self.loss_type == "rloo"
        trainer.refer_to(reference, self.beta)
        return trainer


def verified(completions: Sequence[str], right: Sequence[bool], **others: Any) -> list[float]:
    """The reward of each answer, 1 or 0, as `Rollouts` found it."""
    return [float(one) for one in right]
