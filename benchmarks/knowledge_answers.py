"""The base model's knowledge of people of the microworld, answered in words instead of chosen as in `knowledge`.

The items are those of `knowledge` under the same ids, so that choices and answers can be compared fact by fact. An
answer is right if, of all possible values of the fact (24 cities, 72 animals, ...), it names the right one and no
other. A choice can be right by knowledge about the other choices, and an answer can be wrong only in its form; where
the two benchmarks disagree, `named` shows whether the answer gave a value at all. The level of chance is that of a
random value: 4.0 % on average, compared with 25 % in `knowledge`.

Its role is "other", not "knowledge": before tuning, a base model cannot express much of its knowledge, so this score
rises with alignment. Pooled with the choices it would hide the cost of alignment (results/scoring, SFT: 74 instead of
80 % of the choices, and 54 instead of 15 % of the answers; together "135 % of the knowledge kept").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld import word_lists
from harness.microworld.items import KnowledgeItem, knowledge_items
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem, TestSet

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class KnowledgeAnswers(Benchmark):
    """Facts of the microworld, each asked once in the usual words; items about one person share a cluster."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True

    split: Literal["test", "validation"] = setting("test", "split of the people")
    limit: int | None = setting(None, "number of items; none: all", least=1)
    max_new_tokens: int = setting(16, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Right answers, with a level of chance for each item, then answers that name one value."""
        named = "share of answers that name one value of the right kind, right or wrong"
        return (
            Metric("correct", "share of answers that name the right value and no other", by_group=True),
            Metric("named", named, primary=False, by_group=True),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per fact; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.person)
        prompts = [Prompt(messages=(Message("user", item.question),)) for item in items]
        drawn = policy.sample(prompts, Sampling(self.max_new_tokens, seed=seed), [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            named = values_named(item.attribute, completion.text)
            gold = item.choices[item.answer]
            yield Outcome(
                item=item.id,
                cluster=item.person,
                group=item.group,
                metrics={
                    "correct": float(named == {gold}),
                    "named": float(len(named) == 1),
                    "chance": 1 / len(word_lists.POOLS[item.attribute]),
                },
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.whole,),
                reference=gold,
                flags=completion.flags,
            )

    def data_digest(self) -> str:
        """Digest of the items with their answers."""
        rows = json.dumps([asdict(item) for item in self._items()], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The questions with their right values."""
        items = tuple(TestItem(item.id, item.question, item.choices[item.answer]) for item in self._items())
        return TestSet("knowledge_answers", items, prompt_templates())

    def _items(self) -> list[KnowledgeItem]:
        return knowledge_items(self.split)[: self.limit]


def values_named(attribute: str, answer: str) -> set[str]:
    """The possible values of the attribute that the answer contains as words, ignoring case."""
    pool = set(word_lists.POOLS[attribute])
    return {word for word in answer.casefold().replace(".", " ").replace(",", " ").split() if word in pool}
