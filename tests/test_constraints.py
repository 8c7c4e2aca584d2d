"""The rules of IFBench's instructions: what follows each, what just misses it, and that no text breaks one."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from constraint_cases import CASES, PROMPT
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.scoring.constraints.ifbench import VERIFIERS, obeys
from harness.scoring.constraints.instructions import LONGEST, LONGEST_RUN, followed, loose_readings, readable
from harness.scoring.constraints.text_units import is_emoji, sentences, syllables, words

HOSTILE = [
    "",
    "\n",
    "\x00\x07\x1b[31m",
    "\ud800",
    "a\ud800. \udfff!",
    "<script>alert('{{ 7*7 }}')</script> {% for x in y %}",
    "\u202e\u0301" * 50,
    *(char * 1_000_000 for char in "a .,*\"'([<#-\n\t?1;犬😊\ud800"),
    *(pair * 20_000 for pair in (". ", "a.", "[a", "* a\n", '"a', "'a ", "a,", "😊.", "1,", "<i", "A\n\n", "(]", "-a")),
]


cut = lru_cache(maxsize=None)(readable)


def test_every_type_has_a_rule_and_every_rule_has_cases() -> None:
    assert len(VERIFIERS) == 58
    assert set(CASES) == set(VERIFIERS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_rule_accepts_what_follows_it_and_rejects_what_just_misses_it(kind: str) -> None:
    arguments, accepted, rejected = CASES[kind]
    assert {text: obeys(kind, text, PROMPT, arguments) for text in accepted} == dict.fromkeys(accepted, True)
    assert {text: obeys(kind, text, PROMPT, arguments) for text in rejected} == dict.fromkeys(rejected, False)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_blank_answer_follows_no_instruction(kind: str) -> None:
    assert not any(obeys(kind, blank, PROMPT, CASES[kind][0]) for blank in ("", " ", "\n\t\n"))


def test_the_arguments_of_all_300_prompts_are_those_of_their_rules(shared_data: Path) -> None:
    file = shared_data / "ifbench" / "IFBench_test.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    judged = [
        obeys(kind, "Some answer, and no more.", row["prompt"], arguments)
        for row in rows
        for kind, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]
    # 256 prompts with one instruction and 44 with two
    assert (len(rows), len(judged)) == (300, 344)
    assert not all(judged)


def test_names_come_from_the_real_prompts_that_list_them(shared_data: Path) -> None:
    """Three of the list's fifty names follow "at least 3"; two do not."""
    file = shared_data / "ifbench" / "IFBench_test.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines() if "count:person_names" in line]
    assert len(rows) == 6
    for row in rows:
        assert obeys("count:person_names", "Emma, Ryan and Jonathan.", row["prompt"], {"N": 3.0})
        assert not obeys("count:person_names", "Emma and Ryan.", row["prompt"], {"N": 3.0})


def test_the_options_of_all_kinds_are_told_apart() -> None:
    """ "yes/no/maybe", "I know or I don't know" and "a), b), c), d)" are the three of the data."""
    for options, right, wrong in (("yes/no/maybe", "Maybe.", "Perhaps"), ("a), b), c), d)", "b)", "e)")):
        assert obeys("format:options", right, "", {"options": options})
        assert not obeys("format:options", wrong, "", {"options": options})


def test_an_unknown_argument_or_type_is_an_error() -> None:
    with pytest.raises(TypeError):
        obeys("words:vowel", "x", "", {"foreign": 1})
    with pytest.raises(KeyError):
        obeys("words:nothing", "x", "", {})


def test_a_megabyte_of_anything_is_cut_within_a_second() -> None:
    for text in HOSTILE:
        start = time.process_time()
        assert len(readable(text)) <= LONGEST
        assert time.process_time() - start < 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(CASES))
def test_no_hostile_text_breaks_a_rule_or_holds_it_up(kind: str) -> None:
    arguments = CASES[kind][0]
    for text in map(cut, HOSTILE):
        start = time.process_time()
        assert obeys(kind, text, PROMPT, arguments) in (True, False)
        assert time.process_time() - start < 2, (kind, text[:10])


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from(" .!?\n*-\"'()[]<>i/#😊\ud800"))))
def test_no_text_breaks_any_rule_strict_or_loose(text: str) -> None:
    def rule(kind: str, arguments: dict[str, Any]) -> Any:
        return lambda reading: obeys(kind, reading, PROMPT, arguments)

    result = followed(text, [rule(kind, case[0]) for kind, case in CASES.items()])
    assert len(result.strict) == 58
    # the answer as it stands is one of its loose readings
    assert all(loose >= strict for loose, strict in zip(result.loose, result.strict, strict=True))


def test_loose_readings_leave_out_the_first_line_the_last_both_and_asterisks() -> None:
    assert loose_readings("a\n*b*\nc") == ["a\n*b*\nc", "*b*\nc", "a\n*b*", "*b*", "a\nb\nc", "b\nc", "a\nb", "b"]


def test_a_long_answer_is_read_in_part_and_a_usual_one_whole() -> None:
    usual = "Two words. " * 1000
    assert readable(usual) == usual
    assert len(readable("a" * 1_000_000)) == LONGEST_RUN
    assert len(readable("ab" * 1_000_000)) == LONGEST


def test_sentences_end_at_marks_and_line_breaks_but_not_at_abbreviations_or_inside_quotes() -> None:
    assert sentences("Dr. J. Smith paid 3.5 dollars, e.g. to U.S. firms. Why?! So...") == [
        "Dr. J. Smith paid 3.5 dollars, e.g. to U.S. firms.",
        "Why?!",
        "So...",
    ]
    assert sentences('"Stop!" he said. (I did.) It is I. Well... no.') == [
        '"Stop!" he said.', "(I did.)", "It is I.", "Well... no.",
    ]  # fmt: skip
    assert sentences("# Title\n1. First\n- second one! 🎉🎉 third 👍") == [
        "Title",
        "First",
        "second one! 🎉🎉",
        "third 👍",
    ]
    assert sentences("犬です。猫です。") == ["犬です。", "猫です。"]
    assert sentences("... !!! --- ***") == []


def test_words_hold_apostrophes_and_hyphens_together_and_leave_tags_out() -> None:
    assert words("Don't <b>stop</b>, well-known x-2: 3.5 – no_one") == [
        "Don't", "stop", "well-known", "x-2", "3", "5", "no", "one",
    ]  # fmt: skip


def test_marks_belong_to_the_word_that_they_are_written_in() -> None:
    assert words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert len(words("re\u0301sume\u0301 cafe\u0301")) == 2
    assert words("a ❤\ufe0f b") == ["a", "b"]


def test_syllables_of_common_words_are_counted() -> None:
    counts = {"the": 1, "make": 1, "played": 1, "wanted": 2, "table": 2, "boxes": 2, "being": 2, "idea": 3, "radio": 3,
              "science": 2, "people": 2, "beautiful": 3, "created": 3, "well-known": 2, "rhythm": 1}  # fmt: skip
    assert {word: syllables(word) for word in counts} == counts


def test_pictographs_are_emoji_and_other_symbols_are_not() -> None:
    assert all(map(is_emoji, "😊🎉❤✅☀⌚🇫"))
    assert not any(map(is_emoji, "a1.©→∑犬€■"))
