"""IFBench: 58 kinds of instructions that no training set targets, with verifiers of our own (2507.02833).

Pyatkin et al. 2025: 300 prompts, most with one instruction, of kinds outside IFEval's 25. They test whether training on
verifiable instructions generalises: IFEval minus IFBench is the gap. The authors' verifiers are not in a package, so
the rules of harness/scoring/constraints were written from the text of the instructions, and scores may differ from
published ones. Use them to compare methods, not for comparison with the literature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version as installed_version
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestSet
from harness.scoring.constraints.ifbench import RULES_VERSION, VERIFIERS, check_rule_arguments, obeys
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

    version = 3
    needs = frozenset({"sample"})
    divisible = True

    data: str = setting("allenai/IFBench_test", "hub id, or a local file or folder in the same form", path=True)
    split: str = setting("train", "split of a folder or hub id")
    limit: int | None = setting(None, "number of prompts; none: all", least=1)
    temperature: float = setting(0.0, "sampling temperature; 0 takes the likeliest token")
    max_new_tokens: int = setting(1280, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """Whole prompts and single instructions, strict and loose."""
        return METRICS

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt."""
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        items = self.chosen(self._items(_trial), lambda item: item.key)
        yield from outcomes(policy, items, sampling, judged, lambda item: ("bakeoff's own verifiers",))

    def data_digest(self) -> str:
        """Digest of the content of local files, or of the name of a hub data set."""
        return digest_of_data(self.data, self.split)

    def test_set(self) -> TestSet:
        """The prompts."""
        return TestSet("ifbench", test_items(self._items()))

    def scorer_facts(self) -> dict[str, str]:
        """The origin and version of the verifiers and of the lexicon of verbs."""
        own = f"bakeoff's own, version {RULES_VERSION}; not the authors' code"
        return {"verifiers": own, "lemminflect": installed_version("lemminflect")}

    def check_items(self) -> None:
        """Raise UserError for a row that cannot be asked or judged, and for a key that comes twice."""
        self._items(_trial)

    def _items(self, trial: Callable[[ConstraintItem], object] | None = None) -> list[ConstraintItem]:
        return constraint_items(self.data, self.split, self.limit, VERIFIERS, trial)


def judged(item: ConstraintItem, completion: str) -> Followed:
    """Whether the answer follows each instruction of the item."""
    asked = zip(item.types, item.arguments, strict=True)
    return followed(completion, [partial(_obeys, kind, item.prompt, arguments) for kind, arguments in asked])


def _trial(item: ConstraintItem) -> Followed:
    for kind, arguments in zip(item.types, item.arguments, strict=True):
        check_rule_arguments(kind, arguments)
    return judged(item, "Some answer.")


def _obeys(kind: str, prompt: str, arguments: Mapping[str, object], completion: str) -> bool:
    return obeys(kind, completion, prompt, arguments)
