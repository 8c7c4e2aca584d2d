"""The report's numbers -> its document: the order of the sections, and the text around their tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from harness.engine.results.digests import record_report
from harness.engine.showable import counted
from harness.files import write_text
from harness.report.collect import Block, ReportModel, collect
from harness.report.findings.across_bases import across_bases_parts
from harness.report.findings.audit import FLAG as FLAG_UNLIKE
from harness.report.findings.audit import audit_parts
from harness.report.findings.between_policies import joint_findings, joint_parts
from harness.report.findings.claims import claim_parts
from harness.report.findings.curves import curve_parts, curves_of
from harness.report.findings.declared_contrasts import EXPLORATORY, declared_parts
from harness.report.findings.detectable import resolution_parts
from harness.report.findings.does_it_travel import travel_parts
from harness.report.findings.equal_quality import equal_quality_parts
from harness.report.findings.finish import finish_parts
from harness.report.findings.first_screen import opening_of
from harness.report.findings.harm import harm_parts
from harness.report.findings.how_quality_scales import scaling_parts
from harness.report.findings.judged_files import judged_parts
from harness.report.findings.looks_taken import looks_parts
from harness.report.findings.next_hour import next_hour_parts
from harness.report.findings.precision import precision_parts, precisions_of
from harness.report.findings.prices import price_parts, shift_parts
from harness.report.findings.record import ledger_part, provenance_parts, unfinished_part
from harness.report.findings.rounds import rounds_parts
from harness.report.findings.side_by_side import examples_of, has_texts
from harness.report.findings.tables import (
    BETTER,
    FEW,
    FLAG_PARTIAL,
    WORSE,
    differences_table,
    gap_exists,
    groups_tables,
    matrix_table,
    secondary_table,
)
from harness.report.findings.tradeoff import tradeoff_parts
from harness.report.findings.training_data import training_data_parts
from harness.report.findings.tuned_settings import tuning_parts
from harness.report.findings.turnover import length_parts, turnover_parts
from harness.report.findings.what_matters import mattering_parts
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.bands import in_plain
from harness.report.render.document import Document, Folded, Paragraph, Part, Prompts, Section
from harness.report.render.html import to_html
from harness.report.render.markdown import to_markdown
from harness.report.render.tabular import BLANK, Table
from harness.report.verdict import experiment_question, verdict_parts

SAME_MODEL = {"dtype": "The same model in another precision", "backend": "The same model behind another backend"}


def write_report(folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.html into the results folder `folder`; returns their paths.

    The same files give the same bytes. Each report appears whole or not at all. Raises UserError
    where matrix.json is missing or a file has another schema. If the folder
    has a digests.json, their digests are added to it.
    """
    written_document(folder)
    return folder / "report.md", folder / "report.html"


def written_document(folder: Path) -> Document:
    """The same; returns the document that was written."""
    document = compose(collect(folder))
    written = {folder / "report.md": to_markdown(document), folder / "report.html": to_html(document)}
    for path, content in written.items():
        write_text(path, content)
    record_report(folder)
    return document


