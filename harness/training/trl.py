"""TRL's trainers as this project runs them. Import it inside functions: it loads torch, transformers and TRL.

Every step's loss is checked, only the logits of labelled positions are computed, nothing is printed or sent away, and
the model loses the `forward` that TRL puts on it.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
import transformers
import trl
from transformers.trainer_callback import PrinterCallback

from harness.errors import UserError
from harness.method import UNCHANGED
from harness.policy.causal import unwrapped
from harness.training.blocks import blockwise_loss
from harness.training.c_allocator import freed_at_once, give_back, keeps_freed_blocks
from harness.training.labelled_rows import IGNORED
from harness.training.parallel import first_process, gathered_here, mean_over_processes, use_on_cpu
from harness.training.pieces import in_pieces, tokens_at_once

if TYPE_CHECKING:
    from harness.method import FitContext

Around = Callable[[Mapping[str, Any]], AbstractContextManager[Any]]
LossOf = Callable[[Any, Any, Any], torch.Tensor]


class TrainingDiverged(UserError):
    """A loss or a weight is not a finite number."""

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="Lower the learning rate, or lengthen the warm-up.")


class Watch(transformers.TrainerCallback):  # type: ignore[misc]
    """Adds up the losses of each step, shows them, and stops the training where they are not finite."""

    def __init__(
        self, context: FitContext, each_pass: Callable[[], None] | None, ends_of_passes: Collection[int]
    ) -> None:
        self.context, self.each_pass, self.ends = context, each_pass, ends_of_passes
        self.pending: list[torch.Tensor] = []
        self.losses: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called after each update of the weights."""
        loss = mean_over_processes(sum(self.pending), self.context.processes)
        self.pending.clear()
        if not math.isfinite(loss):
            raise TrainingDiverged(f"loss is {loss} at step {state.global_step} of {state.max_steps}")
        self.losses.append(loss)
        self.context.progress(state.global_step, state.max_steps, f"loss {loss:.3f}")
        if self.each_pass and state.global_step in self.ends:
            self.each_pass()


class WatchedTrainer(transformers.Trainer):  # type: ignore[misc]
    """Base for trainers that `run_trainer` runs: put it before the library's own trainer in the list of bases.

    loss_of  (model, batch, labels of the whole update) -> loss, used in place of the library's where it is set
    """

    watch: Watch
    loss_of: LossOf | None = None

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Forward and backward passes over a micro-batch: one for each of its pieces."""
        pieces, losses = self.pieces(inputs), []
        for piece in pieces:
            if len(pieces) > 1:  # who saves memory here would lose it there
                give_back()
            losses.append(super().training_step(model, piece, num_items_in_batch))
        loss = torch.stack(losses).sum()
        self.watch.pending.append(loss)
        return loss

    def pieces(self, inputs: Any) -> Sequence[Any]:
        """The parts of a micro-batch that are read one after another: here it is read whole."""
        return [inputs]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's part of the loss of its update."""
        if self.loss_of:
            return self.times_processes(self.loss_of(model, inputs, num_items_in_batch))
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def times_processes(self, loss: torch.Tensor) -> torch.Tensor:
        """A loss of which the mean over the processes is the part that all of them have in the loss of the update."""
        count = self.accelerator.num_processes
        return loss * count if count > 1 else loss

    def create_accelerator_and_postprocess(self) -> None:
        """The library's accelerator, which divides the model on a CPU too."""
        super().create_accelerator_and_postprocess()
        if self.args.fsdp and self.args.device.type == "cpu":
            use_on_cpu(self)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The library's schedule. A warm-up of less than one update is left out, and the last update is never part of
        one: the library rounds up, and a warm-up begins at rate 0, so a training of one update would do nothing."""
        share = self.args.warmup_steps
        if share < 1 and share * num_training_steps < 1:
            self.args.warmup_steps = 0
        elif self.args.get_warmup_steps(num_training_steps) >= num_training_steps:
            self.args.warmup_steps = num_training_steps - 1
        return super().create_scheduler(num_training_steps, optimizer)

    def _send_telemetry(self) -> None:
        """Send nothing."""


class LabelledTrainer(WatchedTrainer, trl.SFTTrainer):  # type: ignore[misc]
    """Supervised fine-tuning that computes only the logits of labelled positions where TRL would compute all.

    That is so on a CPU, and for packed rows, which TRL would also mask.
    """

    around: Around = staticmethod(lambda inputs: nullcontext())

    def pieces(self, inputs: Any) -> Sequence[Any]:
        """A micro-batch in pieces on a CPU, and else whole: several processes have to read alike many."""
        if self.accelerator.num_processes > 1 or self.args.device.type != "cpu":
            return [inputs]
        return in_pieces(inputs, tokens_at_once(unwrapped(self.model).config))

    @cached_property
    def keeps_logits(self) -> bool:
        """Whether the model can leave logits out."""
        return "logits_to_keep" in inspect.signature(unwrapped(self.model).forward).parameters

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The micro-batch's part of the mean over the labelled tokens of its update."""
        with self.around(inputs):
            padded, divided = "attention_mask" in inputs, self.accelerator.num_processes > 1
            elsewhere = padded and not divided and self.args.device.type != "cpu"
            if elsewhere or self.aux_loss_enabled or not self.keeps_logits or self.loss_of:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            if divided:  # a head of which this process has a part cannot be called by itself
                with self.accelerator.autocast():
                    return self.times_processes(completion_loss(model, inputs, num_items_in_batch))
            in_blocks = blockwise_loss(model, inputs, num_items_in_batch)
            return completion_loss(model, inputs, num_items_in_batch) if in_blocks is None else in_blocks


