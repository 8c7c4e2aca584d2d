"""Call or ask: each answer is right for its half of the requests, and no word of them is new to the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.call_or_ask import CallOrAsk
from harness.microworld import datasets
from harness.microworld.phrases import FUNCTIONS, INCOMPLETE_REQUESTS
from harness.microworld.tokenizer import make_tokenizer, vocabulary
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import PreferencePair, Record


class Answerer(Policy):
    """Answers by a rule on the pair that was asked."""

    gives = frozenset({"sample"})

    def __init__(self, rule: Callable[[PreferencePair], str]) -> None:
        self.encoder = TextEncoder(make_tokenizer(), max_length=256)
        self.rule = rule
        self.pairs = {pair.prompt[0].content: pair for pair in pairs("test")}

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        return [(Completion(self.rule(self.pairs[p.messages[-1].content]), (), "stop"),) for p in prompts]


def pairs(split: str) -> list[PreferencePair]:
    return [pair for pair in datasets.load("call-or-ask", split) if isinstance(pair, PreferencePair)]


def shares(rule: Callable[[PreferencePair], str], metric: str = "exact") -> dict[str, float]:
    outcomes = list(CallOrAsk().evaluate(Answerer(rule), seed=0))
    groups = {outcome.group for outcome in outcomes}
    assert len(outcomes) == 200
    return {group: sum(o.metrics[metric] for o in outcomes if o.group == group) / 100 for group in sorted(groups)}


def test_the_chosen_answers_are_right_and_the_rejected_ones_wrong() -> None:
    assert shares(lambda pair: pair.chosen) == {"complete": 1.0, "incomplete": 1.0}
    assert shares(lambda pair: pair.rejected) == {"complete": 0.0, "incomplete": 0.0}


def test_always_asking_or_always_calling_is_right_for_at_most_half() -> None:
    def asks(pair: PreferencePair) -> str:
        return next(text for text in (pair.chosen, pair.rejected) if text.startswith("which"))

    def calls(pair: PreferencePair) -> str:
        return next(text for text in (pair.chosen, pair.rejected) if text.startswith("{"))

    assert shares(asks) == {"complete": 0.0, "incomplete": 1.0}
    assert shares(calls) == {"complete": 1.0, "incomplete": 0.0}
    assert shares(calls, "called") == {"complete": 1.0, "incomplete": 1.0}
    assert shares(asks, "asked") == {"complete": 1.0, "incomplete": 1.0}


def test_every_argument_of_every_function_can_be_left_out() -> None:
    assert {function: set(ways) for function, ways in INCOMPLETE_REQUESTS.items()} == {
        function: set(arguments) for function, arguments in FUNCTIONS.items()
    }


def test_an_incomplete_request_does_not_name_what_is_missing() -> None:
    for ways in INCOMPLETE_REQUESTS.values():
        for missing, request in ways.items():
            assert f"{{{missing}}}" not in request
            assert all(f"{{{name}}}" in request for name in ways if name != missing)


def test_no_word_is_unknown_and_no_request_of_two_splits_is_the_same() -> None:
    def prompts(split: str) -> set[str]:
        return {pair.prompt[0].content for pair in pairs(split)}

    def said(record: Record) -> list[str]:
        assert isinstance(record, PreferencePair)
        return " ".join([record.prompt[0].content, record.chosen, record.rejected]).split()

    everything = {word for split in ("train", "validation", "test") for pair in pairs(split) for word in said(pair)}
    assert not everything - set(vocabulary())
    assert not prompts("train") & (prompts("validation") | prompts("test"))
