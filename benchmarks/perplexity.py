"""The likelihood of held-out text, in bits per byte and nats per token, as a measure of forgetting.

    bits_per_byte(document) = -log2 p(document | request) / bytes        nats_per_token = -ln p / tokens

A document's weight is its length, so means over documents are those of the whole text, and exp of the mean of
`nats_per_token` is the perplexity. Both are logarithms already, so their scale is linear: a difference of nats is the
logarithm of a ratio of perplexities. Bits per byte are comparable between tokenizers, nats per token are not.

Text is scored as the answer to one fixed request, not after an empty prompt: a method that acts only on prompts (an
intervention on hidden states, examples in the context) would leave it unchanged and seem to forget nothing. For the
same reason the request is a turn of a conversation, which every method renders in its own way. Absolute values are
therefore those of text in a reply; the difference from the base model is what counts. A policy that only samples is
n/a.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks._held_out_text import HeldOutText
from harness.benchmark import Metric, Outcome
from harness.microworld.corpus import CorpusDocument
from harness.policy.types import Prompt, Score
from harness.records import Message

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Perplexity(HeldOutText):
    """Documents, each scored whole as the answer to the same request."""

    version = 1

    def metrics(self) -> tuple[Metric, ...]:
        """Bits per byte first; lower is better."""
        return (
            Metric("bits_per_byte", "surprise at held-out text", higher_is_better=False, by_group=True, unit="bits"),
            Metric("nats_per_token", "surprise at held-out text", primary=False, higher_is_better=False, unit="nats"),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per document or piece of one; the seed changes nothing."""
        items = self.chosen(self._items(), lambda item: item.about)
        prompt = Prompt(messages=(Message("user", self._request()),))
        scores = policy.score([prompt] * len(items), [item.text for item in items])
        shown = policy.encoder.prompt_text(prompt)
        for item, score in zip(items, scores, strict=True):
            yield _outcome(item, score, shown)


def _outcome(item: CorpusDocument, score: Score, prompt: str) -> Outcome:
    size = len(item.text.encode("utf-8", "surrogatepass"))
    return Outcome(
        item=item.id,
        cluster=item.about,
        group=item.kind,
        metrics={
            "bits_per_byte": -score.logprob / math.log(2) / size,
            "nats_per_token": -score.logprob / max(1, score.tokens),
        },
        weights={"bits_per_byte": float(size), "nats_per_token": float(max(1, score.tokens))},
        prompt=prompt,
        completions=(item.text,),
        flags=("truncated",) if score.truncated else (),
    )
