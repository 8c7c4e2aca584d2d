"""Clauses about training: the method learns from its data, and its report counts what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.engine.contract.bench import Bench, NotApplicable, differing, expect
from harness.engine.contract.tiny import DATA
from harness.engine.declarations import costs
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.scoring.answers.verifiers import verifies

if TYPE_CHECKING:
    import torch


def training_on_demonstrations_makes_them_likelier(bench: Bench) -> None:
    """Their log-probability rises by at least a fiftieth of its size under the base: the fit takes nine updates."""
    _must_train(bench, {"demonstrations"}, "it does not imitate demonstrations")
    before, after = _demonstrated(bench.base.policy()), _demonstrated(bench.scoring())
    expect(
        after > before + 0.02 * abs(before),
        f"demonstrations likelier than under the base ({before:.1f}) by a fiftieth",
        f"a log-probability of {after:.1f}",
    )


def training_on_preferences_widens_their_margins(bench: Bench) -> None:
    """The margin of chosen over rejected answers grows from where training began."""
    _must_train(bench, {"preferences", "judged"}, "it does not learn preferences")
    before, after = _margin(bench.start()), _margin(bench.scoring())
    expect(after > before + 1, f"chosen answers ahead by more than {before + 1:.1f}", f"a margin of {after:.1f}")


def training_on_problems_makes_verified_answers_likelier(bench: Bench) -> None:
    """Of 64 answers per problem, drawn with the same noise before and after, more verify after training."""
    _must_train(bench, {"problems"}, "it does not learn from problems")
    before, after = _verified_share(bench.start()), _verified_share(bench.policy())
    expect(after > before + 0.05, f"more than {before + 0.05:.2f} of the answers verified", f"{after:.2f}")


def training_lowers_its_own_loss(bench: Bench) -> None:
    """The second half of the loss curve in the report's notes averages less than the first; one batch is noise."""
    _must_train(bench, {"demonstrations", "preferences", "judged"}, "it fits neither demonstrations nor preferences")
    curve = bench.fit(0)[1].notes.get("loss")
    if not curve or len(curve) < 2:
        raise NotApplicable('its report has no curve: notes={"loss": [(step, loss), ...]}')
    half = len(curve) // 2
    first, last = (sum(loss for _, loss in part) / half for part in (curve[:half], curve[-half:]))
    expect(last < first, f"a mean loss below the first half's {first:.4f}", f"{last:.4f} in the second half")


def the_report_says_whether_anything_was_trained(bench: Bench) -> None:
    """Trained parameters and tokens are above 0 where the fit costs something, and 0 elsewhere."""
    report, costly = bench.fit(0)[1], costs(bench.method)
    for name in ("trained_parameters", "training_tokens"):
        value, declared = getattr(report, name), f"since costs (or trains) is {costly}"
        expect((value > 0) == costly, f"{name} {'above' if costly else 'of'} 0, {declared}", str(value))


def the_trained_parameters_are_those_that_training_moved(bench: Bench) -> None:
    """The count is that of the tensors that differ from those of a fit whose settings change nothing."""
    import torch

    if not costs(bench.method):
        raise NotApplicable("it trains nothing")
    stored, resting = tensors_of(bench.fit(0)[0]), tensors_of(bench.idle()[1])
    if not stored:
        raise NotApplicable("its artifact holds no tensors")
    moved = sum(stored[name].numel() for name in differing(stored, resting, torch.equal) if name in stored)
    if not moved:
        raise NotApplicable("the settings that change nothing do not stop its training")
    report = bench.fit(0)[1]
    said = report.notes.get("stored_parameters", report.trained_parameters)
    expect(said == moved, f"a count of the {moved} parameters in the tensors that training moved", f"{said}")


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor in the safetensors files of a folder, by file and name."""
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    for file in sorted(folder.rglob("*.safetensors")):
        found |= {f"{file.relative_to(folder)}:{name}": tensor for name, tensor in load_file(file).items()}
    return found


def _must_train(bench: Bench, kinds: set[str], reason: str) -> None:
    if not (bench.method.trains and bench.method.needs & kinds):
        raise NotApplicable(reason)


def _demonstrated(policy: Policy) -> float:
    prompts = [Prompt(messages=example.messages[:1]) for example in DATA.demonstrations]
    return _total(policy, prompts, [example.messages[1].content for example in DATA.demonstrations])


def _margin(policy: Policy) -> float:
    prompts = [Prompt(messages=pair.prompt) for pair in DATA.preferences]
    chosen, rejected = ([getattr(pair, side) for pair in DATA.preferences] for side in ("chosen", "rejected"))
    return _total(policy, prompts, chosen) - _total(policy, prompts, rejected)


def _total(policy: Policy, prompts: list[Prompt], answers: list[str]) -> float:
    return sum(score.logprob for score in policy.score(prompts, answers))


def _verified_share(policy: Policy) -> float:
    prompts = [Prompt(messages=problem.prompt) for problem in DATA.problems]
    sampling = Sampling(max_new_tokens=4, temperature=1.0, samples=64, seed=5)
    drawn = policy.sample(prompts, sampling, [problem.id for problem in DATA.problems])
    pairs = zip(DATA.problems, drawn, strict=True)
    right = [verifies(problem, answer.text) for problem, answers in pairs for answer in answers]
    return sum(right) / len(right)
