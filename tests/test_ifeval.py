"""IFEval: lm-eval's own verdicts, without its downloads, its chance and its missing sentence splitter."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.ifeval import IFEval
from harness.errors import UserError
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.scoring.constraints.instructions import readable
from harness.scoring.lm_eval import ifeval as rules

for name in ("langdetect", "immutabledict", "nltk"):
    pytest.importorskip(name, reason="IFEval's rules need bakeoff[ifeval]")

ENGLISH = "This is a plain answer that anybody can read, and it goes on for a while so that its language is clear."
FRENCH = "Ceci est une réponse simple que tout le monde peut lire, et elle continue un peu pour être claire."
TWO = {"relation": "at least", "num_sentences": 2}

CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "change_case:capital_word_frequency": (
        {"capital_relation": "at least", "capital_frequency": 2}, "It is VERY HOT. Yes.", "It is VERY hot. Yes."),
    "change_case:english_capital": ({}, ENGLISH.upper(), ENGLISH),
    "change_case:english_lowercase": ({}, ENGLISH.lower(), ENGLISH),
    "combination:repeat_prompt": ({"prompt_to_repeat": "Why so?"}, "Why so? Because.", "Because. Why so?"),
    "combination:two_responses": ({}, "One.\n******\nTwo.", "One.\n******\nOne."),
    "detectable_content:number_placeholders": ({"num_placeholders": 2}, "[name], [town]", "[name], (town)"),
    "detectable_content:postscript": ({"postscript_marker": "P.S."}, "Bye.\nP.S. Write.", "Bye.\nPS Write."),
    "detectable_format:constrained_response": ({}, "My answer is maybe.", "Perhaps."),
    "detectable_format:json_format": ({}, '```json\n{"a": [1]}\n```', "{a: 1}"),
    "detectable_format:multiple_sections": (
        {"section_spliter": "Section", "num_sections": 2}, "Section 1\na\nSection 2\nb", "Section 1\na"),
    "detectable_format:number_bullet_lists": ({"num_bullets": 2}, "* a\n- b", "* a"),
    "detectable_format:number_highlighted_sections": ({"num_highlights": 2}, "*a* and **b**", "*a* and b"),
    "detectable_format:title": ({}, "<<My day>>\nText", "My day\nText"),
    "keywords:existence": ({"keywords": ["owl", "sea"]}, "An Owl at sea.", "An owl."),
    "keywords:forbidden_words": ({"forbidden_words": ["owl"]}, "Bowls.", "An Owl."),
    "keywords:frequency": ({"relation": "at least", "keyword": "owl", "frequency": 2}, "Owl, owl.", "One owl."),
    "keywords:letter_frequency": (
        {"let_relation": "at least", "letter": "z", "let_frequency": 2}, "Zig zag", "A zag"),
    "language:response_language": ({"language": "fr"}, FRENCH, ENGLISH),
    "length_constraints:nth_paragraph_first_word": (
        {"first_word": "weekend", "num_paragraphs": 2, "nth_paragraph": 2}, "One.\n\nWeekend!", "Weekend.\n\nTwo."),
    "length_constraints:number_paragraphs": ({"num_paragraphs": 2}, "One.\n***\nTwo.", "One.\n\nTwo."),
    "length_constraints:number_sentences": (TWO, "Dr. Smith came. He sat.", "Dr. Smith came and sat."),
    "length_constraints:number_words": ({"relation": "less than", "num_words": 3}, "Two words", "These are three"),
    "punctuation:no_comma": ({}, "One and two.", "One, two."),
    "startend:end_checker": ({"end_phrase": "The end."}, "So it is. The end.", "The end. Or not."),
    "startend:quotation": ({}, '"All of it."', 'All "of" it.'),
}  # fmt: skip


def rows_of(shared_data: Path) -> list[dict[str, Any]]:
    file = shared_data / "ifeval" / "input_data.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def strict(kind: str, arguments: dict[str, Any], answer: str) -> bool:
    return rules.followed_officially([kind], [arguments], "Why so?", answer).strict[0]


def test_the_types_are_lm_evals_and_each_has_cases() -> None:
    from lm_eval.tasks.ifeval.instructions_registry import INSTRUCTION_DICT

    assert set(INSTRUCTION_DICT) == rules.TYPES == set(CASES)
    assert len(CASES) == 25


@pytest.mark.parametrize("kind", sorted(CASES))
def test_each_type_accepts_what_follows_it_and_rejects_what_does_not(kind: str) -> None:
    arguments, accepted, rejected = CASES[kind]
    assert strict(kind, arguments, accepted)
    assert not strict(kind, arguments, rejected)


def test_the_arguments_of_all_541_prompts_are_complete(shared_data: Path) -> None:
    rows = rows_of(shared_data)
    judged = [
        rules.followed_officially(row["instruction_id_list"], row["kwargs"], row["prompt"], "An answer.")
        for row in rows
    ]
    assert (len(rows), sum(len(verdict.strict) for verdict in judged)) == (541, 834)


def test_verdicts_equal_those_of_lm_evals_own_function(shared_data: Path) -> None:
    """Every eleventh prompt with six answers of different kinds: over 200 pairs of verdicts, strict and loose."""
    import langdetect

    answers = [ENGLISH.upper(), f'"{FRENCH}"', "Sure:\n* *one*\n* [two]\n\n***\nP.S. <<x>>", '{"a": 1}', ""]
    compared = 0
    for row in rows_of(shared_data)[::11]:
        if rules.SPLIT & set(row["instruction_id_list"]) and rules.splitter() != "punkt":
            continue
        if any(map(rules.counted_here, row["instruction_id_list"], row["kwargs"])):
            continue
        for answer in [*answers, row["prompt"]]:
            ours = rules.followed_officially(row["instruction_id_list"], row["kwargs"], row["prompt"], answer)
            langdetect.DetectorFactory.seed = 0
            theirs = rules._rules().process_results(row, [answer])
            assert list(ours.strict) == theirs["inst_level_strict_acc"]
            assert list(ours.loose) == theirs["inst_level_loose_acc"]
            assert ours.metrics()["prompt_strict"] == theirs["prompt_level_strict_acc"]
            assert ours.metrics()["prompt_loose"] == theirs["prompt_level_loose_acc"]
            compared += 1
    assert compared > 200


def test_literal_keywords_change_no_verdict_of_the_published_prompts(shared_data: Path) -> None:
    """Each of the 541 prompts with two answers, one of which has its keywords; lm-eval's function is the oracle."""
    import langdetect

    for row in rows_of(shared_data):
        kinds = row["instruction_id_list"]
        if (rules.splitter() != "punkt" and rules.SPLIT & set(kinds)) or any(
            map(rules.counted_here, kinds, row["kwargs"])
        ):
            continue
        told = [
            word
            for given in row["kwargs"]
            for value in given.values()
            for word in (value if isinstance(value, list) else [value])
            if isinstance(word, str)
        ]
        for answer in (ENGLISH, "\n\n".join([row["prompt"], *told, *told])):
            ours = rules.followed_officially(kinds, row["kwargs"], row["prompt"], answer)
            langdetect.DetectorFactory.seed = 0
            assert list(ours.strict) == rules._rules().process_results(row, [answer])["inst_level_strict_acc"]


