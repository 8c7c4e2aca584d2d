"""Rows as public data sets write them: nothing that changes what is trained is dropped in silence."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest

from harness.cli.data_verbs import curate_verb
from harness.curation.inspect import inspection
from harness.curation.pipeline import curate, parse_steps
from harness.curation.rendering import trained_texts
from harness.data.examples import Example, canonical_row, prompt_text, read_examples, whole_text, with_texts
from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.policy.base_model import BaseSpec
from harness.policy.sources import locate
from harness.records import Demonstration, Message, PreferencePair, Problem


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
@pytest.mark.parametrize("name", ["label", "kto_tag", "is_correct"])
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


def test_labels_that_differ_are_an_error_and_a_class_is_no_label(tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": "a", "is_correct": False}
    with pytest.raises(UserError, match=r"rows\.jsonl:1: its labels differ: `label` 1 and `is_correct` False"):
        read_examples(lines(tmp_path / "rows.jsonl", {**row, "label": 1}))
    (example,) = read_examples(lines(tmp_path / "rows.jsonl", {**row, "label": "algebra"})).examples
    assert example.extra["label"] is False


def test_the_class_of_an_example_is_not_a_label_of_its_answer(tmp_path: Path) -> None:
    row = {"instruction": "q", "output": "a", "label": "sport"}
    assert read_examples(lines(tmp_path / "rows.jsonl", row)).detection.kind == "demonstrations"


ASKED = {"role": "user", "content": "2+2?"}


@pytest.mark.parametrize("name", ["mask", "loss_mask", "train"])
def test_a_mask_of_all_turns_is_refused_and_not_left_out(name: str, tmp_path: Path) -> None:
    row = {"messages": [ASKED, {"role": "assistant", "content": "5"}], name: [0, 1]}
    with pytest.raises(UserError, match=rf"rows\.jsonl:1: its `{name}` is a list, which is not read"):
        read_examples(lines(tmp_path / "rows.jsonl", row))


def messages_of(folder: Path, turns: object, **columns: Any) -> tuple[Message, ...]:
    """The messages of one row of turns, as a run reads them; `data curate` must write the same."""
    file = lines(folder / "rows.jsonl", {"messages": turns, **columns})
    (example,) = read_examples(file).examples
    assert load_set("demonstrations", DataSpec(file)).records == (example.record,)
    assert reread(example, folder) == example
    assert isinstance(example.record, Demonstration)
    return example.record.messages


@pytest.mark.parametrize(
    "mark",
    [
        {"weight": 0}, {"train": False}, {"weight": 0.0}, {"loss": "false"}, {"trainable": False},
        {"train_on_turn": False}, {"loss_weight": 0.0}, {"learnable": False}, {"trained": 0},
    ],
)  # fmt: skip
def test_a_turn_marked_not_to_be_imitated_is_only_read(mark: dict[str, Any], tmp_path: Path) -> None:
    again, right = {"role": "user", "content": "No."}, {"role": "assistant", "content": "4", "weight": 1}
    found = messages_of(tmp_path, [ASKED, {"role": "assistant", "content": "5", **mark}, again, right])
    assert [one.trained for one in found] == [True, False, True, True]
    given = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "5", **mark}, {"from": "human", "value": "?"}]
    row = {"conversations": [*given, {"from": "gpt", "value": "4", "weight": None}]}
    (example,) = read_examples(lines(tmp_path / "rows.jsonl", row)).examples
    assert isinstance(example.record, Demonstration)
    assert [one.trained for one in example.record.messages] == [True, False, True, True]
    # edits of the text keep the mark, and `data inspect` shows it
    changed = example.edited(with_texts(example.record, str.upper))
    assert [part.trained for part in trained_texts(reread(changed, tmp_path))] == [False, False, False, True]


@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning"])
def test_thoughts_are_kept_apart_from_the_answer(key: str, tmp_path: Path) -> None:
    found = messages_of(tmp_path, [ASKED, {"role": "assistant", key: "Two pairs.", "content": "4"}])
    assert found[1] == Message("assistant", "4", "Two pairs.")
    parts = [{"type": "thinking", "thinking": "Two pairs."}, {"type": "text", "text": "4"}]
    assert messages_of(tmp_path, [ASKED, {"role": "assistant", "content": parts}]) == found
    (example,) = read_examples(str(tmp_path / "rows.jsonl")).examples
    assert "Two pairs." in whole_text(example.record)
    assert with_texts(example.record, str.upper).messages[1].thoughts == "TWO PAIRS."  # type: ignore[union-attr]


def test_a_call_beside_text_keeps_both_without_ids_and_padding(tmp_path: Path) -> None:
    call = {"name": "now", "arguments": '{"zone": "UTC"}'}
    padded = {"id": "c1", "type": "function", "index": 0, "function": {**call, "strict": None}}
    text = json.dumps([{"function": call}], sort_keys=True)
    for said, turn in (
        ("", {"content": None, "tool_calls": [padded]}),
        ("Let me see.\n", {"content": "Let me see.", "tool_calls": [padded], "function_call": None}),
        ("Let me see.\n", {"content": "Let me see.", "function_call": call, "tool_calls": None}),
        ("", {"content": "", "function_call": call}),
    ):
        assert messages_of(tmp_path, [ASKED, {"role": "assistant", **turn}])[1].content == said + text


def test_padding_parts_other_names_and_empty_system_turns_are_read(tmp_path: Path) -> None:
    wanted = (Message("user", "2+2?"), Message("assistant", "4"))
    for asks, answers in (
        ({"role": "user", "content": "2+2?", "from": None, "value": None}, {"role": "assistant", "content": "4"}),
        ({"from": "human", "value": "2+2?", "role": None, "content": None}, {"from": "gpt", "value": "4"}),
        ({"role": "Human", "content": "2+2?"}, {"role": "Assistant", "content": "4"}),
        ({"from": "prompter", "value": "2+2?"}, {"from": "model", "value": "4"}),
        ({"role": "USER", "content": "2+2?"}, {"role": "chatbot", "content": "4"}),
        ({"role": "user", "content": [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?", "image": None}]},
         {"role": "bot", "content": ["4"]}),
    ):  # fmt: skip
        assert messages_of(tmp_path, [asks, answers]) == wanted
        assert messages_of(tmp_path, [{"role": "system", "content": ""}, asks, answers]) == wanted
        assert messages_of(tmp_path, json.dumps([asks, answers])) == wanted
        assert messages_of(tmp_path, str([asks, answers])) == wanted


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
            "part of its content is 'image_url'",
        ),
        ([{"role": "user", "content": "?", "images": ["x.png"]}], "message 1: it has `images`"),
        ([{"role": "assistant", "content": "Hello!"}, ASKED], "opens with an assistant's turn"),
        ([{"role": "system", "content": "Be brief."}, {"role": "assistant", "content": "Hi"}, ASKED], "opens with an"),
        ([ASKED, {"role": "assistant", "content": "4", "weight": 0.5}], "message 2: `weight` is 0.5"),
        ([{**ASKED, "train": True}], "message 1: `train` is True in a turn of the user"),
        ([{**ASKED, "thinking": "hm"}], "message 1: a turn of the user has thoughts"),
        ([ASKED, {"role": "assistant", "content": "4", "thinking": "a", "reasoning": "b"}], "hold different thoughts"),
    ],
)
def test_turns_that_cannot_be_trained_as_they_say_are_refused(turns: list[Any], said: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", {"messages": [*turns, {"role": "assistant", "content": "4"}][:3]})
    for read in (read_examples, lambda name: load_set("demonstrations", DataSpec(name))):
        with pytest.raises(UserError) as caught:
            read(file)
        assert said in str(caught.value)
        assert caught.value.where.startswith(f"{file}:1")


def turn(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


FIRST = [turn("user", "Name a fruit."), turn("assistant", "Apple."), turn("user", "Another one.")]
PAIR = {"chosen": [*FIRST, turn("assistant", "Pear.")], "rejected": [*FIRST, turn("assistant", "Car.")]}
BRIEF = turn("system", "Be brief.")
SYSTEM = {"chosen": [BRIEF, *PAIR["chosen"]], "rejected": [BRIEF, *PAIR["rejected"]]}
CONVERSATION = "\n\nHuman: Name a fruit.\n\nAssistant: Apple.\n\nHuman: Another one.\n\nAssistant:"
HH = {"chosen": f"{CONVERSATION} Pear.", "rejected": f"{CONVERSATION} Car."}
ENDS = {"chosen": [turn("assistant", "Pear.")], "rejected": turn("assistant", "Car.")}
PAIRS: list[tuple[int, dict[str, Any]]] = [
    (0, PAIR),
    (0, {"prompt": "Name a fruit.", **PAIR}),
    (0, {"prompt": None, **PAIR}),
    (0, {"prompt": FIRST, **PAIR}),
    (0, {"prompt": FIRST[:1], **PAIR}),
    (0, {"prompt": FIRST, "chosen": "Pear.", "rejected": "Car."}),
    (0, {"prompt": FIRST, **ENDS}),
    (0, {"prompt": FIRST[:1], "chosen": PAIR["chosen"][1:], "rejected": PAIR["rejected"][1:]}),
    (0, {"messages": FIRST, **ENDS, "chosen": "Pear."}),
    (0, {"messages": PAIR["chosen"], **PAIR}),
    (0, {"chosen_messages": PAIR["chosen"], "rejected_messages": PAIR["rejected"]}),
    (0, {"prompt": "Name a fruit.", "chosen_messages": PAIR["chosen"], "rejected_messages": PAIR["rejected"]}),
    (0, HH),
    (0, {"prompt": CONVERSATION, "chosen": "Pear.", "rejected": "Car."}),
    (0, {key: json.dumps(value) for key, value in PAIR.items()}),
    (0, {key: str(value) for key, value in PAIR.items()}),
    (1, SYSTEM),
    (1, {"prompt": "Name a fruit.", **SYSTEM}),
    (1, {"prompt": [BRIEF, *FIRST], **SYSTEM}),
    (1, {"prompt": [BRIEF, *FIRST], **PAIR}),
    (1, {"system": "Be brief.", **PAIR}),
    (1, {"system": "Be brief.", **SYSTEM}),
    (2, {"prompt": "Name a fruit.", "chosen": "Pear.", "rejected": "Car."}),
    (2, {"question": "Name a fruit.", "chosen": "Pear.", "rejected": "Car."}),
    (2, {"instruction": "Name a fruit.", "input": "", "chosen": "Pear.", "rejected": "Car."}),
    (3, {"system": "Be brief.", "question": "Name a fruit.", "chosen": "Pear.", "rejected": "Car."}),
]


@pytest.mark.parametrize(("wanted", "row"), PAIRS)
def test_a_pair_keeps_all_turns_before_its_answers(wanted: int, row: dict[str, Any], tmp_path: Path) -> None:
    turns = (FIRST, [BRIEF, *FIRST], FIRST[:1], [BRIEF, *FIRST[:1]])[wanted]
    file = lines(tmp_path / "rows.jsonl", row)
    (example,) = read_examples(file).examples
    prompt = tuple(Message(**one) for one in turns)
    assert example.record == PreferencePair(prompt, "Pear.", "Car.", "rows.jsonl:1")
    assert load_set("preferences", DataSpec(file)).records == (example.record,)
    assert reread(example, tmp_path) == example


OTHER = [turn("user", "Name a car."), turn("assistant", "Apple."), turn("user", "Another one.")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**PAIR, "rejected": [*OTHER, turn("assistant", "Car.")]}, "follow different turns"),
        ({**SYSTEM, "rejected": PAIR["rejected"]}, "follow different turns"),
        ({"prompt": "Name a fruit.", **ENDS, "chosen": PAIR["chosen"]}, "follow different turns"),
        ({"prompt": "Name a car.", **PAIR}, "prompt is not the beginning"),
        ({"prompt": OTHER, **PAIR}, "prompt is not the beginning"),
        ({"prompt": [*FIRST, turn("assistant", "x"), turn("user", "y")], **PAIR}, "prompt is not the beginning"),
        ({"prompt": [turn("system", "Be rude."), *FIRST], **SYSTEM}, "prompt is not the beginning"),
        ({"prompt": FIRST[:2], "chosen": "Pear.", "rejected": "Car."}, "ends with an assistant's turn"),
        ({**PAIR, "chosen": FIRST}, "`chosen` does not end with an assistant's turn"),
        ({"chosen": "Pear.", "rejected": "Car."}, "it has no prompt"),
        ({"query": "Name a fruit.", "chosen": "Pear.", "rejected": "Car."}, "it has no prompt"),
        ({**PAIR, "chosen": [*FIRST, {**turn("assistant", "Pear."), "thinking": "Hm."}]}, "has thoughts"),
        ({**HH, "rejected": HH["chosen"]}, "chosen and rejected are equal"),
    ],
)
def test_a_pair_whose_turns_disagree_is_refused(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", row)
    for read in (read_examples, lambda name: load_set("preferences", DataSpec(name))):
        with pytest.raises(UserError) as caught:
            read(file)
        assert said in str(caught.value)
        assert caught.value.where.startswith(f"{file}:1")


def test_texts_that_look_like_turns_are_written_so_that_they_stay_texts(tmp_path: Path) -> None:
    asked, answer = "Human: a\n\nAssistant:", str([turn("user", "Name a fruit.")])
    row = {"prompt": [turn("user", asked)], "chosen": [turn("assistant", answer)], "rejected": "Car."}
    (example,) = read_examples(lines(tmp_path / "rows.jsonl", row)).examples
    assert example.record == PreferencePair((Message("user", asked),), answer, "Car.", "rows.jsonl:1")
    assert reread(example, tmp_path) == example


def test_a_system_column_is_part_of_every_prompt(tmp_path: Path) -> None:
    system = (Message("system", "Be brief."), Message("user", "2+2?"))
    for row in ({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+2?", "response": "4"}):
        (example,) = read_examples(lines(tmp_path / "rows.jsonl", {**row, "system": "Be brief."})).examples
        assert example.record == Demonstration((*system, Message("assistant", "4")), "rows.jsonl:1")
    (example,) = read_examples(
        lines(tmp_path / "rows.jsonl", {"question": "2+2?", "answer": "4", "system": "Be brief."})
    ).examples
    assert example.record == Problem(system, "4", "number", "rows.jsonl:1")


ROW = {"prompt": "2+2?", "completion": "4"}
BLANK = {"prompt": "blank", "completion": "no"}
LINE = json.dumps(ROW).encode()
FILES: dict[str, bytes] = {
    "rows.jsonl.gz": gzip.compress(LINE),
    "rows.json.xz": lzma.compress(b"[%b]" % LINE),
    "rows.csv.bz2": bz2.compress(b"prompt,completion\n2+2?,4\n"),
    "rows.jsonl.zst": pyarrow.compress(LINE, "zstd", asbytes=True),
    "rows.tsv": b"prompt\tcompletion\n2+2?\t4\n",
    "semicolons.csv": b"\xef\xbb\xbfprompt;completion\n2+2?;4\n",
    "index.csv": b",prompt,completion\n0,2+2?,4\n",
    "turns.csv": b"messages\n\"[{'role': 'user', 'content': '2+2?'}, {'role': 'assistant', 'content': '4'}]\"\n",
}


@pytest.mark.parametrize("name", FILES)
def test_packed_and_other_files_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    (record,) = load_set("demonstrations", DataSpec(str(tmp_path / name))).records
    assert record == Demonstration((Message("user", "2+2?"), Message("assistant", "4")), f"{name}:1")
    assert set(read_examples(str(tmp_path / name)).examples[0].extra) <= {"messages"}


def test_a_data_set_saved_by_datasets_is_read(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list([ROW])
    rows.save_to_disk(str(tmp_path / "one"))
    both = datasets.DatasetDict({"train": rows, "test": datasets.Dataset.from_list([BLANK])})
    both.save_to_disk(str(tmp_path / "both"))
    for name in ("one", "both"):
        (example,) = read_examples(str(tmp_path / name)).examples
        assert prompt_text(example.record) == "2+2?"
    assert prompt_text(read_examples(str(tmp_path / "both"), split="test").examples[0].record) == "blank"
    for name in ("one", "both"):
        with pytest.raises(UserError, match="it has no split 'validation'"):
            read_examples(str(tmp_path / name), split="validation")


def folder_of(place: Path, *names: str) -> str:
    """A folder of one-row files whose prompt is the file's name."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        lines(place / name, {**ROW, "prompt": name})
    return str(place)


