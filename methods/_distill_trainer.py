"""The trainer of `distill` and `sdft`, which draws the answers of an update. They import it when they train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness.training.on_policy import Answers, both_collated
from harness.training.trl import LabelledTrainer


class OnPolicyTrainer(LabelledTrainer):
    """Batches name prompts by their place; each update's answers are drawn at once, whatever fits into memory.

    before  called with the model before an update's answers are drawn
    """

    answers: Answers
    before: Callable[[Any], None] = staticmethod(lambda model: None)

    def get_batch_samples(self, *arguments: Any) -> tuple[list[Any], Any]:
        """The micro-batches of an update with the rows that student and teacher read, and their labelled tokens."""
        batches, _ = super().get_batch_samples(*arguments)
        places = [batch["input_ids"][:, 0].tolist() for batch in batches]
        self.before(self.model)
        with self.accelerator.autocast():
            rows = iter(self.answers.batch([at for part in places for at in part], self.model))
        made = [both_collated([next(rows) for _ in part]) for part in places]
        labelled = sum(int((batch["labels"][:, 1:] >= 0).sum()) for batch in made)
        return made, torch.tensor(labelled, device=self.args.device)