def test_a_mark_is_counted_where_lm_eval_counts_a_letter_drawn_at_random() -> None:
    """Six exclamation marks are asked for; a text of every letter six times has none."""
    asked = {"let_relation": "at least", "letter": "!", "let_frequency": 6}
    assert strict("keywords:letter_frequency", asked, "So!!! Yes!!!")
    assert not strict("keywords:letter_frequency", asked, "abcdefghijklmnopqrstuvwxyz" * 6 + "!!!!!")
    assert strict("keywords:letter_frequency", asked | {"let_relation": "less than"}, "So!")


def test_missing_arguments_are_refused_where_lm_eval_would_draw_them_at_random() -> None:
    with pytest.raises(ValueError, match="num_words"):
        strict("length_constraints:number_words", {"relation": "at least"}, "text")


@pytest.mark.parametrize(
    ("kind", "arguments", "accepted", "rejected"),
    [
        ("keywords:existence", {"keywords": [":("]}, "Sad :( day", "Sad day"),
        ("keywords:existence", {"keywords": ["C++"]}, "I like C++.", "I like coffee."),
        ("keywords:existence", {"keywords": ["a|b"]}, "the a|b", "a or b"),
        ("keywords:forbidden_words", {"forbidden_words": ["U.S."]}, "In the us.", "In the U.S. it rains."),
        ("keywords:forbidden_words", {"forbidden_words": ["(sic)"]}, "Sic transit", "So (sic) it is"),
        ("keywords:forbidden_words", {"forbidden_words": ["a.b"]}, "axb", "x a.b x"),
        ("keywords:frequency", {"relation": "at least", "keyword": "$5 ", "frequency": 2}, "$5 and $5", "$5 and 5"),
        ("detectable_content:postscript", {"postscript_marker": "N.B."}, "So.\nn.b. this", "So. Number 2"),
        (
            "detectable_format:multiple_sections",
            {"section_spliter": "Part (A)", "num_sections": 1},
            "Part (A) 1\nx",
            "Part A 1\nx",
        ),
    ],
)
def test_keywords_are_literal_text(kind: str, arguments: dict[str, Any], accepted: str, rejected: str) -> None:
    assert strict(kind, arguments, accepted)
    assert not strict(kind, arguments, rejected)


def test_thoughts_are_not_judged() -> None:
    assert strict("punctuation:no_comma", {}, "<think>Okay, no commas.</think>\n\nSpoons are tools.")
    assert not strict("punctuation:no_comma", {}, "<think>Okay")


def test_a_whole_float_is_read_as_an_integer() -> None:
    asked = {"first_word": "weekend", "num_paragraphs": 2.0, "nth_paragraph": 2.0}
    assert strict("length_constraints:nth_paragraph_first_word", asked, "One.\n\nWeekend!")


