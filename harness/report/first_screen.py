"""What stands first: the question, the answer, whether the comparison was fair, what is established on every metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import text
from harness.report.answer import answers
from harness.report.audit_parts import warning as unlike
from harness.report.document import Bullets, Cell, Column, Folded, Paragraph, Part, Statement, Table
from harness.report.matrix import Matrix
from harness.report.model import Block, ReportModel
from harness.report.verdict import headline, limits, statements

MOST_SPELT_OUT = 8  # methods: of more, the findings fill the first screen and nobody reads on


def block_title(block: Block) -> str:
    """Its base and its choice of data."""
    return ", ".join(part for part in (block.base, block.data.title) if part)


def question(matrix: Matrix) -> str:
    """What the experiment asks, in one sentence."""
    rivals = [method for method in matrix.methods if method.label != matrix.baseline]
    roles = {metric.role for benchmark in matrix.benchmarks for metric in benchmark.metrics if metric.primary}
    kept = ", how much of its knowledge is kept" if "knowledge" in roles else ""
    bases = text.listed(list(matrix.bases)) or "no base model"
    against = f" over {matrix.baseline}" if matrix.baseline else ""
    if len(rivals) == 1:
        return f"Does {rivals[0].label} improve {bases}{against}{kept}, and at what cost?"
    return f"Which of {len(rivals)} ways of aligning {bases} improves it{against}{kept}, and at what cost?"


def verdict_parts(model: ReportModel) -> Iterator[Part]:
    """Block by block: the answer, what is not like for like, the findings, and what they do not cover."""
    if not model.blocks:
        yield Paragraph("The matrix is empty: there is nothing to compare.", "warning")
    told: set[str] = set()
    for block in model.blocks:
        lead = f"{block_title(block)}: " if len(model.blocks) > 1 else ""
        warnings = limits(block, model.matrix)
        if block.one_seed:
            yield Paragraph(lead + warnings.pop(0), "warning")
        yield Paragraph(lead + headline(block, model.matrix), "good")
        answered = answers(block, model.matrix)
        if answered:
            yield Bullets(answered)
        if unlike(block):
            yield Paragraph(lead + unlike(block), "warning")
        said = statements(block, model.matrix)
        if said and len(block.methods) > MOST_SPELT_OUT:
            yield Folded(f"{lead}every metric, method by method", _statement_table(said))
        elif said:
            yield Bullets(said)
        # what holds for every block is said once
        for warning in (one for one in warnings if one not in told):
            told.add(warning)
            yield Paragraph(warning, "open")
    for entry in model.contamination:
        if entry["flagged"]:
            held = f"{len(entry['matched'])} of {entry['items']} items of {entry['benchmark']} stand in {entry['set']}"
            yield Paragraph(f"{held}: see the scores without them below.", "warning")
    if len(model.matrix.bases) == 1 and any(block.results for block in model.blocks):
        yield Paragraph("One base model: whether this holds for another is not tested.", "open")


def _statement_table(said: Sequence[tuple[str, Sequence[Statement]]]) -> Table:
    columns = (Column("metric", left=True), Column("finding", left=True), Column("methods", left=True))
    rows = [(Cell(title), Cell(one.finding, mood=one.mood), Cell(one.names)) for title, found in said for one in found]
    return Table(columns, tuple(rows))
