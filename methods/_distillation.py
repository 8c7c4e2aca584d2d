"""The common part of `distill` and `sdft`: train a student on its own answers towards a teacher, and report it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.method import FitContext, FitReport
from harness.training.loop import Optimisation, train
from harness.training.models import save_model
from harness.training.on_policy import Answers, distilled_loss

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel


def fit_towards(
    method: Any,
    model: Any,
    teacher: Any,
    answers: Answers,
    base: BaseModel,
    out: Path,
    context: FitContext,
    *,
    between: float,
    before: Callable[[Any], None] | None = None,
) -> FitReport:
    """Train the model in place and write it; `before` is called with it before each update's answers are drawn."""

    def trainer_class(**arguments: Any) -> Any:
        from methods._distill_trainer import OnPolicyTrainer

        trainer = OnPolicyTrainer(**arguments)
        trainer.answers = answers
        if before:
            trainer.before = before
        return trainer

    loss = partial(distilled_loss, between, teacher)
    settings = Optimisation.of(method)
    report = train(model, answers.placeholders(), base, settings, context, loss_of=loss, trainer_class=trainer_class)
    noted = save_model(model, base, out, method.saved_in)
    curve = {"loss": report.notes["loss"]}
    return replace(
        report,
        training_tokens=answers.read_tokens,
        generated_tokens=answers.generated_tokens,
        notes={"rows": len(answers.asked), **answers.notes(), **curve, **noted},
    )
