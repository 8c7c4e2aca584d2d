"""Rows as public data sets write them: nothing that changes what is trained is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.curation.pipeline import curate, parse_steps
from harness.data.examples import Example, canonical_row, read_examples
from harness.data.load import DataSpec, load_set
from harness.errors import UserError


def lines(path: Path, *rows: dict[str, Any]) -> str:
    """The rows in a file of JSON lines, and its name."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def reread(example: Example, folder: Path) -> Example:
    """The example, written by bakeoff and read back."""
    return read_examples(lines(folder / "again.jsonl", canonical_row(example))).examples[0]


LABELS = [(True, False), (1, 0), (1.0, 0.0), ("True", "False"), ("1", "0"), ("true", " FALSE")]
JUDGED: list[dict[str, Any]] = [
    {"prompt": "q", "completion": "a"},
    {"prompt": "q", "response": "a"},
    {"instruction": "q", "output": "a"},
    {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
]


@pytest.mark.parametrize("row", JUDGED, ids=["completion", "response", "alpaca", "messages", "sharegpt"])
@pytest.mark.parametrize("name", ["label", "kto_tag"])
@pytest.mark.parametrize(("good", "bad"), LABELS)
def test_an_answer_labelled_false_is_never_trained(
    good: object, bad: object, name: str, row: dict[str, Any], tmp_path: Path
) -> None:
    file = lines(tmp_path / "rows.jsonl", {**row, name: good}, {**row, name: bad})
    found = read_examples(file)
    assert found.detection.kind == "judged"
    assert [one.extra["label"] for one in found.examples] == [True, False]
    (kept,) = curate(found.examples, parse_steps(["judged_good"])).examples
    assert kept.record.id == "rows.jsonl:1"
    with pytest.raises(UserError, match=r"rows\.jsonl:2: its `label` is false"):
        load_set("demonstrations", DataSpec(file))
    # the label survives an edit and our own file
    edited = found.examples[1].edited(found.examples[1].record)
    assert reread(edited, tmp_path).extra["label"] is False


def test_labels_of_a_csv_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("prompt,completion,label\nq,a,True\nq,b,False\n")
    assert [one.extra["label"] for one in read_examples(str(tmp_path / "rows.csv")).examples] == [True, False]


@pytest.mark.parametrize("label", ["good", 2, None, "", [], -1])
def test_another_label_is_an_error_that_names_the_row(label: object, tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "a"}
    file = lines(tmp_path / "rows.jsonl", {**row, "label": True}, {**row, "label": label})
    for read in (read_examples, lambda name: load_set("demonstrations", DataSpec(name))):
        with pytest.raises(UserError, match=r"rows\.jsonl:2: its `label` is"):
            read(file)


def test_the_class_of_an_example_is_not_a_label_of_its_answer(tmp_path: Path) -> None:
    row = {"instruction": "q", "output": "a", "label": "sport"}
    assert read_examples(lines(tmp_path / "rows.jsonl", row)).detection.kind == "demonstrations"
