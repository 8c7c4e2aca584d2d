"""The promises of every benchmark, checked by `bakeoff check` with policies that answer from a script and no model.

A benchmark that reads logits is checked with small models of random weights.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from harness.benchmark import Benchmark, Outcome
from harness.engine.contract.bench import NotApplicable, differing, expect
from harness.engine.soundness import fault_of
from harness.engine.store.keys import key_of
from harness.files import HARNESS
from harness.lazy import torch, transformers
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.causal import CausalPolicy
from harness.policy.encoding import TextEncoder
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling, Score

WORDS = ["yes", "no", "one", "two", "7", "red", "a", "b", "c", "d", "done", "the", "answer", "is", "total"]
HOSTILE = (
    "", " \n\t", "\x00\ufffd\u202e", "\ud800", "[" * 3000, '{"a": ' * 500, "(" * 200 + "a" * 200, "- " * 4000,
    "9" * 5000, "1e999999 NaN inf -0", "```python\nexit()\n```", "<think>", "\\boxed{" * 50, "%s%n{0}{{}}", "é" * 2000,
)  # fmt: skip
"""Answers that break careless scorers: empty, endless, nested, not text, numbers without end, marks never closed."""


class Scripted(Policy):
    """Answers each sample by a function of its key and number, and gives each text a log-probability by its hash."""

    gives = frozenset({"score", "sample", "text"})

    def __init__(self, encoder: TextEncoder, answer: Callable[[str, int], str], name: str) -> None:
        self.encoder, self.answer, self.name = encoder, answer, name
        self.keys: list[Sequence[str]] = []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """The scripted answers, cut at no stop string: a scorer sees what a model may write."""
        self.keys.append(tuple(keys))
        return [tuple(Completion(self.answer(key, n), (), "stop") for n in range(sampling.samples)) for key in keys]

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Log-probabilities between -9 and -1 that know nothing of what is right."""
        return [self._score(*pair) for pair in zip(prompts, completions, strict=True)]

    def _score(self, prompt: Prompt, completion: str) -> Score:
        share = (stream_of(self.name, repr(prompt), completion) % 2**53) / 2**53
        tokens = max(1, len(completion.split()))
        value = -(1 + 8 * share)
        return Score(value, tokens, False, (value / tokens,) * tokens)


