"""`bakeoff check BENCHMARK`: a benchmark that breaks one promise fails that clause, and says how."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from command_line import bakeoff

from harness.benchmark import Benchmark, Metric, Outcome
from harness.engine import registry
from harness.engine.contract import benchmarks as clauses
from harness.engine.contract.bench import Broken, NotApplicable
from harness.engine.contract.benchmarks import BENCHMARK_CLAUSES, BenchmarkBench
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem, TestSet

ITEMS = [f"item {at}" for at in range(40)]
COUNT = itertools.count()


@dataclass(frozen=True)
class Written(Benchmark):
    """Asks for a word and finds it."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True
    declared: ClassVar[tuple[Metric, ...]] = (Metric("found", "the word is there", role="quality"),)
    change: ClassVar[Callable[[Outcome, int], Any]] = lambda outcome, seed: outcome
    key: ClassVar[Callable[[str], str]] = lambda item: item

    def metrics(self) -> tuple[Metric, ...]:
        return self.declared

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        items = self.chosen(ITEMS, lambda item: item)
        prompts = [Prompt(messages=(Message("user", item),)) for item in items]
        answers = policy.sample(prompts, Sampling(4, seed=seed), [type(self).key(item) for item in items])
        for item, (answer,) in zip(items, answers, strict=True):
            outcome = Outcome(item, item, {"found": float("yes" in answer.text)}, item, (answer.text,))
            if (changed := type(self).change(outcome, seed)) is not None:
                yield changed

    def test_set(self) -> TestSet:
        return TestSet("written", tuple(TestItem(item, item) for item in ITEMS))

    def data_digest(self) -> str:
        return "1"


@dataclass(frozen=True)
class Chosen(Written):
    """Chooses among four answers by likelihood."""

    needs = frozenset({"score"})
    divisible = False
    declared: ClassVar[tuple[Metric, ...]] = (Metric("right", "the first is chosen", role="knowledge", chance=0.25),)
    others: ClassVar[int] = 3

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        for item in ITEMS:
            prompt, texts = Prompt(text=item), [f"answer {at}" for at in range(1 + self.others)]
            found = [score.logprob for score in policy.score([prompt] * len(texts), texts)]
            yield Outcome(item, item, {"right": float(found[0] == max(found))}, item)


def changing(**fields: Any) -> Callable[[Outcome, int], Outcome]:
    return lambda outcome, seed: dataclasses.replace(
        outcome, **{name: it(outcome, seed) if callable(it) else it for name, it in fields.items()}
    )


NAN = {"found": float("nan")}
FAULTS: dict[str, tuple[type[Benchmark], dict[str, Any], Callable[[Any], None], str]] = {
    "it is not deterministic": (
        Written, {"change": changing(metrics=lambda o, s: {"found": float(next(COUNT))})},
        clauses.equal_answers_give_equal_outcomes, "others from",
    ),
    "ids that follow the seed": (
        Written, {"change": changing(item=lambda o, s: f"{o.item}/{s}")},
        clauses.item_ids_are_those_of_every_policy_and_seed, "item",
    ),
    "ids that follow the answer": (
        Written, {"change": changing(item=lambda o, s: o.completions[0] + o.item)},
        clauses.item_ids_are_those_of_every_policy_and_seed, "item",
    ),
    "one id for all": (
        Written, {"change": changing(item="x")}, clauses.item_ids_are_those_of_every_policy_and_seed, "more than once"
    ),
    "a metric that is not declared": (
        Written, {"change": changing(metrics={"found": 1.0, "other": 1.0})},
        clauses.metrics_are_declared_and_finite, "other in item",
    ),
    "a metric that is missing": (
        Written, {"change": changing(metrics={})}, clauses.metrics_are_declared_and_finite, "no found"
    ),
    "a role that there is not": (
        Written, {"declared": (Metric("found", "", role="qualty"),)},  # type: ignore[arg-type]
        clauses.metrics_are_declared_and_finite,
        "the metric 'found' has the role 'qualty'; it is one of quality, knowledge, other",
    ),
    "a metric that is not finite": (
        Written, {"change": changing(metrics=NAN)}, clauses.metrics_are_declared_and_finite, "nan"
    ),
    "no level of chance": (
        Chosen, {"declared": (Metric("right", "", role="knowledge"),)},
        clauses.a_random_policy_lands_at_the_declared_chance, "none",
    ),
    "a wrong level of chance": (
        Chosen, {"others": 1}, clauses.a_random_policy_lands_at_the_declared_chance, "0."
    ),
    "an answer that breaks it": (
        Written, {"change": changing(metrics=lambda o, s: {"found": float(len(o.completions[0].split()[0]))})},
        clauses.hostile_answers_are_scored, "IndexError",
    ),
    "an empty answer that is left out": (
        Written, {"change": lambda o, s: o if o.completions[0].strip() else None},
        clauses.hostile_answers_are_scored, "none of",
    ),
    "one key for all": (Written, {"key": lambda item: "k"}, clauses.keys_tell_items_apart, "'k'"),
    "items that the test set lacks": (
        Written, {"test_set": lambda self: TestSet("x", ())}, clauses.the_test_set_has_the_items_of_the_outcomes,
        "missing",
    ),
    "a digest that changes": (
        Written, {"data_digest": lambda self: str(next(COUNT))}, clauses.what_decides_the_scores_is_in_the_key,
        "another of data",
    ),
    "no digest": (
        Written, {"data_digest": lambda self: ""}, clauses.what_decides_the_scores_is_in_the_key, "an empty one"
    ),
    "parts that are the whole": (
        Written, {"chosen": lambda self, items, cluster: list(items)}, clauses.parts_make_up_the_whole, "80"
    ),
}  # fmt: skip


