"""Nothing is lost in silence: of every file of mangled rows, rows read and rows reported are the rows of the file."""

from __future__ import annotations

import json
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
GOOD_TURNS = GOOD["messages"]["messages"]
# single draws, for ten thousand cases: building values draw by draw took five times as long
ODD: list[object] = [
    *[None, True, False, 0, -7, 2**70, 0.5, float("nan"), float("-inf")],
    *["", " ", "a", "[1]", "{}", "[]", "\x00", "\n", "\u2028", "\ud800", "é", "\U0001f600", '[{"role": "user"}]'],
    *[[], {}, ["a"], [[]], [None], {"a": 1}, {"\ud800": 1}, [{"role": "user"}], [{"role": "robot", "content": "x"}]],
    *[[{"role": "user", "content": bad}] for bad in (None, 4, " ", "\ud800", [{"type": "text", "text": "q"}])],
    *[[*GOOD_TURNS, turn] for turn in ({"role": "assistant", "content": "b"}, {"role": "system", "content": "b"})],
    [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}],
    [{"from": "human", "value": "q"}, {"from": "function_call", "value": ""}],
    [*GOOD_TURNS, {"role": "user", "content": "b"}, {"role": "assistant", "content": None, "tool_calls": [{"a": 1}]}],
    *[{"role": "assistant", "content": "b"}, {"format": "messages", "extra": {}, "origin": "x"}],
    {"format": "messages", "extra": 3, "origin": None},
]
COLUMNS = [*sorted({name for row in GOOD.values() for name in row}), "id", "label", "tools", "system", "provenance"]
BYTES = st.sampled_from([b"", b"", b"", b"\xff", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\x00", b" ", b"9"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A row of the file as bytes, without its end: whole, with odd values, without a column, or with broken bytes."""
    row: dict[str, object] = dict(GOOD[draw(st.sampled_from(sorted(GOOD)))])
    for name in draw(st.lists(st.sampled_from(COLUMNS), max_size=2)):
        row[name] = draw(st.sampled_from(ODD))
    row.pop(draw(st.sampled_from(["", "", *COLUMNS])), None)
    line = json.dumps(row, ensure_ascii=draw(st.sampled_from([True, True, False]))).encode("utf-8", "surrogatepass")
    wrong, at = draw(BYTES), draw(st.integers(0, len(line)))
    return line[:at] + wrong + line[at + len(wrong) :]


def in_file(rows: list[bytes]) -> dict[int, bytes]:
    """The rows by the number of their line; a line of white space is none."""
    return {number: row for number, row in enumerate(rows, 1) if row.strip()}


def read_all(file: Path) -> ExampleSet | UserError:
    """What is read when bad rows are skipped, or what is said where no row was good."""
    try:
        return read_examples(str(file), on_error="skip")
    except UserError as error:
        return error


def check(rows: list[bytes], file: Path) -> None:
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
        assert first.value.where.startswith(f"{file}:")


ANY_FILE = given(rows=st.lists(lines(), min_size=4, max_size=4))
# four mangled rows a file: 300 in the quick test, 10,000 in the slow one; one file is written again and again
UNDISTURBED = list(HealthCheck)


@settings(max_examples=75, deadline=None, database=None, derandomize=True, suppress_health_check=UNDISTURBED)
@ANY_FILE
def test_of_mangled_rows_every_one_is_read_or_named(rows: list[bytes], tmp_path: Path) -> None:
    check(rows, tmp_path / "rows.jsonl")


@pytest.mark.slow
@settings(max_examples=2500, deadline=None, database=None, suppress_health_check=UNDISTURBED)
@ANY_FILE
def test_of_ten_thousand_mangled_rows_none_is_lost(rows: list[bytes], tmp_path: Path) -> None:
    check(rows, tmp_path / "rows.jsonl")
