"""Memory and arithmetic of training and reading, foretold from a model's configuration: no weight is loaded.

The memory of activations is counted, not modelled: the model's own forward pass runs on torch's fake tensors, which
have shapes and no numbers, and what autograd keeps of it is added up. The formulas of the rest are in docs/running.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import UserError, first_line
from harness.lazy import torch, transformers
from harness.method import Footprint
from harness.policy.causal import unwrapped
from harness.training.c_allocator import KEPT_SHARE, keeps_freed_blocks
from harness.training.loop import Optimisation

BLOCK = 1 << 24
"""Logits in memory at once: as in `harness.training.blocks`, whose import would load torch."""

OPTIMIZER_BYTES = {"adamw": 8, "paged": 8, "adamw_8bit": 2}
"""Bytes for each trained parameter: two averages."""


@dataclass(frozen=True)
class ModelShape:
    """A model's size by its configuration.

    matrices  parameters in the matrix products of one token, without embedding and head; of experts those in use
    head      parameters of the head, vocabulary x width
    attended  (heads x width of a head, window or None) of each layer
    """

    parameters: int
    matrices: int
    head: int
    attended: tuple[tuple[int, int | None], ...]

    def forward(self, tokens: int, rows: int = 1, logits: int = 0) -> float:
        """Floating-point operations of a forward pass over rows of so many tokens, with so many positions' logits."""
        reach = sum(width * min(tokens, 2 * (window or tokens)) for width, window in self.attended)
        return rows * tokens * (2.0 * self.matrices + 2.0 * reach) + 2.0 * self.head * logits


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of a fit by purpose.

    checkpointed  what activations take with activation_checkpointing
    retained      what the C library keeps of freed activations without it (harness/training/c_allocator.py)
    """

    parameters: int
    trained: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    checkpointed: float | None
    loss: float
    retained: float = 0.0

    def peak(self, *, accumulates: bool, first: bool, paged: bool, checkpointed: bool) -> float:
        """The most that is held at once.

        accumulates  gradients of earlier micro-batches are there while one is read; first: no update was made before
        """
        kept = self.activations + self.retained
        if checkpointed and self.checkpointed is not None:
            kept = self.checkpointed
        averages = 0 if paged else self.optimizer
        before = kept + self.loss + (0 if first else averages) + (self.gradients if accumulates else 0)
        return self.weights + max(before, self.gradients + averages)


def new_model_of(config: Any, dtype: str, attention: str = "") -> Any:
    """A model of a configuration. Raises UserError where `transformers` cannot make one."""
    own = {"attn_implementation": attention} if attention else {}
    try:
        return transformers.AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype), **own)
    except (ValueError, KeyError, ImportError) as error:
        raise UserError(f"no model can be made of its configuration: {first_line(error)}") from error


def shape_of(config: Any) -> ModelShape:
    """The sizes of the model that a configuration describes."""
    with torch.device("meta"):
        model = new_model_of(config, "float32")
    text = config.get_text_config()
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    apart = {id(embedding), id(head)}
    used = _share_of_experts(text)
    matrices = sum(
        weight.numel() * (used if ".experts." in name else 1)
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and id(weight) not in apart
    )
    total = sum(weight.numel() for weight in model.parameters())
    return ModelShape(total, round(matrices), head.numel(), tuple(_attended(text)))


def _share_of_experts(config: Any) -> float:
    """The share of a mixture's experts that a token is sent to."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((getattr(config, name) for name in names if getattr(config, name, None)), 0)
    used = getattr(config, "num_experts_per_tok", None)
    return used / experts if experts and used else 1.0


def _attended(config: Any) -> Iterator[tuple[int, int | None]]:
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    for kind in kinds:
        if kind in ("full_attention", "sliding_attention"):
            yield width, window if kind == "sliding_attention" else None


def training_memory(
    config: Any,
    dtype: str,
    footprint_of: Callable[[Any], Footprint],
    optimisation: Optimisation,
    *,
    rows: int,
    tokens: int,
    logits: int,
    attention: str = "",
    device: str = "cpu",
    divided: bool = False,
    counted: bool = True,
) -> TrainingMemory:
    """The memory of an update in which so many rows of so many tokens are read at once, `logits` of them labelled.

    divided  these rows are a piece of the micro-batch, before which the C library gives back what it retains
    counted  without it, activations are left out: their forward pass takes seconds where there are many layers
    """
    with torch.device("meta"):
        model = new_model_of(config, dtype, attention)
        declared = footprint_of(model)
    trainee = declared.trainee
    whole = all(weight.requires_grad for weight in model.parameters())
    if whole:
        trainee = trainee.float()
    trained = [weight for weight in trainee.parameters() if weight.requires_grad]
    weights = sum(weight.numel() * weight.element_size() for weight in trainee.parameters())
    if declared.frozen == "nf4":
        weights -= saved_by_nf4(trainee)
    head = unwrapped(trainee).get_output_embeddings().weight
    kept, freed = 0, 0
    if counted:
        kept, freed = _activation_bytes(trainee, rows, tokens, autocast=dtype == "bfloat16", frozen=not whole)
    count, everything = (sum(weight.numel() for weight in some) for some in (trained, trainee.parameters()))
    text = config.get_text_config()
    layers = getattr(text, "num_hidden_layers", None)
    inputs = rows * tokens * text.hidden_size * 4
    return TrainingMemory(
        parameters=everything,
        trained=count,
        weights=weights + declared.further * everything * 4,
        gradients=4 * count,
        optimizer=OPTIMIZER_BYTES[optimisation.optimizer] * count,
        activations=kept,
        checkpointed=min(kept, layers * inputs + kept / layers) if layers else None,
        loss=_loss_bytes(logits * head.shape[0], head.numel() if head.requires_grad else 0),
        retained=KEPT_SHARE * freed if keeps_freed_blocks(device) and not divided else 0.0,
    )


NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in NF4: 4 bits, a constant in 8 bits for each 64, and one in 32 bits for each 256 of those."""


def saved_by_nf4(model: Any) -> float:
    """The bytes that a model's frozen linear layers, without the head, take less in NF4 than as they are."""
    head = id(unwrapped(model).get_output_embeddings().weight)
    layers = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
    frozen = {id(weight): weight for weight in layers if not weight.requires_grad and id(weight) != head}
    return float(sum(weight.numel() * (weight.element_size() - NF4_BYTES) for weight in frozen.values()))


def _loss_bytes(logits: int, trained_head: int) -> float:
    """Logits, their logarithms of probabilities and their gradients; in blocks, the head's gradients twice."""
    at_once = min(logits, BLOCK)
    return 3 * 4 * at_once + (2 * 4 * trained_head if logits > BLOCK else 0)


def _activation_bytes(model: Any, rows: int, tokens: int, *, autocast: bool, frozen: bool) -> tuple[int, int]:
    """The bytes of a forward pass below the head, without the weights: what autograd keeps of it, and what it frees."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode

    kept: dict[int, Any] = {}
    made: dict[int, Any] = {}

    def note(tensor: Any, found: dict[int, Any]) -> Any:
        storage = tensor.untyped_storage()
        found[storage._cdata] = storage  # held, so that no other one gets its address
        return tensor

    class Noting(TorchDispatchMode):  # type: ignore[misc]
        """Notes what every operation makes."""

        def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            output = operation(*args, **(kwargs or {}))
            for tensor in torch.utils._pytree.tree_leaves(output):
                if isinstance(tensor, torch.Tensor):
                    note(tensor, made)
            return output

    with FakeTensorMode(allow_non_fake_inputs=True):
        _on_cpu(model)
        inner = unwrapped(model)
        if frozen:  # edits of hidden states begin anywhere, and an adapter in the first layer
            inner.get_input_embeddings().register_forward_hook(lambda module, given, output: output.requires_grad_())
        ids = torch.zeros(rows, tokens, dtype=torch.long)
        with (
            torch.autograd.graph.saved_tensors_hooks(lambda tensor: note(tensor, kept), lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=autocast),
            Noting(),
        ):
            output = inner.train().base_model(input_ids=ids, use_cache=False)
        for weight in model.parameters():
            for found in (kept, made):
                found.pop(weight.untyped_storage()._cdata, None)
        whole = sum(int(storage.nbytes()) for storage in kept.values())
        freed = sum(int(storage.nbytes()) for place, storage in made.items() if place not in kept)
        del output
    return whole, freed


def reading_bytes(config: Any, dtype: str, rows: int, tokens: int) -> float:
    """The bytes that one layer holds while rows are read: what autograd would keep of it."""
    with torch.device("meta"):
        model = new_model_of(config, dtype).requires_grad_(False)
    layers = getattr(config.get_text_config(), "num_hidden_layers", 1)
    return _activation_bytes(model, rows, tokens, autocast=False, frozen=True)[0] / layers


def _on_cpu(model: Any) -> None:
    """Replace the weights by ones that say they are on a CPU: torch chooses kernels and autocasts by that."""
    made: dict[int, Any] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    new = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
                    weight = table is module._parameters
                    made[id(tensor)] = torch.nn.Parameter(new, tensor.requires_grad) if weight else new
                table[name] = made[id(tensor)]


def training_operations(
    shape: ModelShape, memory: TrainingMemory, rows: Iterator[tuple[int, int]], *, checkpointing: bool
) -> float:
    """Floating-point operations of reading rows (tokens, labelled) once each, forward and backward.

    The gradients of activations cost as much as the forward pass, and so do those of the weights where all of them are
    trained; an adapter of n parameters costs 6 n for each token.
    """
    whole = memory.trained >= shape.parameters
    passes = (3 if whole else 2) + checkpointing
    apart = 0 if whole else 6.0 * memory.trained
    return sum(
        passes * shape.forward(tokens) + tokens * apart + (3 if whole else 2) * 2.0 * shape.head * labelled
        for tokens, labelled in rows
    )
