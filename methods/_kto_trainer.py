"""The trainer of `kto`, which estimates z once for each update. `kto` imports it when it trains: it loads TRL."""

from __future__ import annotations

from typing import Any

import torch

from methods._dpo_trainer import DpoTrainer, answer_logprobs


class KtoTrainer(DpoTrainer):
    """Batches hold every answer (first half) and, after its prompt, the answer to another one (second half)."""

    def get_batch_samples(self, *arguments: Any) -> tuple[list[Any], Any]:
        """The micro-batches of an update, each with the update's z as `shift`."""
        batches, items = super().get_batch_samples(*arguments)
        gained = []
        for batch in batches:
            there = {name: part.to(self.args.device) for name, part in batch.items()}
            with torch.no_grad(), self.accelerator.autocast():
                gained.append(half_logprobs(self.model, there, 1) - there["start"].chunk(2)[1])
        shift = torch.cat(gained).mean().clamp(min=0)
        return [{**batch, "shift": shift} for batch in batches], items


def half_logprobs(model: Any, inputs: Any, half: int) -> torch.Tensor:
    """Summed log-probabilities (B,) of one half of a batch (2B, T)."""
    names = ("input_ids", "attention_mask", "answers")
    return answer_logprobs(model, {name: inputs[name].chunk(2)[half] for name in names})
