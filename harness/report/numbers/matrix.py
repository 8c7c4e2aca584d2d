"""matrix.json as typed values: the axes, what each metric means, the state of every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.benchmark import Metric
from harness.engine.results.looked import Looked, looked_of
from harness.engine.results.schema import SCHEMA_VERSION
from harness.errors import UserError
from harness.files import read_json
from harness.records import DataChoice


@dataclass(frozen=True)
class BenchmarkMetric(Metric):
    """A metric, and the label of the benchmark that it belongs to."""

    benchmark: str = ""

    @property
    def title(self) -> str:
        return self.benchmark if self.name == self.benchmark else f"{self.benchmark}: {self.name}"


@dataclass(frozen=True)
class MethodInfo:
    label: str
    plugin: str
    on_small_base: bool
    fields: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    deterministic: bool = False
    seed_group: str = ""
    badges: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    answers_are_fixed: bool = False

    @property
    def title(self) -> str:
        return f"{self.label} (on small base)" if self.on_small_base else self.label


@dataclass(frozen=True)
class BenchmarkInfo:
    label: str
    plugin: str
    version: str
    fields: Mapping[str, Any]
    summary: str
    metrics: tuple[BenchmarkMetric, ...]
    joint_metrics: tuple[BenchmarkMetric, ...] = ()
    stochastic: bool = False


@dataclass(frozen=True)
class CellState:
    base: str
    method: str
    data: DataChoice
    seed: int
    benchmark: str
    state: str
    why: str
    backend: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Matrix:
    """The experiment's axes; lists keep the order of the experiment file.

    margin               how much knowledge a method may lose, in the metric's units
    out_of_distribution  benchmark, or benchmark/group, outside of the training data -> its counterpart inside
    quality_order        better, worse -> the training sets of which the experiment says so; empty where it does not
    question             what the experiment says that it asks; "" where it does not
    contrasts            the differences (first, second) that the experiment declares
    stop                 the looks of a run that may stop; None for a run of the whole matrix
    judged               whether others measured the scores, so that their files state the protocol of each cell
    """

    name: str
    baseline: str | None
    reference: str | None
    margin: float
    bases: tuple[str, ...]
    small_base: str | None
    seeds: tuple[int, ...]
    data_qualities: tuple[str, ...]
    data_sizes: tuple[int, ...]
    methods: tuple[MethodInfo, ...]
    benchmarks: tuple[BenchmarkInfo, ...]
    cells: tuple[CellState, ...] = field(repr=False)
    out_of_distribution: Mapping[str, str] = field(default_factory=dict)
    quality_order: Mapping[str, str] = field(default_factory=dict)
    contrasts: tuple[tuple[str, str], ...] = ()
    stop: Looked | None = None
    judged: bool = False
    question: str = ""

    @cached_property
    def by_method(self) -> dict[tuple[str, str, DataChoice], list[CellState]]:
        """(base, method, data) -> its cells."""
        found: dict[tuple[str, str, DataChoice], list[CellState]] = {}
        for cell in self.cells:
            found.setdefault((cell.base, cell.method, cell.data), []).append(cell)
        return found

    def require_whole(self, folder: Path) -> None:
        """Raise UserError for a run that stopped by its results: other tests than its own would ignore the looks."""
        if self.stop:
            what = "this run stops by its results, and only its comparisons with the baseline allow for that"
            raise UserError(
                what, where=str(folder), fix="Run the whole matrix first: the same command without --until."
            )

    @property
    def controls(self) -> tuple[str, ...]:
        """The methods whose answers are fixed: a user chooses none of them, whatever they score."""
        return tuple(method.label for method in self.methods if method.answers_are_fixed)

    @property
    def kin(self) -> dict[str, str]:
        """Method -> its seed group, of those that are built on a common artifact at each seed."""
        return {method.label: method.seed_group for method in self.methods if method.seed_group}

    @property
    def data(self) -> tuple[DataChoice, ...]:
        """Every quality at every size, in the experiment's order."""
        return tuple(DataChoice(quality, size) for quality in self.data_qualities for size in self.data_sizes)

    def place(self, method: MethodInfo, base: str, data: DataChoice) -> tuple[str, DataChoice]:
        """(base, data) of the cells of `method` in the block of `base` and `data`.

        A method on the small base has its cells there; one that takes no data may have its cells at none.
        """
        where = self.small_base if method.on_small_base and self.small_base else base
        elsewhere = (where, method.label, DataChoice()) in self.by_method
        own = (where, method.label, data) in self.by_method or not elsewhere
        return where, data if own else DataChoice()


