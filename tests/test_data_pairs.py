"""Contrastive pairs: kinds of failure, none equivalent to the right answer, balance, provenance, counts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from typer.testing import CliRunner

from harness.cli.main import app
from harness.curation.corruptions import CORRUPTIONS
from harness.curation.pairs import call_pairs, call_turns, read_own_samples, verifier_pairs
from harness.data.examples import read_examples
from harness.data.load import DataSpec, load_set, named_examples
from harness.errors import UserError
from harness.records import PreferencePair
from harness.scoring.answers.verifiers import missed
from harness.scoring.calls.failures import failure_of
from harness.scoring.calls.notations import read_calls, same_calls, unmatched
from harness.scoring.calls.signatures import offered

TOOLS = [
    {"name": "book", "parameters": {"properties": {
        "city": {"type": "string", "enum": ["Rome", "Oslo"]}, "people": {"type": "integer"},
        "late": {"type": "boolean"}}, "required": ["city", "people"]}},
    {"name": "weather", "parameters": {"properties": {"place": {"type": "string"}}, "required": ["place"]}},
]  # fmt: skip
RIGHT = '{"name": "book", "arguments": {"city": "Rome", "people": 2}}'


def data(*words: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def booking(people: int, city: str = "Rome") -> dict[str, Any]:
    call = json.dumps({"name": "book", "arguments": {"city": city, "people": people}})
    turns = [("human", f"A table for {people} in {city}."), ("function_call", call), ("observation", "{}"), ("gpt", "It is booked.")]  # fmt: skip # noqa: E501
    return {"conversations": [{"from": role, "value": text} for role, text in turns], "tools": json.dumps(TOOLS)}


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (RIGHT, ""),
        ('{"arguments":{"people":2.0,"city":"rome "},"name":"book"}', ""),
        ('{"name": "book", "arguments": "{\\"city\\": \\"Rome\\", \\"people\\": 2}"}', ""),
        ('[{"type": "function", "function": {"name": "book", "arguments": {"city": "Rome", "people": 2}}}]', ""),
        (f"<tool_call>\n{RIGHT}\n</tool_call>", ""),
        # an optional argument, whose default may be the same
        ('{"name": "book", "arguments": {"city": "Rome", "people": 2, "late": false}}', ""),
        ('{"name": "weather", "arguments": {"city": "Rome", "people": 2}}', "wrong-function"),
        ('{"name": "book", "arguments": {"city": "Rome"}}', "missing-argument"),
        ('{"name": "book", "arguments": {"city": "Rome", "people": 2, "wine": 1}}', "invented-argument"),
        ('{"name": "book", "arguments": {"city": "Oslo", "people": 2}}', "wrong-value"),
        ('{"name": "book", "arguments": {"city": "Rome", "people": "2"}}', "wrong-type"),
        ('{"name": "book", "arguments": {"city": "Rome", "people": true}}', "wrong-type"),
        (RIGHT[:-1], "wrong-format"),
        ('book(city="Rome", people=2)', "wrong-format"),
        ('{"name": "book", "arguments": {"people": NaN}}', "wrong-format"),
        ("[" * 100_000, "wrong-format"),
        ("<tool_call>" * 100_000, "wrong-format"),
        ('{"name": "book", "arguments": {"people": ' + "[" * 400 + "]" * 400 + "}}", "wrong-format"),
        ('{"name": "book", "arguments": {"people": 1e999}}', "wrong-format"),
        ("It is booked.", "no-call"),
        ("I will book it (soon).", "no-call"),
        (f"Surely: {RIGHT}", "wrong-format"),
        ("", "no-call"),
        (f"[{RIGHT}, {RIGHT}]", "wrong-number-of-calls"),
    ],
)
def test_each_failure_has_its_name_and_what_means_the_same_has_none(answer: str, failure: str) -> None:
    calling = read_calls(RIGHT)
    assert calling
    signatures = offered(read_messages(TOOLS))
    assert failure_of(calling, answer, signatures) == failure


def read_messages(tools: object) -> Any:
    from harness.data.rows import conversation

    return conversation("messages", {"messages": [{"role": "user", "content": "q"}], "tools": tools}, "here")


def test_in_the_microworld_the_order_of_arguments_counts() -> None:
    calling = read_calls("{ call : paint , item : chair , color : red }")
    assert calling
    for answer, failure in (
        ("{  call : paint , item : chair , color : red }", ""),
        ("{ call : paint , color : red , item : chair }", "wrong-format"),
        ("paint ( chair , red )", "wrong-format"),
        ("{ call : paint , item : chair , color : red", "wrong-format"),
        ("{ call : paint , item : chair , color : 7 }", "wrong-type"),
        ("{ call : paint , item : chair , color : blue }", "wrong-value"),
        ("{ call : hire , item : chair , color : red }", "wrong-function"),
        ("the chair is red .", "no-call"),
    ):
        assert failure_of(calling, answer) == failure, answer


def test_a_call_is_written_back_in_the_notation_it_came_in() -> None:
    for text in (
        RIGHT,
        RIGHT.replace(": ", ":").replace(", ", ","),
        json.dumps(json.loads(RIGHT), indent=2),
        f"[{RIGHT}, {RIGHT}]",
        '[{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}]',
        '{"name": "f", "parameters": {"é": "ü"}}',
        f"<tool_call>\n{RIGHT}\n</tool_call>\n<tool_call>\n{RIGHT}\n</tool_call>",
        "{ call : paint , item : chair , color : red }",
    ):
        calling = read_calls(text)
        assert calling, text
        assert calling.write(calling.calls) == text


@pytest.mark.parametrize("name", ["microworld/function-calls", "microworld/curated-1k", "glaive"])
def test_real_and_embedded_calls_are_corrupted_in_every_way_and_never_into_the_same(
    name: str, request: pytest.FixtureRequest
) -> None:
    if name == "glaive":
        name = str(request.getfixturevalue("shared_data") / "llama_factory_demo" / "glaive_toolcall_en_demo.json")
    examples = named_examples(name).examples
    found = call_pairs(examples, per_call=2, seed=3)
    counts = Counter(one.extra["failure"] for one in found.examples)
    assert set(counts) == set(CORRUPTIONS)
    assert max(counts.values()) - min(counts.values()) <= 0.1 * max(counts.values()) + 2, counts
    turns = {turn.id: turn for example in examples for turn in call_turns(example)}
    for one in found.examples:
        record = one.record
        assert isinstance(record, PreferencePair)
        turn = turns[record.id.rsplit("/", 1)[0]]
        assert record.chosen == turn.calling.text
        assert failure_of(turn.calling, record.rejected, offered(turn.prompt)) == one.extra["failure"]
        said = read_calls(record.rejected)
        assert said is None or any(unmatched(turn.calling, said, lenient=True))
    assert len({one.record.id for one in found.examples}) == len(found.examples)


def test_glaive_has_the_calls_that_its_file_holds(shared_data: Path) -> None:
    examples = read_examples(str(shared_data / "llama_factory_demo" / "glaive_toolcall_en_demo.json")).examples
    turns = [turn for example in examples for turn in call_turns(example)]
    assert len(turns) == 211
    assert all(turn.calling.write(turn.calling.calls) == turn.calling.text for turn in turns)
    assert all(offered(turn.prompt) for turn in turns)
    assert call_pairs(examples).without == {"no function call": 147}


def test_corrupted_calls_are_in_the_words_of_the_microworld() -> None:
    """A word that its tokenizer does not know would tell the wrong answer without any understanding."""
    from harness.curation.rendering import encoder_of

    tokenizer = encoder_of("microworld/small").tokenizer
    for one in call_pairs(named_examples("microworld/function-calls").examples, per_call=7).examples:
        assert isinstance(one.record, PreferencePair)
        assert tokenizer.unk_token_id not in tokenizer.encode(one.record.rejected), one.record.rejected


def test_the_same_seed_makes_the_same_pairs_and_another_seed_others() -> None:
    examples = named_examples("microworld/function-calls").examples
    first, again, other = (call_pairs(examples, seed=seed).examples for seed in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.mark.slow
def test_no_pair_depends_on_python_hashing(tmp_path: Path) -> None:
    written = []
    for hash_seed in ("1", "2"):
        out = tmp_path / f"{hash_seed}.jsonl"
        words = ["-m", "harness.cli.main", "data", "pairs", "microworld/function-calls", "--out", str(out)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        subprocess.run([sys.executable, *words], env=environment, check=True, cwd=ROOT)
        written.append(out.read_bytes())
    assert written[0] == written[1]


def test_pairs_of_the_microworld_train_as_preferences_and_say_where_they_come_from(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    said = data("pairs", "microworld/function-calls", "--out", out, "--seed", 1)
    assert "400 pairs in" in said
    assert "57 " in said
    loaded = load_set("preferences", DataSpec(str(out)))
    assert len(loaded.records) == 400
    row = lines(out)[0]
    assert set(row["provenance"]["extra"]) == {"parent", "failure", "made_by"}
    assert row["provenance"]["origin"] == "microworld/function-calls"
    card = json.loads((tmp_path / "pairs.card.json").read_text("utf-8"))
    assert card["sources"][0]["licence"].startswith("Apache-2.0")


def test_a_models_own_failures_stand_beside_the_right_call(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", {"id": "one", **booking(2)}, {"id": "two", **booking(4, "Oslo")})
    own = [RIGHT, '{"name":"book","arguments":{"people":2,"city":"ROME"}}', RIGHT.replace("2", "3"), "I cannot.", "I cannot.", " "]  # fmt: skip # noqa: E501
    samples = write(tmp_path / "samples.jsonl", {"id": "one", "completions": own}, {"id": "three", "completion": "x"})
    out = tmp_path / "pairs.jsonl"
    said = data("pairs", rows, "--samples", samples, "--per-prompt", 0, "--out", out)
    found = {row["rejected"]: row["provenance"]["extra"] for row in lines(out)}
    assert {text: extra["failure"] for text, extra in found.items()} == {
        RIGHT.replace("2", "3"): "wrong-value",
        "I cannot.": "no-call",
    }
    assert all(extra["made_by"] == "model" and extra["parent"] == "one" for extra in found.values())
    assert "no pair from 1: " in said
    assert "1 ids or prompts of the samples belong to no row" in said


def test_samples_are_found_by_the_prompt_as_well(tmp_path: Path) -> None:
    row = {"prompt": "q", "completion": RIGHT}
    rows = write(tmp_path / "rows.jsonl", row)
    samples = write(tmp_path / "samples.jsonl", {"prompt": "q", "completion": "No."})
    found = call_pairs(read_examples(str(rows)).examples, per_call=0, samples=read_own_samples(str(samples)))
    assert [one.record.rejected for one in found.examples] == ["No."]  # type: ignore[union-attr]


def test_chosen_meets_all_constraints_and_rejected_misses_one(tmp_path: Path) -> None:
    wish = json.dumps([{"name": "starts_with", "arguments": {"marker": "alpha"}},
                       {"name": "ends_with", "arguments": {"marker": "omega"}}])  # fmt: skip
    problems = [{"id": name, "prompt": f"q {name}", "reference": wish, "verifier": "instructions"} for name in "abcd"]
    both, first, none = "alpha a b omega", "alpha a b c", "a b c d"
    drawn = {"a": [both, first, none], "b": [both, both], "c": [first, none, ""]}
    samples = write(tmp_path / "s.jsonl", *({"id": id, "completions": texts} for id, texts in drawn.items()))
    file = write(tmp_path / "p.jsonl", *problems)
    out = tmp_path / "pairs.jsonl"
    said = data("pairs", file, "--samples", samples, "--per-prompt", 2, "--out", out)
    (row,) = lines(out)
    assert row["chosen"] == both
    assert row["rejected"] in (first, none)
    missing = {first: "ends_with", none: "starts_with, ends_with"}[row["rejected"]]
    assert row["provenance"]["extra"] == {"parent": "a", "failure": missing, "made_by": "model"}
    for reason in ("none is wrong", "none is right", "no completion"):
        assert f"no pair from 1: {reason}" in said


def test_story_problems_are_told_apart_by_their_own_verifier() -> None:
    examples = named_examples("microworld/stories").examples[:4]
    from harness.curation.pairs import Samples

    drawn = {e.record.id: [f"total {e.record.reference} .", "total 98 ."] for e in examples}  # type: ignore[union-attr]
    found = verifier_pairs(examples, Samples(dict(drawn)))
    assert found.failures == {"the right answer (model)": 4}


@pytest.mark.parametrize(
    ("verifier", "reference", "right", "wrong"),
    [
        ("exact", "a  b", "a b\n", "a b c"),
        ("contains", "Paris", "It is PARIS.", "It is Rome."),
        ("number", "... #### 1,018", "so 3 and 1018.0 in all", "1018 of 2"),
        ("function_call", RIGHT, RIGHT.replace(" ", ""), RIGHT.replace("2", "3")),
        ("story_total", "7", "total 7 .", "total 8 ."),
    ],
)
def test_every_verifier_knows_right_from_wrong(verifier: str, reference: str, right: str, wrong: str) -> None:
    assert not missed(verifier, right, reference)
    assert missed(verifier, wrong, reference)
    assert missed(verifier, "", reference)


def test_mistakes_are_named(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.jsonl", {"prompt": "q", "completion": "a"})
    calls = write(tmp_path / "calls.jsonl", {"prompt": "q", "completion": RIGHT})
    problem = write(tmp_path / "problem.jsonl", {"prompt": "q", "reference": "1", "verifier": "exakt"})
    numbers = write(tmp_path / "numbers.jsonl", {"prompt": "q", "reference": "none", "verifier": "number"})
    samples = write(tmp_path / "s.jsonl", {"prompt": "q", "completions": ["1", "2"]})
    bad = write(tmp_path / "bad.jsonl", {"prompt": "q", "completions": ["1", 2]})
    unnamed = write(tmp_path / "unnamed.jsonl", {"completion": "1"})
    out = tmp_path / "out.jsonl"
    for words, said in (
        ([plain], "no answer is a function call"),
        ([calls, "--kind", "wrong-values"], "unknown kind of failure 'wrong-values'"),
        ([problem], "problems need completions"),
        ([problem, "--samples", samples], "unknown verifier 'exakt'"),
        ([numbers, "--samples", samples], "contains no answer"),
        ([problem, "--samples", bad], r"bad\.jsonl:1: it has no completions"),
        ([problem, "--samples", unnamed], r"unnamed\.jsonl:1: it has neither `id` nor `prompt`"),
        ([calls, "--samples", samples, "--per-prompt", 0, "--kind", "no-call", "--on-error", "never"], "on_error"),
        (["microworld/none"], "no data set microworld/none"),
    ):
        with pytest.raises(UserError, match=said):
            data("pairs", *words, "--out", out)
    assert not out.exists()


def test_hostile_calls_are_read_or_refused_but_never_break() -> None:
    chance = random.Random(0)
    for _ in range(3000):
        letters = list(RIGHT)
        for _ in range(chance.randrange(4)):
            letters[chance.randrange(len(letters))] = chance.choice('{}[]",:\\\x00é0eE-')
        text = "".join(letters)
        calling = read_calls(text)
        right = read_calls(RIGHT)
        assert right
        assert isinstance(failure_of(right, text), str)
        if calling:
            again = read_calls(calling.write(calling.calls))
            assert again
            assert same_calls(calling, again)
