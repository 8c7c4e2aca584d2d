"""Whether a benchmark declares itself as its contract asks; one that does not fails its own cells, and no others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from harness.benchmark import Benchmark, Metric
from harness.engine.registry import place_in_plugin
from harness.errors import first_line
from harness.policy.policy import Policy
from harness.policy.types import Capability

ROLES = get_args(get_type_hints(Metric)["role"])


@dataclass(frozen=True)
class Unsound(Benchmark):
    """In place of a benchmark that breaks its contract: it has no metrics, and its cells fail with `why`."""

    version = 0
    needs = frozenset()
    why: str

    def metrics(self) -> tuple[Metric, ...]:
        """None."""
        return ()

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Any]:
        """Nothing: its cells are not run."""
        yield from ()


def sound(benchmark: Benchmark, file: Path) -> Benchmark:
    """The benchmark, or a substitute for one whose declarations are wrong or raise an error.

    file  the plugin's
    """
    why = fault_of(benchmark, file)
    return Unsound(why) if why else benchmark


def fault_of(benchmark: Benchmark, file: Path) -> str:
    """The first declaration that is wrong or raises an error, with its place; "" where all are sound."""
    try:
        return next(_faults(benchmark, file), "")
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {first_line(error)} ({place_in_plugin(error, file)})"


def _faults(benchmark: Benchmark, file: Path) -> Iterator[str]:
    version = getattr(benchmark, "version", None)
    if not isinstance(version, int) or isinstance(version, bool):
        found = "no `version`" if version is None else f"version = {version!r:.80}"
        yield f"it has {found}; write version = 1 ({file})"
    needs = getattr(benchmark, "needs", None)
    if not isinstance(needs, (set, frozenset)) or not needs <= set(get_args(Capability)):
        known = ", ".join(get_args(Capability))
        yield f"it has needs = {needs!r:.80}; write a frozenset of {known} ({file})"
    for name in ("metrics", "joint_metrics"):
        place = _place_of(benchmark, name, file)
        declared = getattr(benchmark, name)()
        if not isinstance(declared, (tuple, list)) or not all(isinstance(one, Metric) for one in declared):
            yield f"`{name}` gives {declared!r:.80}, which is not a tuple of Metric ({place})"
            return
        yield from (f"{fault} ({place})" for metric in declared for fault in _faults_of(metric))
        names = [metric.name for metric in declared]
        if twice := [one for one in names if names.count(one) > 1]:
            yield f"`{name}` declares {twice[0]!r} twice ({place})"
        if name == "metrics" and not declared:
            yield f"`metrics` declares no metric ({place})"
    for name, kind in (("stochastic", bool), ("open_metrics", bool), ("sparse", bool)):
        if not isinstance(value := getattr(benchmark, name), kind):
            yield f"it has {name} = {value!r:.80}, which is not true or false ({file})"
    if not isinstance(value := benchmark.unavailable(), str):
        yield f"`unavailable` gives {value!r:.80}, which is not a text ({_place_of(benchmark, 'unavailable', file)})"


def _faults_of(metric: Metric) -> Iterator[str]:
    if not isinstance(metric.name, str) or not metric.name.isprintable() or not metric.name:
        yield f"a metric is called {metric.name!r:.80}, which is not a line of text"
    if metric.role not in ROLES:
        yield f"the metric {metric.name!r} has the role {metric.role!r:.80}; it is one of {', '.join(ROLES)}"
    chance = metric.chance
    if chance is not None and not (isinstance(chance, (int, float)) and math.isfinite(chance)):
        yield f"the metric {metric.name!r} has chance = {chance!r:.80}, which is not a finite number"


def _place_of(benchmark: Benchmark, name: str, file: Path) -> str:
    """FILE:LINE of a method's definition, or the plugin's file."""
    code = getattr(getattr(type(benchmark), name), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(file)
