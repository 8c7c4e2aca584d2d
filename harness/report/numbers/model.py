"""The report's numbers, each computed once: dataclasses between the statistics and the renderers.

Values are in the metric's own units (a share is 0.5, not 50); None and a reason stand for no number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records import DataChoice
from harness.report.numbers.findings import (
    Audit,
    Claimed,
    JointFinding,
    Lengths,
    Noise,
    Precision,
    Shift,
    Tuned,
    Turnover,
)
from harness.report.numbers.matrix import CellState, Matrix, MethodInfo, MetricInfo
from harness.stats.contrasts import Estimate
from harness.stats.families import LEVEL, Gap

Kind = Literal["size", "quality"]


@dataclass(frozen=True)
class MethodScore:
    """A method's mean with its pointwise interval; rank is (best, worst), None where it is not ranked."""

    estimate: Estimate
    items: int = 0
    seeds: tuple[int, ...] = ()
    rank: tuple[int, int] | None = None


@dataclass(frozen=True)
class Comparison:
    """A method against the baseline on one metric; `estimate` is method - baseline.

    adjusted       Holm-adjusted p over its family; None outside a family or where no claim is allowed
    kept           Holm-adjusted one-sided p of losing the margin or more (knowledge metrics only)
    effect         the smallest effect found with 80 % power in a single test, and after Holm
    shares         what items, seeds and their interaction contribute to the variance
    """

    estimate: Estimate
    items: int = 0
    dropped: int = 0
    better: bool = False
    worse: bool = False
    adjusted: float | None = None
    kept: float | None = None
    effect: tuple[float, float] | None = None
    shares: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Result:
    """One metric on all items (group "") or on one group of them.

    family  the number of tests that Holm's correction runs over; 0: nothing is tested
    """

    metric: MetricInfo
    group: str
    percent: bool
    scores: Mapping[str, MethodScore]
    comparisons: Mapping[str, Comparison]
    family: int = 0


@dataclass(frozen=True)
class Kept:
    """Knowledge that a method keeps, over all items of the primary knowledge metrics.

    score       its own mean
    difference  method - baseline; None for the baseline itself or without one
    share       method / baseline, with the interval of the difference over the baseline's mean
    """

    score: Estimate
    difference: Estimate | None = None
    share: float | None = None
    share_low: float | None = None
    share_high: float | None = None
    percent: bool = True


@dataclass(frozen=True)
class MethodCost:
    """Means over seeds; None where the ledger has nothing."""

    trained: float | None = None
    total: float | None = None
    fit_seconds: float | None = None
    shared_fit_seconds: float | None = None
    overhead: float | None = None
    tokens: float | None = None

    @property
    def seconds(self) -> float | None:
        """Fitting it and the artifacts that it stands on."""
        return None if self.fit_seconds is None else self.fit_seconds + (self.shared_fit_seconds or 0.0)


@dataclass(frozen=True)
class Answer:
    method: str
    completions: tuple[str, ...]
    value: float | None
    correct: bool | None
    own_prompt: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class ShownItem:
    """One item with every method's answers at one seed; `value` of an answer is that of `metric`."""

    benchmark: str
    metric: str
    item: str
    group: str
    seed: int
    prompt: str
    reference: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Without:
    """A primary metric with and without the items that stand in the training data.

    matched  number of those items
    scores   method -> mean over all items, mean over the others
    """

    metric: MetricInfo
    percent: bool
    matched: int
    scores: Mapping[str, tuple[Estimate, Estimate]]


@dataclass(frozen=True)
class Block:
    """All that is compared with each other: one base model and one set of training data."""

    base: str
    data: DataChoice
    methods: tuple[MethodInfo, ...]
    results: tuple[Result, ...]
    groups: tuple[Result, ...]
    kept: Mapping[str, Kept]
    gaps: Mapping[tuple[str, str, str], Gap]
    costs: Mapping[str, MethodCost]
    states: Mapping[tuple[str, str], tuple[CellState, ...]]
    without: tuple[Without, ...]
    examples: tuple[ShownItem, ...]
    shifts: tuple[Shift, ...] = ()
    noise: tuple[Noise, ...] = ()
    audit: Audit = field(default_factory=lambda: Audit(()))
    tuned: tuple[Tuned, ...] = ()
    turnovers: tuple[Turnover, ...] = ()
    lengths: Mapping[tuple[str, str], Lengths] = field(default_factory=dict)

    def of_role(self, role: str) -> list[Result]:
        """The primary metrics of a role."""
        return [result for result in self.results if result.metric.primary and result.metric.role == role]

    @property
    def tests(self) -> int:
        """The size of the tested family: every method against the baseline on every primary metric."""
        return max((result.family for result in self.results), default=0)

    @property
    def one_seed(self) -> bool:
        """Whether every interval of this block is of items only."""
        estimates = [score.estimate for result in self.results for score in result.scores.values()]
        known = [estimate for estimate in estimates if estimate.low is not None]
        return bool(known) and all(estimate.items_only for estimate in known)


@dataclass(frozen=True)
class DataContrast:
    """What a method gains by `data` over `against`; adjusted is Holm's p over the family, None where no claim is."""

    kind: Kind
    method: str
    data: DataChoice
    against: DataChoice
    estimate: Estimate
    adjusted: float | None = None

    @property
    def sign(self) -> int:
        """1 or -1 where the difference is established, otherwise 0."""
        value = self.estimate.value
        if self.adjusted is None or value is None or self.adjusted >= LEVEL or value == 0:
            return 0
        return 1 if value > 0 else -1


@dataclass(frozen=True)
class Curve:
    """One primary metric of one base.

    scores     (method, data) -> mean with its pointwise interval
    flat       methods that score the same whatever the data: they take none
    families   kind -> number of tests that Holm's correction runs over
    """

    base: str
    metric: MetricInfo
    percent: bool
    scores: dict[tuple[str, DataChoice], Estimate]
    flat: tuple[str, ...]
    contrasts: tuple[DataContrast, ...]
    families: dict[Kind, int]

    @property
    def methods(self) -> list[str]:
        """The methods that the data changes, in the experiment's order."""
        return [m for m in dict.fromkeys(method for method, _ in self.scores) if m not in self.flat]

    def contrasts_of(self, kind: Kind, method: str, data: DataChoice) -> DataContrast | None:
        """The one comparison of that kind at a point; None for what the others are compared with."""
        found = (c for c in self.contrasts if (c.kind, c.method, c.data) == (kind, method, data))
        return next(found, None)


@dataclass(frozen=True)
class ReportModel:
    """All of it; `tuning` is tuning.json, empty where no settings were searched for."""

    matrix: Matrix
    blocks: tuple[Block, ...]
    curves: tuple[Curve, ...]
    ledger: tuple[Mapping[str, object], ...]
    contamination: tuple[Mapping[str, Any], ...]
    provenance: Mapping[str, object]
    experiment: str
    joints: tuple[JointFinding, ...] = ()
    claims: tuple[Claimed, ...] = ()
    tuning: Mapping[str, Any] = field(default_factory=dict)
    precisions: tuple[Precision, ...] = ()


KEPT_LEVEL = LEVEL / 2  # one-sided: the counterpart of a 95 % interval inside the margin


def is_kept(comparison: Comparison) -> bool:
    """Whether a loss of the margin or more is rejected."""
    return comparison.kept is not None and comparison.kept <= KEPT_LEVEL
