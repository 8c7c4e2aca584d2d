"""The trainer that `sft` uses where tokens have weights. `sft` imports it when it trains: it loads TRL."""

from __future__ import annotations

from typing import Any

import torch

from harness.training.objectives import Objective
from harness.training.trl import LabelledTrainer


class WeightedTrainer(LabelledTrainer):
    """A trainer whose loss is an `Objective`, divided by the sum of the weights of the whole update."""

    loss_of: Objective

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        weights = [self.loss_of.weight_of(batch["labels"]) for batch in batch_samples]
        return torch.stack(weights).sum().to(device)
