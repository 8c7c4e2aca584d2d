"""Policies that derive scores, samples and training log-probabilities from four steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.policy.logprobs import differentiable_logprobs, score_encoded
from harness.policy.policy import Policy, Steps
from harness.policy.sampling import sample_encoded
from harness.policy.types import Capability, Completion, Prompt, Sampling, Score

if TYPE_CHECKING:
    import torch


class StepwisePolicy(Steps, Policy):
    """A policy that implements `prefill`, `extend` and `select`, and gets `score` and `sample` from them."""

    gives: ClassVar[frozenset[Capability]] = frozenset({"score", "sample", "text"})

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]; equal prompts are read once."""
        return score_encoded(self, [self.encode(p, c) for p, c in zip(prompts, completions, strict=True)])

    def logprobs(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[torch.Tensor]:
        """Log-probabilities (T_i,) of each completion's tokens, differentiable in the policy's parameters."""
        return differentiable_logprobs(self, [self.encode(p, c) for p, c in zip(prompts, completions, strict=True)])

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Draw completions; in fp32 the text of an item depends on its own key, not on the batch."""
        return sample_encoded(self, [self.encode(prompt) for prompt in prompts], sampling, keys)
