"""Asked to choose at random, how evenly does a policy choose? Exact chances of every option, without sampling.

With p the chances of the k listed options, which are those of the answers less what they leave to other answers:

    entropy      -sum p ln p / ln k           1 where all options are equally likely, 0 where one is certain
    distance     sum |p - 1/k| / 2            the total variation from choosing evenly
    favourite    max p                        the chance of the likeliest option
    listed       the chance that an answer begins with one of the options, before that
    exploited    what the best reply wins per game of rock, paper, scissors: 1 for a win, -1 for a loss; 0 if even

A policy that scores gives these chances exactly, so that no number of samples hides a preference (random numbers as a
test of variety: Artificial Hivemind, 2510.22954; NoveltyBench, 2504.05228). The chance of an option is that of its
tokens as the whole beginning of an answer; no option may begin another one, so that 1 and 10 cannot both be listed. The
English requests list their options forwards and backwards. Those of the microworld ask for a member of a category.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.method import setting
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Prompt, Score
from harness.records import Message, TestItem, TestSet
from harness.scoring.diversity.open_prompts import EMBEDDED
from harness.scoring.diversity.random_requests import GAME, RandomRequest, random_requests

if TYPE_CHECKING:
    from harness.policy.policy import Policy

BEATS = {"rock": "scissors", "paper": "rock", "scissors": "paper"}


@dataclass(frozen=True)
class RandomChoice(Benchmark):
    """Requests to choose at random, with the chance of every option."""

    version = 1
    needs = frozenset({"score"})
    divisible = True
    sparse = True

    data: str = setting(EMBEDDED, "microworld, english, or a file with prompt and options", path=True)
    split: str = setting("train", "split of a folder or hub id")
    limit: int | None = setting(None, "number of requests; none: all", least=1)

    def metrics(self) -> tuple[Metric, ...]:
        """Entropy first; then how far it is from even, and how much of the chance is that of the options."""
        found = [
            Metric("entropy", "entropy of the options, as a share of the largest"),
            Metric("distance", "total variation from choosing evenly", primary=False, higher_is_better=False),
            Metric("favourite", "chance of the likeliest option", primary=False, higher_is_better=False),
            Metric("listed", "chance of an answer that begins with an option", primary=False),
        ]
        if any(is_game(item) for item in self._items()):
            lost = "what the best reply wins per game of rock, paper, scissors"
            found.append(Metric("exploited", lost, primary=False, higher_is_better=False, unit="wins"))
        return tuple(found)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per request; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.kind)
        prompts = [Prompt(messages=(Message("user", item.text),)) for item in items]
        asked = [(prompt, option) for item, prompt in zip(items, prompts, strict=True) for option in item.options]
        scores = iter(policy.score([prompt for prompt, _ in asked], [option for _, option in asked]))
        for item, prompt in zip(items, prompts, strict=True):
            own = [next(scores) for _ in item.options]
            yield _outcome(item, own, policy.encoder.prompt_text(prompt))

    def data_digest(self) -> str:
        """Digest of the requests with their options."""
        text = "\1".join(repr(asdict(item)) for item in self._items())
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The requests, none of which has a right answer."""
        items = tuple(TestItem(item.id, item.text) for item in self._items())
        return TestSet("random_choice", items, prompt_templates() if self.data == EMBEDDED else ())

    def _items(self) -> list[RandomRequest]:
        return random_requests(self.data, self.split)[: self.limit]


def is_game(item: RandomRequest) -> bool:
    """Whether the options are those of rock, paper, scissors."""
    return item.kind == GAME or set(item.options) == set(BEATS)


def measured(item: RandomRequest, logprobs: Sequence[float]) -> dict[str, float]:
    """The metrics of a request; logprobs are those of its options, in their order."""
    chances = [math.exp(one) for one in logprobs]
    highest = max(logprobs)
    shares = [math.exp(one - highest) for one in logprobs]
    shares = [share / sum(shares) for share in shares]
    found = {
        "entropy": -sum(share * math.log(share) for share in shares if share > 0) / math.log(len(shares)),
        "distance": sum(abs(share - 1 / len(shares)) for share in shares) / 2,
        "favourite": max(shares),
        "listed": min(sum(chances), 1.0),
    }
    if is_game(item):
        by_name = dict(zip(item.options, shares, strict=True))
        loser = {beaten: winner for winner, beaten in BEATS.items()}
        found["exploited"] = max(by_name[BEATS[reply]] - by_name[loser[reply]] for reply in BEATS)
    return found


def _outcome(item: RandomRequest, scores: Sequence[Score], prompt: str) -> Outcome:
    logprobs = [score.logprob for score in scores]
    return Outcome(
        item=item.id,
        cluster=item.kind,
        metrics=measured(item, logprobs),
        prompt=prompt,
        completions=(item.options[logprobs.index(max(logprobs))],),
        flags=("truncated",) if any(score.truncated for score in scores) else (),
    )
