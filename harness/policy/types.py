"""Plain data types: the input of policies (Prompt, Sampling) and their output (Score, Completion)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from harness.errors import UserError
from harness.records import Message

Capability = Literal["score", "sample", "text"]
"""An ability of a policy: log-probabilities, samples, or handling bare text, which has no turns."""


class NotFinite(UserError):
    """A model gave logits that are NaN or infinite: no score and no answer of it means anything."""

    def __init__(self) -> None:
        fix = "Its weights are damaged or diverged in training, or its dtype overflows: try dtype: float32 or bfloat16."
        super().__init__("the model's logits are not finite numbers", fix=fix)


@dataclass(frozen=True)
class Prompt:
    """A prompt before any template is applied: messages, or bare text for a base model.

    assistant_prefix  the beginning of the answer; it is read after the prompt, so that an intervention on prompt
                      positions does not change it
    """

    messages: tuple[Message, ...] = ()
    text: str = ""
    assistant_prefix: str = ""

    def __post_init__(self) -> None:
        if self.messages and self.text:
            raise ValueError("a prompt is messages or text, not both")


@dataclass(frozen=True)
class Sampling:
    """Settings of sampling.

    temperature  0 takes the most likely token; otherwise logits are divided by it before top-p
    top_p        only the smallest set of tokens that reaches this mass is drawn from
    stop         strings that end a completion and are removed from it
    samples      completions per prompt, drawn from one prefill
    salt         policies with different salts share no noise; needed for diversity
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
    """The log-probability of a completion: natural logarithms summed over its tokens (fp32 log-softmax)."""

    logprob: float
    tokens: int
    is_greedy: bool
    token_logprobs: tuple[float, ...] = ()
    truncated: bool = False

    @property
    def per_token(self) -> float:
        """The mean over its tokens; minus infinity for a completion without one, which is not a likely answer."""
        return self.logprob / self.tokens if self.tokens else -math.inf


@dataclass(frozen=True)
class Completion:
    """One drawn answer; finish is "stop" (a stop token), "stop_string" or "length".

    text      the answer, which is judged: without thoughts
    stop_id   the stop token, which is not in `token_ids`
    thoughts  the text before the answer, with the marks of the thoughts
    """

    text: str
    token_ids: tuple[int, ...]
    finish: str
    truncated: bool = False
    stop_id: int | None = None
    thoughts: str = ""

    @property
    def whole(self) -> str:
        """Thoughts and answer."""
        return f"{self.thoughts}\n{self.text}" if self.thoughts else self.text

    @property
    def flags(self) -> tuple[str, ...]:
        """Remarks for a reader of the answer: its prompt was cut, it is unfinished, it had thoughts."""
        raised = {"truncated": self.truncated, "unfinished": self.finish == "length", "thoughts": bool(self.thoughts)}
        return tuple(name for name, up in raised.items() if up)

    @property
    def drawn_ids(self) -> tuple[int, ...]:
        """All drawn tokens: `token_ids`, and the stop token if there is one."""
        return self.token_ids if self.stop_id is None else (*self.token_ids, self.stop_id)


def flags_of(completions: Iterable[Completion]) -> tuple[str, ...]:
    """The flags of any of these completions, each once."""
    return tuple(dict.fromkeys(flag for completion in completions for flag in completion.flags))
