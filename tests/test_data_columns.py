"""Columns next to the conversation, and keys inside its turns: each is read, refused by name, or listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli.verbs import plan_verb
from harness.curation.inspect import remarks_on
from harness.data.examples import Example, canonical_row, read_examples, unused_keys
from harness.data.formats import Kind
from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Problem, Record
from harness.scoring.answers.verifiers import verifies

QUESTION, ANSWER = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
SHAREGPT = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]
ASKED, ANSWERED = Message("user", "2+2?"), Message("assistant", "4")
DEMONSTRATIONS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [QUESTION, ANSWER]},
    "sharegpt": {"conversations": SHAREGPT},
    "conversation": {"conversation": [QUESTION, ANSWER]},
    "completion": {"prompt": "2+2?", "completion": "4"},
    "turns": {"prompt": [QUESTION], "completion": [ANSWER]},
    "alpaca": {"instruction": "2+2?", "input": "", "output": "4"},
    "question": {"question": "2+2?", "response": "4"},
    "query": {"query": "2+2?", "response": "4"},
    "input": {"input": "2+2?", "output": "4"},
    "solution": {"problem": "2+2?", "solution": "4"},
}
LAYOUTS = pytest.mark.parametrize("row", DEMONSTRATIONS.values(), ids=list(DEMONSTRATIONS))


def file_of(folder: Path, *rows: dict[str, Any]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def read(folder: Path, row: dict[str, Any], kind: Kind = "demonstrations") -> Example:
    """The only row of a file, as `data inspect` and a run read it; what bakeoff writes of it reads the same."""
    file = file_of(folder, row)
    (example,) = read_examples(file).examples
    assert load_set(kind, DataSpec(file)).records == (example.record,)
    assert read_examples(file_of(folder, canonical_row(example))).examples == (example,)
    return example


def messages(folder: Path, row: dict[str, Any]) -> tuple[Message, ...]:
    record = read(folder, row).record
    assert isinstance(record, Demonstration)
    return record.messages


def refusal(folder: Path, row: dict[str, Any], kind: str = "demonstrations") -> str:
    """What both readers say of the row; it names the row."""
    file = file_of(folder, row)
    said = []
    for reader in (read_examples, lambda name: load_set(kind, DataSpec(name))):
        with pytest.raises(UserError) as caught:
            reader(file)
        assert caught.value.where.startswith(f"{file}:1")
        assert caught.value.fix
        said.append(caught.value.what)
    assert said[0] == said[1]
    return said[0]


@LAYOUTS
def test_every_layout_is_the_same_conversation(row: dict[str, Any], tmp_path: Path) -> None:
    assert messages(tmp_path, row) == (ASKED, ANSWERED)


@LAYOUTS
@pytest.mark.parametrize("name", ["image", "images", "video", "videos", "audio", "audios"])
def test_media_of_a_row_are_refused_by_name(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    assert refusal(tmp_path, {**row, name: ["a.png"]}) == f"it has `{name}`, which cannot be trained"
    for nothing in (None, [], "", [None]):
        assert messages(tmp_path, {**row, name: nothing}) == (ASKED, ANSWERED)


@LAYOUTS
@pytest.mark.parametrize("name", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_of_a_row_belong_to_its_last_answer(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    thought = (ASKED, Message("assistant", "4", "Two pairs."))
    assert messages(tmp_path, {**row, name: "Two pairs."}) == thought
    assert messages(tmp_path, {**row, name: None}) == (ASKED, ANSWERED)
    assert not unused_keys([read(tmp_path, {**row, name: "Two pairs."})])


def test_thoughts_that_the_answer_has_are_not_written_twice(tmp_path: Path) -> None:
    row = {"prompt": "2+2?", "completion": "<think>Two pairs.</think>4", "reasoning": "Two pairs."}
    assert messages(tmp_path, row)[1] == Message("assistant", "<think>Two pairs.</think>4")
    turns = [QUESTION, {**ANSWER, "thinking": "Two pairs."}]
    assert messages(tmp_path, {"messages": turns, "reasoning": "Two pairs."})[1].thoughts == "Two pairs."
    assert "different thoughts" in refusal(tmp_path, {"messages": turns, "reasoning": "A guess."})
    opened = [QUESTION, {"role": "assistant", "content": "<think>Two pairs.</think>4", "thoughts": "Two pairs."}]
    assert messages(tmp_path, {"messages": opened})[1] == Message("assistant", "<think>Two pairs.</think>4")
    opened[1]["thoughts"] = "A guess."
    assert "opens with other thoughts" in refusal(tmp_path, {"messages": opened})
    # a thought that is part of the answer is a thought all the same
    assert messages(tmp_path, {**row, "completion": "4", "reasoning": "4"})[1].thoughts == "4"


@LAYOUTS
@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"weight": 0.5}, {"weight": "0"}, {"train": False}, {"trainable": "false"}]
)
def test_a_row_that_is_not_to_be_trained_as_it_is_is_refused(
    mark: dict[str, Any], row: dict[str, Any], tmp_path: Path
) -> None:
    (name,) = mark
    assert f"its `{name}` is" in refusal(tmp_path, {**row, **mark})
    for value in (None, 1, 1.0, True):
        assert messages(tmp_path, {**row, name: value}) == (ASKED, ANSWERED)


@LAYOUTS
@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
def test_a_system_text_of_a_row_precedes_its_turns(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    wanted = (Message("system", "Be brief."), ASKED, ANSWERED)
    assert messages(tmp_path, {**row, name: "Be brief."}) == wanted
    assert messages(tmp_path, {**row, name: [{"type": "text", "text": "Be brief."}]}) == wanted
    assert messages(tmp_path, {**row, "system": "Be brief.", name: "Be brief."}) == wanted
    if name != "system":
        assert "`system` and" in refusal(tmp_path, {**row, "system": "Be rude.", name: "Be brief."})


@LAYOUTS
@pytest.mark.parametrize("name", ["tools", "functions"])
def test_functions_of_a_row_are_offered(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    found = messages(tmp_path, {**row, name: [{"name": "now", "strict": None}]})
    assert found == (Message("system", 'You can call these functions:\n[{"name": "now"}]'), ASKED, ANSWERED)


@pytest.mark.parametrize("row", [DEMONSTRATIONS[name] for name in ("completion", "question", "query", "solution")])
@pytest.mark.parametrize("name", ["context", "input"])
def test_the_context_of_a_question_is_asked_with_it(name: str, row: dict[str, Any], tmp_path: Path) -> None:
    assert messages(tmp_path, {**row, name: "Count."}) == (Message("user", "2+2?\nCount."), ANSWERED)
    assert messages(tmp_path, {**row, name: "2+2"}) == (ASKED, ANSWERED)
    found = messages(tmp_path, {**row, "history": [["1+1?", "2"]]})
    assert found == (Message("user", "1+1?"), Message("assistant", "2"), ASKED, ANSWERED)


def test_context_and_system_reach_problems_and_pairs(tmp_path: Path) -> None:
    system, asked = Message("system", "Be brief."), Message("user", "Who?\nBob is here.")
    further = {"context": "Bob is here.", "system_prompt": "Be brief."}
    problem = read(tmp_path, {"question": "Who?", "answer": "Bob", **further}, "problems").record
    assert problem == Problem((system, asked), "Bob", "exact", "rows.jsonl:1")
    # fine-tuning on the same file asks the same question
    (taught,) = load_set(
        "demonstrations", DataSpec(file_of(tmp_path, {"question": "Who?", "answer": "Bob", **further}))
    ).records
    assert taught == Demonstration((system, asked, Message("assistant", "Bob")), "rows.jsonl:1")
    for column in ("prompt", "question", "input"):
        row = {column: "Who?", "chosen": "Bob", "rejected": "Al", **further}
        assert read(tmp_path, row, "preferences").record == PreferencePair((system, asked), "Bob", "Al", "rows.jsonl:1")


def test_choices_that_a_question_does_not_show_are_refused(tmp_path: Path) -> None:
    row = {"question": "Capital of France?", "choices": ["Paris", "Rome"], "answer": "Paris"}
    assert "`choices` are not part of the question" in refusal(tmp_path, row, "problems")
    shown = {**row, "question": "Capital of France? Paris or Rome"}
    assert isinstance(read(tmp_path, shown, "problems").record, Problem)


@pytest.mark.parametrize("mark", [{"loss_mask": 0}, {"masked": True}, {"label": False}])
def test_further_marks_of_a_turn_are_honoured(mark: dict[str, Any], tmp_path: Path) -> None:
    turns = [QUESTION, {"role": "assistant", "content": "5", **mark}, {"role": "user", "content": "No."}, ANSWER]
    assert [one.trained for one in messages(tmp_path, {"messages": turns})] == [True, False, True, True]
    (name,) = mark
    trained = {name: not mark[name]}
    assert messages(tmp_path, {"messages": [QUESTION, {**ANSWER, **trained}]}) == (ASKED, ANSWERED)
    # the class of a turn is not such a mark
    assert messages(tmp_path, {"messages": [{**QUESTION, "label": "sums"}, ANSWER]}) == (ASKED, ANSWERED)


CALL = {"name": "now", "arguments": "{}"}


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{**QUESTION, "value": "3+3?"}, ANSWER], "content and value differ"),
        ([{**QUESTION, "text": "3+3?"}, ANSWER], "content and text differ"),
        ([QUESTION, {**ANSWER, "refusal": "No."}], "content and refusal differ"),
        ([{**QUESTION, "from": "gpt"}, ANSWER], "the role is 'user' and 'gpt'"),
        ([{**QUESTION, "tool_calls": [{"function": CALL}]}, ANSWER], "a turn of the user calls a function"),
        ([QUESTION, {**ANSWER, "tool_calls": [{"function": CALL}], "function_call": {**CALL, "name": "f"}}], "differ"),
        ([QUESTION, {**ANSWER, "mask": True}], "it has `mask`, which may mean"),
        ([{**QUESTION, "tools": [CALL]}, ANSWER], "it has `tools`, which belongs to the whole conversation"),
        ([{"speaker": "human", "content": "2+2?"}, ANSWER], "the role is None: its keys are speaker, content"),
        ([{"role": "user", "content": [{"text": "2+2?", "image": "a.png"}]}, ANSWER], "part of its content is 'image'"),
    ],
)  # fmt: skip
def test_a_turn_that_says_two_things_is_refused(turns: list[Any], said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, {"messages": turns})


def test_keys_of_one_meaning_that_agree_are_read(tmp_path: Path) -> None:
    for asked in (
        {**QUESTION, "value": "2+2?", "from": "human"},
        {"role": "user", "content": "", "text": "2+2?"},
        {"role": "user", "parts": [{"text": "2+2?"}]},
    ):
        assert messages(tmp_path, {"messages": [asked, ANSWER]}) == (ASKED, ANSWERED)
    refused = {"role": "assistant", "content": None, "refusal": "No."}
    assert messages(tmp_path, {"messages": [QUESTION, refused]})[1] == Message("assistant", "No.")
    call = {"role": "assistant", "content": "", "function_call": CALL, "tool_calls": {"id": "c", "function": CALL}}
    wanted = json.dumps([{"function": CALL}], sort_keys=True)
    assert messages(tmp_path, {"messages": [QUESTION, call]})[1].content == wanted


def test_results_follow_the_order_of_the_calls_that_their_ids_name(tmp_path: Path) -> None:
    calls = [{"id": id, "function": {"name": id, "arguments": "{}"}} for id in ("a", "b")]
    results = [{"role": "tool", "content": f"result of {id}", "tool_call_id": id} for id in ("b", "a")]
    turns = [QUESTION, {"role": "assistant", "content": "", "tool_calls": calls}, *results, ANSWER]
    example = read(tmp_path, {"messages": turns})
    assert isinstance(example.record, Demonstration)
    assert [one.content for one in example.record.messages[2:4]] == ["result of a", "result of b"]
    assert not unused_keys([example])


HUMAN = "\n\nHuman: 1+1?\n\nAssistant: 2\n\nHuman: 2+2?\n\nAssistant:"


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": HUMAN, "completion": "4"}, "demonstrations"),
        ({"prompt": HUMAN, "chosen": "4", "rejected": "5"}, "preferences"),
        ({"prompt": HUMAN, "reference": "4"}, "problems"),
    ],
)
def test_a_prompt_in_the_notation_of_hh_is_its_turns(row: dict[str, Any], kind: Kind, tmp_path: Path) -> None:
    record = read(tmp_path, row, kind).record
    asked = record.messages[:-1] if isinstance(record, Demonstration) else record.prompt
    assert asked == (Message("user", "1+1?"), Message("assistant", "2"), ASKED)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt", "answers"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is", ("blue.", "green.")),
        # whole words only: "pe" is not part of the prompt
        ("Name a fruit.\nA pear", "Name a fruit.\nA pen", "Name a fruit.\nA", ("pear", "pen")),
    ],
)
def test_texts_without_a_prompt_share_their_beginning(
    chosen: str, rejected: str, prompt: str, answers: tuple[str, str], tmp_path: Path
) -> None:
    row = {"chosen": chosen, "rejected": rejected, "score": 2, "id": "x"}
    wanted: Record = PreferencePair((Message("user", prompt),), *answers, "x")
    assert read(tmp_path, row, "preferences").record == wanted


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"chosen": "Blue it is.", "rejected": "Green it is."}, "it has no prompt"),
        ({"chosen": "The sky is", "rejected": "The sky is green."}, None),
        ({"chosen": "The sky ", "rejected": "The sky is"}, "it has no prompt"),
        ({"task": "Colour?", "chosen": "The sky is blue.", "rejected": "The sky is green."}, "it has no prompt"),
        ({"chosen": "<|im_start|>user\nq <|im_end|> a", "rejected": "<|im_start|>user\nq <|im_end|> b"}, "im_start"),
        ({"chosen": "### Human: q\n### Assistant: a", "rejected": "### Human: q\n### Assistant: b"}, "### Human:"),
    ],
)
def test_texts_whose_prompt_is_unclear_are_refused(row: dict[str, Any], said: str | None, tmp_path: Path) -> None:
    if said is None:
        assert isinstance(read(tmp_path, row, "preferences").record, PreferencePair)
    else:
        assert said in refusal(tmp_path, row, "preferences")


def test_worked_solutions_are_demonstrations_and_boxed_numbers_are_problems(tmp_path: Path) -> None:
    row = {"problem": "6*7?", "solution": "So $\\boxed{41}$, no, $\\boxed{1,042}$.", "level": "Level 1"}
    assert messages(tmp_path, row)[1].content == row["solution"]
    (problem,) = load_set("problems", DataSpec(file_of(tmp_path, row))).records
    assert problem == Problem((Message("user", "6*7?"),), "1042", "number", "rows.jsonl:1")
    for other in ("\\boxed{\\frac{1}{2}}", "no box"):
        with pytest.raises(UserError, match=r"does not end in a .boxed number"):
            load_set("problems", DataSpec(file_of(tmp_path, {**row, "solution": other})))


@pytest.mark.parametrize("name", ["question", "query", "input", "solution", "conversation"])
def test_further_layouts_with_a_label_are_judged_answers(name: str, tmp_path: Path) -> None:
    found = read_examples(file_of(tmp_path, {**DEMONSTRATIONS[name], "label": False})).detection
    assert found.kind == "judged"
    assert (
        read_examples(file_of(tmp_path, {**DEMONSTRATIONS[name], "label": "sums"})).detection.kind == "demonstrations"
    )


@pytest.mark.parametrize(
    ("answer", "reference"),
    [("a\n#### 18 dollars", "18"), ("a\n#### 1/2", "1/2"), ("$12$", "12"), ("$\\boxed{1,200}$", "1200")],
)
def test_a_number_with_its_unit_or_notation_is_verified_as_a_number(
    answer: str, reference: str, tmp_path: Path
) -> None:
    wanted = Problem((Message("user", "q"),), reference, "number", "rows.jsonl:1")
    assert read(tmp_path, {"question": "q", "answer": answer}, "problems").record == wanted
    assert verifies(wanted, f"It is {reference}.")


def test_an_answer_of_a_pair_that_is_not_to_be_trained_is_refused(tmp_path: Path) -> None:
    row = {"prompt": "q", "chosen": [{**ANSWER, "weight": 0}], "rejected": "5"}
    assert "`chosen` is marked not to be trained" in refusal(tmp_path, row, "preferences")


EXPERIMENT = """
name: unused
bases: [microworld/small]
data: {demonstrations: rows.jsonl}
methods: [base, sft]
benchmarks: [knowledge]
"""


def test_keys_that_are_not_used_are_said_before_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{**QUESTION, "name": "Ann"}, ANSWER]
    file = file_of(tmp_path, *({"messages": turns, "topic": "sums", "prompt": "2+2?"} for _ in range(2)))
    sets = [load_set("demonstrations", DataSpec(file))] * 2
    assert [*remarks_on(sets)] == [f"{file}: keys that are not used: messages: name 2, topic 2"]
    # the keys do not enter the content key of what is trained
    plain = load_set("demonstrations", DataSpec(file_of(tmp_path, *({"messages": [QUESTION, ANSWER]} for _ in "ab"))))
    assert sets[0].manifest == plain.manifest
    assert [*remarks_on([plain])] == []
    file_of(tmp_path, {"messages": turns, "topic": "sums"})
    (tmp_path / "unused.yaml").write_text(EXPERIMENT)
    plan_verb(tmp_path / "unused.yaml", tmp_path / "store", [])
    lines = [line for line in capsys.readouterr().out.splitlines() if "not used" in line]
    assert len(lines) == 1
    assert lines[0].endswith("rows.jsonl: keys that are not used: messages: name 1, topic 1")


def folder_of(place: Path, *names: str) -> str:
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(json.dumps({"prompt": name, "completion": "4"}) + "\n")
    return str(place)


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (("gsm8kTrain.jsonl", "gsm8kTest.jsonl"), "gsm8kTrain.jsonl", "gsm8kTest.jsonl"),
        (("train.jsonl", "TEST.JSONL"), "train.jsonl", "TEST.JSONL"),
        (("train.ndjson", "test.ndjson"), "train.ndjson", "test.ndjson"),
        (
            ("default/train/0000.jsonl", "default/test/0000.jsonl"),
            "default/train/0000.jsonl",
            "default/test/0000.jsonl",
        ),
    ],
)
def test_further_layouts_of_folders_keep_their_splits_apart(
    names: tuple[str, ...], train: str, test: str, tmp_path: Path
) -> None:
    for split, wanted in (("train", train), ("test", test)):
        (record,) = load_set("demonstrations", DataSpec(folder_of(tmp_path / "set", *names), split)).records
        assert isinstance(record, Demonstration)
        assert record.messages[0].content == wanted


def test_one_file_in_two_formats_is_a_question(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.json and train\.jsonl may hold the same rows"):
        read_examples(folder_of(tmp_path / "set", "train.json", "train.jsonl"))
