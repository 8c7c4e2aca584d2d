"""The base model's knowledge of people of the microworld as multiple choice, which alignment should preserve.

Each item asks for one fact about one person. The answer begins with the stem of a sentence, and the policy's choice is
the likeliest continuation. People that the corpus mentions often, sometimes and rarely are reported separately. The
items run through lm-eval as a task of `output_type: multiple_choice`.

The embedded models choose 93 to 100 % of the common people's facts among four, and a score at its ceiling hides losses.
With `bands` the question is harder: the choices are all values that the fact can have (12 to 72; chance is 4.0 %), and
the people come from four bands of ranks that models of the named size know in part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.lazy import LazyModule
from harness.method import setting
from harness.microworld.items import KnowledgeItem, banded_items, knowledge_items
from harness.microworld.phrases import prompt_templates
from harness.records import TestItem, TestSet

if TYPE_CHECKING:
    from harness.policy.policy import Policy
    from harness.scoring.lm_eval import bridge as lm_eval_bridge
else:
    lm_eval_bridge = LazyModule("harness.scoring.lm_eval.bridge")

TASK = {
    "output_type": "multiple_choice",
    "doc_to_text": "question",
    "gen_prefix": "stem",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "num_fewshot": 0,
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
"""The task with lm-eval's keys; its rows are passed in memory."""


@dataclass(frozen=True)
class Knowledge(Benchmark):
    """Facts of the microworld with four choices each; items about one person share a cluster."""

    version = 1
    needs = frozenset({"score"})
    divisible = True

    split: Literal["test", "validation"] = setting("test", "split of the people")
    limit: int | None = setting(None, "number of items; none: all", least=1)
    bands: Literal["none", "small", "large"] = setting(
        "none", "four bands of people that models of this size know in part, with all values as choices"
    )

    def metrics(self) -> tuple[Metric, ...]:
        """The share of right choices; with bands, each item has its own level of chance."""
        description = "share of items whose right choice is the likeliest"
        chance = 0.25 if self.bands == "none" else None
        return (Metric("accuracy", description, role="knowledge", by_group=True, chance=chance),)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per fact; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.person)
        if not items:  # of a part; lm-eval has no task without documents
            return
        task = lm_eval_bridge.task_of("microworld_knowledge", [asdict(item) for item in items], **TASK)
        samples = lm_eval_bridge.run_tasks(policy, task, chat_template=True)
        for item, sample in zip(items, samples, strict=True):
            yield Outcome(
                item=item.id,
                cluster=item.person,
                group=item.group,
                metrics={"accuracy": sample.metrics["acc"], **self._chance(item)},
                prompt=sample.prompt,
                completions=sample.completions,
                reference=item.choices[item.answer],
                flags=("truncated",) if sample.truncated else (),
            )

    def data_digest(self) -> str:
        """Digest of the items with their choices and answers."""
        rows = json.dumps([asdict(item) for item in self._items()], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The questions with their right choices."""
        items = tuple(TestItem(item.id, item.question, item.choices[item.answer]) for item in self._items())
        return TestSet("knowledge", items, prompt_templates())

    def _items(self) -> list[KnowledgeItem]:
        items = knowledge_items(self.split) if self.bands == "none" else banded_items(self.split, self.bands)
        return items[: self.limit]

    def _chance(self, item: KnowledgeItem) -> dict[str, float]:
        return {} if self.bands == "none" else {"chance": 1 / len(item.choices)}
