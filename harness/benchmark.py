"""All that a benchmark author reads: `Benchmark`, `Metric`, `Outcome`, `JointOutcome`.

A benchmark is one file in `benchmarks/` holding one frozen dataclass; its fields are its settings.
It asks a policy to score or to sample and yields one `Outcome` per item. It never averages. Where the answers of
several policies say something together, it compares them item by item, once they are all there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from harness.policy.types import Capability

if TYPE_CHECKING:
    from harness.policy.policy import Policy
    from harness.records import TestSet


@dataclass(frozen=True)
class Metric:
    """What a number means, so that the report needs to know no benchmark by name.

    role      "quality" (what alignment is to bring), "knowledge" (what it must not cost), "other"
    primary   it stands in the matrix and in the tested family; the others stand in the details
    by_group  every group of items gets a column of its own
    chance    the value that random answers reach, where it is known
    unit      what it counts, such as nats; empty: a share, in per cent where all its values lie in [0, 1]
    against_baseline  False for what is a difference already, from the base or from the same items unchanged: it gets
                      its interval, and is neither tested against the baseline nor ranked nor called harm
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


@dataclass(frozen=True)
class Outcome:
    """What happened on one item.

    item         an id that is the same for every method and seed
    cluster      items that share a source share a cluster
    metrics      metric name -> finite value; `chance`, if items differ in it, is what random answers reach on this one
    weights      metric name -> weight, where it is not 1 (a prompt with two instructions counts two)
    group        the stratum that the report shows apart ("" for none)
    flags        such as "truncated": the prompt lost its left end
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


Answered = Callable[[], Iterator[Outcome]]
"""A policy's outcomes in the order of `evaluate`, read from the disk anew at each call."""


@dataclass(frozen=True)
class Excerpt:
    """What stands out among several policies' answers to one item, for a reader.

    title     such as "most alike"
    policies  who gave each of the texts
    """

    title: str
    value: float
    policies: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class JointOutcome:
    """What the answers of some policies to one item have to do with one another.

    policies  one of the sets that `compare` was given
    metrics   joint metric -> finite value; one that cannot be computed is left out
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

    version  raised whenever the same completions would get another score
    needs    what it asks of a policy; a policy that cannot is shown as n/a
    """

    version: ClassVar[int]
    needs: ClassVar[frozenset[Capability]]

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
        """The metrics that its outcomes carry, in the order of display."""

    @abstractmethod
    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per item, in a fixed order."""

    def joint_metrics(self) -> tuple[Metric, ...]:
        """The metrics of `compare`, in the order of display; none: policies are not compared with one another."""
        return ()

    def compare(self, answered: Mapping[str, Answered], sets: Sequence[tuple[str, ...]]) -> Iterator[JointOutcome]:
        """One joint outcome per item and set of policies, item by item.

        answered  a policy's name -> its outcomes; names say nothing of method, base or seed
        sets      who is compared with whom: pairs, and larger sets of all methods on one base
        """
        raise NotImplementedError(f"{type(self).__name__} has joint metrics and no `compare`")

    def data_digest(self) -> str:
        """Digest of the items, part of the key of the outcomes; local files count by content."""
        return ""

    def test_set(self) -> TestSet | None:
        """Its items under the ids of their outcomes, to be looked for in the training data; None: not known."""
        return None

    def scorer_facts(self) -> dict[str, str]:
        """Whatever else decides the score (a tokenizer of sentences, a library's version)."""
        return {}
