"""What the report finds beyond means and differences: shifts, noise floors, the audit, claims. Data only.

Values are in the metric's own units; None and a reason stand for no number, as in `harness.report.numbers.model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from harness.records import DataChoice
from harness.report.numbers.matrix import MetricInfo
from harness.stats.contrasts import Estimate
from harness.stats.resolution import NoiseFloor

if TYPE_CHECKING:
    pass


Verdict = Literal["supported", "contradicted", "undecided", "not testable"]
Source = Literal["training", "sampling"]


@dataclass(frozen=True)
class Shift:
    """What a method scores and gains over the baseline where it was trained, and out of that distribution.

    gap              its score inside - its score outside
    inside, outside  method - baseline on either, oriented so that more is better; blank for the baseline itself
    drop             inside - outside: the part of the gain that does not carry over
    """

    method: str
    inside_title: str
    outside_title: str
    gap: Estimate
    inside: Estimate
    outside: Estimate
    drop: Estimate
    percent: bool = True
    unit: str = ""


@dataclass(frozen=True)
class Turnover:
    """What a method gained and lost against the baseline on one metric; gained - lost is their difference."""

    method: str
    metric: MetricInfo
    percent: bool
    gained: Estimate
    lost: Estimate


@dataclass(frozen=True)
class Lengths:
    """Of one method's answers to one benchmark.

    words  per answer, on average
    empty  share of answers without a word
    cut    share of prompts that lost their left end
    """

    answers: int
    words: float
    empty: float
    cut: float


@dataclass(frozen=True)
class Tuned:
    """What the settings that a search chose gain on the test items: tuned - as written."""

    method: str
    metric: MetricInfo
    percent: bool
    difference: Estimate


@dataclass(frozen=True)
class Twin:
    """One method on two bases that are one model: its difference between them."""

    method: str
    difference: Estimate


@dataclass(frozen=True)
class Noise:
    """The noise floor of one metric from one source."""

    metric: MetricInfo
    percent: bool
    source: Source
    methods: tuple[str, ...]
    floor: NoiseFloor | None


@dataclass(frozen=True)
class Precision:
    """One metric on two bases that are one model in two precisions: twins.difference is the second less the first."""

    bases: tuple[str, str]
    dtypes: tuple[str, str]
    metric: MetricInfo
    percent: bool
    twins: tuple[Twin, ...]


@dataclass(frozen=True)
class ProtocolField:
    """One field of the protocol: what is recorded of each method, None where it does not apply or is not known."""

    name: str
    values: Mapping[str, str | None]

    @property
    def groups(self) -> dict[str, list[str]]:
        """value -> the methods that have it, the commonest value first."""
        found: dict[str, list[str]] = {}
        for label, value in self.values.items():
            if value is not None:
                found.setdefault(value, []).append(label)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    @property
    def differs(self) -> bool:
        return len(self.groups) > 1


@dataclass(frozen=True)
class Audit:
    """The protocol of a block's methods, field by field."""

    fields: tuple[ProtocolField, ...]

    def between(self, first: str, second: str) -> list[str]:
        """The names of the fields in which two methods are known to differ."""
        pairs = ((one.name, one.values.get(first), one.values.get(second)) for one in self.fields)
        return [name for name, a, b in pairs if a is not None and b is not None and a != b]

    @property
    def pairs(self) -> list[tuple[str, str, list[str]]]:
        """Every pair of methods that differs in anything, with the fields."""
        labels = list(self.fields[0].values) if self.fields else []
        found = [(first, second, self.between(first, second)) for first, second in combinations(labels, 2)]
        return [pair for pair in found if pair[2]]

    def apart(self, label: str) -> list[str]:
        """The fields in which a method has another value than most."""
        found = []
        for one in self.fields:
            value, groups = one.values.get(label), one.groups
            if value is not None and value != next(iter(groups), None):
                found.append(one.name)
        return found


@dataclass(frozen=True)
class Claimed:
    """A claim tried on one metric: the contrast, its estimate and what follows; `missing` where it was not.

    contrast  in words; bound: what the estimate is held against; p: Holm-adjusted over all claims tried
    """

    name: str
    source: str
    statement: str
    verdict: Verdict
    where: str = ""
    contrast: str = ""
    bound: str = ""
    estimate: Estimate | None = None
    percent: bool = True
    p: float | None = None
    missing: str = ""


Place = tuple[str, str]
"""(base, method)"""


@dataclass(frozen=True)
class GroupSummary:
    """What meetings of one kind come to.

    who       in words
    policies  how many meet
    scores    joint metric -> mean over meetings, items and seeds
    """

    who: str
    policies: int
    scores: Mapping[str, Estimate]


@dataclass(frozen=True)
class Reading:
    """One item's excerpts: (title, value, ((method, text), ...)) each."""

    base: str
    item: str
    prompt: str
    excerpts: tuple[tuple[str, float, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class JointFinding:
    """One benchmark's policies at one choice of training data.

    maps      joint metric -> (place, place) -> mean over seeds and items; a place with itself: its twins
    left_out  (who, why)
    """

    benchmark: str
    data: DataChoice
    state: str
    why: str
    metrics: tuple[MetricInfo, ...]
    places: tuple[Place, ...] = ()
    maps: Mapping[str, Mapping[tuple[Place, Place], float]] | None = None
    meetings: tuple[GroupSummary, ...] = ()
    readings: tuple[Reading, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
