"""Restored blocks: parts of a tuned model get the base's weights back, untrained (Panigrahi et al. 2023, 2302.06600).

    W = W_base in the first `first` and the last `last` blocks (and in the rest, if `rest` is true), else W_tuned

The causal form of the question where tuning changed a model: what returns, and what is lost, when a part of the
change is undone. Score it with any benchmark next to the method that it restores: knowledge that returns with the first
blocks was lost there, and behaviour that goes with the last blocks depends on them. No such model was ever trained as a
whole, so compare `first: k` with `last: k`, which undo as many blocks, and not with the base alone.

`rest` is what is outside of the blocks: embeddings, the last norm, the output layer. By default it stays as tuned, so
that first and last blocks are undone alike. Restoring all blocks and the rest gives the base, and restoring nothing
gives the tuned method, both to the last bit where the two have one dtype. Of a method that edits hidden states instead
of weights (`loreft`, `steering`), the edits in restored blocks are left out. Default: nothing is restored.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, plugin_name, setting
from harness.policy.causal import CausalPolicy
from harness.policy.hidden_states import decoder_blocks
from harness.records import TrainingData
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Restore(Method):
    """Blocks of a tuned model get the base's weights back."""

    trains = False

    of: Method = setting(Sft(), "the method whose model is restored in part")
    first: int = setting(0, "how many of the first blocks are the base's", least=0)
    last: int = setting(0, "how many of the last blocks are the base's", least=0)
    rest: bool = setting(False, "whether embeddings, last norm and output layer are the base's too")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact of the tuned model."""
        return {"of": ArtifactSpec(self.of)}

    def check(self) -> None:
        """Refuse what the restored method refuses."""
        self.of.check()

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: both models are there already."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The tuned policy with the base's blocks in place of its own."""
        policy = inputs["of"].load()
        if isinstance(policy, CausalPolicy):
            undone = self._undone(len(decoder_blocks(policy.model)))
            if hasattr(policy, "without_edits"):
                return policy.without_edits(undone)
            if type(policy) is CausalPolicy and not hasattr(policy.model, "peft_config"):
                return CausalPolicy(restored(policy.model, base.policy().model, undone, self.rest), policy.encoder)
        raise UserError(
            f"{plugin_name(self.of)} makes a {type(policy).__name__}, whose blocks cannot be told apart",
            fix="Restore a method that trains weights or edits blocks, such as sft, dpo, lora, loreft or steering.",
        )

    def _undone(self, there: int) -> frozenset[int]:
        """The numbers of the restored blocks. Raises UserError for more than the model has."""
        for name, count in (("first", self.first), ("last", self.last)):
            if count > there:
                raise UserError(
                    f"{name} is {count}, and the model has {there} blocks", fix=f"Set {name} to {there} or less."
                )
        return frozenset((*range(self.first), *range(there - self.last, there)))


def restored(tuned: Any, base: Any, undone: frozenset[int], rest: bool) -> Any:
    """A copy of the tuned model with the base's weights in these blocks, and outside of the blocks if `rest` is true.

    Raises UserError where a weight has another shape than the base's.
    """
    model = copy.deepcopy(tuned)
    block_of = {id(weight): at for at, block in enumerate(decoder_blocks(model)) for weight in block.parameters()}
    own, original = dict(model.named_parameters()), dict(base.named_parameters())
    with torch.no_grad():
        for name, weight in own.items():
            if not (block_of[id(weight)] in undone if id(weight) in block_of else rest):
                continue
            if name not in original or original[name].shape != weight.shape:
                raise UserError(
                    f"{name} is not in the base, or has another shape there",
                    fix="Restore a method that keeps the base's shapes.",
                )
            weight.copy_(original[name])
    return model
