"""A model that writes training text: any policy, with how it is sampled and what its rows call it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from harness.lazy import LazyModule
from harness.policy.policy import Policy
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt, Sampling
from harness.records import Message

if TYPE_CHECKING:
    import torch

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
        from harness.policy.endpoint import EndpointPolicy

        return Writer(EndpointPolicy(endpoint, model, key_variable), model, sampling)
    return Writer(base_model_of(model, device).policy(), model, sampling)


def _clean(text: str) -> str:
    """Text that a UTF-8 file and a terminal can hold."""
    return "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cs")).strip()
