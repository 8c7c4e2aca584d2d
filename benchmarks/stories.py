"""Word problems of the microworld with one to five steps: does the answer close with the right total?

Stories of four steps are in no training set: longer than most, yet between two lengths that are trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld import datasets
from harness.microworld.phrases import prompt_templates
from harness.microworld.rules import story_total
from harness.policy.types import Prompt, Sampling
from harness.records import Problem, TestItem, TestSet, digest_of
from harness.scoring.answers.word_problems import flags_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Stories(Benchmark):
    """Problems with a total, worked out once each."""

    version = 1
    needs = frozenset({"sample"})

    split: Literal["test", "validation"] = setting("test", "whose stories are told")
    limit: int | None = setting(None, "tell only the first so many stories", least=1)
    temperature: float = setting(0.0, "0 takes the likeliest token; above it, the seed draws")
    max_new_tokens: int = setting(64, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """The total, by the number of steps."""
        return (Metric("solved", "share of stories that close with the right total", role="quality", by_group=True),)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per story."""
        items = self._items()
        prompts = [Prompt(messages=item.prompt) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            yield Outcome(
                item=item.id,
                cluster=item.id,
                group=f"{_steps(item)} steps" if _steps(item) > 1 else "1 step",
                metrics={"solved": float(story_total(completion.text, item.reference))},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.text,),
                reference=item.reference,
                flags=flags_of(completion),
            )

    def data_digest(self) -> str:
        """Digest of the stories with their totals."""
        return digest_of(self._items())

    def test_set(self) -> TestSet:
        """The stories; their totals alone would match anything."""
        items = tuple(TestItem(item.id, item.prompt[0].content) for item in self._items())
        return TestSet("stories", items, prompt_templates())

    def _items(self) -> list[Problem]:
        records = datasets.load("stories", self.split)[: self.limit]
        return [record for record in records if isinstance(record, Problem)]


def _steps(item: Problem) -> int:
    """Sentences between the first, which says what there is, and the question."""
    return item.prompt[0].content.count(" . ") - 1
