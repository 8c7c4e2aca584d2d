"""Word problems of the microworld with one to five steps; an answer must close with the right total.

No training set contains stories of four steps: longer than most, yet between two lengths that training sets contain.
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

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Stories(Benchmark):
    """Problems with a total as the answer, each asked once."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True

    split: Literal["test", "validation"] = setting("test", "split of the stories")
    limit: int | None = setting(None, "number of stories; none: all", least=1)
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(64, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """The total, by the number of steps."""
        return (Metric("solved", "share of stories answered with the right total", role="quality", by_group=True),)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per story."""
        items = self.chosen(self._items(), lambda item: item.id)
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
                completions=(completion.whole,),
                reference=item.reference,
                flags=completion.flags,
            )

    def data_digest(self) -> str:
        """Digest of the stories with their totals."""
        return digest_of(self._items())

    def test_set(self) -> TestSet:
        """The stories, without their totals, which would match any text."""
        items = tuple(TestItem(item.id, item.prompt[0].content) for item in self._items())
        return TestSet("stories", items, prompt_templates())

    def _items(self) -> list[Problem]:
        records = datasets.load("stories", self.split)[: self.limit]
        return [record for record in records if isinstance(record, Problem)]


def _steps(item: Problem) -> int:
    """The number of sentences between the first and the question."""
    return item.prompt[0].content.count(" . ") - 1