def made(shape: type[Benchmark], changes: dict[str, Any]) -> Benchmark:
    wrapped = {name: staticmethod(it) if name in ("change", "key") else it for name, it in changes.items()}
    found: Benchmark = type("Faulty", (shape,), wrapped)()
    return found


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_the_clause_that_names_it(fault: str) -> None:
    shape, changes, clause, said = FAULTS[fault]
    assert clause in BENCHMARK_CLAUSES
    with pytest.raises(Broken) as broken:
        clause(BenchmarkBench(made(shape, changes)))
    assert said in broken.value.found


@pytest.mark.parametrize("shape", [Written, Chosen])
def test_a_sound_benchmark_keeps_every_promise(shape: type[Benchmark]) -> None:
    bench = BenchmarkBench(made(shape, {}))
    kept = 0
    for clause in BENCHMARK_CLAUSES:
        try:
            clause(bench)
            kept += 1
        except NotApplicable:
            continue
    assert kept >= 7


def test_a_chance_that_cannot_be_tested_is_said_to_be_untested() -> None:
    """A sampled answer has no random choice; the declared level is shown in the report all the same."""
    declared = (Metric("found", "the word is there", role="quality", chance=0.5),)
    with pytest.raises(NotApplicable, match=r"so the chance declared \(0\.5\) was not tested"):
        clauses.a_random_policy_lands_at_the_declared_chance(BenchmarkBench(made(Written, {"declared": declared})))
    with pytest.raises(NotApplicable) as skipped:
        clauses.a_random_policy_lands_at_the_declared_chance(BenchmarkBench(made(Written, {})))
    assert "declared" not in str(skipped.value)


LONG = {
    "call_or_ask", "divergence", "diversity", "instruction_following", "knowledge", "knowledge_answers", "layers",
    "ood", "random_choice", "refusal", "token_shift", "verification_gap",
}  # fmt: skip
OWN = [
    pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
    for name in ("call_or_ask", "divergence", "diversity", "instruction_following", "knowledge", "knowledge_answers",
                 "layers", "multi_turn", "ood", "perplexity", "prompt_echo", "random_choice",
                 "refusal", "stories", "token_shift", "verification_gap")
]  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_every_benchmark_that_brings_its_items_keeps_its_promises(name: str) -> None:
    bench = BenchmarkBench(registry.plugin_class("benchmarks", name)())
    for clause in BENCHMARK_CLAUSES:
        try:
            clause(bench)
        except NotApplicable:
            continue


def test_the_command_checks_a_benchmark_and_says_what_it_skips() -> None:
    done = bakeoff("check", "{stories: {split: validation}}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed   hostile answers are scored" in done.stdout
    assert "skipped  a random policy lands at the declared chance" in done.stdout
    assert "under `benchmarks:` of an experiment" in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("code_generation", "cannot be checked with these settings"),
        ("{math_problems: {data: nowhere.jsonl}}", "nowhere.jsonl"),
        ("{stories: {limt: 3}}", "Did you mean 'limit'?"),
    ],
)
def test_what_cannot_be_checked_is_one_message(text: str, said: str) -> None:
    done = bakeoff("check", text)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert "Traceback" not in done.stderr
