"""Records together with the further columns of their rows, so that no content of a file is lost.

examples = read_examples("data.json")       # detection decides the format, and says why
canonical_row(example)                      # the row as our own files write it; read_examples reads it back
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.data.formats import (
    CANONICAL,
    FORMATS,
    OPTIONAL,
    Detection,
    Format,
    Kind,
    by_name,
    detect,
    format_of,
    unknown,
)
from harness.data.placed import Faults, Placed, Row
from harness.data.readers import check_id, id_of, label_of, placed_rows
from harness.data.rows import INPUT_COLUMNS, label_in
from harness.data.turns import CONTENT_KEYS, KNOWN_KEYS, PART_KEYS, THOUGHT_KEYS, is_given, parsed_turns
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Record

MISSING = object()
# columns that are read next to a prompt or an answer that is text
READ_AT_TIMES = {*INPUT_COLUMNS, *THOUGHT_KEYS, "history"}


@dataclass(frozen=True)
class Example:
    """A record, the format of its row, and the columns that cannot be restored from the record.

    origin  the set or file it was first read from, as label_of names it
    """

    record: Record
    kind: Kind
    format: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""

    def edited(self, record: Record) -> Example:
        """The example with another record; columns that repeated the old text are dropped."""
        stale = (OPTIONAL | set(by_name(self.format).columns)) - {"label"}
        kept = {name: value for name, value in self.extra.items() if name not in stale}
        return replace(self, record=record, extra=kept)


@dataclass(frozen=True)
class ExampleSet:
    """The examples of one file, the detected format, and the skipped rows."""

    name: str
    examples: tuple[Example, ...]
    detection: Detection
    skipped: tuple[UserError, ...] = ()


def read_examples(name: str, on_error: str = "stop", split: str = "train", revision: str = "") -> ExampleSet:
    """Read a file, folder or hub id by detection alone.

    Raises UserError for the first row that is malformed, repeats an id or is not in the format of most rows;
    with on_error="skip" such rows are left out and listed in `skipped`.
    """
    faults = Faults(on_error)
    rows = list(placed_rows(name, faults, split, revision))
    if not rows and faults.skipped:
        raise UserError(f"all {len(faults.skipped)} rows are bad; the first: {faults.skipped[0]}", where=name)
    detection = detect((plain_row(placed.row) for placed in rows), name)
    examples = tuple(_examples(rows, name, detection, faults))
    if not examples:
        raise UserError(f"all {len(faults.skipped)} rows are bad; the first: {faults.skipped[0]}", where=name)
    return ExampleSet(name, examples, detection, tuple(faults.skipped))


def _examples(rows: Sequence[Placed], name: str, detection: Detection, faults: Faults) -> Iterable[Example]:
    seen: dict[str, str] = {}
    for placed in rows:
        try:
            example = example_of(placed, name, detection.format)
            check_id(example.record.id, placed.where, seen)
        except UserError as error:
            faults.add(error)
            continue
        yield example


def example_of(placed: Placed, name: str, expected: str = "") -> Example:
    """The example of one row. Raises UserError where the row is not in the expected format."""
    row = plain_row(placed.row)
    found = format_of(row)
    if found is None:
        raise unknown(row, placed.where)
    # rows of several formats of one kind, joined into one table, have each other's columns as nulls
    wanted = by_name(expected) if expected else found
    padded = found.kind == wanted.kind and set(wanted.columns) <= set(row)
    if found.name != wanted.name and not padded:
        raise UserError(
            f"mixed formats: this row is {found.name}, most are {expected}",
            where=placed.where,
            fix="Put rows of one format in a file.",
        )
    record = found.record(row, placed.where, id_of(placed, name))
    if row is not placed.row:
        kept = placed.row["provenance"]
        return Example(record, found.kind, kept["format"], kept["extra"], kept["origin"])
    extra = {key: _storable(value) for key, value in further_columns(row, found, record).items()}
    if found.kind == "judged":
        extra["label"] = label_in(row, placed.where)
    _check_writable([record.id, record.source, extra], placed.where)
    return Example(record, found.kind, found.name, extra, label_of(name))


def further_columns(row: Row, form: Format, record: Record) -> Row:
    """The columns of the row that the record does not restore."""
    written = form.write(record)
    return {key: value for key, value in row.items() if written.get(key, MISSING) != value}


def canonical_row(example: Example) -> dict[str, Any]:
    """The row as bakeoff writes it: id, source, the record, and its provenance."""
    record = example.record
    row = {"id": record.id, "source": record.source, **CANONICAL[example.kind].write(record)}
    if example.kind == "judged":
        row["label"] = example.extra["label"]
    if example.kind == "problems":
        row["verifier"] = record.verifier  # type: ignore[union-attr]
    provenance = {"format": example.format, "extra": dict(example.extra), "origin": example.origin}
    return {**row, "provenance": provenance}


def unused_keys(examples: Iterable[Example]) -> Counter[str]:
    """How many rows have a value in each column, and turns in each key, that is not read."""
    return Counter(key for one in examples for key in unused_in(one.extra, by_name(one.format), one.record))


def unused_in(columns: Mapping[str, Any], form: Format, record: Record) -> Iterator[str]:
    """The columns with a value, and the keys of turns, that the format does not read into the record.

    A column that repeats a text of the record, as `prompt` next to `messages` does, is not one of them.
    """
    for name, value in columns.items():
        read = name in form.further and (name not in READ_AT_TIMES or _is_in(value, record))
        if not read and is_given(value) and not _repeats(name, value, record):
            yield name
        if name in form.columns:
            yield from (f"{name}: {key}" for key in _unknown_keys(value))


def _is_in(value: Any, record: Record) -> bool:
    """Whether each text of the value is part of a text of the record."""
    if isinstance(value, (list, tuple)):
        return all(_is_in(one, record) for one in value)
    listed = parsed_turns(value) if isinstance(value, str) else None
    if isinstance(listed, list):
        return _is_in(listed, record)
    return isinstance(value, str) and any(value.strip() in text for text in _texts(record))


def _repeats(name: str, value: Any, record: Record) -> bool:
    if not any(name in known.columns for known in FORMATS):
        return False
    texts = {text.strip() for text in _texts(record)}
    turns = value if isinstance(value, list) else [{"content": value}]
    said = [turn.get(key) for turn in turns if isinstance(turn, Mapping) for key in ("content", "value") if key in turn]
    return bool(said) and all(isinstance(one, str) and one.strip() in texts for one in said)


def _unknown_keys(value: Any) -> Iterator[str]:
    """The keys with a value that are not read, of the turns and their parts, or of an instance of Self-Instruct."""
    turns = parsed_turns(value) if isinstance(value, str) else [value] if isinstance(value, Mapping) else value
    turns = [turn for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, (list, tuple)) else []
    known = KNOWN_KEYS if any({"role", "from"} & set(turn) for turn in turns) else {"input", "output"}
    for turn in turns:
        yield from (str(key) for key, held in turn.items() if key not in known and is_given(held))
        parts: list[Any] = next((turn[key] for key in CONTENT_KEYS if isinstance(turn.get(key), list)), [])
        for part in (part for part in parts if isinstance(part, Mapping)):
            yield from (f"content: {key}" for key, held in part.items() if key not in PART_KEYS and is_given(held))


def _texts(record: Record) -> list[str]:
    """Every text of the record."""
    if isinstance(record, Demonstration):
        return [text for message in record.messages for text in (message.content, message.thoughts)]
    answers = [record.chosen, record.rejected] if isinstance(record, PreferencePair) else [record.reference]
    return [*(message.content for message in record.prompt), *answers]


def prompt_text(record: Record) -> str:
    """All user turns, joined by line breaks."""
    asked = record.messages if isinstance(record, Demonstration) else record.prompt
    return "\n".join(message.content for message in asked if message.role == "user")


def answer_text(record: Record) -> str:
    """The target text: all assistant turns, the chosen answer, or the reference."""
    if isinstance(record, Demonstration):
        return "\n".join(message.content for message in record.messages if message.role == "assistant")
    return record.chosen if isinstance(record, PreferencePair) else record.reference


def whole_text(record: Record) -> str:
    """All text that a model trained on it would read, in order."""
    if isinstance(record, Demonstration):
        return "\n".join(map(_whole_turn, record.messages))
    answers = [record.chosen, record.rejected] if isinstance(record, PreferencePair) else [record.reference]
    return "\n".join([*(message.content for message in record.prompt), *answers])


def _whole_turn(message: Message) -> str:
    return f"{message.thoughts}\n{message.content}" if message.thoughts else message.content


def plain_row(row: Row) -> Row:
    """The row without its provenance column, if bakeoff wrote that column."""
    kept = row.get("provenance")
    if not isinstance(kept, Mapping) or set(kept) != {"format", "extra", "origin"}:
        return row
    if not isinstance(kept["extra"], Mapping) or all(kept["format"] != known.name for known in FORMATS):
        return row
    return {key: value for key, value in row.items() if key != "provenance"}


def _storable(value: Any) -> Any:
    """The value; what JSON cannot represent (a Parquet file's dates and bytes) becomes text."""
    try:
        json.dumps(value)
    except TypeError:
        return json.loads(json.dumps(value, default=str))
    return value


def _check_writable(values: Any, where: str) -> None:
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            "a column holds half a character (a lone surrogate)", where=where, fix="Remove or fix it."
        ) from error


def with_texts(record: Record, change: Callable[[str], str]) -> Record:
    """The record with `change` applied to each message and answer."""

    def changed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(
            replace(one, content=change(one.content), thoughts=change(one.thoughts) if one.thoughts else "")
            for one in messages
        )

    if isinstance(record, Demonstration):
        return replace(record, messages=changed(record.messages))
    if isinstance(record, PreferencePair):
        answers = {"chosen": change(record.chosen), "rejected": change(record.rejected)}
        return replace(record, prompt=changed(record.prompt), **answers)
    return replace(record, prompt=changed(record.prompt), reference=change(record.reference))
