"""A model that writes training text: any policy, with how it is sampled and what its rows call it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from harness.data.records import Message
from harness.errors import UserError
from harness.lazy import LazyModule
from harness.policy import Policy, Prompt, Sampling

if TYPE_CHECKING:
    import torch

    from harness.base_model import BaseModel
else:
    torch = LazyModule("torch")


class Written(NamedTuple):
    """What the model wrote, without control characters; whether it, or what it was asked, was cut off at a limit."""

    text: str
    cut_off: bool


@dataclass(frozen=True)
class Writer:
    """A policy that is asked in words; `name` stands in the provenance of what it writes."""

    policy: Policy
    name: str
    sampling: Sampling

    def ask(self, requests: Sequence[str], keys: Sequence[str]) -> list[Written]:
        """One answer to each request; `keys` tell the requests apart for the noise."""
        if not requests:
            return []
        prompts = [Prompt(messages=(Message("user", request),)) for request in requests]
        drawn = self.policy.sample(prompts, self.sampling, keys)
        return [Written(_clean(one.text), one.finish == "length" or one.truncated) for (one,) in drawn]


def writer_of(
    model: str,
    endpoint: str = "",
    key_variable: str = "",
    *,
    max_new_tokens: int = 512,
    temperature: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
) -> Writer:
    """The writer of a model's name: a base model, or with `endpoint` a model of that server."""
    sampling = Sampling(max_new_tokens, temperature, seed=seed)
    if endpoint:
        from harness.data.endpoint import EndpointPolicy

        return Writer(EndpointPolicy(endpoint, model, key_variable), model, sampling)
    return Writer(base_model_of(model, device).policy(), model, sampling)


def base_model_of(model: str, device: str = "cpu") -> BaseModel:
    """The base model of that name: in float32 on a CPU, in bfloat16 on a GPU."""
    from harness.base_model import BaseModel, BaseSpec
    from harness.sources import locate

    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"the device is {device!r}", fix="Write cpu, cuda or cuda:0.")
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"{model} is to run on {device}, and torch finds no GPU", fix="Use cpu.")
    spec = BaseSpec(model, dtype="float32" if device == "cpu" else "bfloat16", device=device)
    return BaseModel(spec, locate(spec))


def _clean(text: str) -> str:
    """Text that a UTF-8 file and a terminal can hold."""
    return "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cs")).strip()
