"""A results folder -> the report's numbers: every block of the matrix with its results, costs and protocol.

The findings (`harness.report.findings`) compute what only their own section shows, from the panels kept here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.claims_file import SHIPPED_CLAIMS
from harness.engine.results.schema import CLAIMS_FILE, ROW_COLUMNS, SAMPLE_COLUMNS, TUNING_FILE, read_rows, read_samples
from harness.files import read_json, without_folder
from harness.method import NO_SIGNAL, UNCHANGED
from harness.records import DataChoice
from harness.report.numbers.comparisons import Kept, Result, gaps_of, kept_of, results_of
from harness.report.numbers.looks import parted, stopped_results
from harness.report.numbers.matrix import BenchmarkMetric, CellState, Matrix, MethodInfo, read_matrix
from harness.report.numbers.panel import Measured, block_rows, groups_of, panels_of
from harness.report.numbers.protocol import Audit, audit_of
from harness.stats.families import Gap

if TYPE_CHECKING:
    import pandas


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
        """Fitting it and the artifacts that it is built on."""
        return None if self.fit_seconds is None else self.fit_seconds + (self.shared_fit_seconds or 0.0)


@dataclass(frozen=True)
class Block:
    """All that is compared with each other: one base model and one choice of training data.

    results, groups  every metric on all items, and on each group of them
    kept             method -> knowledge kept; gaps: (method, benchmark, metric) -> gap closed
    states           (method, benchmark) -> its cells
    idle             (method, note of a fit that cannot have taught anything) -> its seeds
    measured         the panels behind `results`; samples: the answers kept, columns as in samples.parquet
    """

    base: str
    data: DataChoice
    methods: tuple[MethodInfo, ...]
    results: tuple[Result, ...] = ()
    groups: tuple[Result, ...] = ()
    kept: Mapping[str, Kept] = field(default_factory=dict)
    gaps: Mapping[tuple[str, str, str], Gap] = field(default_factory=dict)
    costs: Mapping[str, MethodCost] = field(default_factory=dict)
    states: Mapping[tuple[str, str], tuple[CellState, ...]] = field(default_factory=dict)
    audit: Audit = field(default_factory=lambda: Audit(()))
    idle: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    measured: Sequence[Measured] = field(default=(), repr=False, compare=False)
    samples: pandas.DataFrame | None = field(default=None, repr=False, compare=False)

    @property
    def title(self) -> str:
        """Its base model and its choice of data."""
        return ", ".join(part for part in (self.base, self.data.title) if part)

    def of_role(self, role: str) -> list[Result]:
        """The primary metrics of a role."""
        return [result for result in self.results if result.metric.primary and result.metric.role == role]

    def measured_on(self, metric: BenchmarkMetric) -> Measured | None:
        """The panel of a metric on all items; None where nothing was measured."""
        return next((one for one in self.measured if one.metric.title == metric.title), None)

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
class ReportModel:
    """A results folder as numbers.

    ledger         the artifacts of costs.json; contamination: the entries of contamination.json
    provenance     provenance.json; tuning: tuning.json, empty where no settings were searched for
    experiment     the text of experiment.yaml
    """

    folder: Path
    matrix: Matrix
    rows: pandas.DataFrame
    blocks: tuple[Block, ...]
    ledger: tuple[Mapping[str, Any], ...]
    contamination: tuple[Mapping[str, Any], ...]
    provenance: Mapping[str, Any]
    tuning: Mapping[str, Any]
    experiment: str

    @property
    def models(self) -> Mapping[str, Any]:
        """Label -> what provenance.json records of a base model (digest, dtype, device, chat template)."""
        return self.provenance.get("models") or {}

    @property
    def claims(self) -> Path:
        """The claims file of the experiment, or the one that ships with the project."""
        own = self.folder / CLAIMS_FILE
        return own if own.is_file() else SHIPPED_CLAIMS


def collect(folder: Path) -> ReportModel:
    """All numbers of the report on `folder`, in the files' own units.

    matrix.json must exist; rows, samples, costs, provenance and experiment.yaml may be missing, and then
    their parts of the report say so. Raises UserError on a file of another schema.
    """
    matrix = read_matrix(folder)
    rows, samples = _frame(folder / "rows.parquet", ROW_COLUMNS), _frame(folder / "samples.parquet", SAMPLE_COLUMNS)
    rows = parted(folder, rows) if matrix.stop else rows
    artifacts = _json(folder / "costs.json").get("artifacts", [])
    provenance, experiment = _json(folder / "provenance.json"), folder / "experiment.yaml"
    models = provenance.get("models") or {}
    places = [(base, data) for base in matrix.bases for data in matrix.data]
    return ReportModel(
        folder=folder,
        matrix=matrix,
        rows=rows,
        blocks=tuple(_block(rows, samples, artifacts, models, matrix, *place) for place in places),
        ledger=tuple(sorted(artifacts, key=_artifact_key)),
        contamination=tuple(
            {**entry, "set": without_folder(str(entry["set"]))}  # folders written before November 2026 hold paths
            for entry in _json(folder / "contamination.json").get("checked", [])
        ),
        provenance=provenance,
        tuning=_json(folder / TUNING_FILE),
        experiment=experiment.read_text(encoding="utf-8", errors="replace") if experiment.exists() else "",
    )


def _block(
    rows: pandas.DataFrame,
    samples: pandas.DataFrame,
    artifacts: Sequence[Mapping[str, Any]],
    models: Mapping[str, Any],
    matrix: Matrix,
    base: str,
    data: DataChoice,
) -> Block:
    own, states = block_rows(rows, matrix, base, data)

    def planned(method: str, benchmark: str) -> bool:
        return any(cell.state != "n/a" for cell in states.get((method, benchmark), ()))

    numbers: dict[str, Any] = {}
    if matrix.stop:
        # all methods have only the first look in common, so that the questions of the looks alone are answered
        measured, numbers["results"] = stopped_results(own, matrix, states, (base, data))
    else:
        measured = panels_of(own, matrix, states)
        numbers = {
            "results": results_of(measured, matrix, lambda one: one.metric.primary, planned),
            "groups": results_of(
                groups_of(measured), matrix, lambda one: one.metric.primary and one.metric.by_group, planned
            ),
            "kept": kept_of(measured, matrix),
            "gaps": gaps_of(measured, matrix),
        }
    return Block(
        base=base,
        data=data,
        methods=matrix.methods,
        **numbers,
        costs={method.label: _cost(artifacts, matrix, method, base, data) for method in matrix.methods},
        states=states,
        audit=audit_of(artifacts, matrix, models, base, data),
        idle=_idle(artifacts, matrix, base, data),
        measured=measured,
        samples=block_rows(samples, matrix, base, data)[0],
    )


def _json(path: Path) -> Mapping[str, Any]:
    """The content of the file; empty where it does not exist."""
    return read_json(path) if path.exists() else {}


def _frame(path: Path, columns: Mapping[str, tuple[str, str]]) -> pandas.DataFrame:
    import pandas

    if not path.exists():
        return pandas.DataFrame({name: pandas.Series(dtype=object) for name in columns})
    return read_rows(path.parent) if columns is ROW_COLUMNS else read_samples(path.parent)


def _own(
    artifacts: Sequence[Mapping[str, Any]], matrix: Matrix, method: MethodInfo, base: str, data: DataChoice
) -> list[Mapping[str, Any]]:
    """The ledger's entries of one method in a block, one for each seed."""
    place = (*matrix.place(method, base, data), method.label)
    return [a for a in artifacts if (a["base"], DataChoice(a["data_quality"], a["data_size"]), a["method"]) == place]


