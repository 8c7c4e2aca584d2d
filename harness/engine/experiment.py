"""An experiment, checked: everything that a run needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from harness.benchmark import Benchmark
from harness.data.load import DataSpec
from harness.method import Method
from harness.policy.base_model import BaseSpec

On = Literal["base", "small_base"]


@dataclass(frozen=True)
class MethodEntry:
    """One row of the matrix: a method with its fields, under a label, on the bases or on the small base."""

    label: str
    plugin: str
    method: Method
    on: On = "base"


@dataclass(frozen=True)
class BenchmarkEntry:
    """One column of the matrix."""

    label: str
    plugin: str
    benchmark: Benchmark


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, checked.

    file, text   where it was read from, and its text after --set
    data         kind -> quality -> set; the quality "" is the set for all of them
    data_quality ("",) where the experiment has no such axis
    data_sizes   (0,) where the experiment has no such axis: all rows
    strict       refuse to run on training data that holds test items
    margin       the loss of knowledge that still counts as kept, in the metric's unit
    out_of_distribution  benchmark, or benchmark/group, outside of the training data -> its counterpart inside
    threads      of torch on CPU; fixed, since one and two threads give different bytes
    micro_batch  rows per forward pass in training, at most
    tune         settings are searched for, as many for every method
    """

    file: Path
    text: str
    name: str
    bases: tuple[BaseSpec, ...]
    methods: tuple[MethodEntry, ...]
    benchmarks: tuple[BenchmarkEntry, ...]
    small_base: BaseSpec | None = None
    data: Mapping[str, Mapping[str, DataSpec]] = field(default_factory=dict)
    data_quality: tuple[str, ...] = ("",)
    data_sizes: tuple[int, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    baseline: str | None = None
    reference: str | None = None
    strict: bool = False
    margin: float = 0.02
    out_of_distribution: Mapping[str, str] = field(default_factory=dict)
    threads: int = 2
    micro_batch: int = 16
    tune: Tune | None = None


@dataclass(frozen=True)
class Tune:
    """What the user asks of the search.

    trials      settings tried for each method; the first are those that the experiment writes
    on          the split of the benchmarks that the trials are scored on
    seed        of the draws and of the trials' training: one that is reported nowhere else
    benchmarks  labels of those that decide; empty: all that have such a split
    fields      label -> the fields that are searched; all with a range where a label is missing
    """

    trials: int = 8
    on: str = "validation"
    seed: int = 100
    benchmarks: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
