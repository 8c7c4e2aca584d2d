"""The interface between methods and benchmarks.

A benchmark passes prompts, not token ids, because only the policy knows its chat template or in-context examples. It
calls `score` and `sample`. Most policies inherit both from `StepwisePolicy`, which needs four steps (`encode`,
`prefill`, `extend`, `select`); a policy that only samples implements `sample` and declares `gives = {"sample"}`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.types import Capability, Completion, Prompt, Sampling, Score

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded, TextEncoder


class Policy(ABC):
    """A model, or several, that answers prompts: all that evaluation sees of a method.

    digest  digest of the artifact that it was loaded from; a run sets it
    base    returns the policy of its base model; a run sets it
    """

    gives: ClassVar[frozenset[Capability]]
    encoder: TextEncoder
    digest: str = ""
    base: Callable[[], Policy] | None = None

    @abstractmethod
    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """For each prompt `sampling.samples` completions; `keys` identify the items for the noise."""

    def decoded_by(self) -> tuple[Policy, int]:
        """The policy that decodes, and how often per answer: another one where this policy chooses among answers."""
        return self, 1

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]. Raises UserError where the policy only samples."""
        raise UserError(
            f"{type(self).__name__} gives no log-probabilities", fix="Use a benchmark that needs only samples."
        )


class Steps(ABC):
    """The steps from which scores and samples are computed.

    budget    maximum number of logits in memory (rows x positions x vocabulary)
    max_rows  maximum number of prompts in one batch
    cache_budget  maximum bytes of their caches; None: as `batching.cache_budget` finds it
    """

    encoder: TextEncoder
    budget: int = 1 << 26
    max_rows: int = 256
    cache_budget: int | None = None

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

    def can_join(self, state: Any) -> bool:
        """Whether `join` is there for states such as this one; otherwise each batch is decoded to its end."""
        return False

    def join(self, state: Any, other: Any) -> Any:
        """The state of the rows of both, those of `other` last. Consumes both states."""
        raise NotImplementedError

    def row_bytes(self, tokens: int) -> int:
        """The bytes of the state of one row of so many tokens; 0: not known, and no reason for smaller batches."""
        return 0

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """Token ids of prompt, assistant prefix and completion. Override it to change the template."""
        return self.encoder.encode(prompt, completion)


def base_of(policy: Policy) -> Policy:
    """The policy of a policy's base model. Raises UserError where it is not known."""
    if policy.base is None:
        raise UserError("the policy's base model is not known", fix="Let `bakeoff run` load it.")
    return policy.base()
