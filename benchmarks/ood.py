"""Prompts of kinds that are trained, beside variants that are not: does the gain survive a changed test?

Each family is an original and its variants, each with one thing changed: the numbers redrawn, a step less or more
(the N-1 of 2603.23004: one structural element, the class of problem the same), an irrelevant clause (GSM-NoOp,
2410.05229), other words, an instruction more, an instruction of a type that no training set has (IFBench, 2507.02833).

`change` is a variant's score less its original's: its mean by kind is the paired difference, with an interval over
families. It is never read alone. `numbers redrawn` and `about another` are the controls: items as ordinary as their
originals, so their change is what drawing anew does by itself. `change_no_larger` keeps those stories whose numbers
are no larger than their original's, since larger ones are harder for a reason that is not reasoning (2605.28700), and
`magnitude` shows how large they are. A method that follows nothing has nothing to lose: read `change` beside `correct`.

The microworld's families come first; for problems of your own see number_variants, which pairs the same way.
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
from harness.scoring.answers.word_problems import flags_of
from harness.scoring.variants.request_families import request_families
from harness.scoring.variants.story_families import story_families
from harness.scoring.variants.variant_families import Member, is_right
from harness.scoring.variants.variants import Reached, changes, magnitude

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Ood(Benchmark):
    """Originals and their variants, each asked once; a family is a cluster."""

    version = 1
    needs = frozenset({"sample"})

    split: Literal["test", "validation"] = setting("test", "whose prompts are changed")
    stories: int = setting(60, "families of stories, six prompts each")
    requests: int = setting(20, "families of each of four sorts of requests, four or five prompts each")
    max_new_tokens: int = setting(64, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Right answers, the paired change by kind, and its control."""
        change = "variant less its original, 1 or 0 each: below 0, the gain does not carry over"
        size = "mean log10(1 + number) of a story's numbers"
        alike = "the same over stories whose numbers are no larger than the original's"
        return (
            Metric("correct", "share answered as asked, originals and variants apart", role="quality", by_group=True),
            Metric("change", change, by_group=True, unit="share", against_baseline=False),
            Metric("change_no_larger", alike, primary=False, by_group=True, unit="share", against_baseline=False),
            Metric("magnitude", size, primary=False, by_group=True, unit="log10"),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt, family after family; the seed changes nothing."""
        items = self._items()
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
                completions=(completion.text,),
                reference=item.reference,
                flags=flags_of(completion),
            )

    def data_digest(self) -> str:
        """Digest of the prompts and of what they ask."""
        rows = json.dumps([asdict(item) for item in self._items()], sort_keys=True)
        return hashlib.sha256(rows.encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The prompts; the totals of stories alone would match anything."""
        items = tuple(TestItem(one.id, one.prompt, "" if one.numbers else one.reference) for one in self._items())
        return TestSet("ood", items, prompt_templates())

    def _items(self) -> list[Member]:
        families = (*story_families(self.split, self.stories), *request_families(self.split, self.requests))
        return [member for family in families for member in family]
