"""A policy of several policies that read the same text: their logits are combined at every token."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.encoding import Encoded
from harness.policy.stepwise import StepwisePolicy
from harness.policy.types import Prompt


class SideBySide(StepwisePolicy):
    """Policies that read every text together, each through its own chat template and its own cache.

    A subclass says with `combined` what becomes of their logits. The first part's tokenizer, device and stop tokens are
    those of the whole.
    """

    def __init__(self, *parts: StepwisePolicy, shared: int | None = None) -> None:
        """shared: the number of first ids whose tokens are equal in all parts; None: all of them."""
        self.parts = parts
        widths = [part.vocabulary for part in parts]
        vocabularies = [part.encoder.tokenizer.get_vocab() for part in parts]
        self._alike = all(vocabulary == vocabularies[0] for vocabulary in vocabularies)
        # ids beyond every tokenizer are padding, which is kept where all parts have it
        self._width = min(widths) if self._alike or shared is None else min(*widths, shared)
        # the first part's prompt is cut, and flagged, where the shortest context demands it
        self.encoder = copy.copy(parts[0].encoder)
        self.encoder.max_length = min(part.encoder.max_length for part in parts)

    @abstractmethod
    def combined(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """The logits (..., V) of the whole from those of its parts, in their order: cut to one width, on one device."""

    @property
    def device(self) -> torch.device:
        """The first part's device."""
        return self.parts[0].device

    @property
    def vocabulary(self) -> int:
        """The width that all parts have; logits beyond it are padding."""
        return self._width

    def row_bytes(self, tokens: int) -> int:
        """The states of all parts."""
        return sum(part.row_bytes(tokens) for part in self.parts)

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """The request as the first part encodes it. Raises UserError for a token that a part lacks."""
        encoded = super().encode(prompt, completion)
        if lacking := [token for token in (*encoded.prefix, *encoded.completion) if token >= self._width]:
            raise UserError(
                f"{self.encoder.tokenizer.convert_ids_to_tokens(lacking[0])!r} is not among the {self._width} tokens"
                " that the models share",
                fix="Combine models of one tokenizer, such as a base and a small base of the same family.",
            )
        return encoded

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, tuple[Any, ...]]:
        """Every part reads the prompts as it would alone."""
        read = [part.prefill([self._as_read_by(part, prompt) for prompt in prompts]) for part in self.parts]
        return self._cut_and_combined([logits for logits, _ in read]), tuple(state for _, state in read)

    def extend(
        self, state: tuple[Any, ...], tokens: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[Any, ...]]:
        """Every part reads the same tokens (B, T)."""
        read = [
            part.extend(own, tokens.to(part.device), mask.to(part.device))
            for part, own in zip(self.parts, state, strict=True)
        ]
        return self._cut_and_combined([logits for logits, _ in read]), tuple(after for _, after in read)

    def select(self, state: tuple[Any, ...], rows: torch.Tensor) -> tuple[Any, ...]:
        """The same rows of every part."""
        pairs = zip(self.parts, state, strict=True)
        return tuple(part.select(own, rows.to(part.device)) for part, own in pairs)

    def can_join(self, state: tuple[Any, ...]) -> bool:
        """Whether the states of all parts can."""
        return all(part.can_join(own) for part, own in zip(self.parts, state, strict=True))

    def join(self, state: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
        """Rows joined in every part."""
        return tuple(part.join(own, added) for part, own, added in zip(self.parts, state, other, strict=True))

    def _cut_and_combined(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        return self.combined([part[..., : self._width].to(self.device) for part in logits])

    def _as_read_by(self, part: StepwisePolicy, prompt: Encoded) -> Encoded:
        """The prompt through the part's own template, with room for as much as the first part leaves."""
        alike = part.encoder.template == self.encoder.template and type(part).encode is StepwisePolicy.encode
        if (alike and self._alike) or part is self.parts[0]:
            return prompt
        answer = self.encoder.text(prompt.completion) or None
        return part.encode(prompt.source, answer).fitted(self.encoder.max_length, prompt.reserve)
