"""A control: the answer is a copy of the prompt's last turn.

Rules that a program checks are often satisfied by the words of their own prompt ("write without commas", "use the word
war"), and a base model repeats its prompt. A method that is not better than this copy is not shown to follow
instructions: a copy satisfies 134 of IFEval's 541 prompts (strict). No model is asked, and a sample is the same at
every temperature and seed. The copy is cut at the benchmark's length and stop strings; bare text has no turn and gets
an empty answer. The policy gives samples but no log-probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.method import FitContext, FitReport, Input, Method
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import TrainingData
from methods._cut_answer import cut_answer

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder


@dataclass(frozen=True)
class Echo(Method):
    """A copy of the prompt as the answer: the score that repeating it gets."""

    gives = frozenset({"sample"})
    trains = False
    answers_are_fixed = True

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The copying policy, with the base's tokenizer for lengths."""
        return EchoPolicy(base.encoder)


class EchoPolicy(Policy):
    """Answers every prompt with the text of its last turn."""

    gives = frozenset({"sample"})

    def __init__(self, encoder: TextEncoder) -> None:
        self.encoder = encoder

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """The same copy for every sample."""
        return [(self._copy(prompt, sampling),) * sampling.samples for prompt in prompts]

    def _copy(self, prompt: Prompt, sampling: Sampling) -> Completion:
        asked = prompt.messages[-1].content if prompt.messages else ""
        return Completion(*cut_answer(asked, "stop", sampling, self.encoder))
