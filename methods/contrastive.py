"""Contrastive decoding: what a strong model finds likelier than a weak one (Li et al. 2022, 2210.15097).

    p ~ exp( log p_strong - strength log p_weak )   over the tokens with p_strong >= plausibility max p_strong

Tokens that the strong model finds implausible have probability 0: the weak model's lowest probabilities are noise, and
the difference would prefer them. So most texts have probability 0, and the method gives samples and no scores. At
strength 0 nothing is contrasted or left out, and the policy is the strong one. Both read each context through their own
chat templates and caches, as in proxy_tuning; their tokenizers must agree. No weight changes.

Defaults: strength 1 and plausibility 0.1 are the paper's. Strong is the base and weak the small base; each may be
tuned by a method.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, plugin_name, setting
from harness.policy.combined import SideBySide
from harness.policy.stepwise import StepwisePolicy
from harness.records import TrainingData
from methods._members import check_member, members
from methods.base import Base
from methods.proxy_tuning import check_bases, shared_tokens

if TYPE_CHECKING:
    import torch

    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Contrastive(Method):
    """The strong model's log-probabilities minus the weak one's decide among the tokens that the strong one accepts."""

    needs = frozenset({"small_base"})
    gives = frozenset({"sample", "text"})
    trains = False

    strength: float = setting(1.0, "weight of the weak model; 0 is the strong one", search=(0.0, 1.0), null=0.0)
    plausibility: float = setting(0.1, "least share of the likeliest token's probability", search=(0.01, 0.5), log=True)
    strong: Method = setting(Base(), "the method whose policy on the base is decoded")
    weak: Method = setting(Base(), "the method whose policy on the small base is subtracted")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of both models."""
        return {"strong": ArtifactSpec(self.strong), "weak": ArtifactSpec(self.weak, on="small_base")}

    def check(self) -> None:
        """Refuse a share outside 0 to 1, a negative strength, and methods without log-probabilities."""
        if not 0 <= self.plausibility <= 1:
            raise UserError(f"plausibility is {self.plausibility}", fix="Give 0 to 1, such as 0.1.")
        if self.strength < 0:
            raise UserError(f"strength is {self.strength}", fix="Give 0 or more, such as 1.")
        for role, method in (("strong", self.strong), ("weak", self.weak)):
            check_member(method, f"{role} is {plugin_name(method)}, which")

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: only the contrasted methods are trained."""
        check_bases(base)
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """Both policies, side by side."""
        check_bases(base)
        parts = members(inputs, {"strong": "strong", "weak": "weak"})
        return ContrastivePolicy(*parts, self.strength, self.plausibility, shared_tokens(base))


class ContrastivePolicy(SideBySide):
    """Two policies read the same text, each through its own template; their log-probabilities are subtracted."""

    gives = frozenset({"sample", "text"})

    def __init__(
        self,
        strong: StepwisePolicy,
        weak: StepwisePolicy,
        strength: float,
        plausibility: float,
        shared: int | None = None,
    ) -> None:
        """shared: as for SideBySide."""
        super().__init__(strong, weak, shared=shared)
        self.strength, self.plausibility = strength, plausibility

    def combined(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """log p_strong - strength log p_weak where the strong model finds a token plausible; -inf elsewhere."""
        strong, weak = logits
        if not self.strength:
            return strong
        contrast = strong.log_softmax(-1) - self.strength * weak.log_softmax(-1)
        # log p_strong >= log plausibility + the highest log p_strong; normalisers cancel
        least = strong.amax(-1, keepdim=True) + (math.log(self.plausibility) if self.plausibility else -math.inf)
        return contrast.masked_fill(strong < least, -math.inf)
