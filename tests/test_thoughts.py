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
        # a closing mark that is spoken of
        ("The tag </think> ends thoughts: 18.", "The tag </think> ends thoughts: 18."),
        ("Write `</think>`\nand stop.", "Write `</think>`\nand stop."),
        ("<think>I stop with `</think>`.</think>18", "18"),
        ("<think>a</think>\n\nb </think> c", "b </think> c"),
        ('{"name": "f", "arguments": {"a": "x </think> y"}}', '{"name": "f", "arguments": {"a": "x </think> y"}}'),
        # thoughts within thoughts, and an opener that is never closed
        ("<think>a <think>b</think> c</think>d", "d"),
        ("<think>The <think> tag.</think>\n18", "18"),
        # other models' marks
        ("<Think>a</Think>b", "b"),
        ('<think budget="9">a</think>b', "b"),
        ("<think >a</think>b", "b"),
        ("<reasoning>a</reasoning><answer>b</answer>", "b"),
        ("<think>a</think>\n<response>\nb\n</response>\n", "b"),
        ("<think>a</think><answer>b", "b"),
        ("<answer>b</answer>", "<answer>b</answer>"),
        ("<|begin_of_thought|>a<|end_of_thought|>\n\n<|begin_of_solution|>b<|end_of_solution|>", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "b"),
        ("<|channel>thought\na<channel|>b", "b"),
        ("<unused94>thought\na<unused95>b", "b"),
        ("<|inner_prefix|>a<|inner_suffix|>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<longcat_think>a</longcat_think>b", "b"),
        ("<scratchpad>a</scratchpad>b", "b"),
        ("Here is my thought process:\na\n\nHere is my response:\nb", "b"),
        ("Here is my thought process: I look, then leap.", "Here is my thought process: I look, then leap."),
        # harmony without its special tokens, and a call that is only thought of
        ("analysisNo, 20.assistantfinal18", "18"),
        ("analysisNever ended", ""),
        ("analysis of the text", "analysis of the text"),
        ("analysisHm.assistantcommentary to=functions.f json{}", "assistantcommentary to=functions.f json{}"),
        ("<|channel|>analysis<|message|>Use to=functions.f?<|end|><|channel|>final<|message|>No.", "No."),
    ],
)
def test_the_answer_is_what_follows_the_thoughts(text: str, answer: str) -> None:
    assert split_thoughts(text)[1] == answer


def test_after_an_opened_thought_an_answer_without_its_end_is_all_thought() -> None:
    assert split_thoughts("so 18", opened=True) == ("so 18", "")
    assert split_thoughts("so 18</think>18", opened=True) == ("so 18</think>", "18")


def test_a_prompt_ends_inside_a_thought_only_where_it_is_the_last_thing() -> None:
    assert opens_a_thought("<|im_start|>assistant\n<think>\n")
    assert opens_a_thought("<start_of_turn>model\n<|channel>thought\n")
    assert opens_a_thought("<|start|>assistant<|channel|>analysis<|message|>")
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


@pytest.mark.parametrize(
    "piece",
    [
        "<think></think>",
        "<think>",
        "</think>",
        "`</think>` ",
        "<think><answer>",
        "\n",
        " </think> ",
        "analysis",
        "<|channel|>",
    ],
)
def test_very_many_thoughts_are_split_at_once(piece: str) -> None:
    start = time.process_time()
    for opening in ("", "<think>a</think>", "<think>a</think><answer>", "Here is my thought process:"):
        split_thoughts(opening + piece * (250_000 // len(piece)) + "18")
    assert time.process_time() - start < 3
    assert split_thoughts("<think></think>" * 50_000 + "18")[1] == "18"
