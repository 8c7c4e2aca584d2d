"""The fairness audit: do the methods of a block differ in anything but the method?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from harness.report.collect import Block
from harness.report.numbers.comparisons import Comparison, Result
from harness.report.numbers.matrix import Matrix, MethodInfo
from harness.report.numbers.protocol import Audit, ProtocolField
from harness.report.render import text
from harness.report.render.bands import in_plain
from harness.report.render.document import Folded, Paragraph, Part
from harness.report.render.tabular import BLANK, Column, Table, TableCell, blank_cell

FLAG = "§"


def flagged(block: Block, label: str) -> str:
    """'§ training tokens' for a method that differs from most in its protocol, otherwise nothing."""
    apart = block.audit.apart(label)
    return f"{FLAG} {', '.join(apart)}" if apart else ""


def warning(block: Block) -> str:
    """A sentence for the verdict: the fields of the protocol that differ, and the methods concerned."""
    fields: dict[str, list[str]] = {}
    for method in block.methods:
        for name in block.audit.apart(method.label):
            fields.setdefault(name, []).append(method.label)
    if not fields:
        return ""
    words = "so a difference may come from the protocol and not from the method"
    named = "; ".join(f"{name}: {text.listed(labels)}" for name, labels in fields.items())
    return f"The protocols differ ({FLAG}), {words}. Different from most methods in {named}."


def idle_fits(block: Block) -> str:
    """A sentence on the fits that cannot have taught anything: their method, data and seeds; "" for none."""
    if not block.idle:
        return ""
    named = "; ".join(
        f"{label} ({block.title}, seed{'s' if len(seeds) > 1 else ''} {text.listed([str(seed) for seed in seeds])}): "
        f"{text.one_line(why, 200)}"
        for (label, why), seeds in block.idle.items()
    )
    return f"Training taught nothing here, so these scores say nothing about what the method can teach: {named}."


def audit_parts(block: Block, matrix: Matrix, provenance: Mapping[str, Any]) -> Iterator[Part]:
    """Field by field, then pair by pair, then the settings that may differ between methods."""
    audit = block.audit
    differing = [one.name for one in audit.fields if one.differs]
    if differing:
        said = f"The methods differ in {text.listed(differing)}. {FLAG} marks the methods that differ from most."
        yield Paragraph(said, "open")
    else:
        yield Paragraph("No recorded field of the protocol differs between two methods.", "open")
    if idle := idle_fits(block):
        yield Paragraph(idle, "warning")
    if matrix.judged:
        yield Paragraph(
            "The files state these fields of each benchmark; the training of the methods is not known to them. A value "
            "that is not stated is unknown and equals no other."
        )
        yield _fields_table(audit)
        yield from _pairs_part(audit)
        return
    yield Paragraph(
        "Methods that train nothing have no loss mask, truncation or training tokens. Tokens include those of the "
        "artifacts that a method is built on; counts within 1 % are treated as equal. A value that is not recorded is "
        "unknown and equals no other."
    )
    yield _fields_table(audit)
    for said in incompetent(block, matrix):
        yield Paragraph(said, "warning")
    yield Paragraph(_tuned_where(provenance))
    if data := _data_rows(block, provenance):
        columns = (Column("method", left=True), Column("data", "rows of each source or kind", left=True))
        yield Table(columns, tuple(data), caption="What the data of each method is made of")
    yield from _pairs_part(audit)
    yield Folded("Each method's own settings, which may differ", _settings_table(matrix))


def _pairs_part(audit: Audit) -> Iterator[Part]:
    if audit.pairs:
        head = (Column("method", left=True), Column("and", left=True), Column("differ in", left=True))
        rows = tuple(
            (TableCell(first), TableCell(second), TableCell(", ".join(names))) for first, second, names in audit.pairs
        )
        yield Folded(
            "The pair that differs" if len(rows) == 1 else f"The {len(rows)} pairs that differ", Table(head, rows)
        )


def incompetent(block: Block, matrix: Matrix) -> Iterator[str]:
    """A sentence for each method that another is built on and that is not shown to be better than the baseline.

    A comparison with a method whose expert or sampler cannot do the task is about that expert, not about the method.
    """
    quality = block.of_role("quality")
    for method in block.methods:
        users = [one.label for one in block.methods if _built_on(one, method)]
        pairs = [(result, result.comparisons.get(method.label)) for result in quality]
        weak = [
            in_plain(result.metric.title) for result, pair in pairs if pair is not None and not _above(result, pair)
        ]
        if users and weak and method.label != matrix.baseline:
            yield (
                f"{method.label}, on which {text.listed(users)} {'is' if len(users) == 1 else 'are'} built, does not "
                f"score above {matrix.baseline} itself on {text.listed(weak)}."
            )


def _built_on(one: MethodInfo, other: MethodInfo) -> bool:
    return one is not other and (other.label in one.inputs or one.seed_group == other.label)


def _above(result: Result, pair: Comparison) -> bool:
    value = pair.estimate.value
    return value is None or ((value > 0) == result.metric.higher_is_better and value != 0)


def _tuned_where(provenance: Mapping[str, Any]) -> str:
    """Where the settings come from, if the experiment says so."""
    found = provenance.get("tuned_in")
    if not found:
        return "The experiment names no other one in which its settings were tuned (key tuned_in)."
    trials = ", ".join(f"{label} {count}" for label, count in found["trials"].items()) or "none recorded"
    return (
        f"Settings were tuned in another experiment, {found['name'] or found['folder']} (folder {found['folder']}, "
        f"digest {found['digest']}); trials of each method there: {trials}."
    )


def _data_rows(block: Block, provenance: Mapping[str, Any]) -> list[tuple[TableCell, ...]]:
    """(method, its sets with their composition), of the methods that take data; empty where nothing is recorded."""
    sets = provenance.get("data") or {}
    rows: list[tuple[TableCell, ...]] = []
    for method in block.methods:
        said = []
        for kind in method.needs:
            own = sets.get(f"{kind} {block.data.quality}".strip()) or sets.get(kind)
            if own and own.get("composition"):
                parts = ", ".join(f"{name} {count:,}" for name, count in own["composition"].items())
                said.append(f"{kind} {own['name']}: {parts}")
        if said:
            rows.append((TableCell(method.title), TableCell(text.one_line("; ".join(said), 400))))
    return rows


def _fields_table(audit: Audit) -> Table:
    head = (Column("field", left=True), Column("values", "and the methods that have them", left=True))
    rows = tuple(_field_row(one) for one in audit.fields)
    return Table((*head, Column("finding", left=True)), rows, caption="The protocol, field by field")


def _field_row(one: ProtocolField) -> tuple[TableCell, ...]:
    said = [f"{value} ({', '.join(labels)})" for value, labels in one.groups.items()]
    found = TableCell("differs", mood="bad") if one.differs else TableCell("same") if said else blank_cell()
    return TableCell(one.name), TableCell("; ".join(said) or "not recorded"), found


def _settings_table(matrix: Matrix) -> Table:
    rows = []
    for method in matrix.methods:
        said = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(method.fields.items()))
        rows.append((TableCell(method.title), TableCell(text.one_line(said, 400) or BLANK)))
    return Table((Column("method", left=True), Column("settings", left=True)), tuple(rows))
