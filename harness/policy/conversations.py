"""Conversations in which a policy reads its own earlier answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message

if TYPE_CHECKING:
    from harness.policy.policy import Policy


def converse(
    policy: Policy, conversations: Sequence[Sequence[str]], sampling: Sampling, keys: Sequence[str]
) -> list[list[tuple[Prompt, Completion]]]:
    """For each conversation, given by its user turns: every turn's prompt, with all turns before it, and its answer.

    The policy is called once per turn number, for all conversations with that turn. Each turn has its own noise.
    """
    told: list[list[tuple[Prompt, Completion]]] = [[] for _ in conversations]
    single = replace(sampling, samples=1)
    for turn in range(max(map(len, conversations), default=0)):
        places = [at for at, turns in enumerate(conversations) if len(turns) > turn]
        prompts = [_next(told[at], conversations[at][turn]) for at in places]
        drawn = policy.sample(prompts, single, [f"{keys[at]}/turn-{turn + 1}" for at in places])
        for at, prompt, (completion,) in zip(places, prompts, drawn, strict=True):
            told[at].append((prompt, completion))
    return told


def _next(told: Sequence[tuple[Prompt, Completion]], question: str) -> Prompt:
    before: tuple[Message, ...] = ()
    if told:
        prompt, completion = told[-1]
        before = (*prompt.messages, Message("assistant", completion.text))
    return Prompt(messages=(*before, Message("user", question)))
