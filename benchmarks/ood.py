"""Prompts of kinds in the training sets and variants that are not: do gains transfer to a changed test?

Each family has an original and variants with a single change: redrawn numbers, a step less or more (the N-1 of
2603.23004: one structural element, the same class of problem), an irrelevant clause (GSM-NoOp, 2410.05229), other
words, a further instruction, or an instruction of a type that no training set contains (IFBench, 2507.02833).

`change` is a variant's score minus its original's; its mean by kind is the paired difference, with an interval over
families. Compare it with the controls `numbers redrawn` and `about another`: their items are as ordinary as the
originals, so their change is the effect of a redraw alone. `change_no_larger` keeps stories whose numbers are not
larger than the original's, since larger ones are harder for other reasons than reasoning (2605.28700); `magnitude`
shows the size of the numbers. A method that follows no instruction cannot get worse, so read `change` together with
`correct`.

For your own problems see number_variants, which compares pairs in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem, TestSet
from harness.scoring.variants.request_families import request_families
from harness.scoring.variants.story_families import story_families
from harness.scoring.variants.variant_families import Member, is_right
from harness.scoring.variants.variants import Reached, changes, magnitude

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Ood(Benchmark):
    """Originals and variants, each asked once; a family is a cluster."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True
    sparse = True

    split: Literal["test", "validation"] = setting("test", "split of the prompts")
    stories: int = setting(60, "number of families of stories, six prompts each")
    requests: int = setting(20, "number of families of each of four sorts of requests, four or five prompts each")
    max_new_tokens: int = setting(64, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Right answers, the paired change by kind, and its control."""
        change = "variant minus its original, 1 or 0 each; below 0, gains do not transfer fully"
        size = "mean log10(1 + number) of a story's numbers"
        alike = "the same over stories whose numbers are not larger than the original's"
        return (
            Metric("correct", "share of right answers, for originals and for variants", role="quality", by_group=True),
            Metric("change", change, by_group=True, unit="share", against_baseline=False),
            Metric("change_no_larger", alike, primary=False, by_group=True, unit="share", against_baseline=False),
            Metric("magnitude", size, primary=False, by_group=True, unit="log10"),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt, family by family; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.family)
        prompts = [Prompt(messages=(Message("user", item.prompt),)) for item in items]
        drawn = policy.sample(prompts, Sampling(self.max_new_tokens, seed=seed), [item.id for item in items])
        original = Reached(0.0)
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            size = magnitude(item.numbers) if item.numbers else None
            reached = Reached(float(is_right(item, completion.text)), size)
            original = original if item.kind else reached
            metrics = {"correct": reached.correct, **(changes(original, reached) if item.kind else {})}
            yield Outcome(
                item=item.id,
                cluster=item.family,
                group=item.group,
                metrics=metrics if size is None else {**metrics, "magnitude": size},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.whole,),
                reference=item.reference,
                flags=completion.flags,
            )

    def data_digest(self) -> str:
        """Digest of the prompts and their instructions."""
        rows = json.dumps([asdict(item) for item in self._items()], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The prompts, without the totals of stories, which would match any text."""
        items = tuple(TestItem(one.id, one.prompt, "" if one.numbers else one.reference) for one in self._items())
        return TestSet("ood", items, prompt_templates())

    def _items(self) -> list[Member]:
        families = (*story_families(self.split, self.stories), *request_families(self.split, self.requests))
        return [member for family in families for member in family]