LAYOUTS: list[tuple[tuple[str, ...], str, list[str]]] = [
    (("gsm8k_test.jsonl", "gsm8k_train.jsonl"), "train", ["gsm8k_train.jsonl"]),
    (("gsm8k_test.jsonl", "gsm8k_train.jsonl"), "test", ["gsm8k_test.jsonl"]),
    (("my.eval.jsonl", "my.Training.jsonl"), "test", ["my.eval.jsonl"]),
    (("my.dev.jsonl", "my.Training.jsonl"), "validation", ["my.dev.jsonl"]),
    (("train_1.jsonl", "train_2.jsonl", "contest.jsonl"), "train", ["train_1.jsonl", "train_2.jsonl"]),
    (("data/train-00000-of-00002-abc.jsonl", "data/train-00001-of-00002-def.jsonl", "data/test.jsonl"), "train",
     ["data/train-00000-of-00002-abc.jsonl", "data/train-00001-of-00002-def.jsonl"]),
    (("train/a.jsonl", "train/b.jsonl", "test/a.jsonl"), "train", ["train/a.jsonl", "train/b.jsonl"]),
    (("main/train-00000-of-00001.jsonl", "main/test-00000-of-00001.jsonl"), "test", ["main/test-00000-of-00001.jsonl"]),
    (("train_sft-0.jsonl", "train_gen-0.jsonl", "test_sft-0.jsonl"), "train_sft", ["train_sft-0.jsonl"]),
    (("train_sft-0.jsonl", "train_gen-0.jsonl", "test_sft-0.jsonl"), "test", ["test_sft-0.jsonl"]),
    (("train.jsonl", "train_small.jsonl"), "train", ["train.jsonl"]),
    (("a.jsonl", "b.jsonl"), "train", ["a.jsonl", "b.jsonl"]),
]  # fmt: skip


