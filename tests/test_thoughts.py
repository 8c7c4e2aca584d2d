"""Thoughts are taken off an answer before anything judges it, and kept beside it."""

from __future__ import annotations

import time

import pytest

from harness.policy.thoughts import opens_a_thought, split_thoughts
from harness.policy.types import Completion, flags_of

HARMONY = "<|channel|>analysis<|message|>18, no 20.<|end|><|start|>assistant<|channel|>final<|message|>18"
CALLED = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{"city": "Oslo"}'


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("18", "18"),
        ("<think>The answer is 20? #### 20 no.</think>\n#### 18", "#### 18"),
        ("<think>\n\n</think>\n\n[weather(city='Oslo')]", "[weather(city='Oslo')]"),
        ("\n<think>a</think>b", "b"),
        ("<think>a</think>\n<think>b</think>c", "c"),
        ("<thinking>a</thinking>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<|START_THINKING|>a<|END_THINKING|>b", "b"),
        ("thoughts of an opened thought</think>\n\nb", "b"),
        ("<think>never closed", ""),
        (HARMONY, "18"),
        (HARMONY + "<|return|>", "18"),
        ("<|channel|>analysis<|message|>never ended", ""),
        ("<|channel|>analysis<|message|>hm<|end|>" + CALLED, CALLED),
        ("Use the <b>think</b> tag.", "Use the <b>think</b> tag."),
        ("I write <think> here, later.", "I write <think> here, later."),
    ],
)
def test_the_answer_is_what_follows_the_thoughts(text: str, answer: str) -> None:
    assert split_thoughts(text)[1] == answer


def test_after_an_opened_thought_an_answer_without_its_end_is_all_thought() -> None:
    assert split_thoughts("so 18", opened=True) == ("so 18", "")
    assert split_thoughts("so 18</think>18", opened=True) == ("so 18</think>", "18")


def test_a_prompt_ends_inside_a_thought_only_where_it_is_the_last_thing() -> None:
    assert opens_a_thought("<|im_start|>assistant\n<think>\n")
    assert not opens_a_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_a_thought("<|im_start|>assistant\n")


def test_thoughts_are_flagged_and_kept_in_the_sample() -> None:
    thinking = Completion("18", (1,), "stop", thoughts="<think>hm</think>")
    assert thinking.whole == "<think>hm</think>\n18"
    assert thinking.flags == ("thoughts",)
    assert flags_of([thinking, Completion("", (1,), "length", truncated=True)]) == (
        "thoughts",
        "truncated",
        "unfinished",
    )
    assert Completion("18", (1,), "stop").whole == "18"


def test_very_many_thoughts_are_split_at_once() -> None:
    start = time.perf_counter()
    assert split_thoughts("<think></think>" * 50_000 + "18")[1] == "18"
    assert time.perf_counter() - start < 2
