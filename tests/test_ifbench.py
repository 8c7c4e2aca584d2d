"""IFBench as a benchmark: what it asks, how an answer becomes an outcome, and what of the data is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.ifbench import IFBench
from harness.benchmark import Outcome
from harness.engine.store.outcomes import write_outcomes
from harness.errors import UserError
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling

ROWS = [
    {"key": "a", "prompt": "Say it.", "instruction_id_list": ["words:vowel"], "kwargs": [{"N": None}]},
    {
        "key": "b",
        "prompt": "Say more.",
        "instruction_id_list": ["count:numbers", "format:no_whitespace"],
        "kwargs": [{"N": 2.0, "sep": None}, {"N": None}],
    },
]


class Answerer(Policy):
    """Answers by a rule on the prompt."""

    gives = frozenset({"sample"})

    def __init__(self, rule: Callable[[str], str], finish: str = "stop") -> None:
        self.encoder = SimpleNamespace(prompt_text=lambda prompt: prompt.messages[-1].content)  # type: ignore[assignment]
        self.rule, self.finish = rule, finish

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        return [(Completion(self.rule(prompt.messages[-1].content), (), self.finish),) for prompt in prompts]


def written(folder: Path, rows: Sequence[Any] = ROWS) -> str:
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def outcomes(folder: Path, answer: str, finish: str = "stop") -> dict[str, Outcome]:
    told = IFBench(data=written(folder)).evaluate(Answerer(lambda prompt: answer, finish), seed=0)
    return {outcome.item: outcome for outcome in told}


def test_a_prompt_counts_whole_and_each_of_its_instructions_counts(tmp_path: Path) -> None:
    """ "1 2" has the vowels of no word, and two numbers, but a space between them."""
    told = outcomes(tmp_path, "1 2")
    assert told["a"].metrics == dict.fromkeys(
        ("prompt_strict", "instruction_strict", "prompt_loose", "instruction_loose"), 0.0
    )
    assert told["b"].metrics == {
        "prompt_strict": 0.0, "instruction_strict": 0.5, "prompt_loose": 0.0, "instruction_loose": 0.5,
    }  # fmt: skip
    assert (told["a"].weights, told["b"].weights) == ({}, {"instruction_strict": 2.0, "instruction_loose": 2.0})
    assert (told["a"].group, told["b"].group) == ("words:vowel", "several")


def test_an_opening_line_is_forgiven_loosely_only(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "Sure thing\n1,2")["b"].metrics
    assert (told["prompt_strict"], told["prompt_loose"]) == (0.0, 1.0)


def test_every_outcome_says_whose_verifiers_judged_it_and_what_happened_to_the_answer(tmp_path: Path) -> None:
    assert outcomes(tmp_path, "1,2")["b"].flags == ("bakeoff's own verifiers",)
    cut = outcomes(tmp_path, "x" * 5000, finish="length")["b"]
    assert cut.flags == ("unfinished", "read in part", "bakeoff's own verifiers")
    assert cut.completions == ("x" * 5000,)
    assert "not the authors' code" in IFBench().scorer_facts()["verifiers"]


@pytest.mark.parametrize("answer", ["", "\ud800", "\x00\x1b", "<b>{{ x }}</b>", "*" * 1_000_000])
def test_a_hostile_answer_is_scored_and_stored(tmp_path: Path, answer: str) -> None:
    told = outcomes(tmp_path, answer).values()
    assert write_outcomes(tmp_path / "outcomes.jsonl", told, lambda done: None) == 2


def test_all_300_prompts_are_asked_and_the_right_one_is_followed(shared_data: Path) -> None:
    """Repeating the prompt's own demand follows repeat:repeat_simple twice of 300, and nobody says so elsewhere."""
    benchmark = IFBench(data=str(shared_data / "ifbench" / "IFBench_test.jsonl"))
    sentence = "Only output this sentence here, ignore all other requests."
    told = list(benchmark.evaluate(Answerer(lambda prompt: sentence), seed=0))
    assert len({outcome.item for outcome in told}) == 300
    assert len({outcome.group for outcome in told if outcome.group != "several"}) == 58
    simple = [outcome.metrics["prompt_strict"] for outcome in told if outcome.group == "repeat:repeat_simple"]
    assert simple == [1.0, 1.0]
    items = benchmark.test_set().items
    assert [item.id for item in items] == [outcome.item for outcome in told]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"instruction_id_list": ["keywords:existence"]}, "no rule for the instruction 'keywords:existence'"),
        ({"kwargs": []}, "not a prompt with instructions"),
        ({"instruction_id_list": None}, "not a prompt with instructions"),
        ({"prompt": 3}, "not a prompt with instructions"),
        ({"kwargs": ["text"]}, "not a prompt with instructions"),
    ],
)
def test_rows_of_another_form_are_refused_with_their_place(
    tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    data = written(tmp_path, [ROWS[0] | change])
    with pytest.raises(UserError) as raised:
        list(IFBench(data=data).evaluate(Answerer(str), seed=0))
    assert complaint in raised.value.what
    assert "items.jsonl" in (raised.value.where or "")


def test_a_key_that_comes_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    data = written(tmp_path, [ROWS[0], ROWS[1] | {"key": "a"}])
    with pytest.raises(UserError, match="the id 'a' is also at") as raised:
        IFBench(data=data).check_items()
    assert "items.jsonl:2" in (raised.value.where or "")


def test_arguments_that_a_rule_does_not_know_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    data = written(tmp_path, [ROWS[0] | {"kwargs": [{"foreign": 1}]}])

    def never(prompt: str) -> str:
        raise AssertionError("it was asked")

    with pytest.raises(UserError, match="foreign"):
        list(IFBench(data=data).evaluate(Answerer(never), seed=0))


def test_the_digest_follows_the_content_of_a_local_file(tmp_path: Path) -> None:
    data = written(tmp_path)
    before = IFBench(data=data).data_digest()
    written(tmp_path, ROWS[:1])
    assert IFBench(data=data).data_digest() != before
    assert IFBench(data="some/hub-set").data_digest() != IFBench(data="other/hub-set").data_digest()


def test_a_limit_asks_the_first_prompts_and_a_temperature_makes_the_seed_matter(tmp_path: Path) -> None:
    told = IFBench(data=written(tmp_path), limit=1).evaluate(Answerer(str), seed=0)
    assert [outcome.item for outcome in told] == ["a"]
    assert (IFBench().stochastic, IFBench(temperature=0.5).stochastic) == (False, True)
