"""The fairness audit: is what is compared alike in everything but the method?

The protocol of a method is read from what its run recorded: the ledger (tokens seen, rows cut, tuning trials), the
provenance (template, precision, device of its base) and the matrix (the length to which rows are cut). A method's
own hyperparameters, such as its learning rate, are no part of it. What trains nothing has no loss mask, truncation
or training tokens, and is not compared in them. What is not recorded is None: unknown, never equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.records import DataChoice
from harness.report.numbers.findings import Audit, ProtocolField
from harness.report.numbers.matrix import Matrix, MethodInfo
from harness.report.numbers.model import Block
from harness.report.render import text
from harness.report.render.document import Column, Folded, Paragraph, Part, Table, TableCell

ALIKE = 0.01  # tokens within one per cent are the same number of tokens: rows are packed and cut differently

Entry = Mapping[str, Any]


def audit_of(
    artifacts: Sequence[Entry], matrix: Matrix, models: Mapping[str, Any], base: str, data: DataChoice
) -> Audit:
    """The protocol of every method of a block.

    artifacts  the ledger's entries; models: label -> dtype, device, chat_template, of provenance.json
    """
    facts: dict[str, dict[str, str | None]] = {}
    tokens: dict[str, float] = {}
    for method in matrix.methods:
        where, own = matrix.place(method, base, data)
        place = (where, method.label, own.quality, own.size)
        entries = [e for e in artifacts if (e["base"], e["method"], e["data_quality"], e["data_size"]) == place]
        facts[method.label] = _facts(method, where, entries, models.get(where) or {})
        seen = [_tokens(entry) for entry in entries]
        known = [count for count in seen if count]
        if known and len(known) == len(seen):
            tokens[method.label] = sum(known) / len(known)
    shown = dict(_alike(tokens))
    for label, values in facts.items():
        values["training tokens"] = shown.get(label)
    return Audit(tuple(ProtocolField(name, {label: facts[label][name] for label in facts}) for name in FIELDS))


FIELDS = (
    "base model",
    "chat template",
    "precision",
    "device",
    "loss mask",
    "truncation length",
    "truncated rows",
    "training tokens",
    "tuning trials",
)


def _facts(method: MethodInfo, base: str, entries: Sequence[Entry], model: Mapping[str, Any]) -> dict[str, str | None]:
    trained = any(_tokens(entry) != 0 for entry in entries)
    return {
        "base model": base,
        "chat template": _text(model.get("chat_template")),
        "precision": _text(model.get("dtype")),
        "device": _text(model.get("device")),
        "loss mask": _mask(entries) if trained else None,
        "truncation length": _one(_lengths(method.fields)) if trained else None,
        "truncated rows": _one(_cut(entries)) if trained else None,
        "tuning trials": _one(str(e["tuning_trials"]) for e in entries if e.get("tuning_trials") is not None),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _one(values: Iterator[str]) -> str | None:
    """The values of all seeds, joined where they differ; None where there are none."""
    return ", ".join(sorted(set(values))) or None


def _tokens(entry: Entry) -> float | None:
    """Tokens that were trained on, in the artifacts it stands on too; None where those are not recorded."""
    own, shared = entry.get("training_tokens"), entry.get("shared_training_tokens")
    if own is None or (shared is None and entry.get("shared_fit_seconds")):
        return None
    return float(own) + float(shared or 0)


def _mask(entries: Sequence[Entry]) -> str | None:
    """Whether the loss was taken over all tokens or over the answers alone, from the labels that were counted."""
    found = []
    for entry in entries:
        labelled, own = (entry.get("notes") or {}).get("labelled_tokens"), entry.get("training_tokens")
        if labelled is not None and own:
            found.append("answers only" if labelled < own else "every token")
    return _one(iter(found))


def _cut(entries: Sequence[Entry]) -> Iterator[str]:
    """The share of the training rows that were cut, at each seed."""
    for entry in entries:
        notes = entry.get("notes") or {}
        if notes.get("rows") and "rows_truncated" in notes:
            yield f"{100 * notes['rows_truncated'] / notes['rows']:.2g} %"


def _lengths(fields: Mapping[str, Any]) -> Iterator[str]:
    """The lengths that rows are cut to; a method inside another counts too."""
    for name, value in fields.items():
        if name == "max_length":
            yield "the model's" if value is None else f"{value} tokens"
        else:
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, Mapping):
                    yield from _lengths(inner)


def _alike(tokens: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Numbers of tokens as text, the same text for those that are alike."""
    shown: list[float] = []
    for label, count in tokens.items():
        near = next((one for one in shown if abs(one - count) <= ALIKE * max(one, count)), None)
        if near is None:
            shown.append(count)
        yield label, f"{count if near is None else near:,.0f}"


FLAG = "§"


def flagged(block: Block, label: str) -> str:
    """'§ training tokens' for a method that differs from most in its protocol, otherwise nothing."""
    apart = block.audit.apart(label)
    return f"{FLAG} {', '.join(apart)}" if apart else ""


def warning(block: Block) -> str:
    """One sentence for the verdict: in what methods are not compared like for like, and who."""
    fields: dict[str, list[str]] = {}
    for method in block.methods:
        for name in block.audit.apart(method.label):
            fields.setdefault(name, []).append(method.label)
    if not fields:
        return ""
    words = "so a difference may come from these and not from the method"
    named = "; ".join(f"{name}: {text.listed(labels)}" for name, labels in fields.items())
    return f"Not like for like ({FLAG}), {words}. Unlike most in {named}."


def audit_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """Field by field, then pair by pair, then what is each method's own and no fault."""
    audit = block.audit
    differing = [one.name for one in audit.fields if one.differs]
    if differing:
        said = f"The methods differ in {text.listed(differing)}. {FLAG} marks whoever differs from most."
        yield Paragraph(said, "open")
    else:
        yield Paragraph("No recorded field of the protocol differs between two methods.", "open")
    yield Paragraph(
        "What trains nothing has no loss mask, truncation and training tokens; tokens include those of the artifacts "
        "that a method stands on, and count as alike within 1 %. What is not recorded is unknown, and never equal."
    )
    yield _fields_table(audit)
    if audit.pairs:
        head = (Column("method", left=True), Column("and", left=True), Column("differ in", left=True))
        rows = tuple(
            (TableCell(first), TableCell(second), TableCell(", ".join(names))) for first, second, names in audit.pairs
        )
        yield Folded(f"The {len(rows)} pairs that differ", Table(head, rows))
    yield Folded("Each method's own settings, which are no fault", _settings_table(matrix))


def _fields_table(audit: Audit) -> Table:
    head = (Column("field", left=True), Column("values", "and the methods that have them", left=True))
    rows = tuple(_field_row(one) for one in audit.fields)
    return Table((*head, Column("finding", left=True)), rows, caption="The protocol, field by field")


def _field_row(one: ProtocolField) -> tuple[TableCell, ...]:
    said = [f"{value} ({', '.join(labels)})" for value, labels in one.groups.items()]
    found = (
        TableCell("differs", mood="bad")
        if one.differs
        else TableCell("alike")
        if said
        else TableCell(text.BLANK, mood="blank")
    )
    return TableCell(one.name), TableCell("; ".join(said) or "not recorded"), found


def _settings_table(matrix: Matrix) -> Table:
    rows = []
    for method in matrix.methods:
        said = ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(method.fields.items()))
        rows.append((TableCell(method.title), TableCell(text.one_line(said, 400) or text.BLANK)))
    return Table((Column("method", left=True), Column("settings", left=True)), tuple(rows))
