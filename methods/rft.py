"""RFT: fine-tuning on the model's own verified answers (Yuan et al. 2023, 2308.01825).

    for each problem sample k answers; keep those that verify; group them by reasoning path; keep one of each group;
    fine-tune the base on the demonstrations and on the kept answers

A path is the ordered list of an answer's equations, `<<48/2=24>>` or plain `48 / 2 = 24`, without spaces; an answer
with a false equation (off by more than 1e-3) is dropped, and answers without equations are one path, as in the
authors' code. Of two answers with one path, the one whose summed edit distance to the other representatives is
larger stays; here distances count words. `samplers` may be several, whose answers are pooled. With `rounds` above 1
(Llama 3, 2407.21783, runs six) the model of each round samples the next round's answers, which join the pool;
each round fine-tunes the base again, never that model.

Defaults: k = 100, temperature 0.7 and 256 new tokens as in the paper, which finds most of the gain at k = 3
already; fine-tuning is `tune`. Sampling costs more than training: the ledger counts every generated token. The fair
control is fine-tuning on the demonstrations alone for as many steps.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.policy.policy import Policy
from harness.policy.types import Prompt, Sampling
from harness.records import Demonstration, Message, Problem, TrainingData
from harness.scoring.answers.verifiers import require_verifier, verifies
from harness.scoring.variants.expressions import ExpressionError, worked
from harness.training.labelled_rows import too_long
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

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifacts of the samplers of the first round."""
        return {f"sampler-{number}": ArtifactSpec(method) for number, method in enumerate(self.samplers)}

    def check(self) -> None:
        """Refuse settings without a sampler or without samples, and a `tune` that needs other data."""
        for method in (*self.samplers, self.tune):
            method.check()
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
        """Problems that leave no room for an answer."""
        return too_long(data.problems, encoder, self.max_new_tokens)

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Sample, select and fine-tune in each round; write the last model and the answers it was trained on."""
        if not data.problems:
            raise UserError(
                "there are no problems to sample answers for", fix="Name a set, such as `data: {problems: NAME}`."
            )
        for problem in data.problems:
            require_verifier(problem.verifier)
        pool, reports = Pool(), []
        with tempfile.TemporaryDirectory() as scratch:
            for number in range(self.rounds):
                policies = self._policies(number, base, inputs, Path(scratch) / f"{number - 1}")
                self._draw(pool, policies, data.problems, number, context)
                folder = out if number == self.rounds - 1 else Path(scratch) / f"{number}"
                folder.mkdir(exist_ok=True)
                examples = (*data.demonstrations, *pool.demonstrations())
                reports.append(self.tune.fit(base, replace(data, demonstrations=examples), {}, folder, context))
        write_demonstrations(pool.demonstrations(), out / "kept.jsonl")
        return FitReport(
            trained_parameters=reports[-1].trained_parameters,
            training_tokens=sum(report.training_tokens for report in reports),
            generated_tokens=pool.generated_tokens,
            notes=dict(reports[-1].notes) | {"drawing": pool.history, "kept": len(pool.demonstrations())},
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
            drawn = policy.sample(prompts, sampling, [problem.id for problem in problems])
            for problem, completions in zip(problems, drawn, strict=True):
                pool.generated_tokens += sum(len(completion.token_ids) for completion in completions)
                for completion in completions:
                    # training on an answer that was cut off would teach the model to end there
                    if completion.finish == "stop":
                        pool.offer(problem, completion.text)
            drawn_by_now = self.samples * len(problems)
            pool.history.append({"round": number + 1, "by": role, "drawn": drawn_by_now, "kept": pool.size})
        if not pool.size:
            raise UserError(
                f"none of {self.samples} samples for each of {len(problems)} problems verified",
                fix="Sample more, choose a sampler that solves some problems, or check the verifier.",
            )


@dataclass
class Pool:
    """Verified answers: one representative per problem and reasoning path."""

    kept: dict[str, dict[str, str]] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)
    generated_tokens: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number of kept answers."""
        return sum(len(paths) for paths in self.kept.values())

    def offer(self, problem: Problem, answer: str) -> None:
        """Keep an answer that verifies, if its path is new or it differs more from the other representatives."""
        answer = answer.strip()
        if not (answer and verifies(problem, answer) and equations_hold(answer)):
            return
        paths = self.kept.setdefault(problem.id, {})
        self.problems[problem.id] = problem
        path = reasoning_path(answer)
        others = [text for name, text in paths.items() if name != path]
        if path not in paths or distance_to(others, answer) > distance_to(others, paths[path]):
            paths[path] = answer

    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The kept answers as rows to train on, in the order of the problems."""
        return tuple(
            Demonstration(
                (*self.problems[name].prompt, Message("assistant", answer)), f"{name}, path {number}", "sampled"
            )
            for name, paths in self.kept.items()
            for number, answer in enumerate(paths.values(), 1)
        )


def distance_to(others: Sequence[str], text: str) -> int:
    """The summed edit distance of a text to others, in words."""
    return sum(edit_distance(text.split(), other.split()) for other in others)


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The fewest insertions, deletions and replacements that turn one sequence into the other."""
    row = [*range(len(other) + 1)]
    for at, item in enumerate(one, 1):
        before, row[0] = row[0], at
        for column, wanted in enumerate(other, 1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (item != wanted))
    return row[-1]