def compose(model: ReportModel) -> Document:
    """The whole report, the verdict first."""
    exploratory = (Paragraph(EXPLORATORY, "open"),) if model.matrix.contrasts else ()
    sections = [Section("Verdict", (*exploratory, *verdict_parts(model)))]
    if (curves := curves_of(model.rows, model.matrix)) and not model.matrix.stop:
        # several sizes: the amount of data is the question, so the section is first; otherwise it is a control
        by_size = len(model.matrix.data_sizes) > 1
        title = "How much data, and which" if by_size else "Which data"
        sections.insert(0 if by_size else 1, Section(title, tuple(curve_parts(curves, model.matrix))))
    if looked := tuple(looks_parts(model)):
        sections.append(Section("Looks", looked))
    if declared := tuple(declared_parts(model)):
        sections.insert(1, Section("Declared contrasts", declared))
    if model.matrix.judged:
        sections.append(Section("Files of others", tuple(judged_parts(model))))
    several = len(model.blocks) > 1
    for block in model.blocks:
        if several:
            sections.append(Section(block.title, ()))
        sections += _block_sections(block, model)
    if (pooled := tuple(across_bases_parts(model))) and not model.matrix.stop:
        sections.append(Section("Across base models", pooled))
    whole = (
        ("How quality scales", scaling_parts), ("What matters most", mattering_parts),
        ("Does the verdict travel", travel_parts),
    )  # fmt: skip
    sections += [Section(title, parts) for title, make in whole if (parts := tuple(make(model)))]
    if precisions := precisions_of(model.rows, model.matrix, model.models):
        for field, title in SAME_MODEL.items():
            if own := [one for one in precisions if one.field == field]:
                sections.append(Section(title, tuple(precision_parts(own))))
    joints = joint_findings(model.folder, model.matrix)
    for joint in joints:
        where = f", {joint.data.title}" if joint.data.title else ""
        title = f"Similarity between policies: {joint.benchmark}{where}"
        sections.append(Section(title, tuple(joint_parts(joint, model.blocks, model.matrix))))
    if model.tuning:
        sections.append(Section("Search for settings", tuple(tuning_parts(model))))
    if rounds := tuple(rounds_parts(model)):
        sections.append(Section("Rounds of training", rounds))
    if not model.matrix.stop:
        sections.append(Section("Claims", tuple(claim_parts(model))))
    sections.append(Section("Training data", tuple(training_data_parts(model))))
    sections.append(Section("Cost ledger", (ledger_part(model),)))
    sections.append(Section("Cells without a result", (unfinished_part(model.matrix),)))
    sections.append(Section("Provenance", tuple(provenance_parts(model, bool(joints)))))
    title = f"bakeoff: {model.matrix.name}" if model.matrix.name else "bakeoff"
    return Document(title, experiment_question(model.matrix), tuple(sections), opening_of(model))


def _block_sections(block: Block, model: ReportModel) -> Iterator[Section]:
    matrix, level = model.matrix, 3 if len(model.blocks) > 1 else 2
    yield Section("The matrix", tuple(_matrix_parts(block, matrix)), level)
    pictures = tuple(tradeoff_parts(block, matrix))
    if pictures:
        yield Section("Quality against knowledge kept", pictures, level)
    matched = tuple(equal_quality_parts(block))
    if matched:
        yield Section("Knowledge at equal quality", matched, level)
    differences = tuple(_differences(block, matrix))
    if differences:
        yield Section(f"Paired differences against {matrix.baseline}", differences, level)
    if matrix.stop:
        # the rest compares methods on the items that all of them have: here only those of the first look
        yield Section("Fairness audit", tuple(audit_parts(block, matrix, model.provenance)), level)
        return
    harm = tuple(harm_parts(block, matrix))
    if harm:
        yield Section("Harm", harm, level)
    # with several blocks, secondary tables are folded
    shown: Callable[[Iterable[Part]], tuple[Part, ...]] = _folded if level > 2 else tuple
    changed = shown((*turnover_parts(block, matrix), *length_parts(block, matrix), *finish_parts(block, matrix)))
    if changed:
        yield Section("Items gained and lost, and length", changed, level)
    prices = shown((*price_parts(block, matrix), *shift_parts(block, matrix)))
    if prices:
        yield Section("The cost of a point", prices, level)
    resolution = shown((*resolution_parts(block, matrix), *next_hour_parts(block, matrix, model.ledger)))
    if any(result.scores for result in block.results):
        yield Section("Resolution of this experiment", resolution, level)
    if len(block.methods) > 1:
        yield Section("Fairness audit", shown(audit_parts(block, matrix, model.provenance)), level)
    secondary = secondary_table(block, matrix)
    if secondary is not None:
        words = "Mean, pointwise 95 % interval, and Δ, the paired difference from the baseline; not tested."
        yield Section("Secondary metrics", (Paragraph(words), secondary), level)
    groups = tuple(_group_parts(block, matrix))
    if groups:
        yield Section("By group", groups, level)
    examples = examples_of(block, matrix, len(model.blocks))
    if examples:
        words = (
            "The items on which the methods differ most at the first seed, chosen by that rule alone; they "
            "illustrate the differences and are not a sample of the benchmark."
        )
        yield Section("Some prompts, side by side", (Paragraph(words), Prompts(examples, matrix.baseline)), level)
    elif block.samples is not None and len(block.samples) and not has_texts(block.samples):
        words = "The run left prompts and answers out of this folder (keep_texts: false)."
        if matrix.judged:
            words = "The files of others hold no prompts and answers."
        yield Section("Some prompts, side by side", (Paragraph(words),), level)


