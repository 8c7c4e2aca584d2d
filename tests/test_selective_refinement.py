"""Selective refinement: both scores by a plain forward pass, and which version of a demonstration is kept."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.curation.quality import GUESS, ifd_of, instruction_following_difficulty, reversed_ifd_of
from harness.data.examples import Example
from harness.errors import UserError
from harness.method import FitContext, FitReport, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sources import locate
from harness.records import Demonstration, Message, TrainingData
from methods.best_of_n import BestOfN
from methods.lora import Lora
from methods.selective_refinement import SelectiveRefinement, Version, chosen, versions_of
from methods.sft import Sft

METHOD = SelectiveRefinement()


def row(id: str, asked: str = "Name a cat .", answer: str = "Tom .") -> Demonstration:
    return Demonstration((Message("user", asked), Message("assistant", answer)), id)


def group(**scores: tuple[float, float]) -> dict[str, Version]:
    return {name: Version(row(f"g/{name}"), *pair) for name, pair in scores.items()}


@pytest.fixture(scope="module")
def base() -> BaseModel:
    spec = BaseSpec("microworld/small")
    return BaseModel(spec, locate(spec))


def mean_loss(base: BaseModel, before: Sequence[int], ids: Sequence[int]) -> float:
    """-1/T log p of ids after others, by one forward pass without padding or cache."""
    tokens = torch.tensor([[*before, *ids]])
    with torch.no_grad():
        logits = base.policy().model(input_ids=tokens).logits[0].double().log_softmax(-1)
    rows = range(len(before) - 1, len(before) + len(ids) - 1)
    return -float(sum(logits[at, token] for at, token in zip(rows, ids, strict=True))) / len(ids)


def ratio(base: BaseModel, asked: str, text: str) -> float:
    """ppl(text | asked, in the template) / ppl(text after the token that stands for nothing)."""
    encoder = base.encoder
    prompt = encoder.tokens(encoder.render([Message("user", asked)]))
    whole = encoder.tokens(encoder.render([Message("user", asked)]) + text)
    assert whole[: len(prompt)] == prompt
    alone = encoder.tokens(text, bare=True)
    return math.exp(mean_loss(base, prompt, whole[len(prompt) :]) - mean_loss(base, [encoder.prefix_token], alone))


def test_both_scores_are_those_of_a_plain_forward_pass(base: BaseModel) -> None:
    rows = [row("a"), row("b", "Which animal says moo ?", "The cow says moo , as any cow does .")]
    asked, answers = ([one.messages[at].content for one in rows] for at in (0, 1))
    wanted = [ratio(base, x, y) for x, y in zip(asked, answers, strict=True)]
    assert ifd_of(rows, base.policy()) == pytest.approx(wanted, rel=1e-4)
    examples = [Example(one, "demonstrations", "messages") for one in rows]
    assert instruction_following_difficulty(examples, base.policy()) == pytest.approx(wanted, rel=1e-4)
    back = [ratio(base, GUESS.replace("{answer}", y), x) for x, y in zip(asked, answers, strict=True)]
    assert reversed_ifd_of(rows, base.policy()) == pytest.approx(back, rel=1e-4)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # the larger IFD goes on, and then the smaller r-IFD, of its own two answers only
        ({"original": (0.5, 0.9), "instruction": (0.6, 0.8), "response": (0.1, 0.1), "both": (0.2, 0.7)}, "both"),
        ({"original": (0.7, 0.9), "instruction": (0.6, 0.1), "response": (0.1, 0.8), "both": (0.9, 0.0)}, "response"),
        ({"original": (0.5, 0.9), "instruction": (0.6, 0.6), "both": (0.2, 0.7)}, "instruction"),
        # equal scores change nothing
        ({"original": (0.5, 0.9), "instruction": (0.5, 0.1), "response": (0.1, 0.9), "both": (0.2, 0.0)}, "original"),
        # what is missing loses
        ({"original": (0.5, 0.9), "response": (9.0, 0.8)}, "response"),
        ({"instruction": (0.5, 0.9), "both": (9.0, 0.8)}, "both"),
        ({"original": (0.5, 0.9), "both": (0.2, 0.0)}, "original"),
        ({"response": (0.1, 0.1), "both": (0.2, 0.0)}, ""),
    ],
)
def test_the_version_that_both_steps_leave(scores: dict[str, tuple[float, float]], expected: str) -> None:
    assert chosen(group(**scores)) == expected


def test_what_is_kept_and_why_the_rest_is_not() -> None:
    groups = [
        group(original=(0.5, 0.9), response=(0.9, 0.8)),
        group(original=(0.5, 0.7), response=(0.9, 0.8)),
        group(original=(0.5, 0.9), response=(1.0, 0.8)),
        group(original=(0.5, 1.9), response=(0.9, 1.0)),
        group(original=(0.5, 0.9)),
        group(both=(0.5, 0.9)),
    ]
    kept, dropped = METHOD.select(groups)
    assert kept == (groups[0]["response"].row,)
    assert dropped == {
        "better with the answer as it was": 1,
        "with an IFD of 1 or more": 1,
        "with an r-IFD of 1 or more": 1,
        "never refined": 1,
        "without its original": 1,
    }
    wide, _ = replace(METHOD, below=None).select(groups)
    assert wide == tuple(groups[at]["response"].row for at in (0, 2, 3))
    all_answers, _ = replace(METHOD, rewritten_only=False).select(groups)
    assert all_answers == (groups[0]["response"].row, groups[1]["original"].row, groups[4]["original"].row)


def test_versions_are_tied_by_their_ids_and_a_plain_id_is_an_original() -> None:
    rows = [row("a/original"), row("b"), row("a/both"), row("b/response"), row("c/d")]
    assert versions_of(rows) == [
        {"original": rows[0], "both": rows[2]},
        {"original": rows[1], "response": rows[3]},
        {"original": rows[4]},
    ]
    with pytest.raises(UserError, match="'a' has two versions 'original'"):
        versions_of([row("a"), row("a/original")])
    with pytest.raises(UserError, match="no demonstration has a refined version"):
        versions_of([row("a"), row("b/original")])


def test_the_base_is_tuned_on_what_is_kept_and_on_nothing_else(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are put in the student's place: here the longer answer tells better what was asked."""
    seen: list[Sequence[Demonstration]] = []

    def fit(self: Sft, base: Any, data: TrainingData, *others: Any) -> FitReport:
        seen.append(data.demonstrations)
        return FitReport(1, 2, 0, {"loss": []})

    monkeypatch.setattr(Sft, "fit", fit)
    lengths = lambda rows, student: [1 / len(one.messages[-1].content) for one in rows]  # noqa: E731
    monkeypatch.setattr("methods.selective_refinement.reversed_ifd_of", lengths)
    better = row("a/response", answer="The cat is Tom .")
    data = TrainingData(demonstrations=(row("a/original", answer="blue one two"), better, row("b")))
    report = replace(METHOD, below=None).fit(base, data, {}, tmp_path, FitContext(0, 4))
    assert seen == [(better,)]
    assert (report.training_tokens, report.notes["groups"], report.notes["kept"]) == (2, 2, 1)
    assert report.notes["dropped"] == {"never refined": 1}
    assert json.loads((tmp_path / "kept.jsonl").read_text())["id"] == "a/response"
    with pytest.raises(UserError, match="none of 2 groups of versions is kept: "):
        replace(METHOD, below=1e-9).fit(base, data, {}, tmp_path, FitContext(0, 4))


@pytest.mark.parametrize("tune", [BestOfN(), SelectiveRefinement(tune=BestOfN())])
def test_only_what_trains_on_demonstrations_alone_may_tune(tune: Method) -> None:
    replace(METHOD, tune=Lora()).check()
    with pytest.raises(UserError, match="does not train the base on demonstrations alone"):
        replace(METHOD, tune=tune).check()
