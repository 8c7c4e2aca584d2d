"""Open questions answered, and each answer set beside a given one: win, tie or loss by a model that judges.

MT-Bench's questions of two turns (Zheng et al. 2023, 2306.05685), AlpacaEval's instructions with their reference
outputs, or rows of your own. All methods meet the same opponent's answers, so their difference is paired by question.

    win              1, a half or 0, mean of both orders of the two answers
    win_cut          the same with both answers cut to the words of the shorter: does length win? (judges prefer long
                     answers, 2404.04475; a cut answer breaks off, so this is a control, not a better score)
    length           log of (1 + our words) / (1 + theirs)
    swapped_agree    how often the judge names the same winner when the answers change places
    repeats_agree    how often it says the same of the very same prompt again

The last two are the judge's own noise: at a `swapped_agree` of a half its verdicts are little more than places. The
judge is any OpenAI-compatible endpoint (a local vLLM serves one). Until one is named, cells are n/a.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.benchmark import Benchmark, Metric, Outcome
from harness.conversations import converse
from harness.data.endpoint import EndpointPolicy
from harness.data.faults import Faults
from harness.data.readers import label_of, rows_of
from harness.data.test_set import TestItem, TestSet
from harness.data.word_problems import flags_of
from harness.errors import UserError
from harness.judging import Judgement, Pair, cut_alike, judge
from harness.method import setting
from harness.policy import Completion, Prompt, Sampling

if TYPE_CHECKING:
    from harness.policy import Policy

NO_JUDGE = "no judge is named: set judge_url (up to /v1) and judge_model to an OpenAI-compatible endpoint"
IDS = ("question_id", "id")
QUESTIONS = ("turns", "prompt", "question", "instruction")
ANSWERS = ("answers", "answer", "output", "completion", "reference")


@dataclass(frozen=True)
class Question:
    """The user's turns, and the opponent's answer to each."""

    id: str
    group: str
    turns: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True)
class PairwiseJudge(Benchmark):
    """Every question answered once and judged in both orders."""

    version = 1
    needs = frozenset({"sample"})

    judge_url: str = setting("", "the judge's endpoint, http(s)://HOST/v1; empty: n/a")
    judge_model: str = setting("", "the judge's name there; empty: n/a")
    judge_key_variable: str = setting("", "the environment variable that holds its key; empty: none is sent")
    judge_tokens: int = setting(512, "longest reply of the judge in tokens")
    repeats: int = setting(2, "times that each order is judged; 2 or more measure the judge's own noise")
    length_control: bool = setting(True, "judge once more with both answers cut to one length")
    data: str = setting("HuggingFaceH4/mt_bench_prompts", "a file, a folder or a hub id of questions")
    split: str = setting("train", "which split of a folder or hub id")
    against: str = setting("", "a file of the opponent's answers by id; empty: they stand in the data itself")
    limit: int | None = setting(None, "only the first so many questions")
    temperature: float = setting(0.0, "of the answers; 0 takes the likeliest token")
    max_new_tokens: int = setting(1024, "longest answer in tokens")

    def __post_init__(self) -> None:
        object.__setattr__(self, "stochastic", self.temperature > 0)
        if self.repeats < 1:
            raise UserError(f"repeats is {self.repeats}", fix="Each order is judged at least once.")

    def unavailable(self) -> str:
        """Why its cells are n/a, or nothing."""
        return "" if self.judge_url and self.judge_model else NO_JUDGE

    def metrics(self) -> tuple[Metric, ...]:
        """Wins first, then what they may owe to length, and what the judge is worth."""
        found = [Metric("win", "wins against the given answers, ties count half", "quality", chance=0.5)]
        if self.length_control:
            found.append(Metric("win_cut", "the same with both answers cut to one length", primary=False, chance=0.5))
        found += [
            Metric("length", "log of our words over theirs", primary=False),
            Metric("swapped_agree", "share of judgements that survive a change of places", primary=False),
        ]
        if self.repeats > 1:
            found.append(Metric("repeats_agree", "share of judgements that are the same again", primary=False))
        found.append(Metric("unreadable", "share of replies without a verdict", primary=False, higher_is_better=False))
        return tuple(found)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per question."""
        if why := self.unavailable():
            raise UserError(f"pairwise_judge: {why}", fix="Name a judge, or leave the benchmark out.")
        items = self._items()
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        held = converse(policy, [item.turns for item in items], sampling, [item.id for item in items])
        pairs = [
            Pair(item.id, item.turns, tuple(answer.text for _, answer in told), item.theirs)
            for item, told in zip(items, held, strict=True)
        ]
        plain, cut = self._judged(pairs)
        for at, (item, pair, told) in enumerate(zip(items, pairs, held, strict=True)):
            yield self._outcome(item, pair, told, policy.encoder.prompt_text(told[-1][0]), plain[at], cut[at])

    def _judged(self, pairs: Sequence[Pair]) -> tuple[list[Judgement], Sequence[Judgement | None]]:
        asked = EndpointPolicy(self.judge_url, self.judge_model, self.judge_key_variable)
        sampling = Sampling(self.judge_tokens, samples=self.repeats)
        plain = judge(asked, pairs, sampling)
        if not self.length_control:
            return plain, [None] * len(pairs)
        return plain, judge(asked, [cut_alike(pair) for pair in pairs], sampling)

    def _outcome(
        self,
        item: Question,
        pair: Pair,
        told: Sequence[tuple[Prompt, Completion]],
        prompt: str,
        plain: Judgement,
        cut: Judgement | None,
    ) -> Outcome:
        words = [sum(len(text.split()) for text in texts) for texts in (pair.ours, pair.theirs)]
        measured = {
            "win": plain.win,
            "win_cut": cut.win if cut else None,
            "length": math.log((1 + words[0]) / (1 + words[1])),
            "swapped_agree": plain.swapped_agree,
            "repeats_agree": plain.repeats_agree,
            "unreadable": plain.unreadable,
        }
        return Outcome(
            item=item.id,
            cluster=item.id,
            group=item.group,
            metrics={name: value for name, value in measured.items() if value is not None},
            prompt=prompt,
            completions=pair.ours,
            reference="\n\n".join(pair.theirs),
            flags=tuple(dict.fromkeys(flag for _, answer in told for flag in flags_of(answer))),
        )

    def data_digest(self) -> str:
        """Digest of the questions and the opponent's answers; none is read without a judge."""
        if self.unavailable():
            return ""
        text = "\1".join(repr(item) for item in self._items())
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet | None:
        """The first turns."""
        if self.unavailable():
            return None
        return TestSet(label_of(self.data), tuple(TestItem(item.id, item.turns[0]) for item in self._items()))

    def scorer_facts(self) -> dict[str, str]:
        """Who judges."""
        return {"judge": self.judge_model}

    def _items(self) -> list[Question]:
        given = _answers_by_id(self.against) if self.against else None
        found = []
        for placed in rows_of(self.data, Faults(), self.split):
            found.append(_question(placed.row, placed.number, placed.where, given))
            if len(found) == self.limit:
                break
        return found


