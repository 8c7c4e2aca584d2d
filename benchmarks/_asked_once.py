"""Prompts that a policy answers once and its base model reads: the items of `divergence` and `token_shift`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from harness.benchmark import Benchmark
from harness.method import plugin_name, setting
from harness.microworld.items import INSTRUCTION_KINDS, instruction_items
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem, TestSet
from harness.scoring.diversity.open_prompts import EMBEDDED, open_prompts

if TYPE_CHECKING:
    from harness.policy.policy import Policy
    from harness.policy.types import Completion

KINDS = ("plain", "open", "story", *INSTRUCTION_KINDS)


class Asked(NamedTuple):
    id: str
    cluster: str
    group: str
    text: str


@dataclass(frozen=True)
class AskedOnce(Benchmark):
    """Each prompt answered once; the answer is then read by the base model, which reads the bare prompt before it."""

    needs = frozenset({"score", "sample"})
    reads_logits = True
    divisible = True
    of_each: ClassVar[int] = 20

    prompts: str = setting(EMBEDDED, "microworld, or a file or hub id with prompts", path=True)
    split: str = setting("test", "split; test or validation for the microworld")
    limit: int | None = setting(None, "number of prompts, for the microworld of each kind (none: 20)", least=1)
    max_new_tokens: int = setting(48, "longest answer in tokens")

    def answers(
        self, policy: Policy, temperature: float, seed: int
    ) -> tuple[list[Asked], list[Prompt], list[Completion]]:
        """The items, their prompts, and the policy's answers."""
        items = self.chosen(self._items(), lambda item: item.cluster)
        asked = [Prompt(messages=(Message("user", item.text),)) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=temperature, seed=seed)
        drawn = policy.sample(asked, sampling, [item.id for item in items])
        return items, asked, [answers[0] for answers in drawn]

    def data_digest(self) -> str:
        """Digest of the prompts."""
        return hashlib.sha256(json.dumps(self._items()).encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The prompts, without reference answers."""
        items = tuple(TestItem(item.id, item.text) for item in self._items())
        return TestSet(plugin_name(self), items, tuple(prompt_templates()) if self.prompts == EMBEDDED else ())

    def _items(self) -> Sequence[Asked]:
        if self.prompts == EMBEDDED:
            found = instruction_items(self.split, self.limit or self.of_each, KINDS)
            return [Asked(item.id, item.cluster, item.kind, item.prompt) for item in found]
        return [Asked(p.id, p.cluster, "", p.text) for p in open_prompts(self.prompts, self.split)][: self.limit]
