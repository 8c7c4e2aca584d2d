"""The protocol of each method: everything but the method itself in which two methods of a block could differ.

It is read from what the run recorded: the ledger (tokens seen, rows cut, tuning trials), the provenance (template,
precision, device of the base model) and the matrix (the length to which rows are cut). A method's own
hyperparameters, such as its learning rate, are not part of it. A method that trains nothing has no loss mask,
truncation or training tokens and is not compared in them. A fact that is not recorded is None: unknown, never equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from harness.records import DataChoice
from harness.report.numbers.matrix import Matrix, MethodInfo

ALIKE = 0.01  # tokens within one per cent are the same number of tokens: rows are packed and cut differently

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class ProtocolField:
    """One field of the protocol: what is recorded of each method, None where it does not apply or is not known."""

    name: str
    values: Mapping[str, str | None]

    @property
    def groups(self) -> dict[str, list[str]]:
        """value -> the methods that have it, the commonest value first."""
        found: dict[str, list[str]] = {}
        for label, value in self.values.items():
            if value is not None:
                found.setdefault(value, []).append(label)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    @property
    def differs(self) -> bool:
        return len(self.groups) > 1


@dataclass(frozen=True)
class Audit:
    """The protocol of a block's methods, field by field."""

    fields: tuple[ProtocolField, ...]

    def between(self, first: str, second: str) -> list[str]:
        """The names of the fields in which two methods are known to differ."""
        pairs = ((one.name, one.values.get(first), one.values.get(second)) for one in self.fields)
        return [name for name, a, b in pairs if a is not None and b is not None and a != b]

    @property
    def pairs(self) -> list[tuple[str, str, list[str]]]:
        """Every pair of methods that differs in anything, with the fields."""
        labels = list(self.fields[0].values) if self.fields else []
        found = [(first, second, self.between(first, second)) for first, second in combinations(labels, 2)]
        return [pair for pair in found if pair[2]]

    def apart(self, label: str) -> list[str]:
        """The fields in which a method has another value than most."""
        found = []
        for one in self.fields:
            value, groups = one.values.get(label), one.groups
            if value is not None and value != next(iter(groups), None):
                found.append(one.name)
        return found


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
    stated = tuple(_stated(matrix, base, data))
    whole = {"base model", *(one.name for one in stated)} if matrix.judged else set()
    names = [name for name in FIELDS if name != TRAINED or any(values[name] for values in facts.values())]
    names = [name for name in names if name not in whole]
    fields = tuple(ProtocolField(name, {label: facts[label][name] for label in facts}) for name in names)
    return Audit((*stated, *fields, *_backends(matrix, base, data)))


def _stated(matrix: Matrix, base: str, data: DataChoice) -> Iterator[ProtocolField]:
    """The protocol that the files of others state of each cell.

    A field has one row for all benchmarks on which the methods agree, and one for each benchmark on which they do not.
    """
    told: dict[str, dict[str, dict[str, str]]] = {}
    for method in matrix.methods:
        for cell in matrix.by_method.get((base, method.label, data), ()):
            for name, value in cell.protocol.items():
                values = told.setdefault(name, {}).setdefault(cell.benchmark, {})
                values[method.label] = ", ".join(sorted({value, *filter(None, [values.get(method.label)])}))
    for name, of_benchmark in told.items():
        rows = {b: {m.label: values.get(m.label) for m in matrix.methods} for b, values in of_benchmark.items()}
        agreed = [b for b, values in of_benchmark.items() if len(set(values.values())) == 1]
        if agreed:
            kinds = sorted({next(iter(of_benchmark[b].values())) for b in agreed})
            said = ", ".join(kinds) if len(kinds) <= MOST_NAMED_VALUES else f"{len(kinds)} values, alike"
            known = {label for b in agreed for label in of_benchmark[b]}
            yield ProtocolField(name, {m.label: said if m.label in known else None for m in matrix.methods})
        for b in of_benchmark:
            if b not in agreed:
                yield ProtocolField(f"{name} of {b}", rows[b])


def _backends(matrix: Matrix, base: str, data: DataChoice) -> Iterator[ProtocolField]:
    """The library that scored each method: a field for each benchmark of which another library scored a cell."""
    for benchmark in matrix.benchmarks:
        used: dict[str, set[str]] = {}
        for method in matrix.methods:
            where, own = matrix.place(method, base, data)
            cells = matrix.by_method.get((where, method.label, own), ())
            names = {cell.backend for cell in cells if cell.benchmark == benchmark.label and cell.state == "done"}
            if names:
                used[method.label] = names
        if any(names != {""} for names in used.values()):
            said = {label: ", ".join(sorted(name or OWN_BACKEND for name in names)) for label, names in used.items()}
            values = {method.label: said.get(method.label) for method in matrix.methods}
            yield ProtocolField(f"backend of {benchmark.label}", values)


MOST_NAMED_VALUES = 4
OWN_BACKEND = "transformers"
TRAINED = "trained weights"
"""The precision in which trained weights are saved and loaded, or adapters merged; shown where any method notes it."""

FIELDS = (
    "base model",
    "chat template",
    "precision",
    TRAINED,
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
        TRAINED: _one(_kept_in(entries)),
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
    """Tokens trained on, including those of the artifacts it is built on; None where not recorded."""
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


def _kept_in(entries: Sequence[Entry]) -> Iterator[str]:
    """The precision of a loaded policy's trained weights, which a fit on a bfloat16 base notes."""
    for entry in entries:
        notes = entry.get("notes") or {}
        yield from (str(notes[name]) for name in ("merged_in", "saved_in", "frozen_in") if name in notes)


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
