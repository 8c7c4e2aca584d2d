"""The gate before a run: test items in the training data are found, shown, and block only where asked to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from test_report import Fake, pages

from harness.engine import gate
from harness.engine.config import load_experiment
from harness.engine.gate import check_contamination, warnings_of
from harness.engine.plan import Plan, make_plan
from harness.engine.results.write import write_results
from harness.engine.store.store import Store
from harness.errors import UserError
from harness.files import read_json
from harness.microworld.items import instruction_items, knowledge_items
from harness.report.collect import collect
from harness.report.findings.training_data import without_matched

MATRIX = """\
name: gated
bases: [microworld/small]
data: {demonstrations: %s}
methods: [base, sft]
benchmarks: [knowledge, {instruction_following: {limit: 5}}]
"""


def planned(folder: Path, rows: str = "microworld/curated-1k", more: str = "") -> Plan:
    file = folder / "gated.yaml"
    matrix = MATRIX.replace("methods: [base, sft]\n", "") if "methods:" in more else MATRIX
    file.write_text(matrix % rows + more)
    return make_plan(load_experiment(file), folder / "store")


def rows_with(folder: Path, prompts: Sequence[str]) -> str:
    """A training set of clean rows with these prompts among them."""
    lines = [{"prompt": f"say {at} twice", "completion": f"{at} {at}"} for at in range(50)]
    lines += [{"prompt": prompt, "completion": "some answer"} for prompt in prompts]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return "./rows.jsonl"


def test_the_shipped_training_sets_hold_no_item_of_the_shipped_benchmarks(tmp_path: Path) -> None:
    names = ("curated-1k", "unfiltered-1k", "homogeneous-1k")
    for name in names:
        entries = check_contamination(planned(tmp_path, f"microworld/{name}"), tmp_path / "store")
        assert [(entry["benchmark"], entry["matched"]) for entry in entries] == [
            ("knowledge", []), ("instruction_following", [])
        ]  # fmt: skip
        assert [entry["items"] for entry in entries] == [len(knowledge_items("test")), 30]


def test_planted_items_are_found_by_their_slots_under_the_ids_of_their_outcomes(tmp_path: Path) -> None:
    items = instruction_items("test", 5)
    planted = [items[0].prompt, items[7].prompt.upper(), f"  {items[12].prompt}  ", items[29].prompt]
    plan = planned(tmp_path, rows_with(tmp_path, planted))
    entry = check_contamination(plan, tmp_path / "store")[1]
    assert {match["item"] for match in entry["matched"]} == {items[at].id for at in (0, 7, 12, 29)}
    assert entry["flagged"]
    assert "4 of 30 items" in next(warnings_of([entry]))


def test_a_strict_experiment_refuses_to_run_and_says_what_would_help(tmp_path: Path) -> None:
    rows = rows_with(tmp_path, [item.prompt for item in instruction_items("test", 5)[:3]])
    with pytest.raises(UserError, match="3 of 30 items") as caught:
        check_contamination(planned(tmp_path, rows, "strict: true\n"), tmp_path / "store")
    assert "bakeoff data decontaminate" in str(caught.value)
    assert check_contamination(planned(tmp_path, "microworld/curated-1k", "strict: true\n"), tmp_path / "store")


def test_replayed_rows_and_constant_prompts_are_searched_as_training_sets_are(tmp_path: Path) -> None:
    prompts = [item.prompt for item in instruction_items("test", 5)]
    rows_with(tmp_path, prompts[:2])
    shown = {"question": prompts[2], "answer": "some answer"}
    constant = {"question": "Q: ", "answer": " A: ", "examples": [shown, {"question": "two?", "answer": "2"}]}
    (tmp_path / "shown.yaml").write_text(json.dumps(constant))
    replaying = "{sft: {replay: {share: 0.1, data: ./rows.jsonl}}, as: replaying}"
    inside = "{rft: {samplers: [replaying], tune: {sft: {replay: {share: 0.2, data: ./rows.jsonl}}}}}"
    methods = f"[base, sft, {{prompting: {{examples: ./shown.yaml}}}}, {replaying}, {inside}]"
    plan = planned(tmp_path, "microworld/curated-1k, problems: microworld/stories", f"methods: {methods}\n")
    own = [one for one in check_contamination(plan, tmp_path / "store") if one["benchmark"] == "instruction_following"]
    found = {one["kind"]: (one["set"], {match["item"] for match in one["matched"]}) for one in own}
    assert len(own) == 4  # the replayed rows once, though two methods read them
    ids = [item.id for item in instruction_items("test", 5)]
    assert found["replay"] == ("./rows.jsonl", set(ids[:2]))
    assert found["examples"] == ("./shown.yaml", {ids[2]})
    assert not found["demonstrations"][1]
    assert not found["problems"][1]


def test_nothing_is_compared_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = check_contamination(planned(tmp_path), tmp_path / "store")

    def never(*arguments: Any) -> None:
        raise AssertionError("compared again")

    monkeypatch.setattr(gate, "_measured", never)
    assert check_contamination(planned(tmp_path), tmp_path / "store") == first


def test_the_results_say_what_was_checked(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    write_results(plan, Store(tmp_path / "store"), tmp_path / "out")
    checked = read_json(tmp_path / "out" / "contamination.json")["checked"]
    assert [entry["items"] for entry in checked] == [len(knowledge_items("test")), 30]


def test_the_results_name_a_file_without_the_folder_that_it_lies_in(tmp_path: Path) -> None:
    rows = rows_with(tmp_path, [item.prompt for item in instruction_items("test", 5)[:1]])
    write_results(planned(tmp_path, rows), Store(tmp_path / "store"), tmp_path / "out")
    written = (tmp_path / "out" / "contamination.json").read_text()
    assert str(tmp_path) not in written
    assert {entry["set"] for entry in json.loads(written)["checked"]} == {"rows.jsonl"}


def test_the_report_gives_the_scores_with_and_without_the_matched_items(tmp_path: Path) -> None:
    """Sixty items, the first 15 of them in the training data: the others' mean, worked from the rows."""
    from harness.engine.results.schema import read_rows
    from harness.files import write_json

    folder = Fake(items=60).write(tmp_path)
    matched = [
        {"test_set": "tasks", "item": f"i{item:04d}", "row": "r1", "coverage": 1.0, "how": "prompt"}
        for item in range(15)
    ]
    entry = {"set": "mine.jsonl", "kind": "demonstrations", "quality": "", "benchmark": "tasks", "items": 60}
    clean = {**entry, "benchmark": "facts", "matched": [], "flagged": False}
    write_json(
        folder / "contamination.json", {"schema": 2, "checked": [{**entry, "matched": matched, "flagged": True}, clean]}
    )
    model = collect(folder)
    (without,) = without_matched(model.blocks[0].measured, model.contamination, "")
    rows = read_rows(folder)
    tuned = rows[(rows["method"] == "tuned") & (rows["benchmark"] == "tasks") & (rows["metric"] == "accuracy")]
    others = tuned[tuned["item"].astype(str) >= "i0015"]
    for estimate, values in zip(without.scores["tuned"], (tuned, others), strict=True):
        assert estimate.value == pytest.approx(values["value"].mean())
    for text in pages(folder)[:2]:
        assert "15 of 60, flagged" in text
        assert "15 of 60 items of tasks occur in mine.jsonl" in text
        assert "without 15" in text


