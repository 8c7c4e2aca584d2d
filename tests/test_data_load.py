"""Training sets: what is understood, what is refused, and subsets that nest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data.load import DataSpec, load_set, subset, training_data
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Problem


def rows(folder: Path, *lines: object) -> DataSpec:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return DataSpec(str(file))


def test_the_formats_of_demonstrations_become_one_record(tmp_path: Path) -> None:
    """The same example as messages, prompt and completion, and instruction, input and output."""
    turns = [{"role": "user", "content": "add\n1 2"}, {"role": "assistant", "content": "3"}]
    spec = rows(
        tmp_path,
        {"messages": turns},
        {"prompt": "add\n1 2", "completion": "3"},
        {"instruction": "add", "input": "1 2", "output": "3"},
    )
    records = load_set("demonstrations", spec).records
    assert {record.messages for record in records} == {(Message("user", "add\n1 2"), Message("assistant", "3"))}  # type: ignore[union-attr]
    assert [record.id for record in records] == ["rows.jsonl:1", "rows.jsonl:2", "rows.jsonl:3"]


def test_preference_pairs_and_problems_are_read(tmp_path: Path) -> None:
    pair = load_set("preferences", rows(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"})).records[0]
    assert pair == PreferencePair((Message("user", "p"),), "a", "b", "rows.jsonl:1")
    problem = load_set("problems", rows(tmp_path, {"question": "p", "answer": "4", "verifier": "number"})).records[0]
    assert problem == Problem((Message("user", "p"),), "4", "number", "rows.jsonl:1")


def test_equal_answers_in_a_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:1.*chosen and rejected are equal"):
        load_set("preferences", rows(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "a"}))


def test_a_microworld_set_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="PreferencePair"):
        load_set("demonstrations", DataSpec("microworld/function-calls"))


def test_a_smaller_subset_lies_inside_a_larger_one_and_another_seed_draws_another() -> None:
    records = tuple(Demonstration((Message("assistant", str(n)),), str(n)) for n in range(1000))
    for seed in (0, 1):
        sizes = [set(subset(records, size, seed)) for size in (30, 100, 300, 1000)]
        assert [len(part) for part in sizes] == [30, 100, 300, 1000]
        assert sizes[0] < sizes[1] < sizes[2] < sizes[3]
    assert subset(records, 100, 0) != subset(records, 100, 1)
    assert subset(records, 100, 0) == subset(records, 100, 0)


def test_a_subset_never_tears_the_versions_of_a_demonstration_apart() -> None:
    """Groups of three: 100 rows hold 33 of them, and 99 rows remain; the row without versions counts alone."""
    ids = [f"{n}/{version}" for n in range(100) for version in ("original", "response", "both")]
    records = tuple(Demonstration((Message("assistant", id),), id) for id in ids)
    for size in (30, 100, 200):
        drawn = subset(records, size, 0)
        assert len(drawn) == size - size % 3
        assert len({record.id.rpartition("/")[0] for record in drawn}) * 3 == len(drawn)
    assert set(subset(records, 30, 0)) < set(subset(records, 100, 0))


def test_the_manifest_says_where_the_rows_came_from_and_how_many_were_used(tmp_path: Path) -> None:
    spec = rows(tmp_path, *({"prompt": f"p{n}", "completion": "c"} for n in range(10)))
    data = training_data([load_set("demonstrations", spec)], 4, 0)
    assert len(data.demonstrations) == 4
    (entry,) = data.manifest
    assert (entry["rows"], entry["used"], entry["licence"]) == (10, 4, "not stated")


def test_real_alpaca_and_preference_files_load(shared_data: Path) -> None:
    """Counts as in the data's own README: 1,000 rows and 91 rows."""
    for name, count in (("ultrafeedback_sft1k", 1000), ("llama_factory_demo", 91)):
        folder = shared_data / name
        file = next(
            p for p in sorted(folder.glob("*.json*")) if name != "llama_factory_demo" or p.name == "identity.json"
        )
        assert len(load_set("demonstrations", DataSpec(str(file))).records) == count
