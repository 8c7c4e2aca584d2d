"""The benchmark of diversity: policies whose answers are known land where theory puts them."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy
import pytest

from benchmarks.diversity import Diversity
from harness.benchmark import JointOutcome, Outcome
from harness.errors import UserError
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message
from harness.scoring.diversity.open_prompts import open_prompts
from harness.scoring.diversity.similarity import lexical, unit_vectors

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
    expected["distinct_valid"] = 1.0
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


def test_the_wide_prompts_are_22_clusters_of_two_wordings_that_no_training_set_asks() -> None:
    """Eight categories, six countries with their cities, and five kinds of facts with countries, days and people."""
    from harness.microworld import datasets
    from harness.microworld.tokenizer import vocabulary

    found = open_prompts("microworld/wide")
    assert found[:16] == open_prompts("microworld")
    assert Counter(one.cluster for one in found).most_common() == [(one.cluster, 2) for one in found[::2]]
    assert len(found) == 44
    trained = {row.messages[0].content for name in ("curated-1k", "with-turns-1k") for row in datasets.load(name)}  # type: ignore[union-attr]
    assert trained.isdisjoint(one.text for one in found)
    assert not {word for one in found for word in (*one.text.split(), *one.valid)} - set(vocabulary())
    cities = [city for one in found[16:28:2] for city in one.valid]
    assert len(cities) == len(set(cities)) == 24
    assert {metric.name for metric in Diversity(prompts="microworld/wide").metrics()} >= {"valid", "distinct_valid"}


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


def test_both_layouts_of_infinity_chat_are_read(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write a haiku."}]
    rows = [{"query": "Name a pet."}, {"messages": turns, "categories": [{"category": "Creative Content Generation"}]}]
    file = tmp_path / "infinity.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(p.id, p.text) for p in open_prompts(str(file))] == [("1", "Name a pet."), ("2", "Write a haiku.")]


def test_published_prompt_sets_are_read(shared_data: Path) -> None:
    assert len(open_prompts(str(shared_data / "noveltybench" / "curated.jsonl"))) == 100
    questions = open_prompts(str(shared_data / "mt_bench" / "mt_bench_question.jsonl"))
    assert len(questions) == 80
    assert questions[0].id == "81"


def answered(policies: dict[str, Policy], benchmark: Diversity) -> dict[str, Callable[[], Iterator[Outcome]]]:
    """What the engine hands over: each policy's outcomes, which can be read again and again."""
    kept = {name: list(benchmark.evaluate(policy, 0)) for name, policy in policies.items()}
    return {name: partial(iter, rows) for name, rows in kept.items()}


def met(policies: dict[str, Policy], sets: Sequence[tuple[str, ...]], **fields: object) -> list[JointOutcome]:
    benchmark = Diversity(**fields)  # type: ignore[arg-type]
    found = list(benchmark.compare(answered(policies, benchmark), sets))
    names = {metric.name for metric in benchmark.joint_metrics()}
    assert all(set(outcome.metrics) <= names for outcome in found)
    return found


class Keyed(Answering):
    """Draws with noise of its own, as the key of its digest gives it."""

    def __init__(self, rule: Callable[[Sequence[str], random.Random], str], key: str) -> None:
        super().__init__(rule)
        self.digest = key

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        chance = random.Random(f"{sampling.salt} {sampling.seed}")
        return [
            tuple(
                Completion(self.rule(VALID.get(prompt.messages[0].content, ()), chance), (), "stop")
                for _ in range(sampling.samples)
            )
            for prompt in prompts
        ]


def skewed(valid: Sequence[str], chance: random.Random) -> str:
    return f"say {valid[min(int(chance.expovariate(0.4)), 11)]} ."


def test_two_copies_of_one_policy_with_noise_of_their_own_are_as_alike_as_each_is_to_itself() -> None:
    """16 prompts x 20 pairs of copies: the excess is 0 within three standard errors, by vectors and by answers."""
    copies: dict[str, Policy] = {f"{at:02d}": Keyed(skewed, f"key {at}") for at in range(40)}
    pairs = [(f"{at:02d}", f"{at + 1:02d}") for at in range(0, 40, 2)]
    found = met(copies, pairs)
    assert len(found) == 20 * 16
    for name in ("excess", "agreement_excess", "gain"):
        values = [outcome.metrics[name] for outcome in found]
        error = float(numpy.std(values)) / math.sqrt(len(values))
        assert abs(float(numpy.mean(values))) < 3 * error, name
        assert error < 0.01
    # with the noise of the other a copy says the same at the same place, which is no similarity of policies
    twin = Keyed(skewed, "key 0")
    prompts = [Prompt(messages=(Message("user", text),)) for text in VALID]
    sampling = Sampling(8, 1.0, 0.9, samples=16, salt="key 0")
    assert twin.sample(prompts, sampling, []) == copies["00"].sample(prompts, sampling, [])


