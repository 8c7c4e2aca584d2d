"""The interface for benchmark authors: `Benchmark`, `Metric`, `Outcome`, `JointOutcome`.

A benchmark is one file in `benchmarks/` holding one frozen dataclass; its fields are its settings.
It asks a policy to score or to sample and yields one `Outcome` per item; it never averages. A benchmark may also
compare the answers of several policies item by item, once all of them are finished.
"""

from __future__ import annotations

import copy
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TypeVar

from harness.errors import UserError
from harness.policy.types import Capability

if TYPE_CHECKING:
    from harness.policy.policy import Policy
    from harness.records import TestSet


@dataclass(frozen=True)
class Metric:
    """The meaning of a number, so that the report does not depend on any benchmark's name.

    role      "quality" (alignment should raise it), "knowledge" (alignment must not lower it), "other"
    primary   it is shown in the matrix and tested; other metrics are in the details
    by_group  every group of items gets its own column
    chance    the value that random answers reach, where it is known
    unit      what it counts, such as nats; empty: a share, in per cent where all its values are in [0, 1]
    scale     "log" for skewed values above 0, of a metric of the role "other": the report shows geometric means and
              compares their ratios. Not for values that are logarithms already, such as nats per token, and
              not for joint metrics
    against_baseline  False for a value that is already a difference, from the base or from the same items unchanged: it
                      gets an interval, but is not tested against the baseline, ranked or reported as harm
    """

    name: str
    description: str
    role: Literal["quality", "knowledge", "other"] = "other"
    primary: bool = True
    higher_is_better: bool = True
    by_group: bool = False
    chance: float | None = None
    unit: str = ""
    against_baseline: bool = True
    scale: Literal["linear", "log"] = "linear"

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: a difference times this is above 0 where the first is better."""
        return 1 if self.higher_is_better else -1

    def __post_init__(self) -> None:
        if self.scale not in ("linear", "log"):
            raise UserError(f"the scale of {self.name} is {self.scale!r}", fix='Set scale to "linear" or "log".')
        if self.scale == "log" and self.role != "other":
            raise UserError(
                f"{self.name} is on the log scale, and margins and gaps of a {self.role} metric are differences",
                fix='Give it the role "other", or score its logarithm, such as nats per token, on a linear scale.',
            )


@dataclass(frozen=True)
class Outcome:
    """The result for one item.

    item         an id that is the same for every method and seed
    cluster      items that share a source share a cluster
    metrics      metric name -> finite value, or None where it cannot be computed; `chance`, where items differ in it,
                 is its value on this item
    weights      metric name -> weight, where it is not 1 (a prompt with two instructions counts twice)
    group        the stratum that the report shows separately ("" for none)
    flags        such as "truncated": the left end of the prompt was cut off
    """

    item: str
    cluster: str
    metrics: Mapping[str, float]
    prompt: str
    completions: tuple[str, ...] = ()
    reference: str = ""
    group: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


Item = TypeVar("Item")
Answered = Callable[[], Iterator[Outcome]]
"""A policy's outcomes in the order of `evaluate`, read from the disk again at each call."""


@dataclass(frozen=True)
class Excerpt:
    """The notable answers of several policies to one item, for a reader.

    title     such as "most alike"
    policies  for each text the policy that gave it
    """

    title: str
    value: float
    policies: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class JointOutcome:
    """A comparison of the answers that several policies gave to one item.

    policies  one of the sets that `compare` was given
    metrics   joint metric -> finite value; a metric that cannot be computed is left out
    """

    policies: tuple[str, ...]
    item: str
    cluster: str
    metrics: Mapping[str, float]
    group: str = ""
    prompt: str = ""
    excerpts: tuple[Excerpt, ...] = ()


class Benchmark(ABC):
    """A set of items and a rule that scores a policy on each of them.

    version  raised whenever the same completions would get a different score
    needs    capabilities that a policy must have; the cells of other policies are n/a
    open_metrics  whether outcomes may hold further metrics, which `metrics` does not declare
    sparse   whether outcomes may leave out metrics that do not apply to their items; if not, they say None
    reads_logits  whether it does more than `score` and `sample` with the policy, or also asks the base's
    divisible  whether `evaluate` asks only the items that `chosen` leaves, so that a run can look at a part of them
    """

    version: ClassVar[int]
    needs: ClassVar[frozenset[Capability]]
    open_metrics: ClassVar[bool] = False
    sparse: ClassVar[bool] = False
    reads_logits: ClassVar[bool] = False
    divisible: ClassVar[bool] = False
    share: tuple[float, float] | None = None

    @property
    def stochastic(self) -> bool:
        """Whether the seed changes its outcomes; if not, they are computed once for all seeds.

        By default, whether its setting `temperature` is above 0.
        """
        return float(getattr(self, "temperature", 0)) > 0

    def unavailable(self) -> str:
        """The reason why it cannot run with these settings and how to change that; "" where it can run."""
        return ""

    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of its outcomes, in the order of display."""

    @abstractmethod
    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per item, in a fixed order."""

    def within(self, low: float, high: float) -> Self:
        """This benchmark with a part of its items: see `chosen`."""
        part = copy.copy(self)
        object.__setattr__(part, "share", (low, high))  # not a field: the part is in the key of the outcomes itself
        return part

    def chosen(self, items: Sequence[Item], cluster: Callable[[Item], str]) -> list[Item]:
        """The items to ask, in their order: all, or under `within` those of the clusters from `low` to `high`.

        Clusters come in the order of a hash of their names, which knows nothing of their scores: the first of them are
        a random sample. 0 to 1 is all clusters, and parts that adjoin have no cluster in common.
        """
        if self.share is None:
            return list(items)
        names = sorted({cluster(item) for item in items}, key=_hashed)
        low, high = (math.ceil(len(names) * end) for end in self.share)
        kept = set(names[low:high])
        return [item for item in items if cluster(item) in kept]

    def joint_metrics(self) -> tuple[Metric, ...]:
        """The metrics of `compare`, in the order of display; empty where policies are not compared with one another."""
        return ()

    def compare(self, answered: Mapping[str, Answered], sets: Sequence[tuple[str, ...]]) -> Iterator[JointOutcome]:
        """One joint outcome per item and set of policies, item by item.

        answered  a policy's name -> its outcomes; names do not reveal method, base or seed
        sets      the policies to compare: pairs, and larger sets of all methods on one base
        """
        raise NotImplementedError(f"{type(self).__name__} has joint metrics and no `compare`")

    def data_digest(self) -> str:
        """Digest of the items, part of the key of the outcomes; local files count by content."""
        return ""

    def test_set(self) -> TestSet | None:
        """Its items under the ids of their outcomes, to be searched for in the training data; None if unknown."""
        return None

    def check_items(self) -> None:
        """Raise UserError, with its place, for an item that no answer could get right; called before any model."""

    def scorer_facts(self) -> dict[str, str]:
        """Everything else that decides the score (a sentence tokenizer, a library's version)."""
        return {}


def _hashed(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
