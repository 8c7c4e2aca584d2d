"""TRL's trainers as this project runs them: every loss is watched, and only labelled positions are computed.

The loss of an update is the mean over its labelled tokens, -(1/|R|) sum log p(token); TRL leaves the model with a
`forward` of its own, writes what it prints, and sends telemetry: here it does none of that.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import LazyModule
from harness.policy.causal import unwrapped
from harness.training.labelled_rows import IGNORED

if TYPE_CHECKING:
    import torch
    import transformers

    from harness.method import FitContext
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")


CURVE_POINTS = 20


class TrainingDiverged(UserError):
    """The loss or the weights are no longer numbers."""

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="Lower the learning rate, or lengthen the warm-up.")


Around = Callable[[Mapping[str, Any]], AbstractContextManager[Any]]


def run_trainer(
    trainer: Any,
    context: FitContext,
    each_pass: Callable[[], None] | None = None,
    ends_of_passes: Collection[int] = (),
) -> list[tuple[int, float]]:
    """Run a TRL trainer of a `watched` class; return about 20 points (step, mean loss since the last one).

    each_pass is called after the updates (counted from 1) in `ends_of_passes`.
    Raises TrainingDiverged at the first step whose loss is no number. Whatever happens, the model loses
    the `forward` that TRL puts on it, which in a copy would still run the original's weights.
    """
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    watch = _watch_class()(context, each_pass, ends_of_passes)
    trainer.watch = watch
    trainer.add_callback(watch)
    if trainer.args.device.type == "cpu":
        # a new trainer has nothing to free, and looking for garbage would take a second
        trainer.accelerator.free_memory = lambda *objects: list(objects)
    try:
        trainer.train()
    finally:
        for module in (trainer.model, unwrapped(trainer.model)):
            module.__dict__.pop("forward", None)
            module.__dict__.pop("_original_forward", None)
    trained = (weight for weight in trainer.model.parameters() if weight.requires_grad)
    if not all(bool(weight.isfinite().all()) for weight in trained):
        raise TrainingDiverged(f"the weights are no numbers after the last of {len(watch.losses)} steps")
    return thinned(watch.losses)


def completion_loss(forward: Callable[..., Any], inputs: Mapping[str, Any], items: Any) -> torch.Tensor:
    """-(1/items) sum of log p over the labelled tokens of a batch (B, T); only their logits are computed.

    forward  the model, or whatever is called in its place; items: the labelled tokens of the whole update
    """
    targets = inputs["labels"][:, 1:]
    asked = (targets != IGNORED).any(0).nonzero()[:, 0]
    read = {name: part for name, part in inputs.items() if name != "labels"}
    logits = forward(**read, use_cache=False, logits_to_keep=asked).logits
    flat, wanted = logits.float().flatten(0, 1), targets[:, asked].flatten()
    total = torch.nn.functional.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum")
    return total / items


@cache
def watched(trainer_class: Any) -> Any:
    """The TRL trainer with every micro-batch's loss handed to its `watch`, and without telemetry."""

    class Watched(trainer_class):  # type: ignore[misc]
        """Trains as its parent does."""

        watch: Any = None

        def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            """One forward and backward pass."""
            loss: torch.Tensor = super().training_step(*args, **kwargs)
            self.watch.pending.append(loss)
            return loss

        def _send_telemetry(self) -> None:
            """Nothing leaves this machine."""

    return Watched


@cache
def sft_trainer() -> Any:
    import trl

    class Trainer(watched(trl.SFTTrainer)):  # type: ignore[misc]
        """TRL's trainer; on a CPU, where its loss takes every position's logits, and for packed rows, which it
        would mask, only the labelled positions are computed."""

        around: Around = staticmethod(lambda inputs: nullcontext())

        @cached_property
        def keeps_logits(self) -> bool:
            """Whether the model can leave logits out."""
            return "logits_to_keep" in inspect.signature(unwrapped(self.model).forward).parameters

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            """The mean over the labelled tokens of the whole batch, of which this is a part."""
            with self.around(inputs):
                padded = "attention_mask" in inputs
                if (padded and self.args.device.type != "cpu") or self.aux_loss_enabled or not self.keeps_logits:
                    return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
                return completion_loss(model, inputs, num_items_in_batch)

    return Trainer


@cache
def _watch_class() -> Any:
    class Watch(transformers.TrainerCallback):  # type: ignore[misc]
        """Adds up a step's losses, shows them, and stops where they are no numbers."""

        def __init__(
            self, context: FitContext, each_pass: Callable[[], None] | None, ends_of_passes: Collection[int]
        ) -> None:
            self.context, self.each_pass, self.ends = context, each_pass, ends_of_passes
            self.pending: list[torch.Tensor] = []
            self.losses: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """After each update of the weights."""
            loss = float(sum(self.pending))
            self.pending.clear()
            if not math.isfinite(loss):
                raise TrainingDiverged(f"loss is {loss} at step {state.global_step} of {state.max_steps}")
            self.losses.append(loss)
            self.context.progress(state.global_step, state.max_steps, f"loss {loss:.3f}")
            if self.each_pass and state.global_step in self.ends:
                self.each_pass()

    return Watch


def thinned(losses: Sequence[float]) -> list[tuple[int, float]]:
    """At most CURVE_POINTS means over neighbouring steps, each with its last step."""
    width = max(1, math.ceil(len(losses) / CURVE_POINTS))
    parts = [(start, losses[start : start + width]) for start in range(0, len(losses), width)]
    return [(start + len(part), round(math.fsum(part) / len(part), 6)) for start, part in parts]
