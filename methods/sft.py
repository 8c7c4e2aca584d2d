"""Supervised fine-tuning of all weights on the demonstrations (Zhou et al. 2023, 2305.11206, LIMA).

    loss = -(1/|R|) sum over r in R of log p(token_r | all before it),   R = answer tokens, end of turn

Defaults: learning rate and linear decay from LIMA; three epochs, 3 % warm-up and no weight decay from RFT's
scripts (Yuan et al. 2023, 2308.01825). Trains through TRL's SFTTrainer. A bfloat16 base is trained in float32
under bfloat16 autocast, and stored in float32, since bfloat16 loses small updates; `saved_in: base` halves its memory.

LIMA as published: 15 epochs, batch 32, weight decay .1, no warm-up, `final_rate: 0.1` (from 1e-5 down to 1e-6) and
`dropout: 0.3` on what blocks add to the residual stream, rising from 0 at the first block (0.2 for small models).
The authors chose its checkpoint by hand, since perplexity rises while quality rises. Here nothing stops early on a
loss unless `checkpoint` says so.

Residual dropout: block l of L drops with rate `dropout` * l / (L - 1). Every block adds twice to the residual stream,
after attention and after its feed-forward part; each addition drops separately, in training mode only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.hidden_states import changed_outputs, decoder_blocks
from harness.records import TrainingData
from harness.training.checkpoints import BestPass, Rule, set_aside
from harness.training.labelled_rows import training_rows, untrainable
from harness.training.loop import Optimisation, Optimizer, Parallel, seed_everything, train
from harness.training.models import SavedIn, load_model, model_folder, save_model

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Sft(Method):
    """All weights are trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    learning_rate: float = setting(1e-5, "peak value", search=(1e-6, 3e-3), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(3, "passes over the demonstrations", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(16, "rows per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of all weights except norms and biases", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    parallel: Parallel | None = setting(None, "fsdp: several processes of this machine train it together")
    processes: int = setting(2, "their number, if `parallel` is set: one for each GPU", least=1)
    updates: int | None = setting(
        None, "total updates, instead of epochs; the demonstrations repeat as needed", least=1
    )
    final_rate: float = setting(0.0, "final learning rate as a share of the peak; above 0: linear only")
    dropout: float = setting(0.0, "residual dropout of the last block, rising from 0 at the first", search=(0.0, 0.3))
    packing: bool = setting(False, "pack rows into sequences without padding, if the model keeps them apart")
    checkpoint: Rule = setting(
        "last", "the pass over the demonstrations that is kept; see harness/training/checkpoints.py"
    )
    held_out: int = setting(50, "demonstrations held out to choose a checkpoint")
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")
    saved_in: SavedIn = setting("float32", "precision of the trained model, saved and loaded: float32, or the base's")

    def check(self) -> None:
        """Refuse shares outside [0, 1), a final rate without a linear schedule, and an optimiser that is not there."""
        Optimisation.of(self)
        if self.parallel and self.checkpoint != "last":
            raise UserError(
                f"parallel: {self.parallel} with checkpoint: {self.checkpoint}, which asks the whole model",
                fix="Use checkpoint: last, or leave parallel out.",
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}", fix="Give 0 or more and less than 1; LIMA uses 0.3.")
        if not 0 <= self.final_rate < 1:
            raise UserError(f"final_rate is {self.final_rate}", fix="Give 0 or more and less than 1; LIMA uses 0.1.")
        if self.final_rate and self.schedule != "linear":
            raise UserError(f"final_rate with schedule {self.schedule!r}", fix="Use linear, or final_rate: 0.")

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations without a trained token."""
        return untrainable(data.demonstrations, encoder, self.max_length)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train a fresh copy of the base and write it as a model folder."""
        trained, held_out = set_aside(data.demonstrations, self.checkpoint, self.held_out)
        rows = training_rows(trained, base.encoder, self.max_length)
        seed_everything(context)
        model = base.load().float()
        best = BestPass(model, base.encoder, self.checkpoint, held_out)
        with residual_dropout(model, self.dropout):
            report = train(model, rows, base, Optimisation.of(self), context, each_pass=best.look)
        best.restore()
        noted = save_model(model, base, out, self.saved_in)
        return replace(report, notes={**report.notes, **best.notes, **noted})

    def footprint(self, model: Any) -> Footprint:
        """All weights are trained."""
        return Footprint(model.requires_grad_(True), policy=self.saved_in)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The fine-tuned model behind the base's chat template."""
        return load_model(base, artifact, self.saved_in)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is a model folder, which a backend loads in the base's dtype."""
        return model_folder(self.saved_in, dtype)


# families that normalise their additions (Gemma 2, OLMo 2) add the norms' outputs, all others the parts' own outputs;
# OPT's feed-forward part is not a module, but ends with fc2
_AFTER_NORMS = (("post_attention_layernorm",), ("post_feedforward_layernorm",))
_PARTS = (("self_attn", "self_attention", "attention", "attn"), ("mlp", "feed_forward", "fc2"))


def dropout_rates(blocks: int, top: float) -> list[float]:
    """The rate of each block, from 0 at the first to `top` at the last; a single block has `top`."""
    return [top * block / (blocks - 1) for block in range(blocks)] if blocks > 1 else [top] * blocks


@contextmanager
def residual_dropout(model: Any, top: float) -> Iterator[None]:
    """Within this context, dropout applies to the blocks' additions. Raises UserError where they are not found."""
    blocks = list(decoder_blocks(model)) if top else []
    rates = dropout_rates(len(blocks), top)
    parts = [(part, rate) for block, rate in zip(blocks, rates, strict=True) if rate for part in additions(block)]
    with changed_outputs((part, partial(_dropped, part, rate)) for part, rate in parts):
        yield


def additions(block: Any) -> list[Any]:
    """The two modules of a decoder block whose outputs are added to the residual stream."""
    children = dict(block.named_children())
    names = _AFTER_NORMS if _AFTER_NORMS[1][0] in children else _PARTS
    found = [[children[name] for name in alike if name in children] for alike in names]
    if any(len(one) != 1 for one in found):
        raise UserError(
            f"it is not known where {type(block).__name__} adds to the residual stream, so dropout cannot be applied",
            fix="Set dropout to 0, or use a model of the Llama, Qwen, Mistral, Gemma, GPT-2, NeoX or OPT family.",
        )
    return [one[0] for one in found]


def _dropped(part: Any, rate: float, hidden: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.dropout(hidden, rate, training=part.training)
