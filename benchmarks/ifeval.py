"""IFEval: 541 prompts with verifiable instructions of 25 kinds, judged by lm-eval's own rules (2311.07911).

Zhou et al. 2023. Strict: the answer as it is. Loose: the best of eight readings that forgive an opening line, a closing
line and asterisks. Nonsense satisfies some rules (no commas), so compare with the base model's row first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestSet
from harness.scoring.constraints.instructions import (
    METRICS,
    ConstraintItem,
    Followed,
    constraint_items,
    digest_of_data,
    outcomes,
    test_items,
)
from harness.scoring.lm_eval import ifeval as rules

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class IFEval(Benchmark):
    """Prompts with one to three instructions each, answered once."""

    version = 2
    needs = frozenset({"sample"})
    divisible = True

    data: str = setting("google/IFEval", "hub id, or a local file or folder in the same form", path=True)
    split: str = setting("train", "split of a folder or hub id")
    limit: int | None = setting(None, "number of prompts; none: all", least=1)
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(1280, "longest answer in tokens; lm-eval's task allows 1280")

    def metrics(self) -> tuple[Metric, ...]:
        """Whole prompts and single instructions, strict and loose."""
        return METRICS

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt, flagged where a rule splits sentences without nltk's punkt."""
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        items = self.chosen(self._items(_trial), lambda item: item.key)
        yield from outcomes(policy, items, sampling, judged, _flags)

    def data_digest(self) -> str:
        """Digest of the content of local files, or of the name of a hub data set."""
        return digest_of_data(self.data, self.split)

    def test_set(self) -> TestSet:
        """The prompts."""
        return TestSet("ifeval", test_items(self._items()))

    def scorer_facts(self) -> dict[str, str]:
        """The versions of lm-eval and of the packages that its rules use, and the sentence splitter."""
        return rules.facts()

    def check_items(self) -> None:
        """Raise UserError for a row that cannot be asked or judged, and for a key that comes twice."""
        self._items(_trial)

    def _items(self, trial: Callable[[ConstraintItem], object] | None = None) -> list[ConstraintItem]:
        return constraint_items(self.data, self.split, self.limit, rules.TYPES, trial)


def judged(item: ConstraintItem, completion: str) -> Followed:
    """lm-eval's verdict on each instruction of the item."""
    return rules.followed_officially(item.types, item.arguments, item.prompt, completion)


def _trial(item: ConstraintItem) -> None:
    rules.check_arguments(item.types, item.arguments)


def _flags(item: ConstraintItem) -> tuple[str, ...]:
    """Flags for verdicts that may differ from lm-eval's on another machine."""
    untrained = rules.SPLIT & set(item.types) and rules.splitter() != "punkt"
    counted = any(map(rules.counted_here, item.types, item.arguments))
    return (*(["sentences without punkt"] if untrained else []), *(["mark counted by bakeoff"] if counted else []))
