"""Repetition within a policy, and likeness between policies, on open questions (2510.22954, 2504.05228).

Each prompt is answered `samples` times. Per prompt and policy:

    similarity      the mean cosine of all pairs of answers              (Artificial Hivemind's intra-model similarity)
    agreement       the share of pairs that give the same answer: of known valid answers the one named, else the text
    distinct        classes of NoveltyBench's greedy partition, as a share of the samples
    vendi           the Vendi score of the cosines, as a share of the samples
    valid           the share of answers that name a valid one, where these are known: distinct noise is no diversity
    distinct_valid  how many different valid ones

Per prompt and pair of policies, or all methods of a base together (mean over their pairs):

    similarity, agreement  the same between an answer of the one and an answer of the other (inter-model similarity)
    excess                 similarity within them less similarity between them: 0, and nothing tells them apart
    agreement_excess       the same of agreement
    alike                  share of cosines above what unrelated answers exceed in one pair of a hundred
    floor                  the mean cosine of unrelated answers, to answers of all policies
    mix                    of how many policies the nearest answers to an answer are, for the largest sets alone
    overlap                valid answers that both give, as a share of those that one gives
    together, alone, gain  distinct valid answers expected in one answer of each, in as many of one, the difference

The published protocol is 50 samples at top-p 0.9, temperature 1 and up to 2,048 tokens; the default is lighter.
Sampling noise is keyed with the policy's digest: shared noise would make two policies look alike. Without `embedder`
cosines are lexical. `threshold` decides when two long answers are one class; it belongs to the embedder, so take it
from that one's `floor` between policies, never from another's.

On paper, by the project's measured rates (notes/performance.md, section 7, two CPU cores; an embedder's time and the
drawing of the answers, which cost far more, left out). The study's 70 models x 100 prompts x 50 samples: 350,000
vectors of 384, whose moments take 0.3 s; 241,500 pairs of models at a prompt, whose 6e8 cosines for `alike` take about
10 s; `mix` sorts 3,500 x 3,500 cosines a prompt, minutes in all; 1.7 million rows. Its whole set of 26,000 prompts: 260
times as much, and 450 million rows, too many for one table here: compare ten models at a time, 8 million rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Answered, Benchmark, Excerpt, JointOutcome, Metric, Outcome
from harness.errors import UserError
from harness.method import setting
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, TestItem, TestSet
from harness.scoring.diversity.crowd import Crowd, Said, SimilarityFloor, embedded, floor_of
from harness.scoring.diversity.distinct import agreement, partition
from harness.scoring.diversity.open_prompts import EMBEDDED, OpenPrompt, open_prompts, prompts_digest
from harness.scoring.diversity.similarity import Embed, embedder, mean_within, vendi_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy

EXCERPTS = 100
"""Prompts of which the most alike and the most different answers are kept: they are for reading."""


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
    limit: int | None = setting(None, "ask only the first so many prompts", least=1)

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
            found.append(Metric("distinct_valid", "different valid ones among them", primary=False, unit="answers"))
        return tuple(found)

    def joint_metrics(self) -> tuple[Metric, ...]:
        """Similarity and agreement between policies first; more of them is less diversity."""
        lexical = "" if self.embedder else ", lexical"
        found = [
            Metric("similarity", f"mean cosine of answers of two policies{lexical}", higher_is_better=False),
            Metric("agreement", "chance that answers of two policies are the same", higher_is_better=False),
            Metric("excess", f"similarity within policies less similarity between them{lexical}", primary=False),
            Metric("agreement_excess", "agreement within policies less agreement between them", primary=False),
            Metric("alike", f"share of cosines above unrelated answers' 99 %{lexical}", "other", False, False),
            Metric("floor", f"mean cosine of answers to unrelated prompts{lexical}", primary=False),
            Metric("mix", f"policies among the nearest answers{lexical}", "other", False, False),
        ]
        if self.prompts == EMBEDDED:
            found += [
                Metric("overlap", "valid answers that both give, of those that one gives", "other", False, False),
                Metric("together", "distinct valid answers in one answer of each", primary=False),
                Metric("alone", "distinct valid answers in as many answers of one", primary=False),
                Metric("gain", "the first less the second", primary=False),
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
                flags=_flags(answers),
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
        """Prompt by prompt, so that the answers to one prompt are in memory at a time."""
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
                everybody = len(names) > 2 or largest == 2
                metrics = {**_between(crowd, said, names, floor), "mix": crowd.mix(names) if everybody else None}
                shown = _excerpts(crowd, texts, names) if everybody and number < EXCERPTS else ()
                prompt = rows[0].prompt if shown else ""
                yield JointOutcome(names, item.id, item.cluster, _computed(metrics), prompt=prompt, excerpts=shown)

    def data_digest(self) -> str:
        """Digest of the prompts with their valid answers."""
        return prompts_digest(self._items())

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


def _together(answered: Mapping[str, Answered]) -> Iterator[tuple[Outcome, ...]]:
    """Everybody's outcomes of one prompt after the other."""
    for rows in zip(*(read() for read in answered.values()), strict=True):
        if len({row.item for row in rows}) > 1:
            raise ValueError(f"the outcomes are of different prompts: {sorted({row.item for row in rows})}")
        yield rows


def _between(crowd: Crowd, said: Said, names: Sequence[str], floor: SimilarityFloor | None) -> dict[str, float | None]:
    """What a set of policies has in common on one prompt; None for what cannot be computed."""
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
    """The most alike and the most different two answers of different policies."""
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
    """What each answer gives: the valid answer that it names, else its text."""
    return [answer_of(item, text) or text.strip() for text in texts]


def _valid(item: OpenPrompt, texts: Mapping[str, Sequence[str]]) -> dict[str, list[str]] | None:
    """Policy -> the valid answers that it names; None where nobody has listed them."""
    if not item.valid:
        return None
    return {name: [word for text in row if (word := answer_of(item, text))] for name, row in texts.items()}


def _difference(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _computed(values: Mapping[str, float | None]) -> dict[str, float]:
    """Without those that cannot be computed."""
    return {name: value for name, value in values.items() if value is not None}


def _flags(answers: Sequence[Completion]) -> tuple[str, ...]:
    raised = {
        "truncated": any(answer.truncated for answer in answers),
        "unfinished": any(answer.finish == "length" for answer in answers),
    }
    return tuple(name for name, up in raised.items() if up)
