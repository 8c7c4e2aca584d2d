"""Within-model repetition: how alike are a policy's own answers to one open question (2510.22954, 2504.05228)?

Each prompt is answered `samples` times. Per prompt:

    similarity   the mean cosine of all pairs of answers              (Artificial Hivemind's intra-model similarity)
    agreement    the share of pairs that give the same answer: of known valid answers the one named, else the text
    distinct     classes of NoveltyBench's greedy partition, as a share of the samples
    vendi        the Vendi score of the cosines, as a share of the samples
    valid        the share of answers that name a valid one, where these are known: distinct noise is no diversity

The published protocol is 50 samples at top-p 0.9, temperature 1 and up to 2,048 tokens; the default is lighter.
Sampling noise is keyed with the policy's digest: shared noise would make two policies look alike. Without `embedder`
cosines are lexical. `threshold` decides when two long answers are one class; it belongs to the embedder, so take it
from that one's similarities between unrelated answers, never from another's.

Planned from measured cost: embedding apart, 50 answers to one prompt take about a millisecond here, so the study's 70
models x 100 prompts are seconds; drawing its 350,000 answers is what costs. Similarity between models is not here
yet: it needs the samples of two policies at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.records import Message
from harness.data.test_set import TestItem, TestSet
from harness.diversity.classes import partition
from harness.diversity.embedders import Embed, embedder
from harness.diversity.known import agreement
from harness.diversity.prompts import EMBEDDED, OpenPrompt, digest_of, open_prompts
from harness.diversity.similarity import mean_within
from harness.diversity.vendi import vendi_of
from harness.errors import UserError
from harness.method import setting
from harness.microworld.templates import prompt_templates
from harness.policy import Completion, Prompt, Sampling

if TYPE_CHECKING:
    from harness.policy import Policy


@dataclass(frozen=True)
class Diversity(Benchmark):
    """Open questions, each answered many times."""

    version = 1
    needs = frozenset({"sample"})
    stochastic = True

    prompts: str = setting(EMBEDDED, "the microworld's, a file, a folder or a hub set of prompts")
    split: str = setting("train", "the split of a folder or hub set")
    samples: int = setting(16, "answers per prompt, 2 or more")
    temperature: float = setting(1.0, "of the drawing")
    top_p: float = setting(0.9, "the likeliest tokens that reach this mass are drawn from")
    max_new_tokens: int = setting(32, "longest answer in tokens")
    embedder: str = setting("", "a sentence-embedding model by name or folder; none: words alone")
    threshold: float = setting(0.7, "cosine above which two answers of more than five words are one class")
    limit: int | None = setting(None, "ask only the first so many prompts")

    def __post_init__(self) -> None:
        if self.samples < 2 or self.temperature <= 0:
            raise UserError(
                f"samples is {self.samples} and temperature {self.temperature}",
                fix="Repetition needs two samples or more, drawn at a temperature above 0.",
            )

    def metrics(self) -> tuple[Metric, ...]:
        """Similarity first; more of it is less diversity."""
        lexical = "" if self.embedder else ", lexical"
        found = [
            Metric("similarity", f"mean cosine of two answers to one prompt{lexical}", higher_is_better=False),
            Metric("agreement", "chance that two answers are the same", higher_is_better=False),
            Metric("distinct", f"distinct answers as a share of the samples{lexical}", primary=False),
            Metric("vendi", f"Vendi score as a share of the samples{lexical}", primary=False),
        ]
        if self.prompts == EMBEDDED:
            found.append(Metric("valid", "share of answers that name a valid one"))
        return tuple(found)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt."""
        items = self._items()
        asked = [Prompt(messages=(Message("user", item.text),)) for item in items]
        sampling = Sampling(
            self.max_new_tokens, self.temperature, self.top_p, samples=self.samples, seed=seed, salt=policy.digest
        )
        drawn = policy.sample(asked, sampling, [item.id for item in items])
        embed = embedder(self.embedder)
        for item, prompt, answers in zip(items, asked, drawn, strict=True):
            texts = tuple(answer.text for answer in answers)
            yield Outcome(
                item=item.id,
                cluster=item.cluster,
                metrics=self._measured(item, texts, embed),
                prompt=policy.encoder.prompt_text(prompt),
                completions=texts,
                flags=_flags(answers),
            )

    def _measured(self, item: OpenPrompt, texts: Sequence[str], embed: Embed) -> dict[str, float]:
        units = embed(texts)
        classes = partition(texts, lambda first, at: bool(units[first] @ units[at] > self.threshold))
        named = [answer_of(item, text) for text in texts]
        found = {
            "similarity": mean_within(units) or 0.0,
            "agreement": agreement([name or text.strip() for name, text in zip(named, texts, strict=True)]) or 0.0,
            "distinct": len(set(classes)) / len(texts),
            "vendi": (vendi_of(units) or 0.0) / len(texts),
        }
        if item.valid:
            found["valid"] = sum(map(bool, named)) / len(texts)
        return found

    def data_digest(self) -> str:
        """Digest of the prompts with their valid answers."""
        return digest_of(self._items())

    def test_set(self) -> TestSet:
        """The prompts; that a valid answer is known is no contamination."""
        items = tuple(TestItem(item.id, item.text) for item in self._items())
        return TestSet("diversity", items, tuple(prompt_templates()) if self.prompts == EMBEDDED else ())

    def scorer_facts(self) -> dict[str, str]:
        """What compares the answers."""
        return {"embedder": self.embedder or "lexical"}

    def _items(self) -> list[OpenPrompt]:
        return open_prompts(self.prompts, self.split)[: self.limit]


def answer_of(item: OpenPrompt, text: str) -> str:
    """The first valid answer that a text names, or nothing."""
    return next((word for word in text.split() if word in item.valid), "")


def _flags(answers: Sequence[Completion]) -> tuple[str, ...]:
    raised = {
        "truncated": any(answer.truncated for answer in answers),
        "unfinished": any(answer.finish == "length" for answer in answers),
    }
    return tuple(name for name, up in raised.items() if up)
