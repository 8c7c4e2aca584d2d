"""Evolved and refined rows: operators, eliminator, novelty, provenance, accounts; with scripted policies."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from harness.cli import data_verbs as writing_verbs
from harness.cli.main import app
from harness.curation.card import with_joint
from harness.curation.writing.drafts import Generated
from harness.curation.writing.evolve import evolve
from harness.curation.writing.filters import (
    Novelty,
    answer_fault,
    common_subsequence,
    instruction_fault,
    rouge_l,
    unseen_fault,
)
from harness.curation.writing.refine import refine
from harness.curation.writing.requests import JUDGE, OPERATORS, filled, operators_of
from harness.curation.writing.self_instruct import self_instruct
from harness.curation.writing.writer import Writer
from harness.data.examples import Example, read_examples
from harness.errors import UserError
from harness.policy.policy import Policy
from harness.policy.types import Capability, Completion, Prompt, Sampling
from harness.records import Demonstration, Message

ANSWER = "Water boils at one hundred degrees."


class Scripted(Policy):
    """Answers each request by a function of its words; `asked` keeps them all."""

    gives: ClassVar[frozenset[Capability]] = frozenset({"sample"})

    def __init__(self, reply: Callable[[str], str]) -> None:
        self.reply, self.asked = reply, list[str]()

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        assert len(set(keys)) == len(keys) == len(prompts)
        said = [prompt.messages[-1].content for prompt in prompts]
        self.asked += said
        replies = [self.reply(words) for words in said]
        return [
            (Completion(text.removesuffix("..."), (), "length" if text.endswith("...") else "stop"),)
            for text in replies
        ]


def writer(reply: Callable[[str], str]) -> Writer:
    return Writer(Scripted(reply), "scripted", Sampling(100, 1.0))


def row(id: str, asked: str = "Say when water boils at sea level.", answer: str = ANSWER, origin: str = "a") -> Example:
    messages = (Message("user", asked), Message("assistant", answer))
    return Example(Demonstration(messages, id), "demonstrations", "messages", {}, origin)


def asked_of(example: Example) -> str:
    assert isinstance(example.record, Demonstration)
    return example.record.messages[0].content


def is_rewriting(words: str) -> bool:
    return words.startswith("Here is something that a person asked")


def harder(words: str) -> str:
    """A model that makes every request longer by its own words, and finds every pair different."""
    if is_rewriting(words):
        return words.split("\n\n")[1] + f" Also give reason number {len(words)}."
    return "Different" if words.startswith("Two requests") else ANSWER


def check_accounts(found: Generated) -> None:
    assert sum(line.rows_in for line in found.funnel) == len(found.examples) + len(found.removed)
    assert sum(line.rows_out for line in found.funnel) == len(found.examples)
    assert len({one.record.id for one in found.examples}) == len(found.examples)


def test_every_round_goes_on_from_the_one_before_and_says_so() -> None:
    found = evolve([row("s1"), row("s2", "Name three old rivers of Asia.")], writer(harder), OPERATORS, rounds=2)
    check_accounts(found)
    assert len(found.examples) == 4
    made = {one.record.id: one for one in found.examples}
    second = next(one for one in found.examples if one.record.id.startswith("s1/2-"))
    assert set(second.extra) == {"parent", "operator", "round", "difficulty", "model"}
    assert (second.extra["round"], second.extra["model"]) == (2, "scripted")
    assert second.extra["parent"] in made
    assert made[str(second.extra["parent"])].extra["parent"] == "s1"
    assert asked_of(second).startswith(asked_of(made[str(second.extra["parent"])]))
    assert second.origin == "a"
    assert second.record.id.endswith(str(second.extra["operator"]))


def test_difficulty_counts_the_rewrites_that_make_a_row_harder_and_not_those_on_another_subject() -> None:
    found = evolve([row("s1"), row("s2", "Name three old rivers of Asia.")], writer(harder), OPERATORS, rounds=4)
    made = {one.record.id: one for one in found.examples}

    def worked(one: Example | None) -> int:
        """Over the row and its parents, those by another operator than breadth."""
        return 0 if one is None else (one.extra["operator"] != "breadth") + worked(made.get(str(one.extra["parent"])))

    assert len(made) >= 4
    assert all(one.extra["difficulty"] == worked(one) for one in made.values())
    assert max(int(str(one.extra["difficulty"])) for one in made.values()) >= 2


def test_the_seed_draws_the_operators() -> None:
    rows = [row(f"s{n}", " ".join(f"Word{n}x{at}" for at in range(6))) for n in range(20)]
    drawn = [
        [one.extra["operator"] for one in evolve(rows, writer(harder), OPERATORS, rounds=1, seed=seed).examples]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0]) == set(OPERATORS) - {"breadth"}
    dropped = evolve(rows, writer(harder), OPERATORS, rounds=1).removed
    # what is to be about something else may not repeat its parent; what goes deeper may
    assert {(draft.operator, why) for draft, why in dropped} == {("breadth", "too like another instruction")}


@pytest.mark.parametrize(
    ("new", "reply", "reason"),
    [
        ("", ANSWER, "empty"),
        ("Say when water boils at sea level!", ANSWER, "says what its parent says"),
        ("The rewritten prompt: say when water boils on hills.", ANSWER, "copies words of the request"),
        ("Boil it.", ANSWER, "instruction not of 3 to 500 words"),
        ("Say when water boils high up on a very...", ANSWER, "cut off at the limit of tokens"),
        ("- say when water boils on a hill", ANSWER, "begins with punctuation"),
        ("Say when milk boils in Rome and why.", "I'm sorry, I do not know.", "answer declines"),
        ("Say when milk boils in Rome and why.", "... , it is the", "answer without content words"),
        ("Say when milk boils in Rome and why.", "", "empty answer"),
        ("Say when milk boils in Rome and why.", "It boils at...", "answer cut off at the limit of tokens"),
        (
            "Say when milk boils in Rome and why.",
            "say when milk boils in Rome, and why",
            "answer echoes the instruction",
        ),
        ("List the rivers of Asia and their lengths now.", ANSWER, "too like another instruction"),
    ],
)
def test_what_fails_is_dropped_with_its_reason_and_its_parent_tried_again(new: str, reply: str, reason: str) -> None:
    def says(words: str) -> str:
        if is_rewriting(words):
            return new if "water" in words else "Different words for each seed every time."
        return "Different" if words.startswith("Two requests") else reply

    rows = [row("s1"), row("s2", "List the rivers of Asia and their lengths.")]
    model = writer(says)
    found = evolve(rows, model, {"deepen": OPERATORS["deepen"]}, rounds=2)
    check_accounts(found)
    reasons = {why for draft, why in found.removed if draft.parents[0] == "s1"}
    assert reasons == {reason}
    # both rounds began with the seed itself
    rewritings = [words for words in model.policy.asked if is_rewriting(words) and "water" in words]  # type: ignore[attr-defined]
    assert len(rewritings) == 2
    assert len(set(rewritings)) == 1


def test_a_long_answer_may_say_sorry() -> None:
    assert answer_fault("Sorry, " + "but here is a long story of a king. " * 20, "Tell a story.") == ""


def test_the_judge_drops_what_adds_nothing_and_can_be_left_out() -> None:
    def says(words: str) -> str:
        return "Equal." if words.startswith("Two requests") else harder(words)

    found = evolve([row("s1")], writer(says), OPERATORS, rounds=1)
    assert [why for _, why in found.removed] == ["adds nothing to its parent"]
    model = writer(says)
    assert len(evolve([row("s1")], model, OPERATORS, rounds=1, judge=False).examples) == 1
    assert not [words for words in model.policy.asked if words.startswith("Two requests")]  # type: ignore[attr-defined]


def test_braces_in_what_a_model_wrote_fill_no_place() -> None:
    said = filled(JUDGE, instruction="{other} {instruction}", other="{instruction} %s")
    assert "First: {other} {instruction}\n" in said
    assert "Second: {instruction} %s\n" in said


def test_control_characters_of_a_model_do_not_reach_the_rows() -> None:
    found = evolve([row("s1")], writer(lambda words: harder(words) + "\x1b[2J\ud800\x00"), OPERATORS, rounds=1)
    for text in (message.content for one in found.examples for message in one.record.messages):  # type: ignore[union-attr]
        assert not {"\x1b", "\x00", "\ud800"} & set(text)


def test_rouge_agrees_with_the_reference_on_english_and_knows_other_scripts() -> None:
    from rouge_score import rouge_scorer

    scorer = rouge_scorer.RougeScorer(["rougeL"])
    chance, words = random.Random(0), ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "its", "own", "red", "hat"]
    for _ in range(300):
        one, other = ([chance.choice(words) for _ in range(chance.randint(1, 70))] for _ in range(2))
        wanted = scorer.score(" ".join(one), " ".join(other))["rougeL"].fmeasure
        assert rouge_l(one, other) == pytest.approx(wanted)
    assert common_subsequence([], ["a"]) == 0
    novelty = Novelty()
    novelty.add("hindi", "भारत की राजधानी कहाँ है और क्यों")
    assert novelty.like("भारत की राजधानी कहाँ है") == "hindi"
    assert novelty.like("नदी कितनी लंबी है") == ""


def test_novelty_begins_at_seven_tenths() -> None:
    """Seven of ten words in common is F1 0.7: no longer new."""
    novelty = Novelty()
    novelty.add("known", "a b c d e f g h i j")
    assert novelty.like("a b c d e f g x y z") == "known"
    assert novelty.like("a b c d e f w x y z") == ""
    assert novelty.like("a b c d e f g x y z", leave_out=["known"]) == ""


TASKS = """Here are more:
9. Write a short poem about winter evenings in Norway.
10) Compare the prices of bread in two towns.
11. Say when water boils at sea level, please.
12. Describe this picture in detail.
13. Sum.
not numbered
14. Explain how a bridge carries its load to the ground."""


def test_self_instruct_keeps_what_is_new_and_answered() -> None:
    def says(words: str) -> str:
        return TASKS if words.startswith("Here are some things") else ANSWER

    model = writer(says)
    found = self_instruct([row("s1", origin="a"), row("s2", "Name a river.", origin="b")], model, rounds=2, requests=1)
    check_accounts(found)
    assert [asked_of(one).split()[0] for one in found.examples] == ["Write", "Compare", "Explain"]
    reasons = [why for draft, why in found.removed if draft.round == 1]
    assert sorted(reasons) == [
        "instruction not of 3 to 500 words",
        "needs an image, a sound or a file",
        "too like another instruction",
    ]
    # a second request shows two of the model's own, and nothing is new the second time
    assert sum("winter" in words or "bread" in words or "bridge" in words for words in model.policy.asked) >= 4  # type: ignore[attr-defined]
    assert len(found.examples) == 3
    assert {one.origin for one in found.examples} == {"a + b"}
    assert with_joint({"a": "CC BY-NC 4.0"}, found.examples)["a + b"] == "CC BY-NC 4.0; not stated"


def test_a_model_that_lists_nothing_shows_in_the_funnel() -> None:
    found = self_instruct([row("s1")], writer(lambda words: "Certainly!"), rounds=1, requests=3)
    assert (found.funnel[0].rows_in, found.funnel[0].removed) == (3, {"empty": 3})


def test_the_faults_of_generated_text() -> None:
    assert unseen_fault("Look at the attached file.")
    assert not unseen_fault("Imagine a green hill.")
    assert instruction_fault("What does “new prompt” mean?", "What is a new prompt?") == ""


def reflecting(words: str) -> str:
    if "write a better request" in words:
        return "It is vague.\n<instruction>Say why water boils sooner on hills.</instruction>\n<answer>Less air presses.</answer>"  # noqa: E501
    assert "better answer to the same request" in words
    return f"Weak. <answer>A better answer, after {len(words)} letters.</answer>"


def test_refined_versions_stand_next_to_the_original() -> None:
    found = refine([row("s1"), row("s2")], writer(reflecting))
    check_accounts(found)
    assert [one.record.id for one in found.examples] == [
        f"{id}/{name}" for id in ("s1", "s2") for name in ("original", "instruction", "response", "both")
    ] or sorted(one.record.id for one in found.examples[:4]) == [
        "s1/both", "s1/instruction", "s1/original", "s1/response"
    ]  # fmt: skip
    versions = {one.record.id.split("/")[1]: one for one in found.examples[:4]}
    assert asked_of(versions["response"]) == asked_of(versions["original"])
    assert asked_of(versions["both"]) == asked_of(versions["instruction"]) != asked_of(versions["original"])
    answers = {name: one.record.messages[1].content for name, one in versions.items()}  # type: ignore[union-attr]
    assert answers["original"] == ANSWER
    assert answers["instruction"] == "Less air presses."
    assert len(set(answers.values())) == 4
    assert versions["original"].extra["model"] == ""
    assert versions["both"].extra == {"parent": "s1", "operator": "both", "round": 2, "model": "scripted"}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("It is fine as it is.", "not in the form asked for"),
        (f"<instruction>Say when water boils at sea level.</instruction><answer>{ANSWER}</answer>", "says what"),
        ("<instruction>Say why water...", "cut off at the limit of tokens"),
        ("<instruction>Say why water boils.</instruction><answer>I am sorry.</answer>", "answer declines"),
    ],
)
def test_a_version_that_fails_is_listed_and_the_original_stays(reply: str, reason: str) -> None:
    found = refine([row("s1")], writer(lambda words: reply))
    check_accounts(found)
    assert "s1/original" in {one.record.id for one in found.examples}
    assert any(why.startswith(reason) for _, why in found.removed)


def test_rows_of_many_turns_are_left_out_of_refinement_and_counted() -> None:
    turns = (Message("user", "q"), Message("assistant", "a")) * 2
    long = Example(Demonstration(turns, "long"), "demonstrations", "messages")
    found = refine([long, row("s1")], writer(reflecting))
    check_accounts(found)
    assert found.funnel[0].removed == {"not one question with one answer": 1}
    with pytest.raises(UserError, match="no row is one question"):
        refine([long], writer(reflecting))


def data(*words: object) -> str:
    done = CliRunner().invoke(app, ["data", *map(str, words)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


@pytest.mark.slow
def test_a_shipped_model_really_writes_and_every_draft_is_accounted_for(tmp_path: Path) -> None:
    """With operators in the microworld's own words; the base echoes and rambles, and some of it is kept."""
    operators = tmp_path / "operators.yaml"
    operators.write_text('again: "{instruction}"\nupper: "{instruction} please reply in upper case"\n')
    seeds = tmp_path / "seeds.jsonl"
    names = ["what pet does kufun have ?", "what is the job of mobal ?", "name an animal of the forest"]
    seeds.write_text("".join(json.dumps({"prompt": name, "completion": "the cat ."}) + "\n" for name in names))
    out = tmp_path / "evolved.jsonl"
    words = ["evolve", seeds, "--model", "microworld/small", "--prompts", operators, "--rounds", 2, "--no-judge", "--max-new-tokens", 24]  # fmt: skip # noqa: E501
    said = data(*words, "--out", out)
    made, removed = lines(out), lines(tmp_path / "evolved.removed.jsonl")
    assert len(made) + len(removed) == 6
    assert made
    assert f"{len(made)} rows in" in said
    assert {one["provenance"]["extra"]["model"] for one in made} == {"microworld/small"}
    assert all(one["provenance"]["origin"].endswith("/seeds.jsonl") for one in made)
    first = out.read_bytes()
    data(*words, "--out", out)
    assert out.read_bytes() == first
    assert read_examples(str(out)).detection.kind == "demonstrations"


