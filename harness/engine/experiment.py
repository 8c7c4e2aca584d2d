"""The shape of an experiment: what the YAML file may say, with the type, bounds and default of every key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen

from harness.benchmark import Benchmark
from harness.data.load import DataSpec
from harness.engine.claims_file import ClaimsFile
from harness.method import Method
from harness.policy.base_model import BaseSpec

On = Literal["base", "small_base"]
Tracker = Literal["trackio", "wandb", "mlflow", "tensorboard"]  # each is a package of that name
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]  # numpy takes no larger one


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
class Tune:
    """The block `tune`: an equal search for the settings of every method.

    trials      settings tried for each method; the first are those that the experiment gives
    on          the split of the benchmarks on which the trials are scored
    seed        of the draws and of the trials' training; reported nowhere else
    benchmarks  labels of those that decide; empty: all that have such a split
    fields      label -> the fields to search; for a label that is missing, all fields with a search range
    """

    trials: Annotated[int, Ge(2)] = 8
    on: str = "validation"
    seed: Seed = 100
    benchmarks: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """The block `stop`: the looks at which `run --until decided` may release methods from further work.

    items  shares of the items of every benchmark, rising to 1: a look at each, with the first number of seeds
    seeds  numbers of the experiment's seeds, rising to all: a look at each, with all items; empty: all seeds at once
    """

    items: tuple[Annotated[float, Ge(0.001), Le(1)], ...] = (0.25, 0.5, 1.0)
    seeds: tuple[Annotated[int, Ge(1)], ...] = ()


@dataclass(frozen=True)
class Experiment:
    """Everything that a run needs, checked.

    file, text   where it was read from, and its text followed by the --set arguments
    settings     the --set arguments
    data         kind -> quality -> set; the quality "" is the set for all of them
    data_quality ("",) where the experiment has no such axis
    quality_order  better, worse -> the training sets of which the experiment says so; empty where it does not
    claims       the hypotheses that the report tests; None: those that ship with the project
    question     what the study asks, for its report; "" leaves it to the report; in no content key
    contrasts    (A, B): the differences A - B that are declared before the first cell runs; in no content key
    data_sizes   (0,) where the experiment has no such axis: all rows
    strict       refuse to run on training data that contains test items
    margin       the largest loss of knowledge that counts as none, in the metric's unit
    out_of_distribution  benchmark, or benchmark/group, outside the training data -> its counterpart inside
    threads      of torch on CPU; fixed, since one and two threads give different bytes
    micro_batch  rows per forward pass in training, at most
    tuned_in     the results folder in which the methods' settings were tuned, for the fairness audit; in no content key
    stop         the looks of `run --until decided`, by which cells are scored in parts
    keep_texts   whether results hold prompts and answers; false for sets that may not be passed on; in no content key
    report_to    trackers that get the curves of fits and the matrix; in no content key
    time_limit   seconds that one fit, one load, and the scoring of one cell may take; in no content key
    """

    file: Path
    text: str
    name: str
    bases: Annotated[tuple[BaseSpec, ...], MinLen(1)]
    methods: Annotated[tuple[MethodEntry, ...], MinLen(1)]
    benchmarks: Annotated[tuple[BenchmarkEntry, ...], MinLen(1)]
    small_base: BaseSpec | None = None
    data: Mapping[str, Mapping[str, DataSpec]] = field(default_factory=dict)
    data_quality: Annotated[tuple[str, ...], MinLen(1)] = ("",)
    quality_order: Mapping[str, str] = field(default_factory=dict)
    data_sizes: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] = (0,)
    seeds: Annotated[tuple[Seed, ...], MinLen(1)] = (0,)
    baseline: str | None = None
    reference: str | None = None
    strict: bool = False
    keep_texts: bool = True
    report_to: tuple[Tracker, ...] = ()
    margin: Annotated[float, Ge(0)] = 0.02
    out_of_distribution: Mapping[str, str] = field(default_factory=dict)
    threads: Annotated[int, Ge(1), Le(1024)] = 2
    micro_batch: Annotated[int, Ge(1), Le(2**20)] = 16
    time_limit: Annotated[float, Ge(0.001), Le(10**9)] | None = None
    tune: Tune | None = None
    claims: ClaimsFile | None = None
    question: str = ""
    contrasts: tuple[tuple[str, str], ...] = ()
    tuned_in: str | None = None
    stop: Stop | None = None
    settings: tuple[str, ...] = ()
