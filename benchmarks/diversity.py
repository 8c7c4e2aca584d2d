"""Diversity of answers to open questions, within a policy and between policies (2510.22954, 2504.05228).

Each prompt is answered `samples` times. Per prompt and policy:

    similarity      mean cosine of all pairs of answers              (Artificial Hivemind's intra-model similarity)
    agreement       share of pairs with equal answers: the valid answer named, where these are known, else the text
    distinct        classes of NoveltyBench's greedy partition, as a share of the samples
    vendi           Vendi score of the cosines, as a share of the samples
    valid           share of answers that name a valid one, where these are known, since random answers are diverse too
    distinct_valid  number of different valid answers

Per prompt and pair of policies, or all methods of a base model together (mean over their pairs):

    similarity, agreement  the same between an answer of the one and an answer of the other (inter-model similarity)
    excess                 similarity within policies minus similarity between them; 0 if they are indistinguishable
    agreement_excess       the same for agreement
    alike                  share of cosines above the threshold that 1 % of the pairs of unrelated answers exceed
    floor                  mean cosine of unrelated answers of all policies
    mix                    number of policies among the nearest answers to an answer, for the largest sets only
    overlap                valid answers that both give, as a share of those that either gives
    together, alone, gain  distinct valid answers expected in one answer of each, in as many of one, and the difference

The published protocol has 50 samples at top-p 0.9, temperature 1 and up to 2,048 tokens; the default is smaller. The
policy's digest is part of the sampling key, since shared noise would make two policies look similar. Without `embedder`
cosines are lexical. `threshold` decides whether two long answers are of one class. It depends on the embedder: derive
it from that embedder's `floor` between policies.

Cost of the comparison on two CPU cores, estimated from measured rates, without sampling and embedding, which cost far
more: the study's 70 models x 100 prompts x 50 samples are 350,000 vectors of 384 numbers, whose moments take 0.3 s; the
6e8 cosines for `alike` take about 10 s; `mix` sorts 3,500 x 3,500 cosines per prompt, minutes in all; 1.7 million rows.
The study's whole set of 26,000 prompts has 450 million rows, too many for one table here: ten models at a time make 8
million.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Answered, Benchmark, Excerpt, JointOutcome, Metric, Outcome
from harness.errors import UserError
from harness.method import setting
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Prompt, Sampling, flags_of
from harness.records import Message, TestItem, TestSet
from harness.scoring.diversity.crowd import Crowd, Said, SimilarityFloor, embedded, floor_of
from harness.scoring.diversity.distinct import agreement, partition
from harness.scoring.diversity.open_prompts import EMBEDDED, MICROWORLD, OpenPrompt, open_prompts, prompts_digest
from harness.scoring.diversity.similarity import Embed, embedder, mean_within, vendi_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy

EXCERPTS = 100
"""Number of prompts for which the most and the least similar answers are kept as excerpts."""


@dataclass(frozen=True)
class Diversity(Benchmark):
    """Open questions, each answered many times."""

    version = 2
    needs = frozenset({"sample"})
    sparse = True
    stochastic = True

    prompts: str = setting(EMBEDDED, "microworld, microworld/wide, or a file, folder or hub id with prompts", path=True)
    split: str = setting("train", "split of a folder or hub id")
    samples: int = setting(16, "answers per prompt, at least 2")
    temperature: float = setting(1.0, "sampling temperature")
    top_p: float = setting(0.9, "samples from the likeliest tokens that reach this probability mass")
    max_new_tokens: int = setting(32, "longest answer in tokens")
    embedder: str = setting("", "sentence-embedding model by name or folder; empty: lexical", path=True)
    threshold: float = setting(0.7, "cosine above which two answers of more than five words are of one class")
    limit: int | None = setting(None, "number of prompts; none: all", least=1)

    def __post_init__(self) -> None:
        if self.samples < 2 or self.temperature <= 0:
            raise UserError(
                f"samples is {self.samples} and temperature is {self.temperature}",
                fix="Use at least two samples and a temperature above 0.",
            )

    def metrics(self) -> tuple[Metric, ...]:
        """Similarity first; higher similarity means less diversity."""
        lexical = "" if self.embedder else ", lexical"
        found = [
            Metric("similarity", f"mean cosine of two answers to one prompt{lexical}", higher_is_better=False),
            Metric("agreement", "probability that two answers are equal", higher_is_better=False),
            Metric("distinct", f"distinct answers as a share of the samples{lexical}", primary=False),
            Metric("vendi", f"Vendi score as a share of the samples{lexical}", primary=False),
        ]
        if self.prompts in MICROWORLD:
            found.append(Metric("valid", "share of answers that name a valid one"))
            found.append(Metric("distinct_valid", "number of different valid answers", primary=False, unit="answers"))
        return tuple(found)

    def joint_metrics(self) -> tuple[Metric, ...]:
        """Similarity and agreement between policies first; higher values mean less diversity."""
        lexical = "" if self.embedder else ", lexical"
        found = [
            Metric("similarity", f"mean cosine of answers of two policies{lexical}", higher_is_better=False),
            Metric("agreement", "probability that answers of two policies are equal", higher_is_better=False),
            Metric("excess", f"similarity within policies minus similarity between them{lexical}", primary=False),
            Metric("agreement_excess", "agreement within policies minus agreement between them", primary=False),
            Metric("alike", f"share of cosines above 99 % of unrelated answers'{lexical}", "other", False, False),
            Metric("floor", f"mean cosine of answers to unrelated prompts{lexical}", primary=False),
            Metric("mix", f"policies among the nearest answers{lexical}", "other", False, False),
        ]
        if self.prompts in MICROWORLD:
            found += [
                Metric("overlap", "valid answers that both give, of those that either gives", "other", False, False),
                Metric("together", "distinct valid answers in one answer of each policy", primary=False),
                Metric("alone", "distinct valid answers in as many answers of one policy", primary=False),
                Metric("gain", "together minus alone", primary=False),
            ]
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
                flags=flags_of(answers),
            )

    def _measured(self, item: OpenPrompt, texts: Sequence[str], embed: Embed) -> dict[str, float]:
        if not texts:
            return {}
        units = embed(texts)
        classes = partition(texts, lambda first, at: bool(units[first] @ units[at] > self.threshold))
        named = [answer_of(item, text) for text in texts]
        effective = vendi_of(units)
        found = {
            "similarity": mean_within(units),
            "agreement": agreement(_said(item, texts)),
            "distinct": len(set(classes)) / len(texts),
            "vendi": None if effective is None else effective / len(texts),
            "valid": sum(map(bool, named)) / len(texts) if item.valid else None,
            "distinct_valid": float(len(set(named) - {""})) if item.valid else None,
        }
        return _computed(found)

    def compare(self, answered: Mapping[str, Answered], sets: Sequence[tuple[str, ...]]) -> Iterator[JointOutcome]:
        """One prompt at a time, so that memory holds the answers to one prompt."""
        items = {item.id: item for item in self._items()}
        embed = embedder(self.embedder)
        unrelated = ((rows[0].cluster, [t for row in rows for t in row.completions]) for rows in _together(answered))
        floor = floor_of(unrelated, len(items), embed)
        largest = max(map(len, sets))
        for number, rows in enumerate(_together(answered)):
            item = items[rows[0].item]
            texts = {name: row.completions for name, row in zip(answered, rows, strict=True)}
            crowd = Crowd(embedded(texts, embed))
            said = Said({name: _said(item, row) for name, row in texts.items()}, _valid(item, texts))
            for names in sets:
                is_largest = len(names) > 2 or largest == 2
                metrics = {**_between(crowd, said, names, floor), "mix": crowd.mix(names) if is_largest else None}
                shown = _excerpts(crowd, texts, names) if is_largest and number < EXCERPTS else ()
                prompt = rows[0].prompt if shown else ""
                yield JointOutcome(names, item.id, item.cluster, _computed(metrics), prompt=prompt, excerpts=shown)

    def data_digest(self) -> str:
        """Digest of the prompts with their valid answers."""
        return prompts_digest(self._items())

    def test_set(self) -> TestSet:
        """The prompts; training data may contain the valid answers."""
        items = tuple(TestItem(item.id, item.text) for item in self._items())
        return TestSet("diversity", items, tuple(prompt_templates()) if self.prompts in MICROWORLD else ())

    def scorer_facts(self) -> dict[str, str]:
        """The embedder."""
        return {"embedder": self.embedder or "lexical"}

    def _items(self) -> list[OpenPrompt]:
        return open_prompts(self.prompts, self.split)[: self.limit]


def answer_of(item: OpenPrompt, text: str) -> str:
    """The first valid answer that a text names, or ""."""
    return next((word for word in text.split() if word in item.valid), "")


def _together(answered: Mapping[str, Answered]) -> Iterator[tuple[Outcome, ...]]:
    """The outcomes of all policies, prompt by prompt."""
    for rows in zip(*(read() for read in answered.values()), strict=True):
        if len({row.item for row in rows}) > 1:
            raise ValueError(f"the outcomes are of different prompts: {sorted({row.item for row in rows})}")
        yield rows


def _between(crowd: Crowd, said: Said, names: Sequence[str], floor: SimilarityFloor | None) -> dict[str, float | None]:
    """The joint metrics of a set of policies on one prompt; None for those that cannot be computed."""
    similarity, same = crowd.similarity(names), said.agreement(names)
    together, alone = said.together(names), said.alone(names)
    return {
        "similarity": similarity,
        "agreement": same,
        "excess": _difference(crowd.within(names), similarity),
        "agreement_excess": _difference(said.within(names), same),
        "alike": crowd.alike(names, floor.threshold) if floor else None,
        "floor": floor.mean if floor else None,
        "overlap": said.overlap(names),
        "together": together,
        "alone": alone,
        "gain": _difference(together, alone),
    }


def _excerpts(crowd: Crowd, texts: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[Excerpt, ...]:
    """The most and the least similar pair of answers of different policies."""
    found = crowd.extremes(names)
    if found is None:
        return ()
    shown = []
    for title, pair in zip(("most alike", "most different"), found, strict=True):
        places = (pair.one, pair.other)
        said = tuple(texts[name][at] for name, at in places)
        shown.append(Excerpt(title, pair.cosine, tuple(name for name, _ in places), said))
    return tuple(shown)


def _said(item: OpenPrompt, texts: Sequence[str]) -> list[str]:
    """The value of each answer: the valid answer that it names, else its text."""
    return [answer_of(item, text) or text.strip() for text in texts]


def _valid(item: OpenPrompt, texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | None:
    """Policy -> the valid answers that it names; None where valid answers are unknown."""
    if not item.valid:
        return None
    return {name: [word for text in row if (word := answer_of(item, text))] for name, row in texts.items()}


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _computed(values: Mapping[str, float | None]) -> dict[str, float]:
    """The values that could be computed."""
    return {name: value for name, value in values.items() if value is not None}
