"""A policy whose model is edited at every position: in prompts, and in each token that is scored or drawn after them.

`harness.policy.hidden_states.edited` lasts for one forward pass and acts at places of a prompt (`loreft`). An
`EditedPolicy` is told which blocks change and how, and the edit lives on through `extend`: a function of the block's
output (B, T, d) that treats each position alone, so that batches and padding have no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.hidden_states import changed_outputs, decoder_blocks

if TYPE_CHECKING:
    import torch

    from harness.policy.encoding import Encoded, TextEncoder

Change = Callable[["torch.Tensor"], "torch.Tensor"]
"""From a block's output (B, T, d) to what takes its place."""


class EditedPolicy(CausalPolicy):
    """A model, which may be the shared base, whose blocks' outputs are changed while this policy runs it.

    changes  the number of a block -> its change
    prompts  whether prompts are edited too; if not, only what follows them, such as an assistant prefix
    """

    def __init__(
        self, model: Any, encoder: TextEncoder, changes: Mapping[int, Change], *, prompts: bool = True
    ) -> None:
        super().__init__(model, encoder)
        self.changes, self.prompts = dict(changes), prompts

    def without_edits(self, blocks: Collection[int]) -> EditedPolicy:
        """The policy without its changes of these blocks."""
        kept = {layer: change for layer, change in self.changes.items() if layer not in blocks}
        return EditedPolicy(self.model, self.encoder, kept, prompts=self.prompts)

    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, CausalState]:
        """Read left-padded prompts, edited where prompts are."""
        if not self.prompts:
            return super().prefill(prompts)
        with self._edits():
            return super().prefill(prompts)

    def extend(self, state: CausalState, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        """Read tokens (B, T), each edited."""
        with self._edits():
            return super().extend(state, tokens, mask)

    def _edits(self) -> AbstractContextManager[None]:
        blocks = decoder_blocks(self.model)
        return changed_outputs([(blocks[layer], change) for layer, change in self.changes.items()])
