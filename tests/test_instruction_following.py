"""Instruction following: right answers count, wrong ones do not, and an instruction weighs as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from benchmarks.instruction_following import InstructionFollowing
from harness.microworld.items import InstructionItem, instruction_items
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message


class Answerer(Policy):
    """Answers by a rule on the item that was asked."""

    gives = frozenset({"sample"})

    def __init__(self, rule: Callable[[InstructionItem], str], finish: str = "stop") -> None:
        self.encoder = TextEncoder(make_tokenizer(), max_length=256)
        self.rule, self.finish = rule, finish
        self.items = {item.prompt: item for item in instruction_items("test")}

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked = (list(prompts), sampling, list(keys))
        answers = [self.rule(self.items[prompt.messages[-1].content]) for prompt in prompts]
        return [(Completion(answer, (), self.finish, truncated=not answer),) for answer in answers]


def test_the_reference_answers_follow_every_instruction_and_say_the_right_thing() -> None:
    outcomes = list(InstructionFollowing().evaluate(Answerer(lambda item: item.reference), seed=0))
    assert len(outcomes) > 200
    assert all(set(outcome.metrics.values()) == {1.0} for outcome in outcomes)
    assert all(outcome.completions == (outcome.reference,) for outcome in outcomes)


def test_an_answer_to_another_question_follows_nothing() -> None:
    outcomes = list(InstructionFollowing().evaluate(Answerer(lambda item: "what ?"), seed=0))
    assert all(outcome.metrics["prompt_level"] == 0 for outcome in outcomes)
    assert all(outcome.metrics["instruction_level"] == 0 for outcome in outcomes)


def test_half_of_two_instructions_is_half_at_instruction_level_and_nothing_at_prompt_level() -> None:
    """An answer without its last word keeps the first of the two notes and loses the one at the end."""
    shortened = Answerer(lambda item: item.reference.rsplit(" ", 1)[0])
    both = [outcome for outcome in InstructionFollowing().evaluate(shortened, seed=0) if outcome.group == "both"]
    assert both
    for outcome in both:
        assert outcome.metrics["prompt_level"] == 0.0
        assert outcome.metrics["instruction_level"] == 0.5
        assert outcome.weights == {"instruction_level": 2.0}


def test_weighted_shares_add_up_to_the_share_of_all_instructions() -> None:
    outcomes = list(InstructionFollowing().evaluate(Answerer(lambda item: item.reference), seed=0))
    items = instruction_items("test")
    weights = [outcome.weights.get("instruction_level", 1.0) for outcome in outcomes]
    assert sum(weights) == sum(len(item.instructions) for item in items)


def test_a_true_answer_in_the_wrong_form_is_correct_and_follows_nothing() -> None:
    lowered = Answerer(lambda item: " ".join(part.arguments.get("word", "") for part in item.content) + " , .")
    kinds = {"start", "end", "both"}
    outcomes = [one for one in InstructionFollowing().evaluate(lowered, seed=0) if one.group in kinds]
    assert outcomes
    assert all(outcome.metrics == {"prompt_level": 0, "instruction_level": 0, "correct": 1} for outcome in outcomes)


def test_prompts_are_asked_once_greedily_with_the_items_as_keys() -> None:
    answerer = Answerer(lambda item: "")
    outcomes = list(InstructionFollowing(limit=3).evaluate(answerer, seed=4))
    prompts, sampling, keys = answerer.asked
    items = instruction_items("test", 3)
    assert sampling == Sampling(max_new_tokens=48, temperature=0.0, seed=4)
    assert prompts == [Prompt(messages=(Message("user", item.prompt),)) for item in items]
    assert keys == [item.id for item in items] == [outcome.item for outcome in outcomes]
    assert [outcome.cluster for outcome in outcomes] == [item.cluster for item in items]
    assert outcomes[0].prompt == f"<u> {items[0].prompt} <a> "
    assert outcomes[0].flags == ("truncated",)


def test_an_answer_that_ran_out_of_tokens_is_flagged() -> None:
    (outcome, *_) = InstructionFollowing(limit=1).evaluate(Answerer(lambda item: "so", finish="length"), seed=0)
    assert outcome.flags == ("unfinished",)


@pytest.mark.parametrize(("temperature", "stochastic"), [(0.0, False), (0.7, True)])
def test_the_seed_matters_only_above_temperature_zero(temperature: float, stochastic: bool) -> None:
    assert InstructionFollowing(temperature=temperature).stochastic is stochastic


def test_every_metric_is_declared_and_one_is_primary() -> None:
    declared = {metric.name for metric in InstructionFollowing().metrics()}
    outcomes = InstructionFollowing().evaluate(Answerer(lambda item: ""), seed=0)
    assert set().union(*(outcome.metrics for outcome in outcomes)) == declared
    assert [m.name for m in InstructionFollowing().metrics() if m.primary] == ["prompt_level"]


def test_splits_and_limits_have_their_own_digests() -> None:
    variants = [InstructionFollowing(), InstructionFollowing(split="validation"), InstructionFollowing(limit=3)]
    assert len({variant.data_digest() for variant in variants}) == 3
    assert InstructionFollowing().data_digest() == InstructionFollowing().data_digest()
