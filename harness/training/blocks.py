"""The loss of a large micro-batch, in blocks of positions: never more than BLOCK logits are held at once.

8 rows of 300 tokens have 118 million logits at a vocabulary of 49,152: 0.5 GB for each of four copies. Here the model
computes hidden states, and its own head (with whatever it does to logits) reads one block of labelled positions after
another. The gradients of a block are taken at once, as in Liger Kernel (2410.10989), so nothing is computed twice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from harness.policy.causal import unwrapped
from harness.policy.hidden_states import changed_outputs
from harness.training.labelled_rows import IGNORED

BLOCK = 1 << 24


def blockwise_loss(model: Any, inputs: Mapping[str, Any], items: Any) -> torch.Tensor | None:
    """`completion_loss` of a batch (B, T), equal but for rounding; None where one block holds the whole batch.

    None also where the model's hidden states are not found, since they do not come from its `base_model`.
    """
    head = unwrapped(model).get_output_embeddings()
    targets = inputs["labels"][:, 1:]
    asked = targets != IGNORED
    width = head.weight.shape[0]
    if len(targets) * int(asked.any(0).sum()) * width <= BLOCK:
        return None
    read = {name: part for name, part in inputs.items() if name != "labels"}
    output = _backbone_output(model, read)
    if output is None:
        return None
    block_loss = partial(_block_loss, model, read, output)
    trained = [weight for weight in head.parameters() if weight.requires_grad]
    states = output.last_hidden_state[:, :-1][asked]
    summed = _InBlocks.apply(block_loss, max(1, BLOCK // width), targets[asked], states, *trained)
    return summed / items


def fused_log_probs(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    """log p (B, T - 1) of the labelled tokens of a batch (B, T), by the fused head of TRL on the model; 0 elsewhere."""
    found: torch.Tensor = fused_head(model, **inputs).log_probs
    return found


def fused_head(model: Any, *, labels: torch.Tensor, **read: Any) -> Any:
    """The output of TRL's fused head on the model for a batch (B, T): `log_probs` and, if added, `entropy` (B, T - 1).

    On a CPU that head reads every position, of prompts and of padding too. So it is given the labelled ones alone; the
    others are 0. Its other fields then have labelled positions only.
    """
    named = {**read, "use_cache": False, "fused_lm_head": True}
    targets = labels[:, 1:]
    asked = targets != IGNORED
    if targets.device.type != "cpu" or not bool(asked.any()):
        return model(**named, labels=labels)

    def labelled(output: Any) -> Any:
        return _with_states(output, output.last_hidden_state[:, :-1][asked])

    with changed_outputs([(unwrapped(model).base_model, labelled)]):
        found = model(**named, shift_labels=targets[asked][None])
    for name in ("log_probs", "entropy"):
        if (part := getattr(found, name)) is not None:
            found[name] = torch.zeros(asked.shape, dtype=part.dtype).masked_scatter(asked, part[0])
    return found


def _with_states(output: Any, states: torch.Tensor) -> Any:
    """A backbone's output with the states (N, d) in place of its own."""
    changed = copy.copy(output)
    changed.last_hidden_state = changed["last_hidden_state"] = states[None]
    return changed


def _backbone_output(model: Any, read: Mapping[str, Any]) -> Any:
    """What the modules below the head compute; None where they are not called as one module."""
    kept: list[Any] = []

    def keep(module: Any, arguments: Any, output: Any) -> Any:
        if isinstance(getattr(output, "last_hidden_state", None), torch.Tensor):
            kept.append(output)

    backbone = unwrapped(model).base_model
    handle = backbone.register_forward_hook(keep)
    try:
        # one position, whose logits are not used
        model(**read, use_cache=False, logits_to_keep=1)
    finally:
        handle.remove()
    return kept[0] if len(kept) == 1 else None


def _block_loss(
    model: Any, read: Mapping[str, Any], output: Any, states: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """The sum of -log p of targets (N,) whose hidden states (N, d) are known."""
    with _answering(unwrapped(model).base_model, _with_states(output, states)):
        logits = model(**read, use_cache=False, logits_to_keep=0).logits[0]
    return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")


@contextmanager
def _answering(module: Any, output: Any) -> Iterator[None]:
    """Within this context the module computes nothing and gives this output."""
    before = module.__dict__.get("forward")
    module.forward = lambda *arguments, **named: output
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before


class _InBlocks(torch.autograd.Function):  # type: ignore[misc]
    """The sum of `block_loss(states, targets)` over blocks of positions, whose gradients the forward pass takes."""

    @staticmethod
    def forward(
        context: Any,
        block_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        size: int,
        targets: torch.Tensor,
        states: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        """The loss of states (N, d) before the head, whose trained weights are given."""
        total = torch.zeros((), device=states.device)
        of_states, of_weights = torch.empty_like(states), [torch.zeros_like(weight) for weight in weights]
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            with torch.enable_grad():
                own = states[part].detach().requires_grad_()
                loss = block_loss(own, targets[part])
                of_states[part], *further = torch.autograd.grad(loss, [own, *weights])
            total += loss.detach()
            for grown, found in zip(of_weights, further, strict=True):
                grown += found
        context.save_for_backward(of_states, *of_weights)
        return total

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        """The gradients of the states and weights."""
        return (None, None, None, *(gradients[0] * found for found in context.saved_tensors))