def test_refine_writes_groups_and_a_card(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(json.dumps({"id": "s1", "prompt": "Say when water boils.", "completion": ANSWER}) + "\n")
    out = tmp_path / "refined.jsonl"
    said = list(writing_verbs.refine_verb(str(seeds), out, writer(reflecting), 0, "stop"))
    assert said[-1].startswith("4 rows in")
    assert [one["id"].split("/")[0] for one in lines(out)] == ["s1"] * 4
    card = json.loads((tmp_path / "refined.card.json").read_text("utf-8"))
    assert card["written_by"] == "scripted"
    assert "Written by the model scripted" in (tmp_path / "refined.card.md").read_text("utf-8")
    assert [step["step"] for step in card["funnel"]] == ["one turn", "better instructions", "better answers"]


def test_rounds_that_are_done_survive_an_endpoint_that_fails(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(json.dumps({"id": "s1", "prompt": "Say when water boils.", "completion": ANSWER}) + "\n")

    def says(words: str) -> str:
        if is_rewriting(words) and words.count("Also give reason") == 2:
            raise UserError("the endpoint failed: HTTP 500")
        return harder(words)

    out, plan = tmp_path / "out.jsonl", writing_verbs.Evolution(operators=["deepen"], rounds=4)
    with pytest.raises(UserError, match="HTTP 500"):
        list(writing_verbs.evolve_verb(str(seeds), out, writer(says), plan, 0, "stop"))
    assert [one["id"] for one in lines(tmp_path / "out.partial.jsonl")] == ["s1/1-deepen", "s1/2-deepen"]
    assert not out.exists()
    list(writing_verbs.evolve_verb(str(seeds), out, writer(harder), plan, 0, "stop"))
    assert len(lines(out)) == 4
    assert not (tmp_path / "out.partial.jsonl").exists()


def test_mistakes_are_named(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(json.dumps({"prompt": "Say when water boils.", "completion": ANSWER}) + "\n")
    bad = tmp_path / "bad.yaml"
    bad.write_text("mine: rewrite it\n")
    out, model = tmp_path / "out.jsonl", ["--model", "microworld/small"]
    for words, said in (
        ([*model, "--mode", "evolve"], "--mode is 'evolve'"),
        ([*model, "--operator", "depen"], "unknown operator 'depen'"),
        ([*model, "--prompts", bad], "the operator 'mine' has no place for the instruction"),
        ([*model, "--prompts", tmp_path / "none.yaml"], "none.yaml: cannot be read: No such file"),
        ([*model, "--mode", "self-instruct", "--operator", "deepen"], "are for --mode evol"),
        (["--model", "microworld/huge"], "no shipped model microworld/huge"),
        ([*model, "--device", "tpu"], "the device is 'tpu'"),
        (["--model", "m", "--endpoint", "ftp://x"], "--endpoint is"),
    ):
        with pytest.raises(UserError, match=said):
            data("evolve", seeds, *words, "--out", out)
    silent = writing_verbs.evolve_verb(
        str(seeds), out, writer(lambda words: ""), writing_verbs.Evolution(rounds=1), 0, "stop"
    )
    with pytest.raises(UserError, match="every draft was dropped"):
        list(silent)
    assert lines(tmp_path / "out.removed.jsonl")[0]["reason"] == "empty"
    assert not out.exists()


def test_operators_can_be_chosen_by_name() -> None:
    assert list(operators_of(["breadth"])) == ["breadth"]
    assert set(operators_of([])) == set(OPERATORS)


HOSTILE_OPERATORS = {
    "": "it holds no operators",
    "a: no place": "the operator 'a' has no place for the instruction",
    "1: '{instruction}'": "the operator 1 has no place for the instruction",
    "a: '{instruction}'\na: '{instruction} 2'": "operators.yaml:2: the key 'a' is given twice",
    "a: !!python/object:os.system x": "operators.yaml:1: unexpected tag:yaml.org,2002:python/object:os.system",
    "a: " + "[" * 2000 + "]" * 2000: "operators.yaml:1: nested too deeply, or too many values",
    "a: &a [" + "x," * 99 + "]\n" + "".join(f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in itertools.pairwise("abcdefg")):
        "nested too deeply, or too many values",
    "a: &a [*a]": "nested too deeply, or too many values",
    "a: \ud800": "is not UTF-8",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE_OPERATORS)
def test_a_hostile_file_of_operators_is_refused_at_once_in_one_message(text: str, tmp_path: Path) -> None:
    file, rows = tmp_path / "operators.yaml", tmp_path / "rows.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    rows.write_text('{"prompt": "Name a fruit.", "completion": "Pear."}\n')
    plan = writing_verbs.Evolution(prompts=file)
    before = time.process_time()
    with pytest.raises(UserError) as refused:
        list(writing_verbs.evolve_verb(str(rows), tmp_path / "out.jsonl", writer(lambda asked: ""), plan, 0, "stop"))
    assert time.process_time() - before < 2
    assert HOSTILE_OPERATORS[text] in str(refused.value)
