"""Random settings from the ranges that a method declares, and the record of a search. Equal seeds draw equal settings.

Every field has its own random stream, so adding or removing a field leaves the draws of the others unchanged.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.engine.experiment import MethodEntry
from harness.errors import UserError
from harness.method import Method

MOST_DRAWS = 200
TRIAL = "~"  # NAME~3 is the third draw of NAME
TUNED = "_tuned"
Role = Literal["quality", "knowledge"]


def searchable(method: Method) -> list[str]:
    """The fields with a search range, in the order of their declaration."""
    return [item.name for item in dataclasses.fields(method) if _range(method, item) is not None]  # type: ignore[arg-type]


def _range(method: Method, item: dataclasses.Field[Any]) -> tuple[Any, ...] | None:
    """The range of a field: what its `setting` declares, unless the method has other `search_ranges` for its settings.

    None: the field is not searched.
    """
    given: Mapping[str, tuple[Any, ...] | None] = getattr(method, "search_ranges", {})
    found: tuple[Any, ...] | None = given.get(item.name, item.metadata.get("search"))
    return found


def draws(method: Method, names: Sequence[str], count: int, seed: str) -> list[Method]:
    """Up to `count` settings of `names`, all different from one another and from the method itself.

    A combination that the method's own `check` refuses is drawn again. Fewer are returned where MOST_DRAWS tries for
    each find no more.
    """
    found: list[Method] = []
    for attempt in range(MOST_DRAWS * count):
        if len(found) == count:
            break
        drawn = dataclasses.replace(method, **{name: _draw(method, name, f"{seed}/{attempt}") for name in names})  # type: ignore[type-var]
        if drawn != method and drawn not in found and _allowed(drawn):
            found.append(drawn)
    return found


def _draw(method: Method, name: str, seed: str) -> Any:
    """One value of a field: (low, high) is a range of numbers, anything else a list of choices."""
    declared = next(item for item in dataclasses.fields(method) if item.name == name)  # type: ignore[arg-type]
    chance = random.Random(f"{seed}/{name}")
    search, log = _range(method, declared), declared.metadata["log"]
    assert search is not None
    if len(search) != 2 or not all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in search):
        return chance.choice(search)
    low, high = search
    whole = isinstance(low, int) and isinstance(high, int)
    if log:
        value = math.exp(chance.uniform(math.log(low), math.log(high)))
        return round(value) if whole else float(f"{value:.3g}")
    return chance.randint(low, high) if whole else float(f"{chance.uniform(low, high):.3g}")


def _allowed(method: Method) -> bool:
    try:
        method.check()
    except UserError:
        return False
    return True


@dataclass(frozen=True)
class TrialScore:
    """A mean, and benchmark -> cluster -> the part of the cluster's items in its deviation from the mean: they sum to 0
    and the sum of their squares is about the variance of the mean."""

    value: float
    parts: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Trial:
    """One setting and, once it is scored, its result.

    quality    None where it failed
    knowledge  the trial's minus the baseline's; None without a knowledge metric or a baseline
    why        the reason of a failure
    cost       fit_seconds, training_tokens, generated_tokens and trained_parameters of the artifact and of those it is
               made from
    parts      role -> the parts of its score, from which the standard error of the difference of two trials follows
    """

    number: int
    method: Method
    quality: float | None = None
    knowledge: float | None = None
    why: str = ""
    cost: Mapping[str, float] = dataclasses.field(default_factory=dict)
    parts: Mapping[Role, Mapping[str, Mapping[str, float]]] = dataclasses.field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Search:
    """All trials of one method; `names` are the fields that were searched, `chosen` the number of a trial."""

    entry: MethodEntry
    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    chosen: int = 0

    def entries(self) -> Iterator[MethodEntry]:
        """A row for each trial; the first, with the settings of the experiment, keeps its label."""
        for trial in self.trials:
            label = f"{self.entry.label}{TRIAL}{trial.number}" if trial.number else self.entry.label
            yield dataclasses.replace(self.entry, label=label, method=trial.method)

    def rows(self) -> tuple[str, ...]:
        """The labels of the method's rows in the experiment; the last one has the chosen settings."""
        tuned = self.tuned()
        return (self.entry.label, tuned.label) if tuned else (self.entry.label,)

    def tuned(self) -> MethodEntry | None:
        """The row with the chosen settings; None where those of the experiment were chosen."""
        if not self.chosen:
            return None
        return dataclasses.replace(self.entry, label=self.entry.label + TUNED, method=self.trials[self.chosen].method)
