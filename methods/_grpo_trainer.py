"""TRL's GRPOTrainer as `grpo` runs it. `grpo` imports it when it trains: it loads TRL."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import trl
from trl.trainer.utils import add_fused_lm_head

from harness.training.blocks import fused_head
from harness.training.trl import WatchedTrainer


class GrpoTrainer(WatchedTrainer, trl.GRPOTrainer):
    """TRL's trainer with a given reference model, on rows without padding on their left.

    leaves_one_out  its loss is RLOO's, with the divergence as part of the reward
    """

    leaves_one_out = False

    def refer_to(self, reference: Any, beta: float) -> None:
        """Measure KL from this model instead of one that TRL reads from disk."""
        self.beta = beta
        if beta:
            add_fused_lm_head(reference, temperature=self.temperature)
            self.ref_model = self.accelerator.prepare_model(reference, evaluation_mode=True)

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int, **rest: Any
    ) -> tuple[Any, ...]:
        """log p and entropy (B, C) of the last C = logits_to_keep tokens; padding is moved to the right.

        On a CPU the head reads no padding, and of a long prompt the end at most.
        """
        width = input_ids.shape[1]
        padding = (attention_mask[:, :-logits_to_keep] == 0).sum(1, keepdim=True)
        most = int(padding.max())
        places = (torch.arange(width, device=input_ids.device) + padding) % width
        log_probs, entropies, auxiliary = super()._get_per_token_logps_and_entropies(
            partial(fused_head, model),
            input_ids.gather(1, places),
            attention_mask.gather(1, places),
            logits_to_keep + most,
            **rest,
        )
        wanted = torch.arange(logits_to_keep, device=input_ids.device) + most - padding
        if entropies is not None:
            entropies = entropies.gather(1, wanted)
        return log_probs.gather(1, wanted), entropies, auxiliary

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """The batch of TRL; for RLOO with each reward's lead over the mean of the others of its group."""
        found = super()._generate_and_score_completions(inputs)
        if not self.leaves_one_out:
            return found
        lead, size = found["advantages"], self.num_generations
        with torch.no_grad():
            found["old_per_token_logps"] = self._answer_logps(self.model, found)
        if self.beta:
            apart = found["old_per_token_logps"] - found["ref_per_token_logps"]
            apart = apart * found["completion_mask"]
            self._metrics["train"]["kl"].append(float(apart.sum() / found["completion_mask"].sum()))
            further = apart.sum(1).view(-1, size)
            lead = lead - self.beta * (further - further.mean(1, keepdim=True)).flatten()
        found["advantages"] = lead * size / (size - 1)
        return found

    def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
        """TRL's loss; for RLOO that of whole answers, with the group's size in the advantages."""
        if not self.leaves_one_out:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
            return loss
        found = self._answer_logps(model, inputs)
        ratio = ((found - inputs["old_per_token_logps"]) * inputs["completion_mask"]).sum(1).exp()
        clipped = ratio.clamp(1 - self.epsilon_low, 1 + self.epsilon_high)
        lead = inputs["advantages"]
        return -torch.min(ratio * lead, clipped * lead).mean() / self.current_gradient_accumulation_steps

    def _answer_logps(self, model: Any, inputs: Any) -> torch.Tensor:
        """log p (B, C) of the tokens of answers."""
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        with self.accelerator.autocast():
            found: torch.Tensor = self._get_per_token_logps_and_entropies(
                model, ids, mask, inputs["completion_ids"].shape[1]
            )[0]
        return found
