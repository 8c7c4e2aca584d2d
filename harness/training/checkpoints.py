"""Choosing which pass over the demonstrations to keep, by a named rule on held-out rows.

`last` keeps the final weights and holds nothing out. `held_out_loss` keeps the pass whose mean
-log p over the held-out answers' tokens is lowest; for open answers that is often the wrong one: in LIMA
(2305.11206) perplexity rose while quality rose. `held_out_match` keeps the pass that answers most held-out
demonstrations word for word, which suits short answers. Ties go to the earlier pass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.lazy import torch
from harness.policy.causal import CausalPolicy
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


Rule = Literal["last", "held_out_loss", "held_out_match"]


def set_aside(demonstrations: Sequence[Demonstration], rule: Rule, held_out: int) -> tuple[Any, Any]:
    """(rows to train on, held-out rows): the same for every seed and every order of the rows.

    Raises UserError where no row is left to train on.
    """
    if rule == "last":
        return tuple(demonstrations), ()
    if not 0 < held_out < len(demonstrations):
        raise UserError(
            f"{rule} holds out {held_out} of {len(demonstrations)} demonstrations",
            fix="Let held_out be 1 or more and leave rows to train on, or use checkpoint: last.",
        )
    chosen = set(sorted((row.id for row in demonstrations), key=_place)[:held_out])
    return (
        tuple(row for row in demonstrations if row.id not in chosen),
        tuple(row for row in demonstrations if row.id in chosen),
    )


def _place(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


@dataclass
class BestPass:
    """Evaluates a model after every pass over the rows, and keeps the weights of the best pass."""

    model: Any
    encoder: TextEncoder
    rule: Rule
    rows: Sequence[Demonstration]
    values: list[float] = field(default_factory=list)
    _weights: dict[str, Any] = field(default_factory=dict)

    def look(self) -> None:
        """Evaluate the pass that has just ended. The model stays in training mode."""
        if self.rule == "last":
            return
        policy = CausalPolicy(self.model, self.encoder)
        with torch.no_grad():
            self.values.append(RULES[self.rule](policy, self.rows))
        self.model.train()
        if self._best() == len(self.values) - 1:
            self._weights = {name: part.detach().clone() for name, part in self.model.state_dict().items()}

    def restore(self) -> None:
        """Give the model the weights of the best pass."""
        if self._weights:
            self.model.load_state_dict(self._weights)

    @property
    def notes(self) -> dict[str, Any]:
        """The choice, for the report; empty for the rule `last`."""
        if self.rule == "last":
            return {}
        return {"checkpoint": self.rule, "pass_kept": self._best() + 1, "passes": [round(v, 6) for v in self.values]}

    def _best(self) -> int:
        wanted = min if self.rule == "held_out_loss" else max
        return self.values.index(wanted(self.values))


def mean_loss(policy: Policy, rows: Sequence[Demonstration]) -> float:
    """Mean -log p in nats over the tokens of all assistant turns."""
    prompts, answers = zip(*(turn for row in rows for turn in _turns(row)), strict=True)
    scores = policy.score(prompts, answers)
    return -math.fsum(score.logprob for score in scores) / sum(score.tokens for score in scores)


def share_matched(policy: Policy, rows: Sequence[Demonstration]) -> float:
    """The share of rows whose last answer the policy gives, ignoring surrounding white space."""
    prompts, answers = zip(*(list(_turns(row))[-1] for row in rows), strict=True)
    longest = max(len(policy.encoder.tokens(answer, bare=True)) for answer in answers)
    drawn = policy.sample(prompts, Sampling(max_new_tokens=longest + 1), [row.id for row in rows])
    right = [bool(given[0].text.strip() == wanted.strip()) for given, wanted in zip(drawn, answers, strict=True)]
    return sum(right) / len(rows)


def _turns(row: Demonstration) -> list[tuple[Prompt, str]]:
    """Every assistant turn of a demonstration, with the messages that precede it as its prompt."""
    return [
        (Prompt(messages=row.messages[:at]), message.content)
        for at, message in enumerate(row.messages)
        if message.role == "assistant"
    ]


RULES: dict[str, Callable[[Policy, Sequence[Demonstration]], float]] = {
    "held_out_loss": mean_loss,
    "held_out_match": share_matched,
}