def test_a_benchmark_that_cannot_tell_its_items_is_shown_as_not_checked(tmp_path: Path) -> None:
    from harness.files import write_json

    folder = Fake(items=20).write(tmp_path)
    entry = {"set": "mine", "kind": "demonstrations", "quality": "", "benchmark": "tasks", "items": None}
    write_json(folder / "contamination.json", {"schema": 2, "checked": [{**entry, "matched": [], "flagged": False}]})
    assert "not checked" in pages(folder)[0]


def test_a_restricted_source_is_named_in_the_report(tmp_path: Path) -> None:
    from harness.files import write_json

    folder = Fake(items=20).write(tmp_path)
    free = {"name": "free.jsonl", "kind": "demonstrations", "rows": 10, "licence": "MIT", "digest": "aa"}
    limited = {**free, "name": "chat.jsonl", "kind": "preferences", "licence": "CC-BY-NC-4.0"}
    write_json(folder / "provenance.json", {"data": {"demonstrations": free, "preferences": limited}})
    markdown = pages(folder)[0]
    assert "Restricted licences" in markdown
    assert "also restrict the models trained on them: chat.jsonl" in markdown


def test_the_licence_of_a_curated_set_comes_from_the_card_beside_it(tmp_path: Path) -> None:
    name = rows_with(tmp_path, [])
    sources = [{"origin": "a", "rows": 1, "licence": "MIT"}, {"origin": "b", "rows": 1, "licence": "CC-BY-NC-4.0"}]
    (tmp_path / "rows.card.json").write_text(json.dumps({"sources": sources}))
    (loaded,) = planned(tmp_path, name).sets
    assert loaded.manifest["licence"] == "MIT; CC-BY-NC-4.0"
