"""What every method that trains by gradient descent shares: rows, TRL's settings, one loop.

TRL trains on rows that are tokenised and labelled beforehand (`training_rows`). The loss is the mean over the
labelled tokens of a batch, -(1/|R|) sum log p(token), so it does not depend on how the batch is split to fit
into memory.
"""

from __future__ import annotations

import copy
import inspect
import math
import random
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.batching import padded
from harness.causal_policy import unwrapped
from harness.errors import UserError
from harness.lazy import LazyModule
from harness.method import FitContext, FitReport, Method
from harness.packing import pack, require_apart
from harness.training_rows import IGNORED, TrainingRow, TrainingRows, answer_row, training_rows

if TYPE_CHECKING:
    import torch
    import transformers

    from harness.base_model import BaseModel
    from harness.encoding import TextEncoder
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")

__all__ = [
    "IGNORED",
    "Optimisation",
    "TrainingDiverged",
    "TrainingRow",
    "TrainingRows",
    "answer_row",
    "collate",
    "completion_loss",
    "data_order",
    "require_trained_end",
    "rows_at_once",
    "run",
    "save_model",
    "seed_everything",
    "sorted_within_batches",
    "thinned",
    "train",
    "training_rows",
    "trl_config",
    "watched",
]

CURVE_POINTS = 20


class TrainingDiverged(UserError):
    """The loss or the weights are no longer numbers."""

    def __init__(self, what: str) -> None:
        super().__init__(what, fix="Lower the learning rate, or lengthen the warm-up.")


