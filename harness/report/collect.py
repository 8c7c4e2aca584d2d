"""A results folder -> the report's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.results.schema import ROW_COLUMNS, SAMPLE_COLUMNS, TUNING_FILE, read_rows, read_samples
from harness.files import read_json
from harness.records import DataChoice
from harness.report.findings.audit import audit_of
from harness.report.findings.between_policies import joint_findings
from harness.report.findings.claims import claims_of
from harness.report.findings.curves import curves_of
from harness.report.findings.detectable import noise_of
from harness.report.findings.lengths import lengths_of
from harness.report.findings.precision import precisions_of
from harness.report.findings.shifts import shifts_of
from harness.report.findings.training_data import without_matched
from harness.report.findings.tuned_settings import tuned_of
from harness.report.findings.turnover import turnovers_of
from harness.report.numbers.analysis import block_rows, gaps_of, groups_of, kept_of, panels_of, results_of
from harness.report.numbers.matrix import Matrix, read_matrix
from harness.report.numbers.model import Block, MethodCost, ReportModel
from harness.report.prompts import examples_of

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class _Files:
    """What a results folder holds besides matrix.json."""

    rows: pandas.DataFrame
    samples: pandas.DataFrame
    artifacts: Sequence[Mapping[str, Any]]
    checked: Sequence[Mapping[str, Any]]
    provenance: Mapping[str, Any]
    tuning: Mapping[str, Any]


def collect(folder: Path) -> ReportModel:
    """All numbers of the report on `folder`, in the files' own units.

    matrix.json must be there; rows, samples, costs, provenance and experiment.yaml may be missing, and then
    their parts of the report say so. Raises UserError on a file of another schema.
    """
    matrix = read_matrix(folder)
    files = _Files(
        rows=_frame(folder / "rows.parquet", ROW_COLUMNS),
        samples=_frame(folder / "samples.parquet", SAMPLE_COLUMNS),
        artifacts=_listed(folder / "costs.json", "artifacts"),
        checked=_listed(folder / "contamination.json", "checked"),
        provenance=_json(folder / "provenance.json"),
        tuning=_json(folder / TUNING_FILE),
    )
    places = [(base, data) for base in matrix.bases for data in matrix.data]
    return ReportModel(
        matrix=matrix,
        blocks=tuple(_block(files, matrix, base, data, len(places)) for base, data in places),
        curves=curves_of(files.rows, matrix),
        ledger=tuple(sorted(files.artifacts, key=_artifact_key)),
        contamination=tuple(files.checked),
        provenance=files.provenance,
        experiment=_text(folder / "experiment.yaml"),
        joints=joint_findings(folder, matrix),
        claims=claims_of(files.rows, matrix, files.artifacts),
        tuning=files.tuning,
        precisions=precisions_of(files.rows, matrix, files.provenance.get("models") or {}),
    )


def _block(
    files: _Files,
    matrix: Matrix,
    base: str,
    data: DataChoice,
    blocks: int,
) -> Block:
    own, states = block_rows(files.rows, matrix, base, data)
    measured = panels_of(own, matrix, states)
    groups = groups_of(measured)

    def planned(method: str, benchmark: str) -> bool:
        return any(cell.state != "n/a" for cell in states.get((method, benchmark), ()))

    samples = block_rows(files.samples, matrix, base, data)[0]
    return Block(
        base=base,
        data=data,
        methods=matrix.methods,
        results=results_of(measured, matrix, lambda one: one.metric.primary, planned),
        groups=results_of(groups, matrix, lambda one: one.metric.primary and one.metric.by_group, planned),
        kept=kept_of(measured, matrix),
        gaps=gaps_of(measured, matrix),
        costs={method.label: _cost(files.artifacts, matrix, method.label, base, data) for method in matrix.methods},
        states=states,
        without=without_matched(measured, files.checked, data.quality),
        examples=examples_of(samples, measured, matrix, blocks),
        shifts=shifts_of(measured, matrix),
        noise=noise_of(measured, matrix),
        audit=audit_of(files.artifacts, matrix, files.provenance.get("models") or {}, base, data),
        tuned=tuned_of(measured, files.tuning),
        turnovers=turnovers_of(measured, matrix),
        lengths=lengths_of(samples),
    )


def _json(path: Path) -> Mapping[str, Any]:
    """What the file holds; nothing where it is not there."""
    return read_json(path) if path.exists() else {}


def _frame(path: Path, columns: Mapping[str, tuple[str, str]]) -> pandas.DataFrame:
    import pandas

    if not path.exists():
        return pandas.DataFrame({name: pandas.Series(dtype=object) for name in columns})
    return read_rows(path.parent) if columns is ROW_COLUMNS else read_samples(path.parent)


def _cost(
    artifacts: Sequence[Mapping[str, Any]], matrix: Matrix, label: str, base: str, data: DataChoice
) -> MethodCost:
    """The ledger of one method in a block, averaged over its seeds."""
    method = next(method for method in matrix.methods if method.label == label)
    place = (*matrix.place(method, base, data), label)
    own = [a for a in artifacts if (a["base"], DataChoice(a["data_quality"], a["data_size"]), a["method"]) == place]

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
    """All tokens that were trained on and generated, by what it stands on too; None where they are not recorded."""
    unknown = None if artifact.get("shared_fit_seconds") else 0
    shared = [artifact.get(f"shared_{kind}_tokens", unknown) for kind in ("training", "generated")]
    counts = [artifact.get("training_tokens"), artifact.get("generated_tokens"), *shared]
    return None if None in counts else float(sum(counts))


def _listed(path: Path, name: str) -> list[Mapping[str, Any]]:
    return list(_json(path).get(name, []))


def _artifact_key(artifact: Mapping[str, Any]) -> tuple[str, str, str, int, int]:
    names = (artifact["base"], artifact["method"], artifact["data_quality"])
    return *names, int(artifact["data_size"]), int(artifact["seed"])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
