"""TRL's DPOTrainer on rows that are tokenised already. `dpo` imports it when it trains: it loads TRL."""

from __future__ import annotations

from typing import Any

import torch
import trl

from harness.training.blocks import fused_log_probs
from harness.training.trl import WatchedTrainer


class DpoTrainer(WatchedTrainer, trl.DPOTrainer):
    """TRL's trainer without its own tokenisation; its loss is the `loss_of` that it is given."""

    def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, name: str, batch_size: int) -> Any:
        """The dataset with the log-probabilities of the model before it is trained, which make a second one needless.

        They are computed in the batches of the training, and as of a frozen model, so that they have the same bits as a
        second model's would have at each update. A dataset that has them already is left as it is.
        """
        if "start_logprobs" in dataset.column_names:
            return dataset
        model = self.model.eval().requires_grad_(False)
        found: list[list[float]] = []
        for first in range(0, len(dataset), batch_size):
            rows = [dataset[at] for at in range(first, min(first + batch_size, len(dataset)))]
            batch = {key: part.to(self.args.device) for key, part in self.data_collator(rows).items()}
            with torch.no_grad(), self.accelerator.autocast():
                sums = answer_logprobs(model, batch)
            found += torch.stack(sums.chunk(2), dim=1).tolist()
        model.requires_grad_(True)
        return dataset.add_column("start_logprobs", found)


def answer_logprobs(model: Any, inputs: Any) -> torch.Tensor:
    """Summed log-probabilities (2B,) of chosen, then rejected answers."""
    asked = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": inputs["answers"]}
    return fused_log_probs(model, asked).sum(1)
