"""Nouns without behaviour: what is asked of a policy, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.records import Message

Capability = Literal["score", "sample", "text"]
"""What a policy can do: give log-probabilities, give answers, and act on bare text, which has no turns, as well."""


@dataclass(frozen=True)
class Prompt:
    """What is asked, before any template: messages, or bare text for a base model.

    assistant_prefix  words that the answer begins with; they are fed after the prompt, so that an
                      intervention on prompt positions never touches them
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    assistant_prefix: str = ""

    def __post_init__(self) -> None:
        if self.messages and self.text:
            raise ValueError("a prompt is messages or text, not both")


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn.

    temperature  0 takes the likeliest token; else logits are divided by it before top-p
    top_p        the smallest set of tokens that reaches this mass is kept
    stop         strings that end a completion and are cut off
    samples      completions per prompt, drawn from one prefill
    salt         set for diversity only: policies with different salts share no noise
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    samples: int = 1
    seed: int = 0
    salt: str = ""


@dataclass(frozen=True)
class Score:
    """How likely a completion is: natural-log probability summed over its tokens (fp32 log-softmax)."""

    logprob: float
    tokens: int
    is_greedy: bool
    token_logprobs: tuple[float, ...] = ()
    truncated: bool = False


@dataclass(frozen=True)
class Completion:
    """One drawn answer; finish is "stop" (a stop token), "stop_string" or "length".

    stop_id  the stop token, which `token_ids` leave out
    """

    text: str
    token_ids: tuple[int, ...]
    finish: str
    truncated: bool = False
    stop_id: int | None = None

    @property
    def drawn_ids(self) -> tuple[int, ...]:
        """All that was drawn: `token_ids`, and the stop token where one ended them."""
        return self.token_ids if self.stop_id is None else (*self.token_ids, self.stop_id)
