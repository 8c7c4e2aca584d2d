"""Whether a sampled answer is right, for `rft` and `grpo`: by the problem's verifier, or by a reward model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.errors import UserError
from harness.policy.reward_model import RewardModel
from harness.policy.types import Prompt
from harness.records import Problem
from harness.scoring.answers.verifiers import RATED, RUNS, failed_tests, require_verifier, verifies

Verify = Callable[[Problem, str], bool]


def check_judges(method: Any) -> None:
    """Refuse a threshold without a reward model, and the other way round."""
    if (method.threshold is None) != (not method.reward_model):
        raise UserError(
            f"reward_model is {method.reward_model!r} and threshold {method.threshold}",
            fix="Give both, or neither: reward_model: FOLDER, threshold: 0.5",
        )


def unjudged(method: Any, problems: Sequence[Problem]) -> Mapping[str, str]:
    """The ids of problems that these settings cannot verify, each with the reason."""
    lacks = {}
    if not method.execute:
        lacks[RUNS] = "unit_tests runs programs written by the model: set execute to true to run them in a sandbox"
    if not method.reward_model:
        lacks[RATED] = "the verifier reward needs reward_model and threshold"
    return {problem.id: lacks[problem.verifier] for problem in problems if problem.verifier in lacks}


def require_verifiable(method: Any, problems: Sequence[Problem]) -> None:
    """Raise UserError where there are no problems, or one whose verifier is unknown or cannot read its reference."""
    if not problems:
        raise UserError(
            "there are no problems to sample answers for", fix="Name a set, such as `data: {problems: NAME}`."
        )
    if lost := unjudged(method, problems):
        name, why = next(iter(lost.items()))
        raise UserError(why, where=f"problem {name}", fix="Change the method's settings, or remove such problems.")
    for problem in problems:
        require_verifier(problem.verifier)
        if problem.verifier != RATED:
            judge_of(replace(method, reward_model=""), "cpu")(problem, "")


def judge_of(method: Any, device: str) -> Verify:
    """The function that says whether an answer to a problem is right."""
    model = RewardModel.named(method.reward_model, device) if method.reward_model else None

    def judge(problem: Problem, answer: str) -> bool:
        if problem.verifier == RUNS and method.execute:
            return not failed_tests(answer, problem.reference)
        if problem.verifier == RATED and model:
            return model.of(Prompt(messages=problem.prompt), answer) >= method.threshold
        return verifies(problem, answer)

    return judge
