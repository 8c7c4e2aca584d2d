"""Answers to open questions, compared with an opponent's answers by a judge: win, tie or loss.

MT-Bench's questions of two turns (Zheng et al. 2023, 2306.05685), AlpacaEval's instructions with their reference
outputs, TruthfulQA's questions with their best answers, or your own rows. The opponent is the method's own base model
or a set of given answers (`against`). Methods are compared with the same answers, so their difference is paired by
question.

    win        1, a half or 0 (mean over both orders of the two answers, where a model is asked)
    tie        share of ties; the share of wins is `win` minus half of it
    win_cut    `win` with both answers cut to the number of words of the shorter, a control for length: judges prefer
               long answers (2404.04475). A cut answer is incomplete, so this is not a better score.
    win_lc     `win` at equal length: AlpacaEval 2's regression (Dubois et al. 2024, equations 2 and 3, in
               harness/scoring/length_control.py), fitted to the questions of one cell, of 20 or more. A column
               `difficulty` of the data is its gamma; without one, the questions count as equally hard. Single values
               are residuals around the fit and may lie outside of 0 to 1; their mean is the controlled win rate.
    length     log of (1 + our words) / (1 + theirs)

The judge is an OpenAI-compatible endpoint (a local vLLM server is one) or a reward model in a folder. For a judge that
is asked there are measures of its noise: `swapped_agree`, the share of pairs of verdicts that name the same winner when
the answers swap places (at a half, verdicts mostly follow the position), and `repeats_agree`, the share of equal
verdicts on the same prompt. For a reward model there is `margin`, our reward minus theirs. Without a judge, cells are
n/a.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.placed import Faults
from harness.data.readers import label_of, placed_rows
from harness.errors import UserError
from harness.method import setting
from harness.policy.conversations import converse
from harness.policy.endpoint import EndpointPolicy, checked_address
from harness.policy.policy import base_of
from harness.policy.reward_model import RewardModel
from harness.policy.types import Completion, Prompt, Sampling, flags_of
from harness.records import TestItem, TestSet
from harness.scoring.judging import REWARD_METRICS, AskedJudge, Judge, Pair, RewardJudge, asked_metrics, cut_alike
from harness.scoring.length_control import FEWEST, adjusted

if TYPE_CHECKING:
    from harness.policy.policy import Policy

NO_JUDGE = (
    "no judge is set: set judge_url (ending in /v1) and judge_model to an OpenAI-compatible endpoint, "
    "or reward_model to a folder"
)
IDS = ("question_id", "prompt_id", "id")
QUESTIONS = ("turns", "prompt", "question", "instruction")
Told = Sequence[tuple[Prompt, Completion]]
ANSWERS = ("answers", "answer", "output", "completion", "reference", "best_answer")


@dataclass(frozen=True)
class Question:
    """The user's turns and the given answer to each; no answers where the opponent is asked."""

    id: str
    group: str
    turns: tuple[str, ...]
    theirs: tuple[str, ...] = ()
    difficulty: float = 0.0


