"""Nothing is lost in silence: of every file of mangled rows, rows read and rows reported are the rows of the file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.examples import ExampleSet, canonical_row, read_examples
from harness.errors import UserError

GOOD = {
    "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    "alpaca": {"instruction": "q", "input": "", "output": "a"},
    "completion": {"prompt": "q", "completion": "a"},
    "preference": {"prompt": "q", "chosen": "a", "rejected": "b"},
    "problem": {"question": "q", "answer": "4"},
}
# a lone surrogate can only stand in JSON as an escape, which json.dumps writes
TEXT = st.sampled_from(["", " ", "a", "[1]", "{}", "\x00", "\n", "\u2028", "\ud800", "é", "\U0001f600", "nan"])
SCALAR = st.sampled_from([None, True, False, 0, -7, 2**70, 0.5, float("nan"), float("-inf")]) | TEXT
TURN = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "bot", "", None]),
        "from": st.sampled_from(["human", "gpt", "function_call", "observation", "x"]),
        "content": SCALAR,
        "value": SCALAR,
        "tool_calls": SCALAR,
    },
)
ODD = st.recursive(
    SCALAR | st.lists(TURN, max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
COLUMNS = [*sorted({name for row in GOOD.values() for name in row}), "id", "label", "tools", "system", "provenance"]
BYTES = st.sampled_from([b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\x00", b" ", b"9"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A row of the file as bytes, without its end: whole, with odd values, without a column, or with broken bytes."""
    row: dict[str, object] = dict(GOOD[draw(st.sampled_from(sorted(GOOD)))])
    for name in draw(st.lists(st.sampled_from(COLUMNS), max_size=2)):
        row[name] = draw(ODD)
    for name in draw(st.lists(st.sampled_from(COLUMNS), max_size=1)):
        row.pop(name, None)
    line = json.dumps(row, ensure_ascii=draw(st.sampled_from([True, True, False]))).encode("utf-8", "surrogatepass")
    for wrong in draw(st.lists(BYTES, max_size=2)):
        at = draw(st.integers(0, len(line)))
        line = line[:at] + wrong + line[at + draw(st.integers(0, 3)) :]
    return line


def in_file(rows: list[bytes]) -> dict[int, bytes]:
    """The rows by the number of their line; a line of white space is none."""
    return {number: row for number, row in enumerate(rows, 1) if row.strip()}


def read_all(file: Path) -> ExampleSet | UserError:
    """What is read when bad rows are skipped, or what is said where no row was good."""
    try:
        return read_examples(str(file), on_error="skip")
    except UserError as error:
        return error


def check(rows: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        # a good row, so that there is a format to tell the others by
        rows = [json.dumps(GOOD["messages"]).encode(), *rows]
        file.write_bytes(b"\n".join(rows) + b"\n")
        found = read_all(file)
        if isinstance(found, UserError):
            assert found.where == str(file)
            assert "rows are bad; the first" in found.what
            return
        numbers = in_file(rows)
        reported = [int(error.where.removeprefix(f"{file}:").split(",")[0]) for error in found.skipped]
        assert len(found.examples) + len(reported) == len(numbers)
        assert len(set(reported)) == len(reported)
        assert set(reported) <= set(numbers)
        assert all(error.what and error.fix for error in found.skipped)
        # a row without an id of its own is called after its line, so that no good row stands for a bad one
        named = {e.record.id for e in found.examples if e.record.id.startswith("rows.jsonl:") and "id" not in e.extra}
        assert not named & {f"rows.jsonl:{number}" for number in reported}
        for example in found.examples:
            json.dumps(canonical_row(example), ensure_ascii=False).encode("utf-8")
        if reported:
            with pytest.raises(UserError) as first:
                read_examples(str(file))
            assert first.value.where.startswith(str(file))


ANY_FILE = given(st.lists(lines(), min_size=1, max_size=4))


@settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@ANY_FILE
def test_of_mangled_rows_every_one_is_read_or_named(rows: list[bytes]) -> None:
    check(rows)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@ANY_FILE
def test_of_ten_thousand_files_of_mangled_rows_none_loses_one(rows: list[bytes]) -> None:
    check(rows)
