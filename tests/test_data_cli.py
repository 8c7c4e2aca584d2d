"""`bakeoff data VERB` end to end: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.curation.rendering import encoder_of, trained_texts
from harness.data.examples import Example, read_examples
from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.training.labelled_rows import IGNORED, training_rows


def data(*words: object) -> str:
    """The output of a verb that ends well; its mistakes are raised."""
    done = CliRunner().invoke(app, ["data", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_inspect_says_format_reason_lengths_and_shows_rows(shared_data: Path) -> None:
    said = data("inspect", shared_data / "llama_factory_demo" / "kto_en_demo.json", "--rows", 2)
    assert "300 judged, format messages_judged" in said
    assert "because 300 of 300 rows have `messages` and `label`" in said
    assert "labels: bad 150, good 150" in said
    assert "letters: LATIN 299, GUJARATI 1" in said
    assert said.count("--- kto_en_demo.json:") == 2


def test_the_embedded_sets_are_inspected_by_name() -> None:
    assert "480 problems, format prompt_reference" in data("inspect", "microworld/stories", "--rows", 1)
    with pytest.raises(UserError, match="no data set microworld/storys"):
        data("inspect", "microworld/storys")


def test_hostile_rows_are_inert_in_the_terminal(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"prompt": "\x1b[2Jq\r\u202e", "completion": "a\x07", "source": "\x1b]0;x"})
    said = data("inspect", file)
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(said)


def test_rows_are_shown_in_the_models_template_with_the_mask_of_training(tmp_path: Path) -> None:
    """The microworld's own words, so that its tokenizer knows them all; only answer and end of turn are trained."""
    encoder = encoder_of("microworld/small")
    record = load_set("demonstrations", DataSpec("microworld/curated-1k")).records[0]
    found = trained_texts(Example(record, "demonstrations", "messages"), encoder)
    (row,) = training_rows([record], encoder).rows  # type: ignore[list-item]
    assert "".join(one.text for one in found if one.trained) == encoder.tokenizer.decode(
        [label for label in row.labels if label != IGNORED]
    )
    assert [one.trained for one in found] == [False, True]