@dataclass(frozen=True)
class PairwiseJudge(Benchmark):
    """Every question answered once and judged in both orders."""

    version = 2
    needs = frozenset({"sample"})
    reads_logits = True
    sparse = True

    reward_model: str = setting("", "judge: folder of a sequence classifier with one output", folder=True)
    judge_url: str = setting("", "judge: an endpoint, http(s)://HOST/v1; without a judge: n/a")
    judge_model: str = setting("", "name of the judge at the endpoint")
    judge_key_variable: str = setting("", "environment variable with the endpoint's key; empty: no key is sent")
    judge_tokens: int = setting(512, "longest reply of the judge in tokens")
    judge_temperature: float = setting(0.0, "sampling temperature of the judge; above 0, set repeats to 2 or more")
    repeats: int = setting(1, "number of verdicts on each order; 2 or more measure the judge's noise")
    length_control: bool = setting(True, "judge a second time with both answers cut to the same length")
    data: str = setting("HuggingFaceH4/mt_bench_prompts", "file, folder or hub id with questions", path=True)
    split: str = setting("train", "split of a folder or hub id")
    against: str = setting(
        "base", "opponent: base (the base model), data (answers in the data), or a file of answers", path=True
    )
    limit: int | None = setting(None, "number of questions; none: all", least=1)
    temperature: float = setting(0.0, "sampling temperature of the answers; 0 takes the likeliest token")
    max_new_tokens: int = setting(1024, "longest answer in tokens")

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"repeats is {self.repeats}", fix="Set repeats to 1 or more.")
        if self.reward_model and (self.judge_url or self.judge_model):
            raise UserError("two judges are set", fix="Set reward_model, or judge_url and judge_model.")
        if self.judge_url:
            checked_address(self.judge_url, self.judge_key_variable, "judge_url")
        if not self.against:
            raise UserError("against is empty", fix="Set against to base, data, or a file of answers.")

    def unavailable(self) -> str:
        """The reason why its cells are n/a, or ""."""
        return "" if self.reward_model or (self.judge_url and self.judge_model) else NO_JUDGE

    def metrics(self) -> tuple[Metric, ...]:
        """Wins first, then controls for length and the judge's own metrics."""
        others = "the base's own answers" if self.against == "base" else "the given answers"
        found = [
            Metric("win", f"wins against {others}; ties count half", "quality", chance=0.5),
            Metric("tie", "share of ties", primary=False),
        ]
        if self.length_control:
            found.append(Metric("win_cut", "wins with both answers cut to the same length", primary=False, chance=0.5))
        found.append(Metric("win_lc", "wins at equal length, by regression", primary=False, chance=0.5))
        found.append(Metric("length", "log ratio of our words to theirs", primary=False, unit="nats"))
        return (*found, *(REWARD_METRICS if self.reward_model else asked_metrics(self.repeats)))

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per question. Raises UserError without a judge, or where the base model is unknown."""
        if why := self.unavailable():
            raise UserError(f"pairwise_judge: {why}", fix="Set a judge, or leave the benchmark out.")
        items = self._items()
        held = self._answers(policy, items, seed)
        theirs = [item.theirs for item in items]
        if self.against == "base":
            theirs = [_texts_of(told) for told in self._answers(base_of(policy), items, seed)]
        answered = zip(items, held, theirs, strict=True)
        pairs = [Pair(item.id, item.turns, _texts_of(told), other) for item, told, other in answered]
        judged = self._judged(pairs, str(getattr(policy, "device", "cpu")))
        _control_length(items, pairs, judged)
        for item, pair, told, found in zip(items, pairs, held, judged, strict=True):
            yield _outcome(item, pair, told, policy.encoder.prompt_text(told[-1][0]), found)

    def _answers(self, policy: Policy, items: Sequence[Question], seed: int) -> list[Told]:
        sampling = Sampling(self.max_new_tokens, temperature=self.temperature, seed=seed)
        return converse(policy, [item.turns for item in items], sampling, [item.id for item in items])

    def _judged(self, pairs: Sequence[Pair], device: str) -> list[dict[str, float]]:
        judge = self._judge(device)
        found = judge.measured(pairs)
        if self.length_control:
            for plain, cut in zip(found, judge.measured([cut_alike(pair) for pair in pairs]), strict=True):
                plain.update({"win_cut": cut["win"]} if "win" in cut else {})
        return found

    def _judge(self, device: str) -> Judge:
        if self.reward_model:
            return RewardJudge(RewardModel.named(self.reward_model, device))
        asked = EndpointPolicy(self.judge_url, self.judge_model, self.judge_key_variable)
        return AskedJudge(asked, Sampling(self.judge_tokens, self.judge_temperature, samples=self.repeats))

    def data_digest(self) -> str:
        """Digest of the questions and the given answers, which are not read without a judge."""
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
        """The judge's name."""
        return {"judge": self.judge_model}

    def _items(self) -> list[Question]:
        given = _answers_by_id(self.against) if self.against not in ("base", "data") else None
        found = []
        for placed in placed_rows(self.data, Faults(), self.split):
            question = _question(placed.row, placed.number, placed.where)
            if self.against != "base":
                question = _answered(question, placed.row, placed.where, given)
            found.append(question)
            if len(found) == self.limit:
                break
        return found


