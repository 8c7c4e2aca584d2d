"""A model that writes training text: a policy, its sampling settings, and its name in the rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.policy.policy import Policy
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt, Sampling
from harness.records import Message


class Written(NamedTuple):
    """The model's text without control characters, and whether it, or its prompt, was cut off at a limit."""

    text: str
    cut_off: bool


@dataclass(frozen=True)
class Writer:
    """A policy that answers requests in words; `name` is in the provenance of the rows it writes."""

    policy: Policy
    name: str
    sampling: Sampling

    def ask(self, requests: Sequence[str], keys: Sequence[str]) -> list[Written]:
        """One answer to each request; `keys` identify the requests for the sampling noise."""
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
    """The writer with this model: a base model, or with `endpoint` a model of that server."""
    sampling = Sampling(max_new_tokens, temperature, seed=seed)
    if endpoint:
        from harness.policy.endpoint import EndpointPolicy

        return Writer(EndpointPolicy(endpoint, model, key_variable), model, sampling)
    return Writer(base_model_of(model, device).policy(), model, sampling)


def _clean(text: str) -> str:
    """Text that a UTF-8 file and a terminal can hold."""
    return "".join(one for one in text if one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cs")).strip()