def _folded(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Tables with a caption are folded under it."""
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
    said.append("Bold: the best mean of its column.")
    if matrix.baseline:
        said.append(
            f"{BETTER} better, {WORSE} worse than {matrix.baseline}, after the correction for all tests of the block."
        )
    if block.kept and matrix.baseline:
        said.append("Knowledge kept: per cent of the baseline's score, with the difference in points below it.")
    if block.gaps:
        said += _gap_words(block, matrix)
    if any(result.metric.scale == "log" for result in block.results):
        said.append(
            "Geometric mean: that of skewed scores, with the interval of the mean logarithm; differences of such means "
            "are changes in per cent of it."
        )
    said.append(f"{BLANK} could not be computed; it is not zero.")
    if any(block.audit.apart(method.label) for method in block.methods):
        said.append(f"{FLAG_UNLIKE} differs from most methods in these fields of the protocol: see the fairness audit.")
    results = [*block.results, *block.groups]
    if any(score.estimate.few_clusters for result in results for score in result.scores.values()):
        said.append(FEW)
    most = len(matrix.seeds)
    if any(len(score.seeds) < most for result in results for score in result.scores.values() if score.seeds):
        said.append(f"{FLAG_PARTIAL} fewer seeds than planned: not ranked with methods that have more.")
    return " ".join(said)


def _gap_words(block: Block, matrix: Matrix) -> Iterator[str]:
    quality = block.of_role("quality")
    closed = [result for result in quality if gap_exists(block, result)]
    if closed:
        yield f"Gap closed: 0 is {matrix.baseline}, 100 is {matrix.reference}, with Fieller's interval."
    if left := [in_plain(result.metric.title) for result in quality if result not in closed]:
        why = f"{matrix.reference} is not clearly better than {matrix.baseline}"
        yield f"No gap to close on {text.listed(left)}: {why}."


def _differences(block: Block, matrix: Matrix) -> Iterator[Part]:
    results = [result for result in block.results if result.metric.primary and result.comparisons]
    if not results:
        return
    yield Paragraph(
        "Paired over items and seeds; items from one source form a cluster, seeds are random; the interval is "
        "the wider, the p the larger, of two estimates of seed variance (the pair's own, and pooled over the "
        "methods). Detectable: the true difference that a test would find with 80 % power. Variance: the "
        "shares of items, seeds and their interaction. The intervals hold all together with 95 %; an interval that "
        "would reach beyond 0 although a later step of the test decides the direction ends at 0."
    )
    for result in results:
        yield differences_table(result, matrix, block.methods)


def _group_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    family = max((result.family for result in block.groups), default=0)
    if family:
        yield Paragraph(f"Groups form a separate family: the correction runs over {counted(family, 'test')}.")
    for result in block.groups:
        if result.family and result.comparisons:
            yield Folded(
                f"{in_plain(result.metric.title)}, {result.group}", differences_table(result, matrix, block.methods)
            )
    for table in groups_tables(block, matrix, by_group=False):
        yield Folded(f"{table.caption}: scores by group", table)
