"""Stories: the total decides, whatever else is said, and the lengths are shown apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.stories import Stories
from harness.microworld import datasets
from harness.microworld.tokenizer import make_tokenizer
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Problem


class Teller(Policy):
    """Closes every story with its total plus `off`."""

    gives = frozenset({"sample"})

    def __init__(self, off: int = 0) -> None:
        self.encoder = TextEncoder(make_tokenizer(), max_length=256)
        self.off = off
        problems = [p for p in datasets.load("stories", "test") if isinstance(p, Problem)]
        self.totals = {problem.prompt[0].content: int(problem.reference) for problem in problems}

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        totals = [self.totals[prompt.messages[-1].content] + self.off for prompt in prompts]
        return [(Completion(f"count : 1 + 1 = 2 . total {total} .", (), "stop"),) for total in totals]


def test_the_right_total_solves_every_story_and_any_other_none() -> None:
    assert {o.metrics["solved"] for o in Stories().evaluate(Teller(), seed=0)} == {1.0}
    assert {o.metrics["solved"] for o in Stories().evaluate(Teller(off=1), seed=0)} == {0.0}


def test_two_hundred_stories_of_one_to_five_steps_are_grouped_by_their_length() -> None:
    groups = Counter(outcome.group for outcome in Stories().evaluate(Teller(), seed=0))
    assert groups == {"1 step": 40, "2 steps": 40, "3 steps": 40, "4 steps": 40, "5 steps": 40}


def test_no_training_story_has_four_steps() -> None:
    prompts = [p.prompt[0].content for p in datasets.load("stories", "train") if isinstance(p, Problem)]
    assert {prompt.count(" . ") - 1 for prompt in prompts} == {1, 2, 3, 5}


def test_a_temperature_makes_the_seed_matter() -> None:
    assert not Stories().stochastic
    assert Stories(temperature=0.7).stochastic
