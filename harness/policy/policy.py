"""The narrow waist: what a benchmark may ask of whatever a method made.

A benchmark hands over prompts, not token ids, because only the policy knows its chat template or its
in-context examples. It uses two verbs, `score` and `sample`. Most policies get both from four small steps
(`encode`, `prefill`, `extend`, `select`) through `StepwisePolicy`; a policy that only samples implements
`sample` and declares `gives = {"sample"}`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.lazy import LazyModule
from harness.policy.types import Capability, Completion, Prompt, Sampling, Score

if TYPE_CHECKING:
    import torch

    from harness.policy.encoding import Encoded, TextEncoder
else:
    torch = LazyModule("torch")


class Policy(ABC):
    """Anything that answers: the only thing that evaluation sees.

    digest  names the artifact that it was loaded from; base: opens the policy of the model that it was made of. A run
            sets both
    """

    gives: ClassVar[frozenset[Capability]]
    encoder: TextEncoder
    digest: str = ""
    base: Callable[[], Policy] | None = None

    @abstractmethod
    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """For each prompt its `sampling.samples` completions; `keys` name the items for the noise."""

    def decoded_by(self) -> tuple[Policy, int]:
        """The policy whose decoding an answer costs, and how often: not itself where it chooses among answers."""
        return self, 1

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]. Raises UserError where the policy only samples."""
        raise UserError(
            f"{type(self).__name__} gives no log-probabilities",
            fix="Use a benchmark that needs only samples.",
        )


class Steps(ABC):
    """What log-probabilities and sampling need of a policy.

    budget    logits held at once, in elements (rows x positions x vocabulary), not bytes
    max_rows  prompts read in one batch, at most
    """

    encoder: TextEncoder
    budget: int = 1 << 26
    max_rows: int = 256

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device that the logits are on."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """The width V of the logits."""

    @abstractmethod
    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        """Read whole prompts (never their assistant prefix): fp32 logits (B, V) for the next token, state."""

    @abstractmethod
    def extend(self, state: Any, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Read tokens (B, T) where mask (B, T) is true: fp32 logits (B, T, V), new state. Consumes the state."""

    @abstractmethod
    def select(self, state: Any, rows: torch.Tensor) -> Any:
        """The state of these rows (int64, repeats allowed). Consumes the state."""

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """Token ids of prompt, assistant prefix and completion. Override it to change the template."""
        return self.encoder.encode(prompt, completion)


def base_of(policy: Policy) -> Policy:
    """The policy of the model that a policy was made of. Raises UserError where nobody said which that is."""
    if policy.base is None:
        raise UserError("the policy does not say what it was made of", fix="Let `bakeoff run` load it.")
    return policy.base()
