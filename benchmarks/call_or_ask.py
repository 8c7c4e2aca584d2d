"""Requests for function calls of the microworld, half of which lack an argument: call the function, or ask for it.

Preference tuning is claimed to correct a tendency: a model tuned on complete requests invents the missing argument.
Complete and incomplete requests are reported separately, so that a policy that always asks gains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld import datasets
from harness.microworld.phrases import prompt_templates
from harness.microworld.rules import Instruction, follows
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import PreferencePair, TestItem, TestSet, digest_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy

NOTATION = Instruction("call_notation")


@dataclass(frozen=True)
class CallOrAsk(Benchmark):
    """Requests for a call, each answered once."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True

    split: Literal["test", "validation"] = setting("test", "split of the requests")
    limit: int | None = setting(None, "number of requests; none: all", least=1)
    max_new_tokens: int = setting(24, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Exact answers first, then the kinds of answer."""
        return (
            Metric("exact", "share answered with exactly the call or the question", role="quality", by_group=True),
            Metric("called", "share answered with a call, right or wrong", primary=False, by_group=True),
            Metric("asked", "share answered with a question", primary=False, by_group=True),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per request; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.id)
        prompts = [Prompt(messages=item.prompt) for item in items]
        drawn = policy.sample(prompts, Sampling(self.max_new_tokens, seed=seed), [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            yield _outcome(item, policy.encoder.prompt_text(prompt), completion)

    def data_digest(self) -> str:
        """Digest of the requests with their answers."""
        return digest_of(self._items())

    def test_set(self) -> TestSet:
        """The requests with their right answers."""
        items = tuple(TestItem(item.id, item.prompt[0].content, item.chosen) for item in self._items())
        return TestSet("call_or_ask", items, prompt_templates())

    def _items(self) -> list[PreferencePair]:
        records = datasets.load("call-or-ask", self.split)[: self.limit]
        return [record for record in records if isinstance(record, PreferencePair)]


def _outcome(item: PreferencePair, prompt: str, completion: Completion) -> Outcome:
    said = completion.text.strip()
    group = "complete" if item.id.endswith("-call") else "incomplete"
    return Outcome(
        item=item.id,
        cluster=item.id,
        group=group,
        metrics={
            "exact": float(said.split() == item.chosen.split()),
            "called": float(follows(NOTATION, said)),
            "asked": float(said.startswith("which ") and said.endswith("?")),
        },
        prompt=prompt,
        completions=(completion.whole,),
        reference=item.chosen,
        flags=completion.flags,
    )
