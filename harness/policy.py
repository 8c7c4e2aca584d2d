"""The narrow waist: what a benchmark may ask of whatever a method made.

A benchmark hands over prompts, not token ids, because only the policy knows its chat template or its
in-context examples. It uses two verbs, `score` and `sample`. Most policies get both from four small steps
(`encode`, `prefill`, `extend`, `select`) through `StepwisePolicy`; a policy that only samples implements
`sample` and declares `gives = {"sample"}`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from harness.benchmark import Capability
from harness.data.records import Message
from harness.errors import UserError
from harness.lazy import LazyModule

if TYPE_CHECKING:
    import torch

    from harness.encoding import Encoded, TextEncoder
else:
    torch = LazyModule("torch")


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


class Policy(ABC):
    """Anything that answers: the only thing that evaluation sees.

    digest  names the artifact that it was loaded from; base: opens the policy of the model that it was made of. A run
            sets both
    """

    gives: ClassVar[frozenset[Capability]]
    encoder: TextEncoder
    digest: str = ""
    base: Callable[[], Policy] | None = None

    @abstractmethod
    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """For each prompt its `sampling.samples` completions; `keys` name the items for the noise."""

    def decoded_by(self) -> tuple[Policy, int]:
        """The policy whose decoding an answer costs, and how often: not itself where it chooses among answers."""
        return self, 1

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]. Raises UserError where the policy only samples."""
        raise UserError(
            f"{type(self).__name__} gives no log-probabilities",
            fix="Use a benchmark that needs only samples.",
        )


def base_of(policy: Policy) -> Policy:
    """The policy of the model that a policy was made of. Raises UserError where nobody said which that is."""
    if policy.base is None:
        raise UserError("the policy does not say what it was made of", fix="Let `bakeoff run` load it.")
    return policy.base()


class StepwisePolicy(Policy):
    """A policy made of four steps; scoring, sampling and training log-probabilities follow from them.

    budget  logits held at once, in elements (rows x positions x vocabulary), not bytes
    """

    gives: ClassVar[frozenset[Capability]] = frozenset({"score", "sample", "text"})
    budget: int = 1 << 26
    max_rows: int = 256

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where logits live."""

    @property
    @abstractmethod
    def vocabulary(self) -> int:
        """The width V of the logits."""

    @abstractmethod
    def prefill(self, prompts: Sequence[Encoded]) -> tuple[torch.Tensor, Any]:
        """Read whole prompts (never their assistant prefix): fp32 logits (B, V) for the next token, state."""

    @abstractmethod
    def extend(self, state: Any, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """Read tokens (B, T) where mask (B, T) is true: fp32 logits (B, T, V), new state. Consumes the state."""

    @abstractmethod
    def select(self, state: Any, rows: torch.Tensor) -> Any:
        """The state of these rows (int64, repeats allowed). Consumes the state."""

    def encode(self, prompt: Prompt, completion: str | None = None) -> Encoded:
        """Token ids of prompt, assistant prefix and completion. Override it to change the template."""
        return self.encoder.encode(prompt, completion)

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Score completions[i] after prompts[i]; equal prompts are read once."""
        from harness.scoring import score_encoded

        return score_encoded(self, [self.encode(p, c) for p, c in zip(prompts, completions, strict=True)])

    def logprobs(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[torch.Tensor]:
        """Log-probabilities (T_i,) of each completion's tokens, differentiable in the policy's parameters."""
        from harness.scoring import differentiable_logprobs

        return differentiable_logprobs(self, [self.encode(p, c) for p, c in zip(prompts, completions, strict=True)])

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Draw completions; the text of an item depends on its own key, never on the batch (fp32)."""
        from harness.sampling import sample_encoded

        return sample_encoded(self, [self.encode(prompt) for prompt in prompts], sampling, keys)