@pytest.mark.parametrize(
    ("kind", "arguments", "said"),
    [
        ("length_constraints:number_words", {"relation": "at least", "num_words": 2.5}, "num_words must be a whole"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": "7"}, "num_words must be a whole"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": True}, "num_words must be a whole"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": float("nan")}, "num_words must be"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": float("inf")}, "num_words must be"),
        ("length_constraints:number_words", {"relation": "more than", "num_words": 7}, "relation must be 'less than'"),
        ("length_constraints:number_words", {"relation": "at least", "words": 7}, "lacks num_words"),
        ("punctuation:no_comma", {"mark": ","}, "has no argument 'mark'"),
        ("keywords:existence", {"keywords": "spoon"}, "keywords must be a list of texts"),
        ("keywords:existence", {"keywords": [3]}, "keywords must be a list of texts"),
        ("startend:end_checker", {"end_phrase": 3}, "end_phrase must be a text"),
        ("language:response_language", {"language": "English"}, "language must be one of"),
    ],
)
def test_unusable_arguments_are_named_before_anything_is_asked(
    tmp_path: Path, kind: str, arguments: dict[str, Any], said: str
) -> None:
    file = tmp_path / "rows.jsonl"
    good = {"key": 1, "prompt": "x", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    bad = {"key": 2, "prompt": "x", "instruction_id_list": [kind], "kwargs": [arguments]}
    file.write_text(f"{json.dumps(good)}\n{json.dumps(bad)}\n")
    with pytest.raises(UserError, match=said) as caught:
        next(IFEval(data=str(file)).evaluate(None, 0))  # type: ignore[arg-type]
    assert "rows.jsonl:2" in caught.value.where


def test_languages_are_the_same_every_time() -> None:
    """Half French, half English: unseeded, langdetect says now the one, now the other."""
    mixed = "the house la maison the water et le pain and the"
    assert len({strict("language:response_language", {"language": "fr"}, mixed) for _ in range(10)}) == 1


def test_lm_evals_module_is_left_as_it_was() -> None:
    strict("length_constraints:number_sentences", TWO, "One. Two.")
    from lm_eval.tasks.ifeval import instructions_util
    from nltk.tokenize import word_tokenize

    assert instructions_util._get_sentence_tokenizer is not rules._untrained
    assert instructions_util.nltk.word_tokenize is word_tokenize


@pytest.mark.parametrize("kind", sorted(CASES))
def test_no_hostile_answer_breaks_a_type_or_holds_it_up(kind: str) -> None:
    hostile = [
        "",
        "\ud800",
        "\x00\x1b[31m",
        "<b>{{ x }}</b>",
        "\u202e\u0301",
        *(c * 1_000_000 for c in "a [<*\n1犬\ud800"),
    ]
    for text in hostile:
        start = time.process_time()
        assert strict(kind, CASES[kind][0], readable(text)) in (True, False)
        assert time.process_time() - start < 2, (kind, text[:10])


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(" .!?\n*-\"'()[]{}<>#\ud800"))))
def test_no_text_breaks_any_type(text: str) -> None:
    kinds = sorted(CASES)
    result = rules.followed_officially(kinds, [CASES[kind][0] for kind in kinds], "Why so?", text)
    assert len(result.strict) == len(result.loose) == 25


class Echo(Policy):
    """Answers with the prompt."""

    gives = frozenset({"sample"})

    def __init__(self) -> None:
        self.encoder = SimpleNamespace(prompt_text=lambda prompt: prompt.messages[-1].content)  # type: ignore[assignment]

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        return [(Completion(prompt.messages[-1].content, (), "stop"),) for prompt in prompts]


def test_an_outcome_per_prompt_that_says_where_sentences_were_split_without_punkt(tmp_path: Path) -> None:
    rows = [
        {"key": 1, "prompt": "One. Two.", "kwargs": [TWO],
         "instruction_id_list": ["length_constraints:number_sentences"]},
        {"key": 2, "prompt": "Hi, you", "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
         "kwargs": [{"num_words": None}, {}]},
    ]  # fmt: skip
    file = tmp_path / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = IFEval(data=str(file)).evaluate(Echo(), seed=0)
    assert (first.item, first.group, first.metrics["prompt_strict"]) == (
        "1",
        "length_constraints:number_sentences",
        1.0,
    )
    assert first.flags == (() if rules.splitter() == "punkt" else ("sentences without punkt",))
    assert (second.group, second.flags, second.metrics["instruction_loose"]) == ("several", (), 0.0)
    assert second.weights["instruction_strict"] == 2.0
    assert IFEval().scorer_facts()["sentences"] == rules.splitter()
    assert [item.text for item in IFEval(data=str(file)).test_set().items] == ["One. Two.", "Hi, you"]


def test_incomplete_arguments_in_the_data_are_refused_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "items.jsonl"
    file.write_text(json.dumps({"prompt": "x", "instruction_id_list": ["keywords:existence"], "kwargs": [{}]}) + "\n")
    with pytest.raises(UserError, match="keywords") as raised:
        list(IFEval(data=str(file)).evaluate(Echo(), seed=0))
    assert "items.jsonl" in (raised.value.where or "")