def _control_length(items: Sequence[Question], pairs: Sequence[Pair], judged: Sequence[dict[str, float]]) -> None:
    """Add `win_lc` to what was judged, wherever there is a win."""
    known = [at for at, one in enumerate(judged) if "win" in one]
    if len(known) < FEWEST:
        return
    longer = [float(sum(map(len, pairs[at].ours)) - sum(map(len, pairs[at].theirs))) for at in known]
    values = adjusted([judged[at]["win"] for at in known], longer, [items[at].difficulty for at in known])
    for at, value in zip(known, values, strict=True):
        judged[at]["win_lc"] = value


def _texts_of(told: Told) -> tuple[str, ...]:
    return tuple(answer.text for _, answer in told)


def _outcome(item: Question, pair: Pair, told: Told, prompt: str, judged: Mapping[str, float]) -> Outcome:
    ours, theirs = (sum(len(text.split()) for text in texts) for texts in (pair.ours, pair.theirs))
    return Outcome(
        item=item.id,
        cluster=item.id,
        group=item.group,
        metrics={**judged, "length": math.log((1 + ours) / (1 + theirs))},
        prompt=prompt,
        completions=pair.ours,
        reference="\n\n".join(pair.theirs),
        flags=flags_of(answer for _, answer in told),
    )


def _question(row: Mapping[str, Any], number: int, where: str) -> Question:
    """The question of a row. Raises UserError where there is none."""
    turns = _texts(row, QUESTIONS)
    if not turns:
        raise UserError("a row without a question", where=where, fix=f"Add one of the columns {', '.join(QUESTIONS)}.")
    group, hard = row.get("category"), row.get("difficulty", 0.0)
    if isinstance(hard, bool) or not isinstance(hard, int | float) or not math.isfinite(hard):
        fix = "Give the logit that AlpacaEval calls gamma, such as 0.4, or leave the column out."
        raise UserError(f"the difficulty is {hard!r:.40}, which is not a number", where=where, fix=fix)
    return Question(_id_of(row, number), group if isinstance(group, str) else "", turns, difficulty=float(hard))


def _answered(
    question: Question, row: Mapping[str, Any], where: str, given: Mapping[str, Sequence[str]] | None
) -> Question:
    """The question with the given answers. Raises UserError unless there is one for each turn."""
    theirs = tuple(given.get(question.id, ())) if given is not None else _texts(row, ANSWERS)
    if len(theirs) != len(question.turns):
        raise UserError(
            f"question {question.id} has {len(question.turns)} turns and {len(theirs)} answers of the opponent",
            where=where,
            fix="Set against to a file of rows with id and answers or to base, or give each row its answer.",
        )
    return replace(question, theirs=theirs)


def _id_of(row: Mapping[str, Any], number: int) -> str:
    return next((str(row[name]) for name in IDS if isinstance(row.get(name), (str, int))), str(number))


def _texts(row: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The texts of the first of these columns that has a text or a list of texts."""
    for name in names:
        value = row.get(name)
        values = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if values and all(isinstance(one, str) for one in values):
            return tuple(values)
    return ()


def _answers_by_id(name: str) -> dict[str, tuple[str, ...]]:
    """Id -> answers, from FastChat's files (choices of turns) or from one of the columns in ANSWERS."""
    found = {}
    for placed in placed_rows(name, Faults()):
        choices = placed.row.get("choices")
        first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else placed.row
        found[_id_of(placed.row, placed.number)] = _texts(first, ("turns", *ANSWERS))
    return found
