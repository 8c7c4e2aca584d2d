"""RFT: fine-tuning on the model's own verified answers (Yuan et al. 2023, 2308.01825).

    for each problem sample k answers; keep those that verify; group them by reasoning path; keep one of each group;
    fine-tune the base on the demonstrations and on the kept answers

A path is the ordered list of an answer's equations, `<<48/2=24>>` or plain `48 / 2 = 24`, without spaces; an answer
with a false equation (off by more than 1e-3) is dropped, and answers without equations are one path, as in the
authors' code. Of two answers with one path, the one whose summed edit distance to the other representatives is
larger stays; here distances count words. `samplers` may be several, whose answers are pooled. With `rounds` above 1
(Llama 3, 2407.21783, runs six) the model of each round samples the next round's answers, which join the pool;
each round fine-tunes the base again, never that model. In every round the demonstrations are mixed with the whole pool,
without the answers in which an item of a test set of `decontaminate` is found (harness/curation/contamination.py); the
notes have the figures of every round, of which a report draws a curve. Problems with the verifier unit_tests are run
in a sandbox, if `execute` is set; those with the verifier reward are right where `reward_model` gives at least
`threshold`. `verified_by: own` needs no verifier: of each problem's answers, the one that its sampler finds likeliest
per token is taken for right (as in Song et al. 2024, 2412.02674, but the best of k, without a threshold).

Defaults: k = 100, temperature 0.7 and 256 new tokens as in the paper, which finds most of the gain at k = 3
already; fine-tuning is `tune`. Sampling costs more than training: the ledger counts every generated token. The fair
control is fine-tuning on the demonstrations alone for as many steps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Demonstration, Problem, TrainingData
from harness.training.labelled_rows import too_long
from methods._decontaminated import clean_of, with_digests
from methods._pool import Pool, write_demonstrations
from methods._verifying import check_judges, judge_of, require_verifiable, unjudged
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder


@dataclass(frozen=True)
class Rft(Method):
    """The base is fine-tuned on demonstrations and on sampled answers that verify."""

    needs = frozenset({"demonstrations", "problems"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    samplers: tuple[Method, ...] = setting((Sft(),), "the methods whose answers are pooled in the first round")
    tune: Method = setting(Sft(), "how the base is fine-tuned on the kept answers")
    samples: int = setting(100, "answers sampled per problem, policy and round", search=(1, 100), log=True, quick=4)
    rounds: int = setting(1, "how often answers are sampled and the base is fine-tuned", search=(1, 6))
    temperature: float = setting(0.7, "sampling temperature", search=(0.5, 1.3))
    max_new_tokens: int = setting(256, "longest sampled answer in tokens", quick=4)
    verified_by: Literal["outside", "own"] = setting(
        "outside", "outside: each problem's verifier; own: the sampler's own likelihood chooses one answer to each"
    )
    execute: bool = setting(False, "run answers to problems with the verifier unit_tests in a sandbox")
    reward_model: str = setting("", "for the verifier reward: the folder of a sequence classifier", folder=True)
    threshold: float | None = setting(None, "for the verifier reward: the least reward of a right answer")
    decontaminate: tuple[str, ...] = setting(
        (), "test sets, by file, folder or hub id: sampled answers that contain their items are dropped", path=True
    )

    def __post_init__(self) -> None:
        """Note the digests of the test sets, so that the content key holds them."""
        object.__setattr__(self, "decontaminate", with_digests(self.decontaminate))

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of the samplers of the first round."""
        return {f"sampler-{number}": ArtifactSpec(method) for number, method in enumerate(self.samplers)}

    def check(self) -> None:
        """Refuse settings without a sampler or without samples, and a `tune` that needs other data."""
        for method in (*self.samplers, self.tune):
            method.check()
        check_judges(self)
        if not self.samplers:
            raise UserError("rft has no samplers", fix="Name at least one method, such as [sft].")
        if self.tune.requires() or "demonstrations" not in self.tune.needs:
            raise UserError(
                f"tune is {type(self.tune).__name__}, which does not train the base on demonstrations alone",
                fix="Choose sft, lora or loreft.",
            )
        if min(self.samples, self.rounds, self.max_new_tokens) < 1 or self.temperature <= 0:
            raise UserError(
                f"samples {self.samples}, rounds {self.rounds}, max_new_tokens {self.max_new_tokens} and"
                f" temperature {self.temperature} must all be above 0",
                fix="Raise those that are not; at temperature 0 all samples are equal.",
            )

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """Problems that leave no room for an answer, or that these settings cannot verify."""
        return {**too_long(data.problems, encoder, self.max_new_tokens), **unjudged(self, data.problems)}

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Sample, select and fine-tune in each round; write the last model and the answers it was trained on."""
        require_verifiable(self, data.problems)
        pool, reports, rounds = self._pool(base.spec.device), [], []
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(self.rounds):
                policies = self._policies(number, base, inputs, Path(scratch) / f"{number - 1}")
                self._draw(pool, policies, data.problems, number, context)
                folder = out if number == self.rounds - 1 else Path(scratch) / f"{number}"
                folder.mkdir(exist_ok=True)
                kept = clean_of(self.decontaminate, pool.demonstrations())
                examples = (*data.demonstrations, *kept)
                reports.append(self.tune.fit(base, replace(data, demonstrations=examples), {}, folder, context))
                rounds.append(_figures(number, pool, kept, reports[-1]))
        write_demonstrations(kept, out / "kept.jsonl")
        return FitReport(
            trained_parameters=reports[-1].trained_parameters,
            training_tokens=sum(report.training_tokens for report in reports),
            generated_tokens=pool.generated_tokens,
            notes=dict(reports[-1].notes) | {"drawing": pool.history, "kept": len(kept)} | _curve(rounds),
        )

    def footprint(self, model: Any) -> Footprint | None:
        """That of `tune`; the samplers are gone by then. No answer is known to be right, so all of them count."""
        found = self.tune.footprint(model)
        answers = self.samples * (len(self.samplers) + self.rounds - 1)
        return replace(found, sampled=(answers, self.max_new_tokens), by=self.tune) if found else None

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The policy of the fine-tuned base."""
        return self.tune.load(base, artifact, {})

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Those of the method that tunes the base."""
        return self.tune.plain_weights(dtype)

    def _pool(self, device: str) -> Pool:
        return Pool(judge_of(self, device)) if self.verified_by == "outside" else Pool(lambda *_: True, equations=False)

    def _policies(
        self, number: int, base: BaseModel, inputs: Mapping[str, Input], previous: Path
    ) -> Iterator[tuple[str, Policy]]:
        """The policies that sample in a round, loaded one at a time: the samplers, or the previous round's model."""
        if number:
            yield "tuned", self.tune.load(base, previous, {})
            return
        for role in sorted(inputs, key=lambda role: int(role.rsplit("-", 1)[1])):
            yield role, inputs[role].load()

    def _draw(
        self,
        pool: Pool,
        policies: Iterator[tuple[str, Policy]],
        problems: Sequence[Problem],
        number: int,
        context: FitContext,
    ) -> None:
        """Sample answers and put those that verify into the pool. Raises UserError where it stays empty."""
        for role, policy in policies:
            sampling = Sampling(
                self.max_new_tokens,
                self.temperature,
                samples=self.samples,
                seed=context.seed,
                salt=f"{role}, round {number}",
            )
            prompts = [Prompt(messages=problem.prompt) for problem in problems]
            drawn, before = policy.sample(prompts, sampling, [problem.id for problem in problems]), pool.verified
            pool.generated_tokens += sum(len(one.token_ids) for completions in drawn for one in completions)
            # training on an answer that was cut off would teach the model to end there
            ended = [[one for one in completions if one.finish == "stop"] for completions in drawn]
            offered = ended if self.verified_by == "outside" else likeliest(policy, prompts, ended)
            for problem, completions in zip(problems, offered, strict=True):
                for completion in completions:
                    pool.offer(problem, completion.text)
            figures = {"drawn": self.samples * len(problems), "verified": pool.verified - before, "kept": pool.size}
            pool.history.append({"round": number + 1, "by": role, **figures})
        if not pool.size:
            raise UserError(
                f"none of {self.samples} samples for each of {len(problems)} problems verified",
                fix="Sample more, choose a sampler that solves some problems, or check the verifier.",
            )


