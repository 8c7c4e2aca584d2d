"""A checkpoint is chosen by the rule that is named, on rows that were not trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness.errors import UserError
from harness.method import FitContext
from harness.policy.base_model import BaseModel
from harness.policy.policy import Policy
from harness.policy.types import Completion, Score
from harness.records import Demonstration, Message
from harness.training.checkpoints import BestPass, mean_loss, set_aside, share_matched
from harness.training.loop import Optimisation
from methods.sft import Sft
from tests.test_sft import DATA, base  # noqa: F401


class Fake(Policy):
    """Answers "w7 w13" whatever is asked, and finds every token of every answer as likely as 1/e."""

    gives = frozenset({"score", "sample"})
    encoder: Any = SimpleNamespace(tokens=lambda text, bare: text.split())

    def sample(self, prompts: Any, sampling: Any, keys: Any) -> Any:
        assert sampling.max_new_tokens == 3
        return [(Completion(" w7 w13", (1, 2), "stop"),) for _ in prompts]

    def score(self, prompts: Any, completions: Any) -> Any:
        return [Score(-float(len(text.split())), len(text.split()), False) for text in completions]


def test_the_rules_by_hand() -> None:
    """Of six answers only the second is "w7 w13"; every token costs one nat, also in earlier turns."""
    assert share_matched(Fake(), DATA.demonstrations) == pytest.approx(1 / 6)
    two_turns = Demonstration((*DATA.demonstrations[0].messages, *DATA.demonstrations[1].messages), "two")
    assert mean_loss(Fake(), [two_turns]) == pytest.approx(1.0)


def test_rows_are_set_aside_by_their_names_alone() -> None:
    trained, held_out = set_aside(DATA.demonstrations, "held_out_loss", 2)
    again, same = set_aside(DATA.demonstrations[::-1], "held_out_match", 2)
    assert {row.id for row in held_out} == {row.id for row in same}
    assert {row.id for row in trained} == {row.id for row in again}
    assert len(trained) == 4
    assert {row.id for row in trained}.isdisjoint(row.id for row in held_out)
    assert set_aside(DATA.demonstrations, "last", 2) == (DATA.demonstrations, ())


@pytest.mark.parametrize("held_out", [0, 6, 50])
def test_setting_all_or_nothing_aside_is_refused(held_out: int) -> None:
    with pytest.raises(UserError, match=rf"held_out_loss holds out {held_out} of 6 demonstrations"):
        set_aside(DATA.demonstrations, "held_out_loss", held_out)


@pytest.mark.parametrize(("rule", "kept"), [("held_out_loss", 2), ("held_out_match", 1)])
def test_the_best_pass_is_kept_and_of_equal_ones_the_earlier(
    rule: Any, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values .5, .2, .2, .9: the lowest loss is first seen in pass 2, the most matches in pass 4; here turned round."""
    values = {"held_out_loss": [0.5, 0.2, 0.2, 0.9], "held_out_match": [0.5, 0.2, 0.5, 0.1]}[rule]
    following = iter(values)
    monkeypatch.setattr("harness.training.checkpoints.RULES", {rule: lambda policy, rows: next(following)})
    model = torch.nn.Linear(1, 1)
    best = BestPass(model, Fake.encoder, rule, DATA.demonstrations)
    monkeypatch.setattr("harness.training.checkpoints.CausalPolicy", lambda model, encoder: None)
    for number in range(1, 5):
        torch.nn.init.constant_(model.weight, number)
        best.look()
        assert model.training
    best.restore()
    assert float(model.weight.detach()) == kept
    assert best.notes == {"checkpoint": rule, "pass_kept": kept, "passes": values}


def test_the_kept_pass_is_the_model_of_the_run_that_ends_there(base: BaseModel, tmp_path: Path) -> None:  # noqa: F811
    """A constant rate makes the first passes of a long run a short run; a rising loss then keeps an early one."""
    method = Sft(
        learning_rate=3e-2, epochs=6, batch_size=2, warmup_ratio=0, schedule="constant", checkpoint="held_out_loss",
        held_out=2,
    )  # fmt: skip
    (tmp_path / "long").mkdir()
    report = method.fit(base, DATA, {}, tmp_path / "long", FitContext(0, 4))
    passes, kept = report.notes["passes"], report.notes["pass_kept"]
    assert len(passes) == 6
    assert kept == passes.index(min(passes)) + 1
    assert kept < 6
    (tmp_path / "short").mkdir()
    short = replace(method, epochs=kept).fit(base, DATA, {}, tmp_path / "short", FitContext(0, 4))
    assert short.notes["passes"] == passes[:kept]
    long, short_weights = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("long", "short"))
    assert long == short_weights
    policy = method.load(base, tmp_path / "long", {})
    assert mean_loss(policy, set_aside(DATA.demonstrations, "held_out_loss", 2)[1]) == pytest.approx(
        min(passes), abs=1e-5
    )


def test_passes_end_where_all_rows_were_seen_also_inside_an_update() -> None:
    """Ten rows in updates of four: pass 1 ends within update 3, pass 2 with update 5; half a third with update 7."""
    plan = Optimisation(1e-3, 2, 4)
    assert plan.ends_of_passes(10, 5) == {3, 5}
    assert plan.ends_of_passes(10, 7) == {3, 5, 7}


def test_looking_without_choosing_costs_and_says_nothing() -> None:
    best = BestPass(torch.nn.Linear(1, 1), Fake.encoder, "last", ())
    best.look()
    best.restore()
    assert best.notes == {}


def test_a_conversation_is_matched_by_its_last_answer() -> None:
    first, second = (row.messages for row in DATA.demonstrations[:2])
    assert share_matched(Fake(), [Demonstration((*first, *second), "two")]) == 1.0
    assert share_matched(Fake(), [Demonstration((*second, Message("user", "w1"), first[1]), "two")]) == 0.0
