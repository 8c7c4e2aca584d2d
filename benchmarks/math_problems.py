"""Word problems with a worked answer that closes with a number: GSM8K (Cobbe et al., 2021, 2110.14168), or your own.

An answer is right where the number that it closes with equals the reference's: 18, 18.00 and $18 are one number,
5 and -5 are two. Which number of an answer counts is told in harness/scoring/answers/numbers.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.readers import label_of
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestItem, TestSet
from harness.scoring.answers.numbers import canonical, final_number
from harness.scoring.answers.word_problems import (
    INSTRUCTION,
    WordProblem,
    flags_of,
    problem_prompt,
    shots_of,
    word_problems,
)

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class MathProblems(Benchmark):
    """Each problem asked once, after as many worked ones as `shots` says."""

    version = 1
    needs = frozenset({"sample"})

    data: str = setting("openai/gsm8k:main", "a file, a folder or a hub id with the columns question and answer")
    split: str = setting("test", "which split of a folder or hub id")
    limit: int | None = setting(None, "ask only the first so many problems", least=1)
    shots: int = setting(0, "worked problems before each question")
    shots_from: str = setting("", "where the shots come from: a training file, a folder or a hub id")
    instruction: str = setting(INSTRUCTION, "said after each question; empty: nothing")
    temperature: float = setting(0.0, "0 takes the likeliest token; above it, the seed draws")
    max_new_tokens: int = setting(512, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """The right number, then any number."""
        return (
            Metric("correct", "share of problems whose answer closes with the right number", role="quality"),
            Metric("answered", "share of problems whose answer holds a number", primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per problem."""
        items = self._items()
        shots = self._shots(items)
        prompts = [problem_prompt(item.question, shots, self.instruction) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            found = final_number(completion.text)
            yield Outcome(
                item=item.id,
                cluster=item.id,
                metrics={"correct": float(found == item.number), "answered": float(found is not None)},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.text,),
                reference=canonical(item.number),
                flags=flags_of(completion),
            )

    def data_digest(self) -> str:
        """Digest of the problems and of the shots."""
        items = self._items()
        parts = [f"{item.id}\0{item.question}\0{item.answer}" for item in (*items, *self._shots(items))]
        return hashlib.sha256("\1".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The questions with their worked answers."""
        items = tuple(TestItem(item.id, item.question, item.answer) for item in self._items())
        return TestSet(label_of(self.data), items)

    def _items(self) -> list[WordProblem]:
        return word_problems(self.data, self.split)[: self.limit]

    def _shots(self, items: list[WordProblem]) -> tuple[WordProblem, ...]:
        return shots_of(self.shots_from, self.shots, [item.question for item in items])