@dataclass(frozen=True)
class Optimisation:
    """How AdamW moves the weights (betas .9 and .999, gradients clipped to norm 1).

    batch_size    rows per step, whatever fits into memory at once
    warmup_ratio  share of the steps in which the learning rate rises from 0
    schedule      what it does after that: any name that `transformers` knows
    final_rate    share of the learning rate that a linear schedule ends with
    updates       steps in all, whatever the number of rows; None: as many as `epochs` passes take
    packing       rows that fit into memory at once are one sequence, without padding
    """

    learning_rate: float
    epochs: int
    batch_size: int
    weight_decay: float = 0.0
    warmup_ratio: float = 0.0
    schedule: str = "linear"
    updates: int | None = None
    final_rate: float = 0.0
    packing: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "updates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}", fix="Give 1 or more.")

    @classmethod
    def of(cls, method: Method) -> Optimisation:
        """The fields of the same names of a method; those that it lacks keep their defaults."""
        return cls(**{item.name: getattr(method, item.name) for item in fields(cls) if hasattr(method, item.name)})

    def order(self, rows: int, seed: int) -> list[int]:
        """Row indices of the whole training, in the order of `data_order`."""
        if self.updates is None:
            return data_order(rows, self.epochs, seed)
        wanted = self.updates * self.batch_size
        return data_order(rows, math.ceil(wanted / rows), seed)[:wanted]

    def ends_of_passes(self, rows: int, steps: int) -> set[int]:
        """The updates, counted from 1, in which a pass over the rows ends; the last of all is one."""
        passes = range(1, steps * self.batch_size // rows + 1)
        return {math.ceil(rows * number / self.batch_size) for number in passes} | {steps}


def data_order(rows: int, epochs: int, seed: int) -> list[int]:
    """Row indices of all epochs, shuffled anew in each: the same for every method that sees as many rows."""
    shuffler = random.Random(seed)
    order: list[int] = []
    for _ in range(epochs):
        epoch = list(range(rows))
        shuffler.shuffle(epoch)
        order.extend(epoch)
    return order


def sorted_within_batches(order: Sequence[int], lengths: Sequence[int], batch_size: int) -> list[int]:
    """The same rows in every update, long ones first: rows that are computed together then need little padding.

    An update does not depend on the order of its rows, but for rounding.
    """
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [row for batch in batches for row in sorted(batch, key=lambda row: -lengths[row])]


def rows_at_once(batch_size: int, limit: int) -> int:
    """The most rows per forward pass that are within the limit and divide the batch evenly."""
    return max(size for size in range(1, min(batch_size, max(limit, 1)) + 1) if batch_size % size == 0)


def seed_everything(context: FitContext) -> None:
    """Seed Python, numpy and torch: call it before anything random, such as adapters, is made."""
    transformers.set_seed(context.seed)


def trl_config(
    config_class: Any, scratch: str, base: BaseModel, optimisation: Optimisation, context: FitContext, **own: Any
) -> Any:
    """A TRL configuration that holds on CPU and CUDA alike, with the trainer's own arguments besides.

    It reads the dataset once, in its order: lay all epochs out with `data_order`. A bfloat16 base trains under
    autocast; what is trained is held in float32, where small steps count.
    """
    if base.spec.dtype == "float16":
        raise UserError("float16 is too narrow to train in", fix="Give the base dtype: bfloat16 or float32.")
    at_once = rows_at_once(optimisation.batch_size, context.micro_batch)
    shared = {
        "output_dir": scratch,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "learning_rate": optimisation.learning_rate,
        "weight_decay": optimisation.weight_decay,
        "warmup_steps": optimisation.warmup_ratio,
        **_schedule(optimisation),
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": optimisation.batch_size // at_once,
        "seed": context.seed,
        "data_seed": context.seed,
        "bf16": base.spec.dtype == "bfloat16",
        "use_cpu": base.spec.device == "cpu",
        "activation_checkpointing": False,
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    config = config_class(**(shared | own))
    # TRL refuses a process that sees several GPUs, though it would use only one
    config._n_gpu = min(config.n_gpu, 1)
    return config


def _schedule(optimisation: Optimisation) -> dict[str, Any]:
    """TRL's arguments for the course of the learning rate; a line that ends above 0 is a polynomial of power 1."""
    if optimisation.schedule == "linear" and optimisation.final_rate:
        end = {"power": 1.0, "lr_end": optimisation.learning_rate * optimisation.final_rate}
        return {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": end}
    return {"lr_scheduler_type": optimisation.schedule}


Around = Callable[[Mapping[str, Any]], AbstractContextManager[Any]]


def train(
    model: Any,
    data: TrainingRows,
    base: BaseModel,
    optimisation: Optimisation,
    context: FitContext,
    *,
    around: Around | None = None,
    each_pass: Callable[[], None] | None = None,
    trainer_class: Any = None,
    **own: Any,
) -> FitReport:
    """Train what requires a gradient in the model on the rows, in place, and report what it took.

    around         given a batch as `collate` makes it, a context in which its forward pass runs
    each_pass      called after every pass over the rows, and at the end
    trainer_class  a `watched` trainer to use instead of TRL's for fine-tuning; `own` are its arguments
    """
    import datasets
    import trl

    lengths = [len(row.input_ids) for row in data.rows]
    order = sorted_within_batches(optimisation.order(len(lengths), context.seed), lengths, optimisation.batch_size)
    steps = math.ceil(len(order) / optimisation.batch_size)
    columns = {name: [getattr(row, name) for row in data.rows] for name in ("input_ids", "labels")}
    if optimisation.packing:
        require_apart(model, columns["input_ids"])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = (trainer_class or _sft_trainer())(
            model=model,
            args=trl_config(trl.SFTConfig, scratch, base, optimisation, context, max_length=None, **own),
            data_collator=pack if optimisation.packing else collate,
            train_dataset=datasets.Dataset.from_dict(columns).select(order),
            processing_class=base.tokenizer,
        )
        # count a batch's labels before it is split, whatever the model's forward takes
        trainer.model_accepts_loss_kwargs = True
        if around:
            trainer.around = around
        curve = run(trainer, context, each_pass, optimisation.ends_of_passes(len(lengths), steps))
    return FitReport(
        trained_parameters=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        training_tokens=sum(lengths[index] for index in order),
        notes={
            "rows": len(data.rows),
            "rows_truncated": data.truncated,
            "labelled_tokens": sum(data.rows[index].labelled for index in order),
            "loss": curve,
        },
    )


def run(
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


def collate(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded tensors (B, T) of rows."""
    cpu = torch.device("cpu")
    tokens, mask = padded([row["input_ids"] for row in rows], cpu)
    labels, _ = padded([row["labels"] for row in rows], cpu)
    return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels.masked_fill(~mask, IGNORED)}


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


def save_model(model: Any, base: BaseModel, out: Path) -> None:
    """Write a trained model as a folder that `transformers` reads, in the base's dtype; no tokenizer."""
    # the trainer changed this copy's (cache off, tokens aligned)
    model.config = copy.deepcopy(base.config)
    model.to(getattr(torch, base.spec.dtype)).save_pretrained(out)


def require_trained_end(model: Any, encoder: TextEncoder) -> None:
    """Raise UserError where the base never saw the token that ends a turn: an adapter cannot teach it.

    Such rows are left at zero (Llama 3), or beyond the table.
    """
    weights = model.get_input_embeddings().weight
    for token in encoder.end_of_turn:
        if token >= len(weights) or not bool(weights[token].any()):
            raise UserError(
                f"the base never trained {encoder.tokenizer.convert_ids_to_tokens(token)!r}, which ends a turn,"
                " and this method leaves embeddings as they are",
                fix="Use a chat_template that ends turns with the end-of-text token, or fine-tune all weights.",
            )


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
def _sft_trainer() -> Any:
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
