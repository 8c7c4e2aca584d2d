"""Training by gradient descent through TRL: the order of rows, the settings, and the call that trains.

TRL trains on rows that are tokenised and labelled beforehand (`training_rows`). The loss is the mean over the
labelled tokens of a batch, -(1/|R|) sum log p(token), so it does not depend on how the batch is split to fit in memory.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch, transformers
from harness.method import FitContext, FitReport, Method
from harness.policy.batching import padded
from harness.training.labelled_rows import IGNORED, TrainingRow, TrainingRows, pack, require_apart
from harness.training.parallel import as_one_process

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.training.trl import Around, LossOf


CURVE_POINTS = 20
Optimizer = Literal["adamw", "adamw_8bit", "paged"]
Parallel = Literal["fsdp"]
BITSANDBYTES = {"adamw_8bit": "adamw_bnb_8bit", "paged": "paged_adamw_32bit"}
"""Names in `transformers` of the optimisers whose code is in the library bitsandbytes."""


def require_bitsandbytes(asked: str, instead: str) -> None:
    """Raise UserError where the library bitsandbytes is not installed, which what is asked needs."""
    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"{asked}, which needs bitsandbytes, and it is not installed",
            fix=f"Install the extra `bitsandbytes` (pip install 'bakeoff[bitsandbytes]'), or {instead}.",
        )


@dataclass(frozen=True)
class Optimisation:
    """The settings of AdamW (betas 0.9 and 0.999, gradients clipped to norm 1).

    batch_size    rows per step, however many fit in memory at once
    warmup_ratio  share of the steps in which the learning rate rises from 0
    schedule      its course after that: any name that `transformers` knows
    final_rate    share of the learning rate at the end of a linear schedule
    updates       number of steps, whatever the number of rows; None: as many as `epochs` passes take
    packing       rows of one forward pass are joined into one sequence, without padding
    optimizer     adamw; adamw_8bit keeps its averages in 8 bits; paged moves them to the CPU where a GPU is full
    activation_checkpointing  the backward pass computes activations again instead of keeping them
    parallel      fsdp: the weights, gradients and averages of AdamW are divided among several processes (FSDP2); None:
                  one process trains
    processes     their number; each computes its share of the rows of every update
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
    optimizer: Optimizer = "adamw"
    activation_checkpointing: bool = False
    parallel: Parallel | None = None
    processes: int = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "updates"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}", fix="Give 1 or more.")
        if self.optimizer in BITSANDBYTES:
            require_bitsandbytes(f"optimizer is {self.optimizer}", "use optimizer: adamw")

        if self.parallel:
            self._check_parallel()

    def _check_parallel(self) -> None:
        """Refuse what several processes cannot do together."""
        if self.processes < 2 or self.batch_size % self.processes:
            raise UserError(
                f"parallel: {self.parallel} with processes {self.processes} and batch_size {self.batch_size}",
                fix="Give 2 processes or more, so many that they divide batch_size: each takes as many of its rows.",
            )
        if self.optimizer in BITSANDBYTES:
            raise UserError(
                f"parallel: {self.parallel} with optimizer {self.optimizer}, which cannot be divided among processes",
                fix="Use optimizer: adamw, or leave parallel out.",
            )

    @classmethod
    def of(cls, method: Method) -> Optimisation:
        """The settings from a method's fields of the same names; missing ones keep their defaults."""
        return cls(**{item.name: getattr(method, item.name) for item in fields(cls) if hasattr(method, item.name)})

    def order(self, rows: int, seed: int) -> list[int]:
        """Row indices of the whole training, in the order of `data_order`."""
        if self.updates is None:
            return data_order(rows, self.epochs, seed)
        wanted = self.updates * self.batch_size
        return data_order(rows, math.ceil(wanted / rows), seed)[:wanted]

    def ends_of_passes(self, rows: int, steps: int) -> set[int]:
        """The updates, counted from 1, in which a pass over the rows ends; the last update is always one."""
        passes = range(1, steps * self.batch_size // rows + 1)
        return {math.ceil(rows * number / self.batch_size) for number in passes} | {steps}


def data_order(rows: int, epochs: int, seed: int) -> list[int]:
    """Row indices of all epochs, shuffled again in each: the same for every method with as many rows."""
    shuffler = random.Random(seed)
    order: list[int] = []
    for _ in range(epochs):
        epoch = list(range(rows))
        shuffler.shuffle(epoch)
        order.extend(epoch)
    return order


def sorted_within_batches(order: Sequence[int], lengths: Sequence[int], batch_size: int) -> list[int]:
    """The same rows in every update, sorted by falling length: rows that are computed together need little padding.

    An update does not depend on the order of its rows, except for rounding.
    """
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [row for batch in batches for row in sorted(batch, key=lambda row: -lengths[row])]


def rows_at_once(batch_size: int, limit: int) -> int:
    """The largest number of rows per forward pass that is within the limit and divides the batch."""
    return max(size for size in range(1, min(batch_size, max(limit, 1)) + 1) if batch_size % size == 0)


def seed_everything(context: FitContext) -> None:
    """Seed Python, numpy and torch. Call it before anything random, such as an adapter, is created."""
    transformers.set_seed(context.seed)


def trl_config(
    config_class: Any, scratch: str, base: BaseModel, optimisation: Optimisation, context: FitContext, **own: Any
) -> Any:
    """A TRL configuration for CPU and CUDA; `own` are further arguments of this trainer.

    The dataset is read once, in its order, so it must hold all epochs in the order of `data_order`. A bfloat16 base
    trains under autocast; trained weights are held in float32, where small steps are not lost.
    """
    if base.spec.dtype == "float16":
        raise UserError("float16 has too small a range for training", fix="Give the base dtype: bfloat16 or float32.")
    share = optimisation.batch_size // context.processes
    at_once = rows_at_once(share, context.micro_batch)
    shared = {
        "output_dir": scratch,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "learning_rate": optimisation.learning_rate,
        "weight_decay": optimisation.weight_decay,
        "warmup_steps": optimisation.warmup_ratio,
        **_schedule(optimisation),
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": share // at_once,
        "seed": context.seed,
        "data_seed": context.seed,
        "bf16": base.spec.dtype == "bfloat16",
        "use_cpu": base.spec.device == "cpu",
        "activation_checkpointing": optimisation.activation_checkpointing,
        **_optimizer(optimisation),
        **({"fsdp": True, "fsdp_config": {"version": 2}} if context.processes > 1 else {}),
        "dataloader_pin_memory": False,
        "save_strategy": "no",
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    config = config_class(**(shared | own))
    # TRL refuses a process that sees several GPUs, although only one is used
    config._n_gpu = min(config.n_gpu, 1)
    if context.processes > 1:
        config.fsdp_plugin_args["mixed_precision_policy"] = as_one_process()
    return config


def _optimizer(optimisation: Optimisation) -> dict[str, str]:
    """TRL's argument for an optimiser other than its own default."""
    return {"optim": BITSANDBYTES[optimisation.optimizer]} if optimisation.optimizer in BITSANDBYTES else {}


def _schedule(optimisation: Optimisation) -> dict[str, Any]:
    """TRL's arguments for the schedule; a linear one that ends above 0 is a polynomial of power 1."""
    if optimisation.schedule == "linear" and optimisation.final_rate:
        end = {"power": 1.0, "lr_end": optimisation.learning_rate * optimisation.final_rate}
        return {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": end}
    return {"lr_scheduler_type": optimisation.schedule}


def train(
    model: Any,
    data: TrainingRows,
    base: BaseModel,
    optimisation: Optimisation,
    context: FitContext,
    *,
    around: Around | None = None,
    each_pass: Callable[[], None] | None = None,
    loss_of: LossOf | None = None,
    trainer_class: Any = None,
    **own: Any,
) -> FitReport:
    """Train, in place, the model's weights that require a gradient, and report the cost.

    around         given a batch of `collate`, the context in which its forward pass runs
    each_pass      called after every pass over the rows, and at the end
    loss_of        (model, batch, labelled tokens of the whole update) -> loss, in place of the usual one
    trainer_class  a WatchedTrainer to use in place of LabelledTrainer; `own` are its arguments
    """
    import datasets
    import trl

    from harness.training.trl import LabelledTrainer, run_trainer

    require_processes(optimisation, context)
    lengths = [len(row.input_ids) for row in data.rows]
    order = sorted_within_batches(optimisation.order(len(lengths), context.seed), lengths, optimisation.batch_size)
    steps = math.ceil(len(order) / optimisation.batch_size)
    rows, computed = evened_out(data.rows, order, optimisation, context)
    columns = {name: [getattr(row, name) for row in rows] for name in ("input_ids", "labels")}
    if optimisation.packing:
        require_apart(model, columns["input_ids"])
    with tempfile.TemporaryDirectory() as scratch:
        trainer = (trainer_class or LabelledTrainer)(
            model=model,
            args=trl_config(trl.SFTConfig, scratch, base, optimisation, context, max_length=None, **own),
            data_collator=pack if optimisation.packing else collate,
            train_dataset=datasets.Dataset.from_dict(columns).select(computed),
            processing_class=base.tokenizer,
        )
        # count the labels of the whole batch before it is split, whatever arguments the model's forward takes
        trainer.model_accepts_loss_kwargs = True
        trainer.loss_of = loss_of
        if around:
            trainer.around = around
        losses = run_trainer(trainer, context, each_pass, optimisation.ends_of_passes(len(lengths), steps))
    return FitReport(
        trained_parameters=sum(weight.numel() for weight in model.parameters() if weight.requires_grad),
        training_tokens=sum(lengths[index] for index in order),
        notes={
            "rows": len(data.rows),
            "rows_truncated": data.truncated,
            "labelled_tokens": sum(data.rows[index].labelled for index in order),
            "loss": thinned(losses),
        },
    )


def require_processes(optimisation: Optimisation, context: FitContext) -> None:
    """Raise UserError where the settings ask for other processes than those that the fit has."""
    asked = optimisation.processes if optimisation.parallel else 1
    if asked != context.processes:
        raise UserError(
            f"parallel: {optimisation.parallel} asks for {asked} processes, and this fit has {context.processes}",
            fix="Set `parallel` on a method of the experiment, and not on one that another method trains itself.",
        )


def evened_out(
    rows: Sequence[TrainingRow], order: Sequence[int], optimisation: Optimisation, context: FitContext
) -> tuple[list[TrainingRow], list[int]]:
    """The rows and their order, with rows that train nothing at the end until every process has as many batches.

    Without them the library would give the processes rows of the beginning a second time.
    """
    at_once = rows_at_once(optimisation.batch_size // context.processes, context.micro_batch)
    missing = -len(order) % (at_once * context.processes) if context.processes > 1 else 0
    if not missing:
        return list(rows), list(order)
    shortest = min(rows, key=lambda row: len(row.input_ids))
    blank = replace(shortest, labels=[IGNORED] * len(shortest.labels))
    return [*rows, blank], [*order, *[len(rows)] * missing]


def collate(rows: Sequence[Mapping[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded tensors (B, T) of rows."""
    cpu = torch.device("cpu")
    tokens, mask = padded([row["input_ids"] for row in rows], cpu)
    labels, _ = padded([row["labels"] for row in rows], cpu)
    return {"input_ids": tokens, "attention_mask": mask.long(), "labels": labels.masked_fill(~mask, IGNORED)}


def thinned(losses: Sequence[float]) -> list[tuple[int, float]]:
    """At most CURVE_POINTS means over neighbouring steps, each with its last step."""
    width = max(1, math.ceil(len(losses) / CURVE_POINTS))
    parts = [(start, losses[start : start + width]) for start in range(0, len(losses), width)]
    return [(start + len(part), round(math.fsum(part) / len(part), 6)) for start, part in parts]


def require_trained_end(model: Any, encoder: TextEncoder) -> None:
    """Raise UserError where the base never trained the token that ends a turn: an adapter cannot learn it.

    The embedding of such a token is zero (Llama 3) or outside the table.
    """
    weights = model.get_input_embeddings().weight
    for token in encoder.end_of_turn:
        if token >= len(weights) or not bool(weights[token].any()):
            raise UserError(
                f"the base never trained {encoder.tokenizer.convert_ids_to_tokens(token)!r}, which ends a turn,"
                " and this method does not train embeddings",
                fix="Use a chat_template that ends turns with the end-of-text token, or fine-tune all weights.",
            )
