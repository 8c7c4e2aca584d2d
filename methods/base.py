"""The untuned base model, which every other method is compared with.

No equation and no defaults: the policy is the base itself, behind its own chat template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.method import FitContext, FitReport, Input, Method, PlainWeights
from harness.records import TrainingData

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Base(Method):
    """The base model as it is, without training."""

    trains = False

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: the base is its own artifact."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The shared, frozen base."""
        return base.policy()

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """The base's own."""
        return PlainWeights("base")