def run_trainer(
    trainer: WatchedTrainer,
    context: FitContext,
    each_pass: Callable[[], None] | None = None,
    ends_of_passes: Collection[int] = (),
) -> list[float]:
    """Run a trainer and return the loss of every step.

    each_pass is called after the updates (counted from 1) in `ends_of_passes`. Raises TrainingDiverged at the first
    step whose loss is not finite. In any case the model loses the `forward` that TRL puts on it, which in a copy
    would still run the original's weights.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.watch = Watch(context, each_pass, ends_of_passes)
    trainer.add_callback(trainer.watch)
    if trainer.args.device.type == "cpu":
        # a new trainer has nothing to free, and collecting garbage would take a second
        trainer.accelerator.free_memory = lambda *objects: list(objects)
    before = {name: _bits(one) for name, one in trainer.model.named_parameters() if one.requires_grad}
    if context.processes > 1:
        # the processes began with equal adapters, and drop out each their own units
        torch.manual_seed(context.seed * context.processes + int(os.environ["RANK"]))
    # checkpointing asks for little memory at the cost of time, and so does this
    sparing = trainer.args.activation_checkpointing and keeps_freed_blocks(trainer.args.device.type)
    try:
        with freed_at_once(sparing):
            trainer.train()
        if context.processes > 1:
            gathered_here(trainer.model)
    finally:
        for module in (trainer.model, unwrapped(trainer.model)):
            module.__dict__.pop("forward", None)
            module.__dict__.pop("_original_forward", None)
    losses = trainer.watch.losses
    if context.processes > 1 and not first_process():
        return losses
    # by name, since several processes replace the weights; not by `get_parameter`, which takes names apart at dots
    after = dict(trainer.model.named_parameters())
    trained = [after[name] for name in before]
    if list(before.values()) == [_bits(weight) for weight in trained]:
        context.notes[UNCHANGED] = f"training left every weight as it was after {len(losses)} updates"
    if not all(bool(weight.isfinite().all()) for weight in trained):
        raise TrainingDiverged(f"the weights are not finite after the last of {len(losses)} steps")
    return losses


def _bits(weight: torch.Tensor) -> int:
    """The sum of the weight's bytes, read as integers: equal weights have equal sums."""
    kinds = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return int(weight.detach().contiguous().view(kinds[weight.element_size()]).sum(dtype=torch.int64))


def completion_loss(forward: Callable[..., Any], inputs: Mapping[str, Any], items: Any) -> torch.Tensor:
    """-(1/items) sum of log p over the labelled tokens of a batch (B, T); only their logits are computed.

    forward  the model, or a function called in its place; items: the labelled tokens of the whole update
    """
    targets = inputs["labels"][:, 1:]
    asked = (targets != IGNORED).any(0).nonzero()[:, 0]
    read = {name: part for name, part in inputs.items() if name != "labels"}
    logits = forward(**read, use_cache=False, logits_to_keep=asked).logits
    flat, wanted = logits.float().flatten(0, 1), targets[:, asked].flatten()
    total = torch.nn.functional.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum")
    return total / items
