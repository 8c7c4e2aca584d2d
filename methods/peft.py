"""Any adapter of the library PEFT by its name and settings: ia3, vera, oft, prefix_tuning, and some forty more.

    peft: {type: vera, settings: {r: 64}}

`type` is a PEFT type in any case, and `settings` are the arguments of its configuration, whose names are checked before
training; the others keep PEFT's defaults. Everything else is as in lora, also the merge of the adapter into the weights
where PEFT can do so: `peft: {type: lora, ...}` and `lora` with equal settings give equal artifacts.

Types that learn a prompt (prompt_tuning, p_tuning, prefix_tuning) put virtual tokens before every prompt. Their keys
and values are computed once and begin the cache of the shared base, so that scoring, sampling and training read the
same positions; the context is shorter by as many tokens. The artifact stores the prompt, without the network that some
types train to produce it. Types that need another training loop or other inputs are refused (`REFUSED`).

Defaults: IA3 (Liu et al. 2022, 2205.05638), the smallest that starts as the base; its paper's learning rate is 3e-3.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, did_you_mean
from harness.lazy import torch, transformers
from harness.method import FitContext, FitReport, Footprint, Input, Method, setting
from harness.policy.causal import CausalPolicy, CausalState
from harness.policy.encoding import TextEncoder
from harness.records import TrainingData
from harness.training.adapters import MergedIn, adapted_copy, fit_adapter
from harness.training.labelled_rows import untrainable
from harness.training.loop import Optimisation, Optimizer, Parallel

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

PROMPTS = ("prompt_tuning", "p_tuning", "prefix_tuning")
# with PEFT's defaults, these types do not start as the base
STARTS_ELSEWHERE = {*PROMPTS, "c3a", "fourierft", "unilora", "vblora"}
# a prompt initialised from a text needs the base's tokenizer, whose folder `fit` knows
BASES_TOKENIZER = {"prompt_tuning": {"tokenizer_name_or_path": "the base's"}}
REFUSED = {
    "adalora": "its ranks are shared out by a training loop of its own",
    "adaption_prompt": "it cannot read a text in steps",
    "cartridge": "it is made from a corpus by a procedure of its own",
    "cpt": "it needs the types of the tokens of a fixed context",
    "multitask_prompt_tuning": "it needs tasks in addition to demonstrations",
    "poly": "it needs tasks in addition to demonstrations",
    "shadow": "it trains parts that the loss of the answers does not reach",
    "xlora": "it mixes adapters that are trained already",
}
OURS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_type",
    "peft_version",
    "revision",
    "task_type",
    "tokenizer_name_or_path",
    # searches the whole text for its position, and a text is read in steps
    "alora_invocation_tokens",
}


@dataclass(frozen=True)
class Peft(Method):
    """An adapter of any PEFT type is trained on the demonstrations."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "peft", "accelerate")

    type: str = setting("ia3", "PEFT's name for the type of adapter")
    settings: dict[str, Any] | None = setting(None, "arguments of its configuration; the others keep PEFT's defaults")
    learning_rate: float = setting(3e-3, "peak value", search=(1e-4, 3e-2), log=True, least=0, null=0.0, quick=1e-2)
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

    def check(self) -> None:
        """Refuse types and settings that PEFT does not know."""
        self.configuration()
        Optimisation.of(self)
        if self.kind == "prefix_tuning" and self.activation_checkpointing:
            raise UserError(
                "activation_checkpointing with prefix_tuning: transformers drops the cache with the learnt prompt",
                fix="Leave activation_checkpointing out, or use prompt_tuning.",
            )
        if self.kind in PROMPTS and self.parallel:
            raise UserError(
                f"parallel: {self.parallel} with {self.kind}, whose few weights are not part of the model",
                fix="Leave parallel out.",
            )
        if self.kind in STARTS_ELSEWHERE and self.learning_rate == 0:
            raise UserError(
                f"learning_rate is 0, and {self.kind} starts at random", fix="Give more than 0, such as 3e-3."
            )

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Demonstrations without a trained token."""
        return untrainable(data.demonstrations, encoder, self.max_length)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Train the adapter on a fresh copy of the base and write it alone."""
        config = self.configuration()
        fit = partial(fit_adapter, self, config, base, data.demonstrations, out, context)
        if self.kind not in PROMPTS:
            return fit(max_length=self.max_length, merged_in=self.merged_in)
        if self.kind in BASES_TOKENIZER:
            config.tokenizer_name_or_path = str(base.folder)
        room = room_left(config.num_virtual_tokens, base.encoder)
        report = fit(max_length=min(self.max_length or room, room), loss_of=_prompt_loss)
        return dataclasses.replace(report, notes={**report.notes, "stored_parameters": _stored(out)})

    def footprint(self, model: Any) -> Footprint:
        """The adapter is trained; a learnt prompt needs no copy of the base."""
        import peft

        adapted = peft.get_peft_model(model, self.configuration())
        return Footprint(adapted, policy="nothing" if self.kind in PROMPTS else self.merged_in, pieces=True)

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """A copy of the base with the adapter, or the shared base behind a learnt prompt."""
        if self.kind not in PROMPTS:
            return CausalPolicy(adapted_copy(base, artifact, self.merged_in), base.encoder)
        model = base.policy().model
        return VirtualTokensPolicy(model, base.encoder, virtual_cache(model, base, artifact))

    @property
    def kind(self) -> str:
        """The type in lower case."""
        return self.type.lower()

    def configuration(self) -> Any:
        """PEFT's configuration. Raises UserError for a type or a setting that it, or this harness, does not take."""
        found = self._class()
        given = self.settings or {}
        known = {item.name for item in dataclasses.fields(found) if item.init} - OURS
        for name in given:
            if name not in known:
                raise UserError(f"{self.kind} has no setting {name!r}", fix=did_you_mean(str(name), known))
        if "_niter_" in str(given.get("init_lora_weights")):
            raise UserError(
                f"settings: init_lora_weights {given['init_lora_weights']!r} decomposes the weights at random, and "
                "PEFT decomposes them again at each load, so that the adapter would be put on other weights than it "
                "was trained with",
                fix="Use pissa, which decomposes exactly.",
            )
        try:
            return found(task_type="CAUSAL_LM", **BASES_TOKENIZER.get(self.kind, {}), **copy.deepcopy(given))
        except (TypeError, ValueError) as error:
            raise UserError(
                f"PEFT refuses these settings of {self.kind}: {' '.join(str(error).split())}", fix="Change them."
            ) from error

    def _class(self) -> Any:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        classes = {str(kind.value).lower(): found for kind, found in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
        if self.kind not in classes:
            raise UserError(
                f"PEFT has no type {self.type!r}", fix=did_you_mean(self.kind, classes.keys() - REFUSED.keys())
            )
        if self.kind in REFUSED:
            raise UserError(
                f"the type {self.kind} is not supported: {REFUSED[self.kind]}",
                fix=f"Choose among {', '.join(sorted(classes.keys() - REFUSED.keys()))}.",
            )
        return classes[self.kind]


def room_left(virtual: int, encoder: TextEncoder) -> int:
    """The number of tokens of the context that the virtual ones leave. Raises UserError where they leave none."""
    room = encoder.max_length - virtual
    if room < 2:
        raise UserError(
            f"{virtual} virtual tokens leave no room in a context of {encoder.max_length}",
            fix="Lower num_virtual_tokens.",
        )
    return room


def virtual_cache(model: Any, base: BaseModel, artifact: Path) -> Any:
    """The cache of one row in which the base has read the learnt prompt and nothing else."""
    import peft

    adapted = peft.PeftModel.from_pretrained(base.load(), str(artifact)).eval()
    with torch.no_grad():
        learnt = adapted.get_prompt(batch_size=1)
        if not isinstance(learnt, torch.Tensor):
            return learnt
        start = transformers.DynamicCache(config=model.config)
        return model(inputs_embeds=learnt.to(model.dtype), past_key_values=start, use_cache=True).past_key_values


class VirtualTokensPolicy(CausalPolicy):
    """The base, whose cache holds virtual tokens before a prompt is read."""

    def __init__(self, model: Any, encoder: TextEncoder, start: Any) -> None:
        super().__init__(model, encoder)
        self.start, self.virtual = start, int(start.get_seq_length())
        self.encoder = copy.copy(encoder)
        self.encoder.max_length = room_left(self.virtual, encoder)

    def read(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, CausalState]:
        """Read left-padded prompts (B, T) after the virtual tokens, which every row sees."""
        cache = copy.deepcopy(self.start)
        cache.batch_repeat_interleave(len(tokens))
        seen = torch.ones(len(tokens), self.virtual, dtype=torch.bool, device=self.device)
        positions = torch.full((len(tokens),), self.virtual, device=self.device)
        logits, state = self._forward(CausalState(cache, seen, positions), tokens, mask, last_only=True)
        return logits[:, -1], state


def _prompt_loss(model: Any, inputs: Any, items: Any) -> torch.Tensor:
    """The loss of all methods here, which counts no virtual token."""
    from harness.training.trl import completion_loss

    return completion_loss(partial(_run, model), inputs, items)


def _run(model: Any, *, logits_to_keep: torch.Tensor, **inputs: Any) -> Any:
    """The model's output, its logits at these positions of the text."""
    config = model.active_peft_config
    # a prefix is in the cache alone; a prompt also has logits of its own, before the text's
    before = 0 if config.peft_type == "PREFIX_TUNING" else config.num_virtual_tokens
    return model(logits_to_keep=logits_to_keep + before, **inputs)


def _stored(artifact: Path) -> int:
    from safetensors.torch import load_file

    return sum(weight.numel() for weight in load_file(artifact / "adapter_model.safetensors").values())
