"""Bad input: each is named by file and row with its repair; with skip it is counted and listed, never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from harness.data.examples import read_examples
from harness.data.placed import MAX_LINE_BYTES, skipped_lines
from harness.errors import UserError

GOOD = '{"prompt": "a", "completion": "b"}'


def turns(*roles: str) -> str:
    return json.dumps({"messages": [{"role": role, "content": "x"} for role in roles]})


BAD = [
    ('{"prompt": "a"', "broken JSON"),
    ('{"prompt": "a", "prompt": "c", "completion": "b"}', "the name 'prompt' occurs twice"),
    ("[" * 100_000, "nested too deeply"),
    ("[1, 2]", "a row is list"),
    ('{"prompt": "a", "completion": " "}', "`completion` is empty"),
    ('{"prompt": null, "completion": "b"}', "`prompt` is NoneType, not text"),
    ('{"prompt": "a", "completion": 4}', "`completion` is int, not text"),
    ('{"prompt": "a", "completion": "\\ud800"}', "lone surrogate"),
    ('{"prompt": "a", "chosen": "b", "rejected": "c"}', "mixed formats: this row is preference, most are prompt_comp"),
    ('{"text": "a"}', "its columns are text"),
]
BAD_TURNS = [
    (turns("user", "robot"), "message 2: the role is 'robot'"),
    (turns("user", "assistant", "assistant"), "message 3: two assistant turns in a row"),
    (turns("user", "system", "assistant"), "message 2: a system turn follows other turns"),
    (turns("user"), "it does not end with an assistant's turn"),
    ('{"messages": []}', "its messages are not a list, or it is empty"),
]


@pytest.mark.parametrize(
    ("good", "bad", "said"), [(GOOD, *case) for case in BAD] + [(turns("user", "assistant"), *c) for c in BAD_TURNS]
)
def test_a_bad_row_is_named_and_can_be_skipped(good: str, bad: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{good}\n{good}\n{bad}\n{good}\n")
    with pytest.raises(UserError) as caught:
        read_examples(str(file))
    assert caught.value.where.startswith(f"{file}:3")
    assert said in str(caught.value)
    assert caught.value.fix
    found = read_examples(str(file), on_error="skip")
    # the good rows keep the numbers that they have in the file
    assert [example.record.id for example in found.examples] == ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:4"]
    assert skipped_lines(found.skipped)[0] == "rows skipped: 1"
    assert f"{file}:3" in skipped_lines(found.skipped)[1]


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(f"{GOOD}\n".encode() + b'{"prompt": "\xff", "completion": "b"}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: byte 13 of the line is not UTF-8"):
        read_examples(str(file))
    assert len(read_examples(str(file), on_error="skip").examples) == 1


def test_a_line_of_fifty_megabytes_is_named_and_not_held(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(f"{GOOD}\n".encode() + b"x" * (50 * 2**20) + f"\n{GOOD}\n".encode())
    with pytest.raises(UserError, match=r"rows\.jsonl:2: the row has 50 MiB, more than 32"):
        read_examples(str(file))
    found = read_examples(str(file), on_error="skip")
    assert (len(found.examples), len(found.skipped)) == (2, 1)
    assert MAX_LINE_BYTES < 50 * 2**20


def test_an_id_that_stands_twice_is_named_with_both_places(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"id": 7, "prompt": "a", "completion": "b"}] * 2))
    with pytest.raises(UserError, match=r"row 2: the id '7' is also at .*row 1"):
        read_examples(str(file))
    assert len(read_examples(str(file), on_error="skip").examples) == 1


def test_a_broken_row_of_an_array_is_named_by_row_line_and_column(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for text, said in (
        (f'[{GOOD},\n {{"prompt": x}}]', "row 2: broken JSON: Expecting value at line 2, column 13"),
        (f"[{GOOD}\n {GOOD}]", "row 1: broken JSON: no comma"),
        (f"[{GOOD}", "row 1: broken JSON: no comma or closing bracket after it"),
        (f"[{GOOD}] x", "after row 1: broken JSON: text after"),
    ):
        file.write_text(text)
        for on_error in ("stop", "skip"):
            with pytest.raises(UserError) as caught:
                read_examples(str(file), on_error=on_error)
            assert said in str(caught.value)


def test_every_row_bad_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": 1, "completion": "b"}\n' * 3)
    with pytest.raises(UserError, match="all 3 rows are bad; the first"):
        read_examples(str(file), on_error="skip")


def test_the_same_rows_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"instruction": f"q, {n}\n“é”", "input": "", "output": f"a{n}"} for n in range(3)]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows), "utf-8")
    (tmp_path / "b.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows), "utf-8")
    quoted = "".join('"{instruction}",{input},{output}\r\n'.format(**row) for row in rows)
    (tmp_path / "c.csv").write_text("instruction,input,output\r\n" + quoted, "utf-8", newline="")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    folder = tmp_path / "set"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("x")
    for name in ("train-0", "test-0"):
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "data" / f"{name}.parquet")
    wanted = [example.record.messages for example in read_examples(str(tmp_path / "a.json")).examples]  # type: ignore[union-attr]
    assert len(wanted) == 3
    for name in ("b.jsonl", "c.csv", "d.parquet", "set"):
        found = read_examples(str(tmp_path / name)).examples
        assert [example.record.messages for example in found] == wanted, name  # type: ignore[union-attr]
    with pytest.raises(UserError, match="it has no split 'validation'"):
        read_examples(str(folder), split="validation")


def test_a_csv_row_with_too_few_cells_or_broken_bytes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b"prompt,completion\na,b\nc\nd,\xff\n")
    with pytest.raises(UserError, match=r"rows\.csv:3: it has 1 cells under 2 columns"):
        read_examples(str(file))
    found = read_examples(str(file), on_error="skip")
    assert (len(found.examples), [error.where for error in found.skipped]) == (1, [f"{file}:3", f"{file}:4"])
    file.write_text("prompt,prompt\na,b\n")
    with pytest.raises(UserError, match="its header is"):
        read_examples(str(file), on_error="skip")


def test_a_parquet_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"rows\.parquet: no readable Parquet"):
        read_examples(str(tmp_path / "rows.parquet"))


def test_turns_in_a_csv_cell_are_read_as_json(tmp_path: Path) -> None:
    cell = json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]).replace('"', '""')
    (tmp_path / "rows.csv").write_text(f'messages\n"{cell}"\n')
    (example,) = read_examples(str(tmp_path / "rows.csv")).examples
    assert [message.content for message in example.record.messages] == ["q", "a"]  # type: ignore[union-attr]


def test_a_file_that_is_one_object_holds_its_list_of_rows_or_is_one_row(tmp_path: Path) -> None:
    row = {"prompt": "a", "completion": "b"}
    file = tmp_path / "rows.json"
    for document, count in (
        ({"version": 1, "data": [row, row]}, 2),
        (row, 1),
        (json.loads(turns("user", "assistant")), 1),
    ):
        file.write_text(json.dumps(document, indent=1))
        assert len(read_examples(str(file)).examples) == count
