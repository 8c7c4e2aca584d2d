"""The four steps that scoring and sampling are made of: encode, prefill, extend, select."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.lazy import LazyModule
from harness.policy.types import Prompt

if TYPE_CHECKING:
    import torch

    from harness.policy.encoding import Encoded, TextEncoder
else:
    torch = LazyModule("torch")


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
