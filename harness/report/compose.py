"""The model -> the report's document: which parts stand where, and the words around them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from harness.engine.results.schema import EXCERPT_COLUMNS, JOINT_COLUMNS, ROW_COLUMNS, SAMPLE_COLUMNS
from harness.report.findings.audit import FLAG as FLAG_UNLIKE
from harness.report.findings.audit import audit_parts
from harness.report.findings.between_policies import joint_parts
from harness.report.findings.claims import claim_parts
from harness.report.findings.curves import curve_parts
from harness.report.findings.detectable import resolution_parts
from harness.report.findings.harm import harm_parts
from harness.report.findings.lengths import length_parts
from harness.report.findings.precision import precision_parts
from harness.report.findings.prices import price_parts
from harness.report.findings.shifts import shift_parts
from harness.report.findings.tables import (
    FLAG_FEW,
    FLAG_PARTIAL,
    differences_table,
    gap_exists,
    groups_tables,
    matrix_table,
    secondary_table,
)
from harness.report.findings.training_data import training_data_parts
from harness.report.findings.tuned_settings import tuning_parts
from harness.report.findings.turnover import turnover_parts
from harness.report.numbers.matrix import Matrix
from harness.report.numbers.model import Block, ReportModel
from harness.report.render import text
from harness.report.render.axes import draw, points_of
from harness.report.render.document import (
    Column,
    Document,
    Folded,
    Paragraph,
    Part,
    Picture,
    Prompts,
    Section,
    Table,
    TableCell,
    Verbatim,
)
from harness.report.verdict import block_title, experiment_question, verdict_parts
from harness.stats.contrasts import FEWEST_CLUSTERS

LONGEST_EXPERIMENT = 20_000
MOST_PICTURES = 6


def compose(model: ReportModel) -> Document:
    """The whole report, first things first."""
    sections = [Section("Verdict", tuple(verdict_parts(model)))]
    if model.curves:
        # how much data is the question of an experiment on sizes; which data is a control of another one
        by_size = len(model.matrix.data_sizes) > 1
        title = "How much data, and which" if by_size else "Which data"
        sections.insert(0 if by_size else 1, Section(title, tuple(curve_parts(model.curves, model.matrix))))
    several = len(model.blocks) > 1
    for block in model.blocks:
        if several:
            sections.append(Section(block_title(block), ()))
        sections += _block_sections(block, model.matrix, 3 if several else 2)
    if model.precisions:
        title = "The same model in another precision"
        sections.append(Section(title, tuple(precision_parts(model.precisions))))
    for joint in model.joints:
        where = f", {joint.data.title}" if joint.data.title else ""
        title = f"Policies with one another: {joint.benchmark}{where}"
        sections.append(Section(title, tuple(joint_parts(joint, model.blocks, model.matrix))))
    if model.tuning:
        sections.append(Section("Search for settings", tuple(tuning_parts(model))))
    sections.append(Section("Claims", tuple(claim_parts(model))))
    sections.append(Section("Training data", tuple(training_data_parts(model))))
    sections.append(Section("Cost ledger", (_ledger(model),)))
    sections.append(Section("Cells without a result", (_unfinished(model.matrix),)))
    sections.append(Section("Provenance", tuple(_provenance(model))))
    title = f"bakeoff: {model.matrix.name}" if model.matrix.name else "bakeoff"
    return Document(title, experiment_question(model.matrix), tuple(sections))


def _block_sections(block: Block, matrix: Matrix, level: int) -> Iterator[Section]:
    yield Section("The matrix", tuple(_matrix_parts(block, matrix)), level)
    pictures = tuple(_pictures(block, matrix))
    if pictures:
        yield Section("Quality against knowledge kept", pictures, level)
    differences = tuple(_differences(block, matrix))
    if differences:
        yield Section(f"Paired differences against {matrix.baseline}", differences, level)
    harm = tuple(harm_parts(block, matrix))
    if harm:
        yield Section("Harm", harm, level)
    # of many blocks, what is beside the question is folded
    shown: Callable[[Iterable[Part]], tuple[Part, ...]] = _folded if level > 2 else tuple
    changed = shown((*turnover_parts(block, matrix), *length_parts(block, matrix)))
    if changed:
        yield Section("Items gained and lost, and length", changed, level)
    prices = shown((*price_parts(block, matrix), *shift_parts(block)))
    if prices:
        yield Section("What a point costs", prices, level)
    resolution = shown(resolution_parts(block, matrix))
    if any(result.scores for result in block.results):
        yield Section("What this rig can resolve", resolution, level)
    if len(block.methods) > 1:
        yield Section("Fairness audit", shown(audit_parts(block, matrix)), level)
    secondary = secondary_table(block, matrix)
    if secondary is not None:
        words = "Mean, pointwise 95 % interval, and Δ, the paired difference to the baseline; untested."
        yield Section("Secondary metrics", (Paragraph(words), secondary), level)
    groups = tuple(_group_parts(block, matrix))
    if groups:
        yield Section("By group", groups, level)
    if block.examples:
        words = (
            "The items on which the methods differ most at the first seed, chosen by that rule alone: they "
            "illustrate the differences and are no sample of the benchmark."
        )
        yield Section("Some prompts, side by side", (Paragraph(words), Prompts(block.examples, matrix.baseline)), level)


def _folded(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Tables that have a caption to be found by."""
    return tuple(Folded(p.caption, replace(p, caption="")) if isinstance(p, Table) and p.caption else p for p in parts)


