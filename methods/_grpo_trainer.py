"""TRL's GRPOTrainer as `grpo` runs it. `grpo` imports it when it trains: it loads TRL."""

from __future__ import annotations

from typing import Any

import torch
import trl
from trl.trainer.utils import add_fused_lm_head

from harness.training.trl import WatchedTrainer


class GrpoTrainer(WatchedTrainer, trl.GRPOTrainer):
    """TRL's trainer with a given reference model, on rows without padding on their left."""

    def refer_to(self, reference: Any, beta: float) -> None:
        """Measure KL from this model instead of one that TRL reads from disk."""
        self.beta = beta
        if beta:
            add_fused_lm_head(reference, temperature=self.temperature)
            self.ref_model = self.accelerator.prepare_model(reference, evaluation_mode=True)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, **rest: Any
    ) -> tuple[Any, ...]:
        """log p and entropy (B, C) of the last C = logits_to_keep tokens; padding is moved to the right."""
        width = input_ids.shape[1]
        padding = (attention_mask[:, :-logits_to_keep] == 0).sum(1, keepdim=True)
        most = int(padding.max())
        places = (torch.arange(width, device=input_ids.device) + padding) % width
        log_probs, entropies, auxiliary = super()._get_per_token_logps_and_entropies(
            model, input_ids.gather(1, places), attention_mask.gather(1, places), logits_to_keep + most, **rest
        )
        wanted = torch.arange(logits_to_keep, device=input_ids.device) + most - padding
        if entropies is not None:
            entropies = entropies.gather(1, wanted)
        return log_probs.gather(1, wanted), entropies, auxiliary
