"""How well a model verifies its own answers: the generation-verification gap (Song et al. 2024, 2412.02674).

    gap(judge) = accuracy of the sample that the judge prefers - mean accuracy of the k samples of a problem

Three judges choose. `likelihood` is the model's own ln p(sample | problem) per token. `yes_no` is its own ln p(yes) -
ln p(no) when it is shown problem and sample and asked whether the answer is right. `verifier` knows the reference.
Where a judge's best samples tie, it chooses among them at random, and the value is their mean: a judge that tells
nothing apart has a gap of 0, and a random one has 0 on average. No judge of these samples has a larger gap than the
verifier, whose accuracy is pass@k. The difference between it and the own gaps is out of reach of a model that filters
its own samples. The relative gap of the paper is the mean gap over 1 minus the mean accuracy.

The paper filters samples by a threshold on the judge's score, and here the best of k is taken, so compare methods and
not levels with the paper. The judgement is a further turn of the conversation; a model that cannot read it judges at
random. Problems are the microworld's stories, or your own rows with a question and a number as the answer, as in
`math_problems`. A policy without log-probabilities is n/a.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.readers import label_of
from harness.errors import UserError
from harness.method import setting
from harness.microworld import datasets
from harness.microworld.phrases import prompt_templates
from harness.policy.types import Completion, Prompt, Sampling, flags_of
from harness.records import Message, Problem, TestItem, TestSet, digest_of
from harness.scoring.answers.verifiers import verifies
from harness.scoring.answers.word_problems import INSTRUCTION, problem_prompt, word_problems

if TYPE_CHECKING:
    from harness.policy.policy import Policy

EMBEDDED = "microworld"
QUESTIONS = {True: "is that answer true ?", False: "Is this answer right? Reply with yes or no."}
"""The question about an answer for the microworld, whose vocabulary is small, and for other text."""
REPLIES = {True: ("yes", "no"), False: ("Yes", "No")}


@dataclass(frozen=True)
class VerificationGap(Benchmark):
    """Each problem answered k times; judges choose among the answers."""

    version = 1
    needs = frozenset({"score", "sample"})
    stochastic = True
    divisible = True

    data: str = setting(EMBEDDED, "microworld, or a file or hub id with question and answer", path=True)
    split: str = setting("test", "split; test or validation for the microworld")
    limit: int | None = setting(None, "number of problems; none: all", least=1)
    samples: int = setting(8, "answers to each problem", least=2)
    temperature: float = setting(0.7, "sampling temperature")
    max_new_tokens: int = setting(64, "longest answer in tokens; 512 for problems such as GSM8K's")
    instruction: str = setting(INSTRUCTION, "text after each question, for data other than the microworld's")

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise UserError(f"temperature is {self.temperature}", fix="Set it above 0; at 0 all answers are equal.")

    def metrics(self) -> tuple[Metric, ...]:
        """Gaps first, whose chance is that of a judge that chooses at random; then accuracies."""
        return (
            Metric("sampled", "mean accuracy of the samples", role="quality"),
            Metric("gap_likelihood", "gain from the sample that is likeliest per token", chance=0.0),
            Metric("gap_yes_no", "gain from the sample that the model itself calls right", chance=0.0),
            Metric("gap_verifier", "gain from a sample that is right, if there is one: the ceiling", chance=0.0),
            Metric("likelihood", "accuracy of the likeliest sample", primary=False),
            Metric("yes_no", "accuracy of the sample that the model itself calls right", primary=False),
            Metric("verifier", "share of problems with a right sample", primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per problem."""
        items = self.chosen(self._items(), lambda item: item.id)
        prompts = [Prompt(messages=item.prompt) for item in items]
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, samples=self.samples, seed=seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        likelihoods, judgements = self._likelihoods(policy, prompts, drawn), self._judgements(policy, prompts, drawn)
        for at, (item, prompt, answers) in enumerate(zip(items, prompts, drawn, strict=True)):
            right = [float(verifies(item, answer.text)) for answer in answers]
            yield Outcome(
                item=item.id,
                cluster=item.id,
                metrics=gaps(right, {"likelihood": likelihoods[at], "yes_no": judgements[at], "verifier": right}),
                prompt=policy.encoder.prompt_text(prompt),
                completions=tuple(answer.whole for answer in answers),
                reference=item.reference,
                flags=flags_of(answers),
            )

    def _likelihoods(
        self, policy: Policy, prompts: Sequence[Prompt], drawn: Sequence[Sequence[Completion]]
    ) -> list[list[float]]:
        """ln p per token of every answer."""
        pairs = [(prompt, answer.text) for prompt, answers in zip(prompts, drawn, strict=True) for answer in answers]
        scores = policy.score([prompt for prompt, _ in pairs], [text for _, text in pairs])
        return _rows([score.per_token for score in scores], self.samples)

    def _judgements(
        self, policy: Policy, prompts: Sequence[Prompt], drawn: Sequence[Sequence[Completion]]
    ) -> list[list[float]]:
        """ln p(yes) - ln p(no) after every answer and the question about it."""
        embedded = self.data == EMBEDDED
        asked = [
            Prompt(messages=(*prompt.messages, Message("assistant", answer.text), Message("user", QUESTIONS[embedded])))
            for prompt, answers in zip(prompts, drawn, strict=True)
            for answer in answers
        ]
        replies = [reply for reply in REPLIES[embedded] for _ in asked]
        found = [score.logprob for score in policy.score([*asked, *asked], replies)]
        return _rows([yes - no for yes, no in zip(found[: len(asked)], found[len(asked) :], strict=True)], self.samples)

    def data_digest(self) -> str:
        """Digest of the problems with their answers, and of what is asked about a sample."""
        asked = (QUESTIONS[self.data == EMBEDDED], *REPLIES[self.data == EMBEDDED])
        return hashlib.sha256("\0".join((digest_of(self._items()), *asked)).encode()).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The problems, without their answers, whose numbers would match any text."""
        items = tuple(TestItem(item.id, item.prompt[-1].content) for item in self._items())
        embedded = self.data == EMBEDDED
        return TestSet(label_of(self.data), items, tuple(prompt_templates()) if embedded else ())

    def _items(self) -> list[Problem]:
        if self.data == EMBEDDED:
            return [one for one in datasets.load("stories", self.split) if isinstance(one, Problem)][: self.limit]
        return [
            Problem(problem_prompt(one.question, (), self.instruction).messages, one.answer, "final_number", one.id)
            for one in word_problems(self.data, self.split)[: self.limit]
        ]


def gaps(right: Sequence[float], judges: dict[str, Sequence[float]]) -> dict[str, float]:
    """The metrics of one problem: whether each sample is right, and what each judge thinks of it."""
    sampled, found = sum(right) / len(right), {}
    for name, thought in judges.items():
        best = [own for own, value in zip(right, thought, strict=True) if value == max(thought)]
        found[name] = sum(best) / len(best)
    return {"sampled": sampled, **found, **{f"gap_{name}": value - sampled for name, value in found.items()}}


def _rows(values: Sequence[float], width: int) -> list[list[float]]:
    return [list(values[start : start + width]) for start in range(0, len(values), width)]
