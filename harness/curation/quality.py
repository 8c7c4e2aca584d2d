"""Quality scores of examples, for the curation step `score`: a number per row, higher is better.

ifd     ppl(answer | instruction) / ppl(answer) under a causal model (arXiv 2402.10110 and 2308.12032): how much
        of the answer remains to be learnt given the instruction; from 1 on the instruction does not help
reward  the output of a sequence-classification model with one label, such as a reward model
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.curation.rendering import as_demonstration
from harness.curation.writing.requests import filled
from harness.data.examples import Example, prompt_text
from harness.errors import UserError, did_you_mean
from harness.policy.reward_model import RewardModel
from harness.policy.sources import base_model_of
from harness.policy.types import Prompt
from harness.records import Demonstration, Message

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


GUESS = (
    "An assistant gave this answer:\n\n{answer}\n\n"
    "What was it asked? Write the request that this answers best, and nothing else."
)
"""The request to the model for r-IFD, in our own words."""


def quality_scores(examples: Sequence[Example], scorer: str, model: str, device: str = "cpu") -> list[float]:
    """A score for each example. Raises UserError where the scorer is unknown or the model cannot do it."""
    if scorer not in SCORERS:
        raise UserError(f"unknown scorer {scorer!r}", fix=did_you_mean(scorer, [*SCORERS, "none"]))
    if not model:
        raise UserError(f"the scorer {scorer} needs a model", fix="Write {score: {scorer: ..., model: NAME}}.")
    return SCORERS[scorer](examples, base_model_of(model, device))


def _ifd(examples: Sequence[Example], base: BaseModel) -> list[float]:
    return instruction_following_difficulty(examples, base.policy())


def instruction_following_difficulty(examples: Sequence[Example], policy: Policy) -> list[float]:
    """IFD of the last answer given the messages before it."""
    return ifd_of([as_demonstration(one) for one in examples], policy)


def ifd_of(demonstrations: Sequence[Demonstration], policy: Policy) -> list[float]:
    """IFD of each demonstration's last answer given the messages before it."""
    prompts = [Prompt(messages=one.messages[:-1]) for one in demonstrations]
    return perplexity_ratios(prompts, [one.messages[-1].content for one in demonstrations], policy)


def reversed_ifd_of(demonstrations: Sequence[Demonstration], policy: Policy) -> list[float]:
    """r-IFD: ppl(x | y') / ppl(x) of the user's text x, where y' asks which request the last answer fits.

    A low value means that the answer reveals the request (arXiv 2402.10110).
    """
    asked = [filled(GUESS, answer=one.messages[-1].content) for one in demonstrations]
    prompts = [Prompt(messages=(Message("user", text),)) for text in asked]
    return perplexity_ratios(prompts, [prompt_text(one) for one in demonstrations], policy)


def perplexity_ratios(prompts: Sequence[Prompt], texts: Sequence[str], policy: Policy) -> list[float]:
    """ppl(text | prompt) / ppl(text); ppl(text) is without a template, as published."""
    given = policy.score(prompts, texts)
    alone = policy.score([Prompt() for _ in texts], texts)
    # each mean has its own number of tokens: a merge at the boundary may change it
    return [math.exp(_per_token(free) - _per_token(bound)) for bound, free in zip(given, alone, strict=True)]


def _per_token(score: Any) -> float:
    return float(score.logprob) / max(1, int(score.tokens))


def _rewards(examples: Sequence[Example], base: BaseModel) -> list[float]:
    judge = RewardModel(base)
    return [judge.of_conversation(as_demonstration(one).messages) for one in examples]


SCORERS: dict[str, Callable[[Sequence[Example], BaseModel], list[float]]] = {"ifd": _ifd, "reward": _rewards}