@pytest.mark.parametrize(("names", "split", "wanted"), LAYOUTS)
def test_the_files_of_a_split_are_found_by_its_word(
    names: tuple[str, ...], split: str, wanted: list[str], tmp_path: Path
) -> None:
    found = read_examples(folder_of(tmp_path / "set", *names), split=split)
    assert [prompt_text(one.record) for one in found.examples] == wanted


REFUSED: list[tuple[tuple[str, ...], str, str]] = [
    (("a.jsonl", "b.jsonl"), "test", "no file names a split, so all of them are 'train'"),
    (("train_sft.jsonl", "train_gen.jsonl"), "train", "the split 'train' may be train_gen or train_sft"),
    (("data/train_sft-00000-of-00001.jsonl", "data/train_gen-00000-of-00001.jsonl"), "train", "train_gen or train_sft"),
    (("main/train.jsonl", "socratic/train.jsonl"), "train", "several configurations: main, socratic"),
    (("gsm8k_test.jsonl", "trained.jsonl"), "train", "it has no split 'train': gsm8k_test.jsonl, trained.jsonl"),
    (("train_test_split.jsonl", "test.jsonl"), "train", "the split 'train' may be train_test_split"),
    (("train.jsonl",), "gold", "it has no split 'gold': train.jsonl"),
    (("x/y/z.jsonl",), "train", "it holds no data files"),
]