def read_matrix(folder: Path) -> Matrix:
    """matrix.json of a results folder. Raises UserError where it is missing or of another schema."""
    raw = read_json(folder / "matrix.json")
    if raw.get("schema") != SCHEMA_VERSION:
        raise UserError(
            f"its schema is version {raw.get('schema')}",
            where=str(folder / "matrix.json"),
            fix=f"This bakeoff reads version {SCHEMA_VERSION}: run the experiment again.",
        )
    return Matrix(
        name=str(raw.get("name", "")),
        baseline=raw.get("baseline"),
        reference=raw.get("reference"),
        margin=float(raw.get("margin") or 0.0),
        bases=tuple(raw.get("bases", ())),
        small_base=raw.get("small_base"),
        seeds=tuple(raw.get("seeds", ())),
        data_qualities=tuple(raw.get("data_qualities") or ("",)),
        data_sizes=tuple(raw.get("data_sizes") or (0,)),
        methods=tuple(_method(entry) for entry in raw.get("methods", ())),
        benchmarks=tuple(_benchmark(entry) for entry in raw.get("benchmarks", ())),
        cells=tuple(_cell(entry) for entry in raw.get("cells", ())),
        out_of_distribution=raw.get("out_of_distribution") or {},
        quality_order=raw.get("quality_order") or {},
        contrasts=tuple((str(first), str(second)) for first, second in raw.get("contrasts") or ()),
        stop=looked_of(raw["stop"]) if raw.get("stop") else None,
        judged=bool(raw.get("judged")),
        question=str(raw.get("question") or ""),
    )


def _declared(kind: Any, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a dataclass that an entry holds."""
    return {one.name: raw[one.name] for one in fields(kind) if one.name in raw}


def _method(raw: Mapping[str, Any]) -> MethodInfo:
    own = {
        "plugin": raw["label"],
        **_declared(MethodInfo, raw),
        **{k: tuple(raw.get(k, ())) for k in ("badges", "needs", "inputs")},
    }
    # folders that were written before this was recorded say it in the description alone
    own.setdefault("answers_are_fixed", str(raw.get("summary", "")).startswith("A control:"))
    return MethodInfo(**own, on_small_base=raw.get("on") == "small_base")


def _benchmark(raw: Mapping[str, Any]) -> BenchmarkInfo:
    return BenchmarkInfo(
        label=raw["label"],
        plugin=raw.get("plugin", raw["label"]),
        version=str(raw.get("version", "")),
        fields=raw.get("fields", {}),
        summary=raw.get("summary", ""),
        metrics=tuple(_metric(raw["label"], entry) for entry in raw.get("metrics", ())),
        joint_metrics=tuple(_metric(raw["label"], entry) for entry in raw.get("joint_metrics", ())),
        stochastic=bool(raw.get("stochastic")),
    )


def _metric(benchmark: str, raw: Mapping[str, Any]) -> BenchmarkMetric:
    return BenchmarkMetric(**{"description": "", **_declared(Metric, raw)}, benchmark=benchmark)


def _cell(raw: Mapping[str, Any]) -> CellState:
    data = DataChoice(raw["data_quality"], int(raw["data_size"]))
    return CellState(
        raw["base"],
        raw["method"],
        data,
        int(raw["seed"]),
        raw["benchmark"],
        raw["state"],
        raw.get("why", ""),
        raw.get("backend", ""),
        raw.get("protocol", {}),
    )
