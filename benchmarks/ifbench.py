"""IFBench, instructions of 58 kinds that no training set was made for; verifiers of our own (2507.02833).

Pyatkin et al. 2025: 300 prompts, most with one instruction, of kinds outside IFEval's 25. What is learned from
verifiable instructions carries over here or does not: IFEval less IFBench is the gap. The authors' verifiers are in
no package, so the rules of `harness/constraints` are this project's, written from the words of the instructions:
scores may differ from published ones. Compare methods by them, not with the literature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestSet
from harness.scoring.constraints.ifbench import RULES_VERSION, VERIFIERS, obeys
from harness.scoring.constraints.instructions import (
    METRICS,
    ConstraintItem,
    Followed,
    constraint_items,
    digest_of_data,
    followed,
    outcomes,
    test_items,
)

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class IFBench(Benchmark):
    """Prompts with one or two instructions each, answered once."""

    version = 1
    needs = frozenset({"sample"})

    data: str = setting("allenai/IFBench_test", "a hub id, or a local file or folder of the same form")
    split: str = setting("train", "split of a hub id or folder")
    limit: int | None = setting(None, "ask only the first so many prompts", least=1)
    temperature: float = setting(0.0, "0 takes the likeliest token; above it, the seed draws")
    max_new_tokens: int = setting(1280, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Whole prompts and single instructions, strict and loose."""
        return METRICS

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt."""
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        yield from outcomes(policy, self._items(_trial), sampling, judged, lambda item: ("bakeoff's own verifiers",))

    def data_digest(self) -> str:
        """Digest of a local file; a set of the hub goes by its name."""
        return digest_of_data(self.data, self.split)

    def test_set(self) -> TestSet:
        """The prompts."""
        return TestSet("ifbench", test_items(self._items()))

    def scorer_facts(self) -> dict[str, str]:
        """Whose verifiers they are."""
        return {"verifiers": f"bakeoff's own, version {RULES_VERSION}; not the authors' code"}

    def _items(self, trial: Callable[[ConstraintItem], object] | None = None) -> list[ConstraintItem]:
        return constraint_items(self.data, self.split, self.limit, VERIFIERS, trial)


def judged(item: ConstraintItem, completion: str) -> Followed:
    """Each instruction of the item on this answer."""
    asked = zip(item.types, item.arguments, strict=True)
    return followed(completion, [partial(_obeys, kind, item.prompt, arguments) for kind, arguments in asked])


def _trial(item: ConstraintItem) -> Followed:
    return judged(item, "Some answer.")


def _obeys(kind: str, prompt: str, arguments: Mapping[str, object], completion: str) -> bool:
    return obeys(kind, completion, prompt, arguments)
