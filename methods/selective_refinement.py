"""Selective Reflection-Tuning: the base selects among refined demonstrations (Li et al. 2024, 2402.10110).

    IFD(y | x) = ppl(y | x) / ppl(y),   r-IFD(x | y) = ppl(x | y') / ppl(x),   y' = "what was asked to get y?"
    1. of the original and the refined instruction, each with its answer, the one with the larger IFD stays
    2. of its answer and the rewritten one, the one with the smaller r-IFD stays
    3. pairs rewritten in step 2 with both scores below 1 are kept; the base is fine-tuned on them

The untuned base, the student, computes both. `bakeoff data refine` writes the versions: demonstrations whose ids end
in /original, /instruction, /response and /both; an id without such an end is an original. A missing version loses
its comparison. Rows, not groups, are drawn by `data_sizes`, so a subset may lack a version of a group.

Defaults: the rule of selection, learning rate 2e-5, batches of 128 and three epochs, as in the authors' code. The fair
controls are fine-tuning on all originals, and on as many originals as are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.curation.quality import ifd_of, reversed_ifd_of
from harness.errors import UserError
from harness.method import FitContext, FitReport, Footprint, Input, Method, PlainWeights, setting
from harness.records import AFTER, Demonstration, TrainingData, parent_and_version
from methods.rft import write_demonstrations
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class SelectiveRefinement(Method):
    """The base is fine-tuned on the refined demonstrations that its own perplexities prefer."""

    needs = frozenset({"demonstrations"})
    libraries = ("torch", "transformers", "trl", "accelerate")

    tune: Method = setting(Sft(learning_rate=2e-5, batch_size=128), "how the base is fine-tuned on the kept pairs")
    below: float | None = setting(1.0, "both scores of a kept pair are below it; none: no bound", quick=1e9)
    rewritten_only: bool = setting(True, "drop pairs whose answer was not rewritten", search=(False, True), quick=False)

    def check(self) -> None:
        """Refuse a `tune` that needs more than demonstrations."""
        self.tune.check()
        if self.tune.requires() or self.tune.needs != {"demonstrations"}:
            raise UserError(
                f"tune is {type(self.tune).__name__}, which does not train the base on demonstrations alone",
                fix="Choose sft, lora or loreft.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Select, fine-tune, and write the model and the demonstrations it was trained on."""
        scored = score_versions(versions_of(data.demonstrations), base.policy())
        kept, dropped = self.select(scored)
        if not kept:
            reasons = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
            raise UserError(
                f"none of {len(scored)} groups of versions is kept: {reasons}",
                fix="Refine more demonstrations, set below: none, or set rewritten_only: false.",
            )
        report = self.tune.fit(base, replace(data, demonstrations=kept), {}, out, context)
        write_demonstrations(kept, out / "kept.jsonl")
        count = {"groups": len(scored), "kept": len(kept), "dropped": dict(dropped.most_common())}
        return replace(report, notes={**report.notes, **count})

    def footprint(self, model: Any) -> Footprint | None:
        """That of `tune`; no pair is known to be dropped, so all of them count."""
        found = self.tune.footprint(model)
        return replace(found, by=self.tune, forwards=2) if found else None

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The policy of the fine-tuned base."""
        return self.tune.load(base, artifact, {})

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """Those of the method that tunes the base."""
        return self.tune.plain_weights(dtype)

    def select(self, groups: Sequence[Group]) -> tuple[tuple[Demonstration, ...], Counter[str]]:
        """The kept demonstrations, in the groups' order, and the number of groups dropped for each reason."""
        kept: list[Demonstration] = []
        dropped: Counter[str] = Counter()
        for group in groups:
            version = chosen(group)
            fault = self._fault(version, group)
            if fault:
                dropped[fault] += 1
            else:
                kept.append(group[version].row)
        return tuple(kept), dropped

    def _fault(self, version: str, group: Group) -> str:
        """The reason why a group's chosen version is not kept, or ""."""
        if not version:
            return "without its original"
        if self.rewritten_only and len(group) == 1:
            return "never refined"
        if self.rewritten_only and version in AFTER:
            return "better with the answer as it was"
        if self.below is not None and group[version].ifd >= self.below:
            return f"with an IFD of {self.below:g} or more"
        if self.below is not None and group[version].reversed_ifd >= self.below:
            return f"with an r-IFD of {self.below:g} or more"
        return ""


@dataclass(frozen=True)
class Version:
    """One version of a demonstration, with its scores under the student."""

    row: Demonstration
    ifd: float
    reversed_ifd: float


Group = Mapping[str, Version]
"""The versions of one demonstration: original, instruction, response, both."""


def chosen(group: Group) -> str:
    """The version that both steps select, or "" without an original. Equal scores keep the earlier version."""
    first = [name for name in AFTER if name in group]
    if not first:
        return ""
    asked = max(first, key=lambda name: group[name].ifd)
    answers = [name for name in (asked, AFTER[asked]) if name in group]
    return min(answers, key=lambda name: group[name].reversed_ifd)


def versions_of(demonstrations: Sequence[Demonstration]) -> list[dict[str, Demonstration]]:
    """The demonstrations in groups, by version. Raises UserError where a version comes twice, or none is refined."""
    groups: dict[str, dict[str, Demonstration]] = {}
    for row in demonstrations:
        parent, version = parent_and_version(row.id)
        group = groups.setdefault(parent, {})
        if version in group:
            raise UserError(f"{parent!r} has two versions {version!r}", fix="Give every row its own id.")
        group[version] = row
    if all(len(group) == 1 for group in groups.values()):
        raise UserError(
            "no demonstration has a refined version",
            fix="Write them with `bakeoff data refine`; ids that end in /original, /response and so on mark versions.",
        )
    return list(groups.values())


def score_versions(groups: Sequence[Mapping[str, Demonstration]], student: Policy) -> list[Group]:
    """Each version with its scores under the student."""
    rows = [row for group in groups for row in group.values()]
    scores = zip(rows, ifd_of(rows, student), reversed_ifd_of(rows, student), strict=True)
    scored = {row.id: Version(row, ifd, reversed_ifd) for row, ifd, reversed_ifd in scores}
    return [{name: scored[row.id] for name, row in group.items()} for group in groups]
