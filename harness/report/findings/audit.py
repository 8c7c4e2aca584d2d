"""The fairness audit: do the methods of a block differ in anything but the method?"""

from __future__ import annotations

import json
from collections.abc import Iterator

from harness.report.collect import Block
from harness.report.numbers.matrix import Matrix
from harness.report.numbers.protocol import Audit, ProtocolField
from harness.report.render import text
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


def audit_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
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
    yield Paragraph(
        "Methods that train nothing have no loss mask, truncation or training tokens. Tokens include those of the "
        "artifacts that a method is built on; counts within 1 % are treated as equal. A value that is not recorded is "
        "unknown and equals no other."
    )
    yield _fields_table(audit)
    if audit.pairs:
        head = (Column("method", left=True), Column("and", left=True), Column("differ in", left=True))
        rows = tuple(
            (TableCell(first), TableCell(second), TableCell(", ".join(names))) for first, second, names in audit.pairs
        )
        yield Folded(f"The {len(rows)} pairs that differ", Table(head, rows))
    yield Folded("Each method's own settings, which may differ", _settings_table(matrix))


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
