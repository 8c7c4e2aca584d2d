"""Formats: what detection decides, what a row becomes, and that every real file comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.examples import Example, canonical_row, read_examples
from harness.data.formats import by_name, detect
from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Problem

# the training data of the shared folder: file, rows as its README counts them, format, kind
REAL = [
    ("ultrafeedback_sft1k/ultrafeedback_1k.json", 1000, "alpaca", "demonstrations"),
    ("llama_factory_demo/identity.json", 91, "alpaca", "demonstrations"),
    ("llama_factory_demo/glaive_toolcall_en_demo.json", 300, "sharegpt", "demonstrations"),
    ("llama_factory_demo/dpo_en_demo.json", 300, "sharegpt_pair", "preferences"),
    ("llama_factory_demo/kto_en_demo.json", 300, "messages_judged", "judged"),
    ("self_instruct/seed_tasks.jsonl", 175, "self_instruct", "demonstrations"),
    ("self_instruct/user_oriented_instructions.jsonl", 252, "self_instruct", "demonstrations"),
    ("gsm8k/train.jsonl", 7473, "question_answer", "problems"),
    ("gsm8k/test.jsonl", 1319, "question_answer", "problems"),
    ("math_perturb/math_perturb_simple.jsonl", 279, "problem_answer", "problems"),
    ("llm_adapters/openbookqa/train.json", 4957, "alpaca", "demonstrations"),
    ("llm_adapters/openbookqa/test.json", 500, "alpaca", "demonstrations"),
    ("llm_adapters/AQuA/test.json", 254, "alpaca", "demonstrations"),
    ("llm_adapters/SVAMP/test.json", 1000, "alpaca", "demonstrations"),
    ("llm_adapters/mathqa/test.json", 2985, "alpaca_answer", "problems"),
]


def native_row(example: Example) -> dict[str, Any]:
    """The row in its original format: nothing of it may be lost in an Example."""
    return {**by_name(example.format).write(example.record), **example.extra}


def raw_rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.split("\n") if line]


@pytest.mark.parametrize(("name", "count", "format", "kind"), REAL, ids=[row[0] for row in REAL])
def test_a_real_file_loads_by_detection_alone_and_comes_back_whole(
    name: str, count: int, format: str, kind: str, shared_data: Path, tmp_path: Path
) -> None:
    found = read_examples(str(shared_data / name))
    assert (len(found.examples), found.detection.format, found.detection.kind) == (count, format, kind)
    assert [native_row(example) for example in found.examples] == raw_rows(shared_data / name)
    ours = tmp_path / "ours.jsonl"
    ours.write_text("".join(json.dumps(canonical_row(example)) + "\n" for example in found.examples), "utf-8")
    again = read_examples(str(ours))
    assert again.examples == found.examples
    assert again.detection.kind == kind


CALLS = [{"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}]
USER, ANSWER = Message("user", "add\n1 2"), Message("assistant", "3")
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("alpaca", {"instruction": "add", "input": "1 2", "output": "3"}, (USER, ANSWER)),
    (
        "alpaca",
        {"instruction": "more", "input": "", "output": "4", "system": "Be brief.", "history": [["add\n1 2", "3"]]},
        (Message("system", "Be brief."), USER, ANSWER, Message("user", "more"), Message("assistant", "4")),
    ),
    ("messages", {"messages": [{"role": "user", "content": "add\n1 2"}, {"role": "assistant", "content": "3"}]},
     (USER, ANSWER)),
    (
        "messages",
        {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "time?"},
                      {"role": "assistant", "content": None, "tool_calls": CALLS},
                      {"role": "tool", "content": "noon", "tool_call_id": "c"},
                      {"role": "assistant", "content": "Noon"}]},
        (Message("system", "Be brief."), Message("user", "time?"),
         Message("assistant", json.dumps([{"function": CALLS[0]["function"]}], sort_keys=True)),
         Message("tool", "noon"),
         Message("assistant", "Noon")),
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human", "value": "time?"}, {"from": "function_call", "value": "now()"},
                           {"from": "observation", "value": "noon"}, {"from": "gpt", "value": "Noon"}],
         "system": "Be brief.", "tools": '[{"name": "now"}]'},
        (Message("system", 'Be brief.\n\nYou can call these functions:\n[{"name": "now"}]'), Message("user", "time?"),
         Message("assistant", "now()"), Message("tool", "noon"), Message("assistant", "Noon")),
    ),
    ("sharegpt_messages", {"messages": [{"from": "human", "value": "add\n1 2"}, {"from": "gpt", "value": "3"}]},
     (USER, ANSWER)),
    ("prompt_completion", {"prompt": "add\n1 2", "completion": "3"}, (USER, ANSWER)),
    ("prompt_response", {"prompt": "add\n1 2", "response": "3", "score": 1.5}, (USER, ANSWER)),
    (
        "prompt_completion",
        {"prompt": [{"role": "user", "content": "add\n1 2"}], "completion": [{"role": "assistant", "content": "3"}]},
        (USER, ANSWER),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("format", "row", "messages"), CASES)
def test_a_demonstration_is_read_as_worked_out_by_hand(
    format: str, row: dict[str, Any], messages: tuple[Message, ...], tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (example,) = (found := read_examples(str(tmp_path / "rows.jsonl"))).examples
    assert found.detection.format == format
    assert example.record == Demonstration(messages, "rows.jsonl:1")
    assert native_row(example) == row


def test_pairs_judged_answers_and_problems_are_read_as_worked_out_by_hand(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], object]] = [
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, PreferencePair((Message("user", "p"),), "a", "b", "x")),
        (
            {"conversations": [{"from": "human", "value": "p"}], "chosen": {"from": "gpt", "value": "a"},
             "rejected": {"from": "gpt", "value": "b"}},
            PreferencePair((Message("user", "p"),), "a", "b", "x"),
        ),
        ({"prompt": "p", "completion": "a", "label": False},
         Demonstration((Message("user", "p"), Message("assistant", "a")), "x")),
        ({"question": "p", "answer": "1 #### 1", "verifier": "number"},
         Problem((Message("user", "p"),), "1 #### 1", "number", "x")),
        ({"instruction": "p", "input": "", "output": "", "answer": "B"},
         Problem((Message("user", "p"),), "B", "exact", "x")),
    ]  # fmt: skip
    for row, record in cases:
        (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "id": "x"}))
        (example,) = read_examples(str(tmp_path / "rows.jsonl")).examples
        assert example.record == record
        assert native_row(example) == {**row, "id": "x"}


def test_an_edited_record_does_not_come_back_with_its_old_text(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "add", "input": "1 2", "output": "3", "topic": "sums"}')
    (example,) = read_examples(str(tmp_path / "rows.jsonl")).examples
    edited = example.edited(Demonstration((Message("user", "new"), ANSWER), "x"))
    assert native_row(edited) == {"instruction": "new", "output": "3", "topic": "sums"}


def test_detection_says_what_it_decided_and_why() -> None:
    rows = [{"instruction": "a", "output": "", "answer": "B"}] * 3
    decided = detect(rows)
    assert (decided.format, decided.kind) == ("alpaca_answer", "problems")
    assert decided.reason.startswith("3 of 3 rows have `instruction` and `answer`; `output` is empty")
    with pytest.raises(UserError, match="no known format: its columns are text"):
        detect([{"text": "a"}])
    with pytest.raises(UserError, match="it has no rows"):
        detect([])


def test_answers_that_were_judged_bad_are_never_demonstrations(shared_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    file.write_text(json.dumps({"messages": turns, "label": True}))
    assert len(load_set("demonstrations", DataSpec(str(file))).records) == 1
    with pytest.raises(UserError, match="row 5: its `label` is false"):
        load_set("demonstrations", DataSpec(str(shared_data / "llama_factory_demo" / "kto_en_demo.json")))


def test_the_kind_that_is_asked_for_decides_where_a_row_has_two_readings(shared_data: Path) -> None:
    """GSM8K's rows are problems, or demonstrations of the worked answer."""
    spec = DataSpec(str(shared_data / "gsm8k" / "test.jsonl"))
    problems, worked = (load_set(kind, spec).records for kind in ("problems", "demonstrations"))
    finals = [d.messages[-1].content.split("#### ")[1].replace(",", "") for d in worked]  # type: ignore[union-attr]
    assert [(p.reference, p.verifier) for p in problems] == [(final, "number") for final in finals]  # type: ignore[union-attr]
