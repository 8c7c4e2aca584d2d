"""A results folder -> the report's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report.analysis import block_rows, gaps_of, groups_of, kept_of, panels_of, results_of
from harness.report.matrix import Matrix, read_matrix
from harness.report.model import Block, MethodCost, ReportModel
from harness.report.prompts import examples_of
from harness.rows import ROW_COLUMNS, SAMPLE_COLUMNS, read_json, read_rows, read_samples

if TYPE_CHECKING:
    import pandas


def collect(folder: Path) -> ReportModel:
    """All numbers of the report on `folder`, in the files' own units.

    matrix.json must be there; rows, samples, costs, provenance and experiment.yaml may be missing, and then
    their parts of the report say so. Raises UserError on a file of another schema.
    """
    matrix = read_matrix(folder)
    rows = _frame(folder / "rows.parquet", ROW_COLUMNS)
    samples = _frame(folder / "samples.parquet", SAMPLE_COLUMNS)
    artifacts = read_json(folder / "costs.json").get("artifacts", []) if (folder / "costs.json").exists() else []
    places = [(base, size) for base in matrix.bases for size in matrix.data_sizes]
    return ReportModel(
        matrix=matrix,
        blocks=tuple(_block(rows, samples, artifacts, matrix, base, size, len(places)) for base, size in places),
        ledger=tuple(sorted(artifacts, key=_artifact_key)),
        provenance=read_json(folder / "provenance.json") if (folder / "provenance.json").exists() else {},
        experiment=_text(folder / "experiment.yaml"),
    )


def _block(
    rows: pandas.DataFrame,
    samples: pandas.DataFrame,
    artifacts: Sequence[Mapping[str, Any]],
    matrix: Matrix,
    base: str,
    data_size: int,
    blocks: int,
) -> Block:
    own, states = block_rows(rows, matrix, base, data_size)
    measured = panels_of(own, matrix, states)
    groups = groups_of(measured)

    def planned(method: str, benchmark: str) -> bool:
        return any(cell.state != "n/a" for cell in states.get((method, benchmark), ()))

    return Block(
        base=base,
        data_size=data_size,
        methods=matrix.methods,
        results=results_of(measured, matrix, lambda one: one.metric.primary, planned),
        groups=results_of(groups, matrix, lambda one: one.metric.primary and one.metric.by_group, planned),
        kept=kept_of(measured, matrix),
        gaps=gaps_of(measured, matrix),
        costs={method.label: _cost(artifacts, matrix, method.label, base, data_size) for method in matrix.methods},
        states=states,
        examples=examples_of(block_rows(samples, matrix, base, data_size)[0], measured, matrix, blocks),
    )


def _frame(path: Path, columns: Mapping[str, tuple[str, str]]) -> pandas.DataFrame:
    import pandas

    if not path.exists():
        return pandas.DataFrame({name: pandas.Series(dtype=object) for name in columns})
    return read_rows(path.parent) if columns is ROW_COLUMNS else read_samples(path.parent)


def _cost(artifacts: Sequence[Mapping[str, Any]], matrix: Matrix, label: str, base: str, data_size: int) -> MethodCost:
    """The ledger of one method in a block, averaged over its seeds."""
    method = next(method for method in matrix.methods if method.label == label)
    where, size = matrix.place(method, base, data_size)
    own = [a for a in artifacts if (a["base"], a["method"], a["data_size"]) == (where, label, size)]

    def average(name: str) -> float | None:
        known = [float(artifact[name]) for artifact in own if artifact.get(name) is not None]
        return sum(known) / len(known) if known else None

    return MethodCost(
        trained=average("trained_parameters"),
        total=average("total_parameters"),
        fit_seconds=average("fit_seconds"),
        shared_fit_seconds=average("shared_fit_seconds"),
        overhead=average("overhead_per_token"),
    )


def _artifact_key(artifact: Mapping[str, Any]) -> tuple[str, str, int, int]:
    return artifact["base"], artifact["method"], int(artifact["data_size"]), int(artifact["seed"])


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
