"""Several processes of one machine that train one model together: each holds a part of every weight (FSDP2).

The engine starts them (`harness/engine/together.py`), and the library accelerate divides the model among them. Each
computes its share of the rows of an update, so that every update has the rows that it has with one process.
"""

from __future__ import annotations

from typing import Any

from harness.lazy import torch


def first_process() -> bool:
    """Whether this process writes what is fitted: the only one, or the first of several."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not together or torch.distributed.get_rank() == 0


def mean_over_processes(value: Any, processes: int) -> float:
    """The mean of a tensor of one number over all processes, each of which has to call this."""
    if processes > 1:
        value = value.clone()
        torch.distributed.all_reduce(value)
    return float(value) / processes


def as_one_process() -> Any:
    """The precision of FSDP that is one process's: float32 weights under autocast, and gradients summed in float32.

    By default accelerate would sum gradients in bfloat16, and compute norms and residual streams in it.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy

    return MixedPrecisionPolicy()


def use_on_cpu(trainer: Any) -> None:
    """Let a trainer on a CPU divide the model among its processes, as the library accelerate does only on GPUs."""
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    state = trainer.accelerator.state
    if state.distributed_type is DistributedType.MULTI_CPU:
        state.fsdp_plugin = FullyShardedDataParallelPlugin(**trainer.args.fsdp_plugin_args)
        state.distributed_type = DistributedType.FSDP
        trainer.is_fsdp_enabled = True


def gathered_here(model: Any) -> None:
    """Make the divided model a plain one again, on the CPU of the first process; all processes have to call this."""
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    whole: dict[int, Any] = {}
    for module in model.modules():
        for name, part in module._parameters.items():
            if isinstance(part, DTensor):
                if id(part) not in whole:  # a weight may have two names
                    whole[id(part)] = _gathered(part)
                if first_process():
                    module._parameters[name] = whole[id(part)]
        if first_process() and isinstance(module, FSDPModule):
            # its second base: the class that the module had
            module.__class__ = type(module).__bases__[1]


def _gathered(part: Any) -> Any:
    """A weight in full in the first process; None in the others."""
    full = part.detach().full_tensor()
    return torch.nn.Parameter(full.cpu(), requires_grad=part.requires_grad) if first_process() else None