@pytest.mark.parametrize(("names", "split", "said"), REFUSED)
def test_a_split_that_could_be_several_is_a_question(
    names: tuple[str, ...], split: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        read_examples(folder_of(tmp_path / "set", *names), split=split)
    assert said in str(caught.value)


def test_a_configuration_is_chosen_by_name(tmp_path: Path) -> None:
    name = folder_of(tmp_path / "set", "main/train.jsonl", "socratic/train.jsonl")
    found = load_set("demonstrations", DataSpec(f"{name}:socratic")).records
    assert [prompt_text(one) for one in found] == ["socratic/train.jsonl"]
    with pytest.raises(UserError, match="it has no configuration 'other'") as caught:
        read_examples(f"{name}:other")
    assert "It has main, socratic." in str(caught.value)


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    columns: dict[str, Any] = {"prompt": ["a", "b"], "completion": ["c", "d"]}
    numbered = {name: dict(zip("01", cells, strict=True)) for name, cells in columns.items()}
    (tmp_path / "columns.json").write_text(json.dumps(columns))
    (tmp_path / "numbered.json").write_text(json.dumps(numbered))
    (tmp_path / "rows.xlsx").write_bytes(b"PK")
    (tmp_path / "broken.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() * 100)[:-20])
    (tmp_path / "plain.jsonl.gz").write_text("x")
    for name, said in (
        ("columns.json", "it holds whole columns, not rows"),
        ("numbered.json", "it holds whole columns, not rows"),
        ("rows.xlsx", "files that end in .xlsx are not read"),
        ("broken.jsonl.gz", "it cannot be unpacked after row 0"),
        ("plain.jsonl.gz", "it cannot be unpacked after row 0"),
        ("none", "no such file or folder"),
        ("none.tsv", "no such file"),
    ):
        with pytest.raises(UserError, match=said):
            read_examples(str(tmp_path / name))


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"instruction": "2+2?", "response": "4"}, "2+2?"),
        ({"instruction": "Who?", "context": "Bob.", "response": "4", "category": "qa"}, "Who?\nBob."),
        ({"instruction": "Who?", "input": "", "context": "Bob.", "output": "4"}, "Who?\nBob."),
        ({"prompt": "2+2?", "completion": "4", "messages": None}, "2+2?"),
        ({"prompt": None, "completion": None, "messages": [ASKED, turn("assistant", "4")]}, "2+2?"),
    ],
)
def test_further_columns_and_padding_are_read(row: dict[str, Any], asked: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", row)
    wanted = Demonstration((Message("user", asked), Message("assistant", "4")), "rows.jsonl:1")
    assert load_set("demonstrations", DataSpec(file)).records == (wanted,)
    assert reread(read_examples(file).examples[0], tmp_path).record == wanted


def test_rows_of_two_formats_in_one_padded_table_are_read(tmp_path: Path) -> None:
    turns = [ASKED, turn("assistant", "4")]
    rows: list[dict[str, Any]] = [{**dict.fromkeys(ROW), "messages": turns}, {**ROW, "messages": None}]
    found = read_examples(lines(tmp_path / "rows.jsonl", *rows)).examples
    assert [one.format for one in found] == ["messages", "prompt_completion"]
    assert [prompt_text(one.record) for one in found] == ["2+2?", "2+2?"]


@pytest.mark.parametrize(
    ("answer", "reference", "verifier"),
    [
        ("3+4=<<3+4=7>>7\n#### 7", "7", "number"),
        ("so\n#### -1,250.50", "-1250.50", "number"),
        ("#### $18 ", "18", "number"),
        ("7", "7", "number"),
        ("$1,250", "1250", "number"),
        ("18 %", "18", "number"),
        ("1,23", "1,23", "exact"),
        ("seven", "seven", "exact"),
    ],
)
def test_a_worked_answer_is_verified_by_its_final_number(
    answer: str, reference: str, verifier: str, tmp_path: Path
) -> None:
    for columns in (("question", "answer"), ("problem", "answer"), ("prompt", "reference")):
        file = lines(tmp_path / "rows.jsonl", dict(zip(columns, ("q", answer), strict=True)))
        (record,) = load_set("problems", DataSpec(file)).records
        assert record == Problem((Message("user", "q"),), reference, verifier, "rows.jsonl:1")
        assert reread(read_examples(file).examples[0], tmp_path).record == record
    # fine-tuning on the same file imitates the whole worked answer
    file = lines(tmp_path / "rows.jsonl", {"question": "q", "answer": answer})
    (taught,) = load_set("demonstrations", DataSpec(file)).records
    assert isinstance(taught, Demonstration)
    assert taught.messages[1].content == answer


@pytest.mark.parametrize("answer", ["#### steps\nno number", "#### ", "so $\\boxed{\\frac{1}{2}}$"])
def test_a_worked_answer_without_its_number_is_refused_as_a_reference(answer: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", {"question": "q", "answer": answer})
    with pytest.raises(UserError, match=r"is a worked answer, and no number follows"):
        load_set("problems", DataSpec(file))
    assert load_set("demonstrations", DataSpec(file)).records
    file = lines(tmp_path / "rows.jsonl", {"question": "q", "answer": answer, "verifier": "contains"})
    assert load_set("problems", DataSpec(file)).records[0].reference == answer  # type: ignore[union-attr]


@pytest.mark.parametrize("column", ["is_good", "desirable", "is_desirable", "is_correct"])
def test_an_answer_that_any_known_column_calls_bad_is_not_imitated(column: str, tmp_path: Path) -> None:
    file = lines(tmp_path / "rows.jsonl", {"prompt": "q", "completion": "a", column: False})
    with pytest.raises(UserError, match="a bad answer is not a demonstration"):
        load_set("demonstrations", DataSpec(file))


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.parquet"])
def test_a_pointer_of_git_lfs_is_told_as_one(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    with pytest.raises(UserError, match="a pointer of Git LFS"):
        read_examples(str(tmp_path / name))


@pytest.mark.parametrize(
    ("kind", "row"), [("preferences", {"prompt": "q", "chosen": "a", "rejected": "b"}), ("problems", ROW)]
)
def test_pairs_and_problems_are_curated(kind: str, row: dict[str, Any], tmp_path: Path) -> None:
    row = {"question": "q", "answer": "a"} if kind == "problems" else row
    file, out = lines(tmp_path / "rows.jsonl", row), tmp_path / "out.jsonl"
    assert "1 rows in" in "\n".join(curate_verb([file], out, None, 0, 0, "stop", []))
    assert load_set(kind, DataSpec(str(out))).records == load_set(kind, DataSpec(file)).records


def test_keys_that_are_not_used_are_listed(tmp_path: Path) -> None:
    turns = [{**ASKED, "name": "Ann"}, {"role": "assistant", "content": "4", "name": None, "cut": 1}]
    file = lines(tmp_path / "rows.jsonl", {"messages": turns, "topic": "sums", "license": None, "system": "Be brief."})
    said = "\n".join(inspection(read_examples(file)))
    assert "keys that are not used: messages: cut 1, messages: name 1, topic 1\n" in said
    file = lines(tmp_path / "rows.jsonl", {"prompt": "q", "completion": "a", "system": "s", "id": "x", "source": "y"})
    assert "not used" not in "\n".join(inspection(read_examples(file)))
    file = lines(tmp_path / "rows.jsonl", {**PAIR, "score_chosen": 8.0})
    assert "keys that are not used: score_chosen 1\n" in "\n".join(inspection(read_examples(file)))
    said = "\n".join(inspection(read_examples(folder_of(tmp_path / "set", "a.jsonl"))))
    assert "no file of the folder names a split: all its rows are train" in said


def test_an_adapter_folder_names_its_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    with pytest.raises(UserError, match="it is a PEFT adapter of owner/base"):
        locate(BaseSpec(str(tmp_path)))
    # peft's own folders may have the base's tokenizer and configuration next to the adapter
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_text("")
    with pytest.raises(UserError, match="it is a PEFT adapter of owner/base"):
        locate(BaseSpec(str(tmp_path)))