def write_demonstrations(demonstrations: Sequence[Demonstration], file: Path) -> None:
    """Write one row per line, in the format that `data: demonstrations` reads."""
    lines = [
        json.dumps({"id": row.id, "messages": [asdict(message) for message in row.messages]}, ensure_ascii=False)
        for row in demonstrations
    ]
    file.write_text("".join(line + "\n" for line in lines), "utf-8")


MARKED = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
_DIGITS = r"\d+(?:[,.]\d+)*"
LEFT = re.compile(rf"[-(]*\s*{_DIGITS}(?:[\s()]*[-+*/][-+*/\s()]*{_DIGITS})+[\s)]*$")
RIGHT = re.compile(rf"\s*(-?{_DIGITS})")
LONGEST_SIDE = 100
TOLERANCE = 1e-3
OTHER = re.compile(r"""\*\*|//|[%'"\[\]]""")  # more than sums, products and quotients of numbers


def equations_of(text: str) -> list[tuple[str, str]]:
    """The equations of a worked answer in their order, as (left, right) without spaces.

    Those marked `<<48/2=24>>` as in GSM8K, or, where none is marked, plain ones such as `48 / 2 = 24`.
    """
    found = MARKED.findall(text) or _plain_equations(text)
    return [("".join(left.split()), "".join(right.split())) for left, right in found]


def _plain_equations(text: str) -> list[tuple[str, str]]:
    """Looks only near each `=`: a search of the whole text would take quadratic time."""
    pieces = text.split("=")
    sides = [
        (LEFT.search(before[-LONGEST_SIDE:]), RIGHT.match(after[:LONGEST_SIDE])) for before, after in pairwise(pieces)
    ]
    return [(left[0], right[1]) for left, right in sides if left and right]


def reasoning_path(text: str) -> str:
    """The equations as one key, "" for none. A different order is a different path (Yuan et al. 2023, 2308.01825)."""
    return "|".join(f"{left}={right}" for left, right in equations_of(text))


def equations_hold(text: str) -> bool:
    """Whether both sides of every equation agree within 1e-3."""
    return all(_holds(left, right) for left, right in equations_of(text))


def _holds(left: str, right: str) -> bool:
    if max(len(left), len(right)) > LONGEST_SIDE or OTHER.search(left + " " + right):
        return False
    try:
        values = [float(worked(side.replace(",", ""), {})[0]({})) for side in (left, right)]
    except (ExpressionError, TypeError, ValueError, OverflowError):
        return False
    return abs(values[0] - values[1]) <= TOLERANCE
