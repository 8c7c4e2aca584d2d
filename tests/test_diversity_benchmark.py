"""The benchmark of diversity: policies whose answers are known land where theory puts them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import pytest

from benchmarks.diversity import Diversity
from harness.diversity.embedders import lexical
from harness.diversity.prompts import open_prompts
from harness.encoding import TextEncoder
from harness.errors import UserError
from harness.microworld.tokenizer import make_tokenizer
from harness.policy import Completion, Policy, Prompt, Sampling

VALID = {prompt.text: prompt.valid for prompt in open_prompts("microworld")}


class Answering(Policy):
    """Answers by a rule that is given the valid answers to a prompt."""

    gives = frozenset({"sample"})
    digest = "mine"

    def __init__(self, rule: Callable[[Sequence[str], random.Random], str]) -> None:
        self.encoder, self.rule = TextEncoder(make_tokenizer(), max_length=256), rule
        self.asked: list[Sampling] = []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked.append(sampling)
        chance = random.Random(sampling.seed)
        texts = [
            [self.rule(VALID.get(prompt.messages[0].content, ()), chance) for _ in range(sampling.samples)]
            for prompt in prompts
        ]
        return [tuple(Completion(text, (), "stop") for text in row) for row in texts]


def means(policy: Policy, seeds: int = 1, **fields: object) -> dict[str, tuple[float, float]]:
    """Each metric's mean over prompts and seeds, with its standard error."""
    values: dict[str, list[float]] = {}
    for seed in range(seeds):
        for outcome in Diversity(**fields).evaluate(policy, seed):  # type: ignore[arg-type]
            for name, value in outcome.metrics.items():
                values.setdefault(name, []).append(value)
    return {name: (float(numpy.mean(v)), float(numpy.std(v) / math.sqrt(len(v)))) for name, v in values.items()}


def test_a_policy_that_always_says_one_thing_has_one_answer() -> None:
    found = means(Answering(lambda valid, chance: f"an animal : {valid[0]} ."))
    expected = {"similarity": 1.0, "agreement": 1.0, "distinct": 1 / 16, "vendi": 1 / 16, "valid": 1.0}
    assert {name: value for name, (value, _) in found.items()} == pytest.approx(expected)


def test_a_policy_that_is_uniform_over_known_answers_agrees_with_itself_in_one_of_so_many_pairs() -> None:
    """Twelve valid answers: agreement 1/12; and a wordless one in four does not change what is said of the rest."""
    agreement, error = means(Answering(lambda valid, chance: f"say {chance.choice(valid)} ."), seeds=40)["agreement"]
    assert abs(agreement - 1 / 12) < 3 * error
    assert error < 0.005
    mixed = means(Answering(lambda valid, chance: chance.choice([*valid[:3], "no idea"])), seeds=40)
    assert abs(mixed["valid"][0] - 3 / 4) < 3 * mixed["valid"][1]
    assert abs(mixed["agreement"][0] - 1 / 4) < 3 * mixed["agreement"][1]


def test_its_noise_is_the_policys_own_and_the_protocol_is_declared() -> None:
    policy = Answering(lambda valid, chance: valid[0])
    list(Diversity(samples=50).evaluate(policy, seed=3))
    assert policy.asked == [Sampling(32, 1.0, 0.9, samples=50, seed=3, salt="mine")]
    assert Diversity().stochastic


def test_the_embedded_prompts_name_categories_of_no_training_set() -> None:
    from harness.microworld import datasets

    assert len(VALID) == 16
    assert {len(valid) for valid in VALID.values()} == {12}
    trained = {row.messages[0].content for row in datasets.load("curated-1k")}  # type: ignore[union-attr]
    assert trained.isdisjoint(VALID)


@pytest.mark.parametrize("text", ["", "\x00" * 10, "\ud800", "<script>{{ 7 * 7 }}</script>", "a" * 1_000_000])
def test_hostile_answers_are_measured(text: str) -> None:
    found = means(Answering(lambda valid, chance: text), limit=2)
    assert found["similarity"][0] == pytest.approx(1.0)
    assert found["valid"][0] == 0.0


def test_words_alone_decide_what_lexical_calls_alike() -> None:
    """Equal words in another order are one vector; none shared are at right angles."""
    one, same, other = lexical(["the cat sat", "sat the cat", "five blue dogs"])
    assert one @ same == pytest.approx(1.0)
    assert one @ other == pytest.approx(0.0)


def test_one_sample_or_greedy_samples_say_nothing_of_repetition() -> None:
    for bad in ({"samples": 1}, {"temperature": 0.0}):
        with pytest.raises(UserError, match="samples is"):
            Diversity(**bad)  # type: ignore[arg-type]


def test_prompts_come_from_files_and_a_row_without_text_is_named(tmp_path: Path) -> None:
    rows = [{"prompt": "Say a colour."}, {"question_id": 81, "turns": ["Write a post.", "Shorter."]}]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(p.id, p.text) for p in open_prompts(str(file))] == [("1", "Say a colour."), ("81", "Write a post.")]
    found = means(Answering(lambda valid, chance: chance.choice(["red", "blue"])), prompts=str(file))
    assert "valid" not in found
    file.write_text('{"prompt": "x"}\n{"text": "y"}\n')
    with pytest.raises(UserError, match="no text under prompt") as refused:
        open_prompts(str(file))
    assert "row 2" in str(refused.value.where)


def test_published_prompt_sets_are_read(shared_data: Path) -> None:
    assert len(open_prompts(str(shared_data / "noveltybench" / "curated.jsonl"))) == 100
    questions = open_prompts(str(shared_data / "mt_bench" / "mt_bench_question.jsonl"))
    assert len(questions) == 80
    assert questions[0].id == "81"
