"""The record of the run: cost ledger, cells without a result, provenance, settings and schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from harness.engine.results.schema import EXCERPT_COLUMNS, JOINT_COLUMNS, ROW_COLUMNS, SAMPLE_COLUMNS
from harness.report.collect import ReportModel
from harness.report.numbers.matrix import Matrix
from harness.report.render import tabular, text
from harness.report.render.document import Folded, Paragraph, Part, Verbatim
from harness.report.render.tabular import BLANK, Column, Table, TableCell, text_columns

LONGEST_EXPERIMENT = 20_000


def ledger_part(model: ReportModel) -> Part:
    """A row for each artifact."""
    if not model.ledger:
        return Paragraph("No costs are recorded.")
    columns = (
        Column("base", left=True), Column("method", left=True), Column("data", left=True),
        Column("examples"), Column("seed"),
        Column("trained", "parameters"), Column("of", "parameters"), Column("stored", "MB"),
        Column("fit", "seconds"), Column("shared fit", "seconds, of its inputs"),
        Column("trained on", "tokens"), Column("generated", "tokens"), Column("peak memory", "MB"),
        Column("evaluation", "seconds, all benchmarks"), Column("speed", "seconds per token"),
        Column("overhead", "x base"),
    )  # fmt: skip
    return Table(columns, tuple(tuple(TableCell(shown) for shown in _ledger_row(entry)) for entry in model.ledger))


def _ledger_row(artifact: Mapping[str, object]) -> Iterator[str]:
    def number(name: str, divisor: float = 1.0) -> float | None:
        value = artifact.get(name)
        return float(value) / divisor if isinstance(value, int | float) else None

    evaluated = artifact.get("evaluate_seconds")
    spent = sum(float(value) for value in evaluated.values()) if isinstance(evaluated, Mapping) else None
    speed, overhead = number("seconds_per_token"), number("overhead_per_token")
    yield from (str(artifact["base"]), str(artifact["method"]), str(artifact["data_quality"]) or BLANK)
    yield from (tabular.count(number("data_size") or None), str(artifact["seed"]))
    yield from (tabular.count(number(f"{kind}_parameters")) for kind in ("trained", "total"))
    seconds = (number("stored_bytes", 1e6), number("fit_seconds"), number("shared_fit_seconds"))
    yield from (tabular.seconds(value) for value in seconds)
    yield from (tabular.count(number(name)) for name in ("training_tokens", "generated_tokens", "peak_memory_mb"))
    yield tabular.seconds(spent)
    yield BLANK if speed is None else f"{speed:.2g}"
    yield BLANK if overhead is None else f"{overhead:.2f}"


def unfinished_part(matrix: Matrix) -> Part:
    """Failed and n/a cells with their reasons; seeds with the same reason share a line."""
    reasons: dict[tuple[str, ...], list[int]] = {}
    for cell in matrix.cells:
        if cell.state != "done":
            key = (cell.state, cell.base, cell.method, cell.data.title, cell.benchmark, cell.why)
            reasons.setdefault(key, []).append(cell.seed)
    if not reasons:
        return Paragraph("None: every cell of the matrix is done." if matrix.cells else "The matrix has no cells.")
    columns = text_columns("state", "base", "method", "data", "benchmark", "seeds", "why")
    rows = []
    for (state, base, method, data, benchmark, why), seeds in sorted(reasons.items()):
        shown = [state, base, method, data, benchmark, ", ".join(str(seed) for seed in sorted(seeds))]
        cells = [TableCell(value) for value in shown] + [TableCell(text.one_line(why, 400) or BLANK)]
        rows.append((TableCell(state, mood="failed" if state == "failed" else "blank"), *cells[1:]))
    return Table(columns, tuple(rows))


def provenance_parts(model: ReportModel, several: bool) -> Iterator[Part]:
    # the experiment's whole text follows below
    facts = sorted(_flat({name: fact for name, fact in model.provenance.items() if name != "experiment"}))
    if facts:
        rows = tuple((TableCell(name), TableCell(text.one_line(value, 300))) for name, value in facts)
        yield Table((Column("fact", left=True), Column("value", left=True)), rows)
    else:
        yield Paragraph("No provenance is recorded.")
    yield Folded("Methods", _methods_table(model.matrix))
    yield Folded("Benchmarks and metrics", _metrics_table(model.matrix))
    if model.experiment:
        shown = text.cut(text.clean(model.experiment), LONGEST_EXPERIMENT, 400, 1000)
        yield Verbatim("experiment.yaml", shown)
    schemas = {"rows.parquet": ROW_COLUMNS, "samples.parquet": SAMPLE_COLUMNS}
    if several:
        schemas |= {"joint.parquet": JOINT_COLUMNS, "excerpts.parquet": EXCERPT_COLUMNS}
    for name, schema in schemas.items():
        lines = [tuple(map(TableCell, (column, *described))) for column, described in schema.items()]
        yield Folded(f"Schema of {name}", Table(text_columns("column", "type", "meaning"), tuple(lines)))


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested dict as 'outer.inner' names with their values."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner if isinstance(inner, str) else json.dumps(inner, sort_keys=True)


def _methods_table(matrix: Matrix) -> Table:
    rows = [
        (TableCell(m.title, small=", ".join(m.badges)), *map(TableCell, (m.plugin, m.summary, _settings(m.fields))))
        for m in matrix.methods
    ]
    return Table(text_columns("method", "plugin", "summary", "settings"), tuple(rows))


def _metrics_table(matrix: Matrix) -> Table:
    words = ("benchmark", "metric", "meaning", "role", "settings")
    rows = []
    for benchmark in matrix.benchmarks:
        for metric in (*benchmark.metrics, *benchmark.joint_metrics):
            role = f"{metric.role}, {'primary' if metric.primary else 'secondary'}"
            role += "" if metric.higher_is_better else ", lower is better"
            name = f"{benchmark.label} (version {benchmark.version})"
            together = " (between policies)" if metric in benchmark.joint_metrics else ""
            shown = (metric.name + together, metric.description, role, _settings(benchmark.fields))
            rows.append((TableCell(name, small=benchmark.summary), *(TableCell(value) for value in shown)))
    return Table(tuple(Column(word, left=True) for word in words), tuple(rows))


def _settings(fields: Mapping[str, object]) -> str:
    return text.one_line(", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(fields.items())), 400)
