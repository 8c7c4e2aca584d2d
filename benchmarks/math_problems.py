"""Word problems with a number as the answer: GSM8K (Cobbe et al., 2021, 2110.14168), or your own.

An answer is right if its final number equals the reference's: 18, 18.00 and $18 are equal, 5 and -5 are not.
harness/scoring/answers/numbers.py documents which number of an answer is the final one.
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
from harness.scoring.answers.word_problems import INSTRUCTION, WordProblem, problem_prompt, shots_of, word_problems

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class MathProblems(Benchmark):
    """Each problem asked once, after `shots` worked problems."""

    version = 4
    needs = frozenset({"sample"})
    divisible = True

    data: str = setting("openai/gsm8k:main", "file, folder or hub id with the columns question and answer", path=True)
    split: str = setting("test", "split of a folder or hub id")
    limit: int | None = setting(None, "number of problems; none: all", least=1)
    shots: int = setting(0, "worked problems before each question")
    shots_from: str = setting("", "source of the shots: a training file, folder or hub id", path=True)
    instruction: str = setting(INSTRUCTION, "text after each question")
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(512, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Right numbers, then any numbers."""
        return (
            Metric("correct", "share of problems answered with the right number", role="quality"),
            Metric("answered", "share of problems answered with any number", primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per problem."""
        items = self.chosen(self._items(), lambda item: item.id)
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
                completions=(completion.whole,),
                reference=canonical(item.number),
                flags=completion.flags,
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
