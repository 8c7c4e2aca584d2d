"""Groups of answers that the model in training samples to problems, with their rewards, for `grpo`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.method import NO_SIGNAL
from harness.policy.causal import CausalPolicy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Problem
from harness.scoring.answers.verifiers import verifies
from harness.training.loop import thinned

if TYPE_CHECKING:
    from harness.policy.encoding import Encoded, TextEncoder


@dataclass
class Rollouts:
    """Samples groups of answers with the model in training, and counts their tokens and rewards.

    right  for each group so far, how many of its answers verified
    """

    problems: Sequence[Problem]
    encoder: TextEncoder
    sampling: Sampling
    verify: Callable[[Problem, str], bool] = verifies
    drawn: Counter[int] = field(default_factory=Counter)
    generated_tokens: int = 0
    read_tokens: int = 0
    cut_off: int = 0
    rewards: list[float] = field(default_factory=list)
    right: list[int] = field(default_factory=list)

    @cached_property
    def encoded(self) -> list[Encoded]:
        """Each problem as the model reads it, where an answer still fits."""
        return [
            self.encoder.encode(Prompt(messages=problem.prompt)).fitted(
                self.encoder.max_length, self.sampling.max_new_tokens
            )
            for problem in self.problems
        ]

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """TRL's view of a batch: ids of prompts and answers, row by row; `right` goes on to the reward.

        prompts  the problems' places, each as often as its group is large
        """
        places = [int(prompt) for prompt in prompts[:: self.sampling.samples]]
        groups = self._draw(places, trainer)
        rows = [(self.encoded[at].prompt, answer) for at, group in zip(places, groups, strict=True) for answer in group]
        right = [
            self.verify(self.problems[at], answer.text)
            for at, group in zip(places, groups, strict=True)
            for answer in group
        ]
        answers = [trained_ids(answer) for _, answer in rows]
        self._remember(rows, answers, right)
        return {
            "prompt_ids": [list(prompt) for prompt, _ in rows],
            "completion_ids": answers,
            "logprobs": None,
            "right": right,
        }

    def notes(self) -> dict[str, Any]:
        """Counts and rewards of the answers, for the fit's report."""
        size = self.sampling.samples
        silent = sum(count in (0, size) for count in self.right)
        drawn = len(self.right) * size
        alike = "of each group all or no answers" if any(self.right) else f"none of its {drawn:,} answers"
        lesson = {NO_SIGNAL: f"{alike} verified: no reward taught it anything"} if silent == len(self.right) else {}
        return {
            **lesson,
            "problems": len(self.problems),
            "prompts_truncated": sum(one.truncated for one in self.encoded),
            "answers": drawn,
            "answers_cut_off": self.cut_off,
            "groups_without_signal": round(silent / len(self.right), 6),
            "reward": thinned(self.rewards),
        }

    def _draw(self, places: Sequence[int], trainer: Any) -> list[tuple[Completion, ...]]:
        """A group for each place; a repeated problem is answered with new noise."""
        keys = []
        for at in places:
            keys.append(f"{self.problems[at].id}, {self.drawn[at]}")
            self.drawn[at] += 1
        asked = [Prompt(messages=self.problems[at].prompt) for at in places]
        model = trainer.model
        with trainer.accelerator.autocast():
            groups = CausalPolicy(model, self.encoder).sample(asked, self.sampling, keys)
        model.train()
        return groups

    def _remember(
        self, rows: Sequence[tuple[Sequence[int], Completion]], answers: Sequence[list[int]], right: Sequence[bool]
    ) -> None:
        size = self.sampling.samples
        self.generated_tokens += sum(len(answer.token_ids) for _, answer in rows)
        self.read_tokens += sum(len(prompt) for prompt, _ in rows) + sum(map(len, answers))
        self.cut_off += sum(answer.finish == "length" for _, answer in rows)
        self.right += [sum(right[start : start + size]) for start in range(0, len(right), size)]
        self.rewards.append(sum(right) / len(right))


def trained_ids(answer: Completion) -> list[int]:
    """The ids of an answer and of the stop token that ended it, if any: ending is sampled and rewarded too."""
    return list(answer.drawn_ids)
