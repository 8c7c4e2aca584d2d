"""Best of n: several answers are sampled and one is returned, by majority vote or by a reward model.

    majority:  the first answer that agrees with most others (self-consistency, Wang et al. 2022, 2203.11171)
    reward:    arg max over the n answers of r(prompt, answer)  (Stiennon et al. 2020, 2009.01325)

Nothing is trained, and the policy never sees the reference answer: choosing with it would be pass@n, an oracle.
Candidates are sampled at this method's own temperature, whatever a benchmark asks for; the default is 0.7, as in
self-consistency. The policy gives samples but no log-probabilities, and decoding costs n times as much. A vote
compares the answers found in the texts, such as their last numbers. Ties go to the earliest answer, and texts without
an answer do not vote. A reward model is a sequence classifier with one output that reads prompt and answer through
its own chat template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, setting
from harness.policy.policy import Policy
from harness.policy.reward_model import RewardModel
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import TrainingData
from harness.scoring.answers.finders import answer_of, require_kind
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel

Choose = Callable[[Prompt, Sequence[Completion]], Completion]


@dataclass(frozen=True)
class BestOfN(Method):
    """Several answers of another method are sampled and the best one is returned."""

    gives = frozenset({"sample", "text"})
    trains = False
    draws = True

    policy: Method = setting(Sft(), "the method that answers")
    samples: int = setting(16, "answers sampled for each one returned", search=(1, 64), log=True, quick=4)
    temperature: float = setting(0.7, "sampling temperature", search=(0.3, 1.3))
    choose: Literal["majority", "reward"] = setting("majority", "how one is chosen", search=("majority", "reward"))
    answer: str = setting("number", "for a vote: the kind of answer to find in a text")
    reward_model: str = setting("", "for a reward: the folder of a sequence classifier with one output", folder=True)

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact of the answering method."""
        return {"policy": ArtifactSpec(self.policy)}

    def check(self) -> None:
        """Refuse settings without candidates, and a choice without its reward model."""
        self.policy.check()
        require_kind(self.answer)
        if self.samples < 1 or self.temperature <= 0:
            raise UserError(
                f"samples is {self.samples} and temperature {self.temperature}",
                fix="Sample at least one answer, at a temperature above 0; at 0 all answers are equal.",
            )
        if (self.choose == "reward") != bool(self.reward_model):
            raise UserError(
                f"choose is {self.choose!r} and reward_model {self.reward_model!r}",
                fix="Name a reward_model exactly where choose is reward.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: only the answering method is trained."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The answering policy, wrapped by the choice."""
        choose: Choose = self._by_vote
        if self.reward_model:
            choose = partial(rewarded, RewardModel.named(self.reward_model, base.spec.device))
        return ChoosingPolicy(inputs["policy"].load(), self.samples, self.temperature, choose)

    def _by_vote(self, prompt: Prompt, candidates: Sequence[Completion]) -> Completion:
        return voted(self.answer, candidates)


def voted(kind: str, candidates: Sequence[Completion]) -> Completion:
    """The first candidate with the commonest answer; ties go to the earliest."""
    answers = [answer_of(kind, candidate.text) for candidate in candidates]
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return candidates[0]
    return candidates[answers.index(votes.most_common(1)[0][0])]


class ChoosingPolicy(Policy):
    """Samples several answers of another policy and returns one."""

    gives = frozenset({"sample", "text"})

    def __init__(self, policy: Policy, samples: int, temperature: float, choose: Choose) -> None:
        self.policy, self.samples, self.temperature, self.choose = policy, samples, temperature, choose
        self.encoder = policy.encoder

    def decoded_by(self) -> tuple[Policy, int]:
        """The inner policy decodes every candidate; the cost of choosing is not counted."""
        inner, times = self.policy.decoded_by()
        return inner, times * self.samples

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """As many answers as asked for, each chosen from its own candidates."""
        wider = replace(sampling, temperature=self.temperature, samples=sampling.samples * self.samples)
        drawn = self.policy.sample(prompts, wider, keys)
        return [
            tuple(
                self.choose(prompt, candidates[start : start + self.samples])
                for start in range(0, len(candidates), self.samples)
            )
            for prompt, candidates in zip(prompts, drawn, strict=True)
        ]


def rewarded(model: RewardModel, prompt: Prompt, candidates: Sequence[Completion]) -> Completion:
    """The candidate with the highest reward; ties go to the earliest."""
    rewards = [model.of(prompt, candidate.text) for candidate in candidates]
    return candidates[rewards.index(max(rewards))]
