"""Clauses about the files that a fit writes, and the models that it must leave unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from harness.engine.contract.bench import Bench, differing, expect
from harness.engine.contract.tiny import COMPLETIONS, KEYS, PROMPTS
from harness.engine.declarations import declared_footprint, depends_on_seed
from harness.errors import UserError
from harness.lazy import torch
from harness.method import FitReport, Need
from harness.policy.types import Capability, Sampling
from harness.training.footprint import new_model_of

PLAIN_FILES = {".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".md"}


def it_fits_and_loads(bench: Bench) -> None:
    """A fit and a load with the quick settings raise no error. All other clauses need this one."""
    report = bench.fit(0)[1]
    expect(isinstance(report, FitReport), "a FitReport from `fit`", f"{report!r:.80}")
    bench.policy()


def it_declares_what_the_engine_knows(bench: Bench) -> None:
    """A misspelt word would make every benchmark n/a, or leave the fit without data."""
    declared = {"gives": (bench.method.gives, get_args(Capability)), "needs": (bench.method.needs, get_args(Need))}
    for name, (words, known) in declared.items():
        unknown = sorted(set(words) - set(known))
        expect(not unknown, f"`{name}` made of {', '.join(known)}", ", ".join(unknown))
    try:
        with torch.device("meta"):
            declared_footprint(bench.method, new_model_of(bench.base.config, "float32"))
    except NotImplementedError:
        return  # its estimate is blank
    except UserError as error:
        expect(False, "a Footprint, or None where no weight is trained", error.what)


def its_policy_says_how_it_reads_a_prompt(bench: Bench) -> None:
    """Rows keep the prompt as the model reads it, so every policy has an `encoder`, which may be its base's."""
    encoder = getattr(bench.policy(), "encoder", None)
    expect(encoder is not None, "an `encoder` on the policy", "none; `self.encoder = base.encoder` gives it the base's")
    expect(bool(encoder.prompt_text(PROMPTS[0])), "the text of a prompt", "nothing")  # type: ignore[union-attr]


def fitting_and_loading_leave_the_shared_bases_bit_for_bit(bench: Bench) -> None:
    """No weight and no score of the base or the small base changes, and no hook stays behind."""
    shared = {"base": bench.base.policy(), "small base": bench.small.policy()}
    weights = {name: _weights(policy) for name, policy in shared.items()}
    scores = {name: policy.score(PROMPTS, COMPLETIONS) for name, policy in shared.items()}
    # a repeated fit, since one from the cache would change nothing now
    bench.fit(0, 1)
    bench.policy().sample(PROMPTS, Sampling(max_new_tokens=2), KEYS)
    for name, policy in shared.items():
        changed = differing(weights[name], _weights(policy), torch.equal)
        expect(not changed, f"the shared {name} as it was", f"changes of {', '.join(changed[:3])}")
        kept = policy.score(PROMPTS, COMPLETIONS) == scores[name]
        expect(kept, f"the scores that the shared {name} had", "other scores, though its weights are equal")
        kept = "forward" not in vars(policy.model)
        expect(kept, f"the {name}'s own forward pass", "another, put on the shared model")
    expect(bench.base.policy() is shared["base"], "the shared base kept", "another model in its place")


def an_artifact_holds_plain_files_without_absolute_paths(bench: Bench) -> None:
    """The files are safetensors, JSON and text, and contain no path of this machine."""
    for path in bench.fit(0)[0].rglob("*"):
        if not path.is_file():
            continue
        known = ", ".join(sorted(PLAIN_FILES))
        expect(path.suffix in PLAIN_FILES, f"files of the kinds {known}", path.name)
        content = path.read_bytes()
        for place in (bench.folder, Path.cwd()):
            expect(str(place).encode() not in content, "no absolute path in the artifact", f"{place} in {path.name}")


def equal_seeds_give_equal_bytes(bench: Bench) -> None:
    """Fits of the same seed write the same files, byte for byte."""
    others = ", ".join(differing(_files(bench.fit(0)[0]), _files(bench.fit(0, 1)[0])))
    expect(not others, "the same bytes from the same seed", f"different bytes in {others}")


def other_seeds_give_other_bytes(bench: Bench) -> None:
    """Fits of two seeds differ, unless the method depends on no seed: that artifact is made once for equal inputs."""
    first = _files(bench.fit(0)[0])
    if depends_on_seed(bench.method):
        found = "the same bytes; if that is intended, declare depends_on_seed = False, or trains = False"
        expect(bool(differing(first, _files(bench.fit(1)[0]))), "other bytes from another seed", found)
    else:
        others = ", ".join(differing(first, _files(bench.fit_on_inputs_of(0, seed=1))))
        found = f"different bytes in {others}"
        expect(not others, "the same bytes from every seed, since depends_on_seed (or trains) is False", found)


def nothing_is_fetched_from_the_network(bench: Bench) -> None:
    """Neither a fit nor a load connects to another machine."""
    bench.policy()
    asked = sorted(set(bench.attempts))
    expect(not asked, "no connection while fitting and loading", f"attempts to reach {', '.join(asked)}")


def _weights(policy: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