def test_a_page_of_hostile_rows_holds_no_markup_of_theirs(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b"
    file = write(tmp_path / "a.jsonl", {"prompt": bad, "completion": bad, "id": bad, "source": bad})
    data("inspect", file, "--html", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert page.count("&lt;script&gt;") >= 4
    assert not {"<script", "<img", "\x1b"} & {mark for mark in ("<script", "<img", "\x1b") if mark in page}
    assert "default-src 'none'" in page
    assert '<span class="masked">user: ' in page
    assert '<span class="trained">assistant: ' in page


@pytest.mark.slow
def test_curate_writes_the_set_the_removed_rows_and_a_card_twice_alike(shared_data: Path, tmp_path: Path) -> None:
    """The real rows to exactly 1,000; nothing between in and out is unaccounted for."""
    names = ["ultrafeedback_sft1k/ultrafeedback_1k.json", "self_instruct/seed_tasks.jsonl", "llama_factory_demo/identity.json"]  # fmt: skip # noqa: E501
    files = [shared_data / name for name in names]
    written = []
    for folder in ("one", "two"):
        out = tmp_path / folder / "set.jsonl"
        said = data("curate", *files, "--n", 1000, "--out", out, "--licence", "identity.json=CC BY-NC 4.0")
        written.append({path.name: path.read_bytes() for path in out.parent.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"set.jsonl", "set.removed.jsonl", "set.card.json", "set.card.md"}
    assert "1,000 rows in" in said
    assert len(lines(out)) == 1000
    assert len(lines(out)) + len(lines(out.with_name("set.removed.jsonl"))) == 1000 + 175 + 91
    card = json.loads(out.with_name("set.card.json").read_text("utf-8"))
    assert (card["rows"], card["restricted"]) == (1000, ["llama_factory_demo/identity.json"])
    assert card["funnel"][0]["in"] == 1266
    assert len(read_examples(str(out)).examples) == 1000


def test_curate_takes_declared_steps_and_skips_bad_rows_when_told(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{at}", "completion": "Write to a@b.co. " * (at + 1)} for at in range(3)]
    file = write(tmp_path / "a.jsonl", *rows, {"prompt": 1, "completion": "x"})
    steps = tmp_path / "steps.yaml"
    steps.write_text("steps:\n  - length: {max_characters: 40}\n  - scrub\n")
    out = tmp_path / "b.jsonl"
    with pytest.raises(UserError, match=r"a\.jsonl:4: `prompt` is int"):
        data("curate", file, "--steps", steps, "--out", out)
    said = data("curate", file, "--steps", steps, "--out", out, "--on-error", "skip")
    assert "rows skipped: 1" in said
    assert "1 answer over 40 characters" in said
    assert [row["messages"][1]["content"] for row in lines(out)] == ["Write to [EMAIL]. ", "Write to [EMAIL]. " * 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: 5", r"s\.yaml:1: the steps are not a list: 5"),
        ("steps: scrub", r"s\.yaml:1: the steps are not a list: 'scrub'"),
        ("exact_duplicates:\nscrub:", r"s\.yaml:1: unknown key 'exact_duplicates'"),
        ("a: &a [*a]", r"s\.yaml:1: nested too deeply"),
    ],
)
def test_steps_that_are_not_a_list_are_refused_and_not_left_out(text: str, said: str, tmp_path: Path) -> None:
    file, steps = write(tmp_path / "a.jsonl", {"prompt": "q", "completion": "a"}), tmp_path / "s.yaml"
    steps.write_text(text)
    with pytest.raises(UserError, match=said):
        data("curate", file, "--steps", steps, "--out", tmp_path / "b.jsonl")


def test_decontaminate_reports_and_writes_the_clean_rows(tmp_path: Path) -> None:
    question = "A farmer has twelve cows and sells five of them before noon; how many are left?"
    train = write(
        tmp_path / "train.jsonl",
        {"prompt": question.upper(), "completion": "Seven."},
        {"prompt": "Name a colour.", "completion": "Red."},
    )
    test = write(tmp_path / "test.jsonl", {"question": question, "answer": "7"}, *({"question": f"q{n}", "answer": "a"} for n in range(9)))  # fmt: skip # noqa: E501
    out = tmp_path / "clean.jsonl"
    said = data("decontaminate", train, "--against", test, "--out", out)
    assert "1 of 10 items (10.00%) are in the training set: FLAGGED" in said
    assert "1 clean rows in" in said
    (removed,) = lines(out.with_name("clean.removed.jsonl"))
    assert removed["matches"][0]["item"] == "1"
    assert [row["messages"][0]["content"] for row in lines(out)] == ["Name a colour."]
    with pytest.raises(UserError, match=r"more than 2% of .*test\.jsonl"):
        data("decontaminate", train, "--against", test, "--strict")


def test_decontaminate_takes_the_benchmarks_of_an_experiment(tmp_path: Path) -> None:
    """Two prompts of the benchmark among three rows, one in capitals: both go, the third stays."""
    from harness.microworld.items import instruction_items

    items = instruction_items("test", 3)
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "bases: [microworld/small]\nmethods: [base]\n"
        "benchmarks: [knowledge, {instruction_following: {limit: 3}, as: follows}]\n"
    )
    prompts = [items[0].prompt, items[5].prompt.upper(), "say something else"]
    train = write(tmp_path / "train.jsonl", *({"prompt": prompt, "completion": "yes"} for prompt in prompts))
    said = data("decontaminate", train, "--against", experiment, "--out", tmp_path / "clean.jsonl")
    assert "follows" in said
    assert [row["messages"][0]["content"] for row in lines(tmp_path / "clean.jsonl")] == ["say something else"]


def test_mix_draws_exactly_n_rows_and_carries_licences_over(tmp_path: Path) -> None:
    for name in ("a", "b"):
        raw = write(tmp_path / f"{name}.jsonl", *({"prompt": f"{name}{at}", "completion": "x"} for at in range(10)))
        data("curate", raw, "--out", tmp_path / f"{name}2.jsonl", "--licence", f"{raw}=CC BY-ND {name}")
    out = tmp_path / "mixed.jsonl"
    said = data("mix", f"{tmp_path / 'a2.jsonl'}=3", tmp_path / "b2.jsonl", "--n", 16, "--out", out)
    assert "12 rows of 10, 1.20 epochs, weight 3" in said
    assert "4 rows of 10, 0.40 epochs, weight 1" in said
    card = json.loads(out.with_name("mixed.card.json").read_text("utf-8"))
    assert [(one["rows"], one["licence"]) for one in card["sources"]] == [(12, "CC BY-ND a"), (4, "CC BY-ND b")]
    assert card["restricted"] == [f"{tmp_path.name}/{name}.jsonl" for name in "ab"]


def test_what_would_overwrite_or_cannot_be_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", {"prompt": "q", "completion": "x"})
    for words, said in (
        (["curate", file, "--out", file], "is an input as well"),
        (["curate", file, "--out", tmp_path / "b.csv"], "Name a .jsonl file"),
        (["curate", file, "--out", tmp_path / "b.jsonl", "--licence", "c=MIT"], "Write FILE=LICENCE"),
        (["curate", file, "--out", tmp_path / "b.jsonl", "--on-error", "ignore"], "on_error is 'ignore'"),
        (["mix", f"{file}=much", "--n", 1, "--out", tmp_path / "b.jsonl"], "the weight of"),
        (["mix", file, file, "--n", 1, "--out", tmp_path / "b.jsonl"], "a source is named twice"),
        (["inspect", tmp_path / "none.jsonl"], "no such file"),
        (["decontaminate", file, "--against", file, "--out", tmp_path / "b.jsonl"], "every row contains a test item"),
    ):
        with pytest.raises(UserError, match=said):
            data(*words)
    assert not (tmp_path / "b.jsonl").exists()