def _matrix_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    if not block.methods:
        yield Paragraph("No method is declared.")
        return
    yield matrix_table(block, matrix)
    yield Paragraph(_legend(block, matrix))
    yield from groups_tables(block, matrix, by_group=True)


def _legend(block: Block, matrix: Matrix) -> str:
    said = ["Mean, its pointwise 95 % interval, and the rank interval (best and worst rank that the tests allow)."]
    if matrix.baseline:
        said.append("Coloured: better or worse than the baseline after Holm's correction.")
    if block.kept and matrix.baseline:
        said.append("Knowledge kept: per cent of the baseline's score, below it the difference in points.")
    if block.gaps:
        said += _gap_words(block, matrix)
    said.append(f"{text.BLANK} could not be computed; it is not zero.")
    if any(block.audit.apart(method.label) for method in block.methods):
        said.append(f"{FLAG_UNLIKE} differs from most methods in these fields of the protocol: see the fairness audit.")
    results = [*block.results, *block.groups]
    if any(score.estimate.few_clusters for result in results for score in result.scores.values()):
        said.append(f"{FLAG_FEW} fewer than {FEWEST_CLUSTERS} clusters: the interval is too narrow, no claim is made.")
    most = len(matrix.seeds)
    if any(len(score.seeds) < most for result in results for score in result.scores.values() if score.seeds):
        said.append(f"{FLAG_PARTIAL} fewer seeds than planned: not ranked beside methods that have more.")
    return " ".join(said)


def _gap_words(block: Block, matrix: Matrix) -> Iterator[str]:
    quality = block.of_role("quality")
    closed = [result for result in quality if gap_exists(block, result)]
    if closed:
        yield f"Gap closed: 0 is {matrix.baseline}, 100 is {matrix.reference}, with Fieller's interval."
    if left := [result.metric.title for result in quality if result not in closed]:
        why = f"{matrix.reference} is not clearly better than {matrix.baseline}"
        yield f"No gap to close on {text.listed(left)}: {why}."


def _pictures(block: Block, matrix: Matrix) -> Iterator[Part]:
    across = f"knowledge kept, % of {matrix.baseline}" if matrix.baseline else "knowledge score"
    start = block.kept.get(str(matrix.baseline))
    margin = None
    if start is not None and start.score.value and matrix.margin > 0:
        margin = 100 * (1 - matrix.margin / start.score.value)
    for result in block.of_role("quality")[:MOST_PICTURES]:
        points = points_of(block, result, matrix)
        if not points:
            continue
        up = text.one_line(f"{result.metric.title}{text.unit_suffix(result.metric.unit, result.percent)}", 60)
        drawn = draw(points, text.one_line(across, 60), up, margin)
        places = "; ".join(f"{p.label}: {p.y:.1f} at {p.x:.1f}" for p in points)
        yield Picture(drawn, f"{up} against {across}: {places}.")
    if margin is not None:
        yield Paragraph(
            "Up is better in quality, right keeps more knowledge; lines are pointwise 95 % intervals "
            "(across: of the paired difference to the baseline). The dashed line is the margin: "
            f"{text.points(matrix.margin, start.percent if start else True)} below the baseline."
        )


def _differences(block: Block, matrix: Matrix) -> Iterator[Part]:
    results = [result for result in block.results if result.metric.primary and result.comparisons]
    if not results:
        return
    yield Paragraph(
        "Paired over items and seeds; items with one source are clustered, seeds are random; the interval is "
        "the wider, the p the larger, of two estimates of seed variance (the pair's own, and pooled over the "
        "methods). Detectable: the true difference that a test would find with 80 % power. Variance: what "
        "items, seeds and their interaction contribute."
    )
    for result in results:
        yield differences_table(result, matrix, block.methods)


def _group_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    family = max((result.family for result in block.groups), default=0)
    if family:
        yield Paragraph(f"Groups are a family of their own: Holm's correction runs over {family} tests.")
    for result in block.groups:
        if result.family and result.comparisons:
            yield Folded(f"{result.metric.title}, {result.group}", differences_table(result, matrix, block.methods))
    for table in groups_tables(block, matrix, by_group=False):
        yield Folded(f"{table.caption}: scores by group", table)