def likeliest(
    policy: Policy, prompts: Sequence[Prompt], drawn: Sequence[Sequence[Completion]]
) -> list[list[Completion]]:
    """Of each prompt's completions the one with the highest ln p per token under the policy; none of none."""
    pairs = [(prompt, one.text) for prompt, completions in zip(prompts, drawn, strict=True) for one in completions]
    scores = iter(policy.score([prompt for prompt, _ in pairs], [text for _, text in pairs]))
    means = [[one.per_token for one in islice(scores, len(completions))] for completions in drawn]
    return [[completions[own.index(max(own))]] if own else [] for completions, own in zip(drawn, means, strict=True)]


def _figures(number: int, pool: Pool, kept: Sequence[Demonstration], report: FitReport) -> dict[str, Any]:
    """The figures of a round: answers drawn, right, trained on, dropped as contaminated, and the last loss."""
    losses = report.notes.get("loss") or [(0, None)]
    dropped = pool.size - len(kept)
    own = [one for one in pool.history if one["round"] == number + 1]
    drawn = {name: sum(one[name] for one in own) for name in ("drawn", "verified")}
    tokens = {"training_tokens": report.training_tokens, "generated_tokens": pool.generated_tokens}
    kept_of = {"trained_on": len(kept), "contaminated": dropped, "loss": losses[-1][1]}
    return {"round": number + 1, **drawn, **kept_of, **tokens}


def _curve(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A note with the figures of every round; none where one round dropped nothing."""
    return {"rounds": list(rounds)} if len(rounds) > 1 or rounds[0]["contaminated"] else {}
