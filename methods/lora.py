"""LoRA: low-rank updates of every linear layer, the base frozen (Hu et al. 2021, 2106.09685).

    W' = W + (alpha / rank) B A,   B (out, rank) starts at zero, A (rank, in) at random;   same loss as sft

Defaults: rank 8 and dropout 0 are PEFT's, alpha = 2 x rank is common practice, the learning rate is ten times
that of sft, and all linear layers are adapted as in QLoRA (Dettmers et al. 2023, 2305.14314); the rest is
sft's. `rslora` (2312.03732) scales by alpha / sqrt(rank) instead, `dora` (2402.09353) also trains each
column's norm. The adapter trains in float32. Embeddings are not trained, so an end of turn that the base
never trained is an error.

`load` merges the adapter into a fresh copy of the base, as is usual: decoding then costs as much as with the base,
and scores differ from the unmerged model by rounding. Two loads give the same bits. The copy of a bfloat16 base is
in float32, since in bfloat16 a small update is lost in rounding, merged or not; `merged_in: base` halves its memory.

`quantized: nf4` is QLoRA (2305.14314): the frozen linear layers are held in 4 bits, in training and in answering, and
the adapter, which is learnt on top of them, is not merged. What differs from the base is then the rounding as well as
the training: `quantized: nf4` with `learning_rate: 0` is the control that has only the rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.method import FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.base_model import Quantized
from harness.policy.causal import CausalPolicy
from harness.records import TrainingData
from harness.training.adapters import MergedIn, adapted_copy, fit_adapter, require_quantizable
from harness.training.labelled_rows import untrainable
from harness.training.loop import Optimisation, Optimizer, Parallel

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


LARGEST_RANK = 512  # that vLLM applies


@dataclass(frozen=True)
class Lora(Method):
    """Low-rank adapters are trained on the demonstrations, and the base is frozen."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "peft", "accelerate")

    rank: int = setting(8, "rank of each update", search=(1, 64), log=True)
    alpha: float = setting(16.0, "the update is scaled by alpha / rank", search=(1.0, 128.0), log=True, null=0.0)
    dropout: float = setting(0.0, "dropout on the input of each update", search=(0.0, 0.1))
    targets: str | tuple[str, ...] = setting("all-linear", "names of the adapted layers, or all-linear")
    rslora: bool = setting(False, "scale by alpha / sqrt(rank)", search=(False, True))
    dora: bool = setting(False, "also train each column's norm", search=(False, True))
    learning_rate: float = setting(1e-4, "peak value", search=(1e-5, 2e-2), log=True, least=0, null=0.0, quick=1e-2)
    epochs: int = setting(3, "passes over the demonstrations", search=(1, 15), least=1, quick=3)
    batch_size: int = setting(16, "rows per update", search=(8, 16, 32, 64), least=1, quick=8)
    weight_decay: float = setting(0.0, "decay of the adapter's weights", search=(0.0, 0.1))
    warmup_ratio: float = setting(0.03, "share of updates over which the rate rises", search=(0.0, 0.1), quick=0.0)
    schedule: str = setting("linear", "how the learning rate falls", search=("linear", "cosine"))
    optimizer: Optimizer = setting("adamw", "adamw, adamw_8bit or paged (the last two need bitsandbytes)")
    activation_checkpointing: bool = setting(False, "compute activations twice instead of keeping them in memory")
    parallel: Parallel | None = setting(None, "fsdp: several processes of this machine train it together")
    processes: int = setting(2, "their number, if `parallel` is set: one for each GPU", least=1)
    updates: int | None = setting(
        None, "total updates, instead of epochs; the demonstrations repeat as needed", least=1
    )
    max_length: int | None = setting(None, "longest row in tokens; none: the model's context")
    merged_in: MergedIn = setting("float32", "precision of the model when loaded: float32, or the base's")
    quantized: Quantized | None = setting(None, "nf4: the frozen base in 4 bits, not merged (needs bitsandbytes)")

    def check(self) -> None:
        """Refuse what is not installed, and settings that contradict each other."""
        Optimisation.of(self)
        require_quantizable(self.quantized, self.merged_in, self.parallel)

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations without a trained token."""
        return untrainable(data.demonstrations, encoder, self.max_length)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train adapters on a fresh copy of the base and write them alone."""
        own = {"max_length": self.max_length, "merged_in": self.merged_in, "quantized": self.quantized}
        return fit_adapter(self, self._adapter(), base, data.demonstrations, out, context, **own)

    def footprint(self, model: Any) -> Footprint:
        """The adapters are trained."""
        import peft

        adapted = peft.get_peft_model(model, self._adapter())
        held = self.quantized or self.merged_in
        return Footprint(adapted, policy=held, frozen=self.quantized or "base", pieces=True)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """A copy of the base with the adapter merged into it, or on top of it if it is quantized."""
        return CausalPolicy(adapted_copy(base, artifact, self.merged_in, self.quantized), base.encoder)

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Its artifact is an adapter, which a backend applies in the base's dtype."""
        if self.dora:
            return "no backend applies dora"
        if self.quantized:
            return "no backend applies an adapter to a base that is quantized by bitsandbytes"
        if self.merged_in == "float32" != dtype:
            return "it is merged in float32; with merged_in: base a backend applies it, and loses small updates"
        return PlainWeights("adapter", self.rank) if self.rank <= LARGEST_RANK else "its rank is too large"

    def _adapter(self) -> Any:
        import peft

        return peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=self.targets if isinstance(self.targets, str) else list(self.targets),
            use_rslora=self.rslora,
            use_dora=self.dora,
            task_type="CAUSAL_LM",
        )