def _question(row: Mapping[str, Any], number: int, where: str, given: Mapping[str, Sequence[str]] | None) -> Question:
    """Raises UserError where there is no question, or no answer of the opponent to each of its turns."""
    identity = _id_of(row, number)
    turns = _texts(row, QUESTIONS)
    if not turns:
        raise UserError("a row without a question", where=where, fix=f"Name one of: {', '.join(QUESTIONS)}.")
    theirs = tuple(given.get(identity, ())) if given is not None else _texts(row, ANSWERS)
    if len(theirs) != len(turns):
        raise UserError(
            f"question {identity} has {len(turns)} turns and {len(theirs)} answers to win against",
            where=where,
            fix="Set against to a file of rows with id and answers, or give each row its answer.",
        )
    group = row.get("category")
    return Question(identity, group if isinstance(group, str) else "", turns, theirs)


def _id_of(row: Mapping[str, Any], number: int) -> str:
    return next((str(row[name]) for name in IDS if isinstance(row.get(name), (str, int))), str(number))


def _texts(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The first of these columns that holds a text or a list of texts."""
    for name in names:
        value = row.get(name)
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if values and all(isinstance(one, str) for one in values):
            return tuple(values)
    return ()


def _answers_by_id(name: str) -> dict[str, tuple[str, ...]]:
    """Answers as FastChat keeps them (choices of turns), or in one of our columns."""
    found = {}
    for placed in rows_of(name, Faults()):
        choices = placed.row.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else placed.row
        found[_id_of(placed.row, placed.number)] = _texts(first, ("turns", *ANSWERS))
    return found