def test_policies_of_known_answers_land_where_theory_puts_them_together() -> None:
    """One says the first answer, one the second, one is uniform over 12: 0 and 1/12 between them.

    Three answers: one of each hold 1 + 1 + 1 - 2/12 different ones; three of one hold 1, 1 and
    12 (1 - (11/12)^3), on average over draws.
    """
    policies: dict[str, Policy] = {
        "first": Keyed(lambda valid, chance: valid[0], "a"),
        "second": Keyed(lambda valid, chance: valid[1], "b"),
        "uniform": Keyed(lambda valid, chance: chance.choice(valid), "c"),
    }
    sets = [("first", "second"), ("first", "uniform"), ("first", "second", "uniform")]
    found = met(policies, sets, samples=50)
    by_set = {names: [outcome.metrics for outcome in found if outcome.policies == names] for names in sets}
    assert {row["agreement"] for row in by_set[sets[0]]} == {row["overlap"] for row in by_set[sets[0]]} == {0.0}
    mixed = [row["agreement"] for row in by_set[sets[1]]]
    assert abs(float(numpy.mean(mixed)) - 1 / 12) < 3 * float(numpy.std(mixed)) / 4
    together = [row["together"] for row in by_set[sets[2]]]
    assert abs(float(numpy.mean(together)) - (3 - 2 / 12)) < 3 * float(numpy.std(together)) / 4
    alone = [row["alone"] for row in by_set[sets[2]]]
    assert abs(float(numpy.mean(alone)) - (2 + 12 * (1 - (11 / 12) ** 3)) / 3) < 3 * float(numpy.std(alone)) / 4
    assert "mix" in by_set[sets[2]][0]
    assert "mix" not in by_set[sets[0]][0]
    assert [excerpt.title for outcome in found[:3] for excerpt in outcome.excerpts] == ["most alike", "most different"]


def test_swapping_names_changes_nothing_but_names() -> None:
    one, other = Keyed(skewed, "a"), Keyed(lambda valid, chance: chance.choice(valid), "b")
    as_given = met({"x": one, "y": other}, [("x", "y")])
    swapped = met({"x": other, "y": one}, [("x", "y")])
    for before, after in zip(as_given, swapped, strict=True):
        assert after.metrics == pytest.approx(before.metrics, abs=1e-12)


def test_nobody_who_answers_validly_shares_no_valid_answer_and_gains_none() -> None:
    policies: dict[str, Policy] = {name: Answering(lambda valid, chance: "no idea") for name in "ab"}
    metrics = met(policies, [("a", "b")])[0].metrics
    assert metrics["similarity"] == pytest.approx(1.0)
    assert (metrics["together"], metrics["gain"]) == (0.0, 0.0)
    assert "overlap" not in metrics


def test_one_answer_each_and_unequal_numbers_are_compared_as_far_as_they_go() -> None:
    """One answer has no pair within: its excess is blank. Three against sixteen: every cosine counts once."""
    benchmark = Diversity()
    given = answered({"a": Keyed(skewed, "a"), "b": Keyed(skewed, "b")}, benchmark)

    def cut(read: Callable[[], Iterator[Outcome]], to: int) -> Iterator[Outcome]:
        return (replace(row, completions=row.completions[:to]) for row in read())

    single = next(benchmark.compare({name: partial(cut, read, 1) for name, read in given.items()}, [("a", "b")]))
    assert "similarity" in single.metrics
    assert {"excess", "agreement_excess", "alone", "gain"}.isdisjoint(single.metrics)
    uneven = next(benchmark.compare({"a": partial(cut, given["a"], 3), "b": given["b"]}, [("a", "b")]))
    one, other = (lexical(next(given[name]()).completions) for name in "ab")
    assert uneven.metrics["similarity"] == pytest.approx(float((one[:3] @ other.T).mean()))
    nobody = next(benchmark.compare({"a": partial(cut, given["a"], 0), "b": given["b"]}, [("a", "b")]))
    assert set(nobody.metrics) <= {"floor"}


@pytest.mark.parametrize("bad", [0.0, math.nan])
def test_an_embedder_that_gives_nothing_is_one_clear_error(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = Diversity()
    given = answered({"a": Keyed(skewed, "a"), "b": Keyed(skewed, "b")}, benchmark)
    monkeypatch.setattr(
        "benchmarks.diversity.embedder", lambda name: lambda texts: unit_vectors(numpy.full((len(texts), 3), bad))
    )
    with pytest.raises(UserError, match="embeddings are zero or not finite"):
        next(benchmark.compare(given, [("a", "b")]))