def _ledger(model: ReportModel) -> Part:
    if not model.ledger:
        return Paragraph("No costs are recorded.")
    columns = [
        Column("base", left=True), Column("method", left=True), Column("data", left=True),
        Column("examples"), Column("seed"),
        Column("trained", "parameters"), Column("of", "parameters"), Column("stored", "MB"),
        Column("fit", "seconds"), Column("shared fit", "seconds, of what it stands on"),
        Column("trained on", "tokens"), Column("generated", "tokens"), Column("peak memory", "MB"),
        Column("evaluation", "seconds, all benchmarks"), Column("speed", "seconds per token"),
        Column("overhead", "x base"),
    ]  # fmt: skip
    rows = [_ledger_row(artifact) for artifact in model.ledger]
    return Table(tuple(columns), tuple(rows))


def _ledger_row(artifact: Mapping[str, object]) -> tuple[TableCell, ...]:
    def number(name: str, divisor: float = 1.0) -> float | None:
        value = artifact.get(name)
        return float(value) / divisor if isinstance(value, int | float) else None

    evaluated = artifact.get("evaluate_seconds")
    spent = sum(float(value) for value in evaluated.values()) if isinstance(evaluated, Mapping) else None
    speed, overhead = number("seconds_per_token"), number("overhead_per_token")
    shown = [
        str(artifact["base"]),
        str(artifact["method"]),
        str(artifact["data_quality"]) or text.BLANK,
        text.count(number("data_size") or None),
        str(artifact["seed"]),
        text.count(number("trained_parameters")),
        text.count(number("total_parameters")),
        text.seconds(number("stored_bytes", 1e6)),
        text.seconds(number("fit_seconds")),
        text.seconds(number("shared_fit_seconds")),
        text.count(number("training_tokens")),
        text.count(number("generated_tokens")),
        text.count(number("peak_memory_mb")),
        text.seconds(spent),
        text.BLANK if speed is None else f"{speed:.2g}",
        text.BLANK if overhead is None else f"{overhead:.2f}",
    ]
    return tuple(TableCell(value) for value in shown)


def _unfinished(matrix: Matrix) -> Part:
    """Failed and n/a cells with their reasons; the seeds of one reason share a line."""
    reasons: dict[tuple[str, ...], list[int]] = {}
    for cell in matrix.cells:
        if cell.state != "done":
            key = (cell.state, cell.base, cell.method, cell.data.title, cell.benchmark, cell.why)
            reasons.setdefault(key, []).append(cell.seed)
    if not reasons:
        return Paragraph("None: every cell of the matrix is done." if matrix.cells else "The matrix has no cells.")
    columns = tuple(Column(n, left=True) for n in ("state", "base", "method", "data", "benchmark", "seeds", "why"))
    rows = []
    for (state, base, method, data, benchmark, why), seeds in sorted(reasons.items()):
        shown = [state, base, method, data, benchmark, ", ".join(str(seed) for seed in sorted(seeds))]
        cells = [TableCell(value) for value in shown] + [TableCell(text.one_line(why, 400) or text.BLANK)]
        rows.append((TableCell(state, mood="failed" if state == "failed" else "blank"), *cells[1:]))
    return Table(columns, tuple(rows))


def _provenance(model: ReportModel) -> Iterator[Part]:
    # the experiment's text stands below, whole
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
    if model.joints:
        schemas |= {"joint.parquet": JOINT_COLUMNS, "excerpts.parquet": EXCERPT_COLUMNS}
    for name, schema in schemas.items():
        lines = tuple(
            (TableCell(column), TableCell(kind), TableCell(meaning)) for column, (kind, meaning) in schema.items()
        )
        head = tuple(Column(word, left=True) for word in ("column", "type", "meaning"))
        yield Folded(f"Schema of {name}", Table(head, lines))


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A nested dict as 'outer.inner' names with their values."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner if isinstance(inner, str) else json.dumps(inner, sort_keys=True)


def _methods_table(matrix: Matrix) -> Table:
    head = tuple(Column(word, left=True) for word in ("method", "plugin", "what it does", "settings"))
    rows = tuple(
        (
            TableCell(m.title, small=", ".join(m.badges)),
            TableCell(m.plugin),
            TableCell(m.summary),
            TableCell(_settings(m.fields)),
        )
        for m in matrix.methods
    )
    return Table(head, rows)


def _metrics_table(matrix: Matrix) -> Table:
    words = ("benchmark", "metric", "meaning", "role", "settings")
    rows = []
    for benchmark in matrix.benchmarks:
        for metric in (*benchmark.metrics, *benchmark.joint_metrics):
            role = f"{metric.role}, {'primary' if metric.primary else 'secondary'}"
            role += "" if metric.higher_is_better else ", less is better"
            name = f"{benchmark.label} (version {benchmark.version})"
            together = " (between policies)" if metric in benchmark.joint_metrics else ""
            shown = (metric.name + together, metric.description, role, _settings(benchmark.fields))
            rows.append((TableCell(name, small=benchmark.summary), *(TableCell(value) for value in shown)))
    return Table(tuple(Column(word, left=True) for word in words), tuple(rows))


def _settings(fields: Mapping[str, object]) -> str:
    return text.one_line(", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(fields.items())), 400)
