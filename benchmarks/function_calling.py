"""Requests answered with function calls, matched against accepted arguments: BFCL's (Patil et al., 2025), or your own.

Files are in BFCL's layout (harness/scoring/calls/bfcl.py). An answer is right if its calls, in any order and in any
notation that harness/scoring/calls/answers.py reads, have the right functions and accepted values for all arguments;
in categories of irrelevance, if it makes no call. Nothing is executed. A wrong answer has one failure, which separates
wrong format from wrong content: a method may improve only the format.
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
from harness.scoring.calls import failures
from harness.scoring.calls.bfcl import BfclItem, Notation, bfcl_items, bfcl_prompt, folder_of
from harness.scoring.calls.failures import failure_in

if TYPE_CHECKING:
    from harness.policy.policy import Policy

CATEGORIES = ("simple", "multiple", "parallel", "parallel_multiple", "irrelevance")
FAILURES = {
    failures.NO_CALL: "not_a_call",
    failures.WRONG_FORMAT: "unparsable",
    failures.WRONG_COUNT: "wrong_number_of_calls",
    failures.WRONG_FUNCTION: "wrong_function",
    failures.MISSING_ARGUMENT: "missing_argument",
    failures.INVENTED_ARGUMENT: "extra_argument",
    failures.WRONG_TYPE: "wrong_type",
    failures.WRONG_VALUE: "wrong_value",
    failures.NEEDLESS_CALL: "needless_call",
}
"""Kind of failure -> name of its metric."""


@dataclass(frozen=True)
class FunctionCalling(Benchmark):
    """Each request asked once, with the offered functions."""

    version = 4  # 2 and 3 left several notations unread
    needs = frozenset({"sample"})
    divisible = True

    data: str = setting(
        "gorilla-llm/Berkeley-Function-Calling-Leaderboard", "folder or hub id in BFCL's layout", path=True
    )
    categories: tuple[str, ...] = setting(CATEGORIES, "categories that are asked")
    limit: int | None = setting(None, "number of requests of each category; none: all", least=1)
    notation: Notation = setting("python", "notation that the prompt asks for: python or json; others are read too")
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(256, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Right answers first, then the kinds of failure, one for each wrong answer."""
        right = "share of requests answered with exactly the right calls, or with none where no function fits"
        wrong = [
            Metric(
                name,
                f"share of requests with the failure: {name.replace('_', ' ')}",
                primary=False,
                higher_is_better=False,
            )
            for name in FAILURES.values()
        ]
        return (Metric("correct", right, role="quality", by_group=True), *wrong)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per request, category by category."""
        items = self.chosen(self._items(), lambda item: item.id)
        prompts = [bfcl_prompt(item.messages, item.functions, self.notation) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            failure = failure_in(completion.text, item.wanted, [one["name"] for one in item.functions])
            yield Outcome(
                item=item.id,
                cluster=item.id,
                group=item.category,
                metrics={
                    "correct": float(not failure),
                    **{name: float(kind == failure) for kind, name in FAILURES.items()},
                },
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.whole,),
                reference=item.reference,
                flags=completion.flags,
            )

    def data_digest(self) -> str:
        """Digest of the requests, the functions and the accepted answers."""
        text = "\1".join(repr((item.id, item.messages, item.functions, item.reference)) for item in self._items())
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The requests without the functions, which occur in other data sets too."""
        items = (TestItem(item.id, "\n".join(one.content for one in item.messages)) for item in self._items())
        return TestSet(label_of(self.data), tuple(items))

    def _items(self) -> list[BfclItem]:
        folder = folder_of(self.data)
        return [item for category in self.categories for item in bfcl_items(folder, category)[: self.limit]]
