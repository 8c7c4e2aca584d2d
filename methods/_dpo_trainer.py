"""TRL's DPOTrainer on rows that are tokenised already. `dpo` imports it when it trains: it loads TRL."""

from __future__ import annotations

from typing import Any

import trl

from harness.training.trl import WatchedTrainer


class DpoTrainer(WatchedTrainer, trl.DPOTrainer):
    """TRL's trainer without its own tokenisation; its loss is the `loss_of` that it is given."""

    def _prepare_dataset(self, dataset: Any, *arguments: Any) -> Any:
        return dataset