def _idle(
    artifacts: Sequence[Mapping[str, Any]], matrix: Matrix, base: str, data: DataChoice
) -> dict[tuple[str, str], tuple[int, ...]]:
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    for method in matrix.methods:
        for entry in _own(artifacts, matrix, method, base, data):
            notes = entry.get("notes") or {}
            for why in (str(notes[name]) for name in (UNCHANGED, NO_SIGNAL) if name in notes):
                seeds = {*found.get((method.label, why), ()), int(entry["seed"])}
                found[method.label, why] = tuple(sorted(seeds))
    return found


def _cost(
    artifacts: Sequence[Mapping[str, Any]], matrix: Matrix, method: MethodInfo, base: str, data: DataChoice
) -> MethodCost:
    """The ledger of one method in a block, averaged over its seeds."""
    own = _own(artifacts, matrix, method, base, data)
    tokens = [_tokens(artifact) for artifact in own]

    def average(name: str) -> float | None:
        known = [float(artifact[name]) for artifact in own if artifact.get(name) is not None]
        return sum(known) / len(known) if known else None

    return MethodCost(
        trained=average("trained_parameters"),
        total=average("total_parameters"),
        fit_seconds=average("fit_seconds"),
        shared_fit_seconds=average("shared_fit_seconds"),
        overhead=average("overhead_per_token"),
        tokens=None if not own or None in tokens else sum(float(count or 0.0) for count in tokens) / len(tokens),
    )


def _tokens(artifact: Mapping[str, Any]) -> float | None:
    """All tokens trained on and generated, including the artifacts it is built on; None where not recorded."""
    unknown = None if artifact.get("shared_fit_seconds") else 0
    shared = [artifact.get(f"shared_{kind}_tokens", unknown) for kind in ("training", "generated")]
    counts = [artifact.get("training_tokens"), artifact.get("generated_tokens"), *shared]
    return None if None in counts else float(sum(counts))


def _artifact_key(artifact: Mapping[str, Any]) -> tuple[str, str, str, int, int]:
    names = (artifact["base"], artifact["method"], artifact["data_quality"])
    return *names, int(artifact["data_size"]), int(artifact["seed"])