class RandomModel(CausalPolicy):
    """A model of two layers with random weights, for a benchmark that reads logits, which no script has."""

    def __init__(self, encoder: TextEncoder, name: str) -> None:
        config = transformers.LlamaConfig(
            vocab_size=len(encoder.tokenizer),
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            initializer_range=0.3,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_of(name) % 2**31)
            model = transformers.AutoModelForCausalLM.from_config(config).requires_grad_(False)
        super().__init__(model, encoder)
        self.keys: list[Sequence[str]] = []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Its samples; the keys are noted."""
        self.keys.append(tuple(keys))
        return super().sample(prompts, sampling, keys)


class BenchmarkBench:
    """One benchmark and the policies that it is tried with."""

    def __init__(self, benchmark: Benchmark) -> None:
        self.benchmark = benchmark
        self.outcomes = cache(self._outcomes)

    @cached_property
    def encoder(self) -> TextEncoder:
        """The embedded tokenizer, with room for prompts of any length."""
        folder = HARNESS / "microworld" / "models" / "small"
        encoder = copy.copy(BaseModel(BaseSpec("microworld/small"), folder).encoder)
        encoder.max_length = 1 << 20
        return encoder

    def again(self) -> Benchmark:
        """The benchmark with the same settings and nothing cached."""
        made: Benchmark = dataclasses.replace(self.benchmark)  # type: ignore[type-var]
        return made

    def random(self, name: str) -> Scripted | RandomModel:
        """A policy that answers in a few random words; of a random model, if logits are read, with another as base."""
        if self.benchmark.reads_logits:
            policy, base = (RandomModel(self.encoder, own) for own in (name, "base"))
            policy.base = lambda: base
            return policy
        return Scripted(
            self.encoder,
            lambda key, n: " ".join(WORDS[stream_of(name, key, n, at) % len(WORDS)] for at in range(4)),
            name,
        )

    def _outcomes(self, name: str, seed: int = 0, repetition: int = 0) -> list[Outcome]:
        """The outcomes of a random policy."""
        return list(self.again().evaluate(self.random(name), seed))


def it_evaluates_a_policy(bench: BenchmarkBench) -> None:
    """A policy with random answers is scored without an error. All other clauses need this one."""
    found = bench.outcomes("a")
    expect(bool(found), "an outcome per item", "none")
    wrong = [type(one).__name__ for one in found if not isinstance(one, Outcome)]
    expect(not wrong, "outcomes", f"{wrong[:1]}")


def equal_answers_give_equal_outcomes(bench: BenchmarkBench) -> None:
    """Scoring is deterministic: the same answers and seed give the same outcomes, in the same order."""
    first, second = bench.outcomes("a"), bench.outcomes("a", 0, 1)
    different = [one.item for one, other in zip(first, second, strict=False) if one != other]
    expect(not different and len(first) == len(second), "the same outcomes twice", f"others from {different[:1]}")


def item_ids_are_those_of_every_policy_and_seed(bench: BenchmarkBench) -> None:
    """Comparisons are paired by item, so each item has one id of its own whoever answers it."""
    first = [(one.item, one.cluster, one.group) for one in bench.outcomes("a")]
    twice = [place for place, count in Counter((item, group) for item, _, group in first).items() if count > 1]
    expect(not twice, "an id of its own for each item", f"{twice[0][0]!r} more than once" if twice else "")
    for name, seed in (("b", 0), ("a", 1)):
        other = [(one.item, one.cluster, one.group) for one in bench.outcomes(name, seed)]
        moved = sorted({*first} ^ {*other})
        what = "the same items, clusters and groups for another policy or seed"
        expect(first == other, what, f"{moved[0] if moved else 'another order'}")


def metrics_are_declared_and_finite(bench: BenchmarkBench) -> None:
    """A metric that is not declared is not shown, and a metric that is missing would shift a mean."""
    file = Path(inspect.getfile(type(bench.again())))
    expect(not (fault := fault_of(bench.again(), file)), "declarations as benchmarks/README.md describes them", fault)
    declared = {metric.name for metric in bench.benchmark.metrics()}
    primary = [metric for metric in bench.benchmark.metrics() if metric.primary]
    expect(bool(declared), "at least one metric", "none")
    expect(bool(primary) or bool(bench.benchmark.joint_metrics()), "a primary metric", "none")
    for one in bench.outcomes("a"):
        if not bench.benchmark.open_metrics:
            unknown = sorted(set(one.metrics) - declared - {"chance"})
            expect(not unknown, "declared metrics alone", f"{', '.join(unknown)} in item {one.item!r}")
        if not bench.benchmark.sparse:
            missing = sorted(declared - set(one.metrics))
            expect(not missing, "every declared metric, or None", f"no {', '.join(missing)} in item {one.item!r}")
        _expect_finite(one)


def _expect_finite(one: Outcome) -> None:
    for name, value in one.metrics.items():
        known = value is None or (isinstance(value, (int, float)) and math.isfinite(value))
        expect(known, "finite numbers, or None", f"{name} = {value!r} in item {one.item!r}")


def a_random_policy_lands_at_the_declared_chance(bench: BenchmarkBench) -> None:
    """A choice by likelihood has a level of chance, which the report shows, and guessing reaches it and no more."""
    if bench.benchmark.needs != {"score"}:
        stated = [f"{one.chance:.3g}" for one in bench.benchmark.metrics() if one.primary and one.chance is not None]
        untested = f", so the chance declared ({', '.join(stated)}) was not tested" if stated else ""
        raise NotApplicable(f"its answers are written, and random texts are not random choices{untested}")
    outcomes = bench.outcomes("a") + bench.outcomes("b")
    for metric in (one for one in bench.benchmark.metrics() if one.primary):
        pairs = [(one.metrics.get(metric.name), one.metrics.get("chance", metric.chance)) for one in outcomes]
        values = [(value, chance) for value, chance in pairs if value is not None]
        if not values or any(value not in (0.0, 1.0) for value, _ in values):
            continue
        unstated = any(chance is None for _, chance in values)
        expect(not unstated, f"a chance level of {metric.name}: Metric(..., chance=0.25)", "none")
        found = sum(value for value, _ in values) / len(values)
        chances = [float(chance) for _, chance in values if chance is not None]
        level = sum(chances) / len(chances)
        spread = math.sqrt(sum(chance * (1 - chance) for chance in chances)) / len(chances)
        what = f"{metric.name} of a random policy at its chance of {level:.3g} within four standard errors"
        expect(abs(found - level) <= 4 * spread + 1 / len(values), what, f"{found:.3g}")


def hostile_answers_are_scored(bench: BenchmarkBench) -> None:
    """Empty, endless and broken answers get a finite score like any other: a model writes them."""
    if "sample" not in bench.benchmark.needs:
        raise NotApplicable("it reads no written answers")
    if bench.benchmark.reads_logits:
        raise NotApplicable("it reads logits or asks the base, and written answers alone have none")
    items = {one.item for one in bench.outcomes("a")}
    for text in HOSTILE:
        shown = f"{text[:20]!r} ({len(text):,} characters)"
        policy = Scripted(bench.encoder, partial(_always, text), "hostile")
        try:
            found = list(bench.again().evaluate(policy, 0))
        except Exception as error:
            expect(False, f"a score of the answer {shown}", f"{type(error).__name__}: {error}")
        for one in found:
            _expect_finite(one)
        missing = sorted(items - {one.item for one in found})
        expect(not missing, f"an outcome of every item for the answer {shown}", f"none of {missing[:1]}")


def _always(text: str, key: str, number: int) -> str:
    return text


def keys_tell_items_apart(bench: BenchmarkBench) -> None:
    """Prompts of one call with one key would get the same noise, and so the same answer."""
    if "sample" not in bench.benchmark.needs:
        raise NotApplicable("it samples nothing")
    policy = bench.random("a")
    list(bench.again().evaluate(policy, 0))
    for keys in policy.keys:
        twice = [key for key, count in Counter(keys).items() if count > 1]
        expect(not twice, "a key of its own for each prompt of a call", f"{twice[:1]} more than once")


def the_test_set_has_the_items_of_the_outcomes(bench: BenchmarkBench) -> None:
    """Training data is searched for these texts, and what is found is said of these ids."""
    known = bench.benchmark.test_set()
    if known is None:
        raise NotApplicable("it has no `test_set`, so its items are not searched for in training data")
    asked, told = {one.item for one in bench.outcomes("a")}, {item.id for item in known.items}
    lacking = sorted(asked - told)
    expect(not lacking, "every item of the outcomes in `test_set`", f"{lacking[:1]} missing")
    empty = [item.id for item in known.items if not item.text.strip()]
    expect(not empty, "a text for every item", f"none of {empty[:1]}")


def what_decides_the_scores_is_in_the_key(bench: BenchmarkBench) -> None:
    """`version`, `data_digest` and `scorer_facts` are plain and the same each time, since they are part of the key."""
    expect(isinstance(getattr(bench.benchmark, "version", None), int), "`version`, a whole number", "none")
    told: list[dict[str, Any]] = [
        {"data": one.data_digest(), "facts": dict(one.scorer_facts())} for one in (bench.again(), bench.again())
    ]
    different = differing(told[0], told[1])
    expect(not different, "the same digest and facts twice", f"another of {', '.join(different)}")
    expect(bool(told[0]["data"]), "a `data_digest` of the items", "an empty one")
    key_of(told[0])


def parts_make_up_the_whole(bench: BenchmarkBench) -> None:
    """A run that may stop asks a part of the items at a time: no item is in two parts, and none is lost."""
    if not bench.benchmark.divisible:
        raise NotApplicable("it is not declared divisible")
    parts = [list(bench.again().within(*ends).evaluate(bench.random("a"), 0)) for ends in ((0, 0.4), (0.4, 1))]
    found, whole = (sorted(one.item for one in group) for group in (parts[0] + parts[1], bench.outcomes("a")))
    expect(found == whole, f"the {len(whole)} items once in two parts", f"{len(found)}")


BENCHMARK_CLAUSES: tuple[Callable[[Any], None], ...] = (
    it_evaluates_a_policy,
    equal_answers_give_equal_outcomes,
    item_ids_are_those_of_every_policy_and_seed,
    metrics_are_declared_and_finite,
    a_random_policy_lands_at_the_declared_chance,
    hostile_answers_are_scored,
    keys_tell_items_apart,
    the_test_set_has_the_items_of_the_outcomes,
    what_decides_the_scores_is_in_the_key,
    parts_make_up_the_whole,
)
