"""Claims of the field, each with the verdict that a folder of studies gives on it.

`claims.yaml` of that folder numbers the claims and names their evidence: tests of named studies, each a claim that
the study's report tests, or a contrast that its experiment declared. The verdicts are computed here from the studies'
rows. A claim is supported where at least one of its tests supports it and none contradicts it, contradicted the other
way round, and undecided otherwise. One that says several things (`all: true`) is supported where every test supports
it, and contradicted where one contradicts it. Each study holds its own 5 % over its own tests; nothing is corrected
across studies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge

from harness.engine.claims_file import Name, built
from harness.engine.plugin_fields import typed
from harness.engine.yaml_lines import Located, parse_yaml, read_small_text
from harness.errors import UserError, did_you_mean
from harness.report.collect import ReportModel, collect
from harness.report.findings.claims import Verdict, claims_in
from harness.report.findings.declared_contrasts import DeclaredContrast, declared_contrasts
from harness.report.render import tabular
from harness.report.render.bands import counted
from harness.report.render.text import escape_markdown, one_line
from harness.stats.intervals import Estimate

FILE = "claims.yaml"


@dataclass(frozen=True)
class Evidence:
    """Tests of one study: a claim of its report by name, or a declared contrast.

    contrast  `A - B` as the experiment declares it; the claim holds where the difference is above, or below, this bound
    on        a benchmark, or the title of a metric; "": all that the study tests
    """

    study: Name
    claim: str = ""
    contrast: str = ""
    on: str = ""
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class FieldClaim:
    """A claim of the field by its number.

    here    what the tests below are about, which is less than the claim
    all     whether it is supported only where every one of its tests supports it
    cannot  why no rows of these studies can deny it; then it has no evidence
    """

    number: Annotated[int, Ge(1)]
    claim: Name
    evidence: tuple[Evidence, ...] = ()
    here: str = ""
    all: bool = False
    cannot: str = ""


@dataclass(frozen=True)
class TriedClaim:
    """One test: where it was made, the contrast in words, and what it says of the claim."""

    study: str
    contrast: str
    verdict: Verdict
    estimate: Estimate | None = None
    percent: bool = True
    why: str = ""

    @property
    def effect(self) -> str:
        """The difference with its interval, or the reason why there is none."""
        if self.estimate is None or self.estimate.value is None:
            return one_line(self.why, 120)
        shown = tabular.change(self.estimate, self.percent)
        flag = f" ({one_line(self.why, 120)})" if self.why else ""
        return f"{shown} {tabular.change_interval(self.estimate, self.percent) or tabular.BLANK}{flag}"


@dataclass(frozen=True)
class Judged:
    """A claim of the field with its tests."""

    claim: FieldClaim
    tests: tuple[TriedClaim, ...]

    @property
    def verdict(self) -> str:
        """supported, contradicted, undecided, or cannot be asked here."""
        if self.claim.cannot:
            return "cannot be asked here"
        found = {one.verdict for one in self.tests}
        if self.claim.all:
            return "contradicted" if "contradicted" in found else found.pop() if len(found) == 1 else "undecided"
        decided = found & {"supported", "contradicted"}
        return decided.pop() if len(decided) == 1 else "undecided"

    @property
    def counts(self) -> str:
        """How many of its tests say what: '1 of 3 tests, 2 undecided'."""
        said = Counter(one.verdict for one in self.tests)
        kinds: tuple[Verdict, ...] = ("supported", "contradicted", "undecided", "not testable")
        return ", ".join(f"{said[kind]} {kind}" for kind in kinds if said[kind])


@dataclass(frozen=True)
class FieldClaims:
    """The claims of a file in its order; `about` is what a reader of the verdicts must know first."""

    claims: tuple[FieldClaim, ...]
    about: str = ""


def read_field_claims(file: Path) -> FieldClaims:
    """Raises UserError at the line of the first mistake."""
    root = parse_yaml(read_small_text(file), file)
    if not isinstance(root.value, Mapping) or not isinstance(root.value.get("claims"), list):
        raise root.error("the file is a mapping with a list `claims`", fix="Example: claims: [{number: 1, claim: ...}]")
    root.check_keys(("about", "claims"))
    claims = tuple(_claim(item) for _, item in root["claims"].parts())
    numbers = Counter(one.number for one in claims)
    for at, one in enumerate(claims):
        if numbers[one.number] > 1:
            raise root.error(f"two claims have the number {one.number}", "claims", at, fix="Renumber one of them.")
    return FieldClaims(claims, typed(str, root["about"]) if "about" in root.value else "")


def _claim(given: Located) -> FieldClaim:
    found: FieldClaim = built(FieldClaim, given, "a claim of the field", {"evidence": _evidence})
    if bool(found.evidence) == bool(found.cannot):
        fix = "Give `evidence: [...]`, or `cannot: why no rows can deny it`."
        raise given.error("a claim has either evidence or a reason why it cannot be asked", fix=fix)
    return found


def _evidence(given: Located) -> tuple[Evidence, ...]:
    found = [built(Evidence, item, "a piece of evidence", {}) for _, item in given.parts()]
    for at, one in enumerate(found):
        if bool(one.claim) == bool(one.contrast):
            raise given.error(
                "evidence is either a claim or a contrast", at, fix="Example: {study: methods, claim: NAME}"
            )
        if one.contrast and (one.above is None) == (one.below is None):
            raise given.error("a contrast needs one bound", at, fix="Example: {contrast: lora - sft, above: 0}")
    return tuple(found)


def judged_claims(folder: Path) -> Iterator[Judged]:
    """Every claim of `folder`/claims.yaml with its tests, computed from the rows of the studies in `folder`."""
    tests = _Studies(folder)
    for claim in read_field_claims(folder / FILE).claims:
        yield Judged(claim, tuple(test for one in claim.evidence for test in tests.of(one)))


class _Studies:
    """The tests of the studies of a folder; each study is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, _Study] = {}

    def of(self, evidence: Evidence) -> list[TriedClaim]:
        """The tests that a piece of evidence names. Raises UserError where the study has none of them."""
        if evidence.study not in self._read:
            self._read[evidence.study] = _Study(self.folder, evidence.study)
        study = self._read[evidence.study]
        return study.claimed(evidence) if evidence.claim else study.declared(evidence)


class _Study:
    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.file = name, folder / FILE
        if not (folder / name / "matrix.json").is_file():
            raise UserError(f"no study {name!r}", where=str(self.file), fix=f"Name a results folder in {folder}.")
        self.model: ReportModel = collect(folder / name)
        self.claims = claims_in(self.model)
        self.contrasts: Sequence[DeclaredContrast] = declared_contrasts(self.model.blocks, self.model.matrix.contrasts)

    def claimed(self, evidence: Evidence) -> list[TriedClaim]:
        """The tests of a claim of the study's report."""
        named = [one for one in self.claims if one.name == evidence.claim]
        if not named:
            raise self._unknown("claim", evidence.claim, [one.name for one in self.claims])
        found = [one for one in named if not evidence.on or evidence.on in _names(one.where)]
        if not found:
            raise self._unknown("metric", evidence.on, [one.where for one in named])
        test = partial(TriedClaim, self.name)
        return [test(_where(c.contrast, c.where), c.verdict, c.estimate, c.percent, c.missing) for c in found]

    def declared(self, evidence: Evidence) -> list[TriedClaim]:
        """The tests of a declared contrast."""
        named = [one for one in self.contrasts if f"{one.first} - {one.second}" == evidence.contrast]
        if not named:
            known = [f"{one.first} - {one.second}" for one in self.contrasts]
            raise self._unknown("declared contrast", evidence.contrast, known)
        found = [one for one in named if not evidence.on or evidence.on in _names(one.measured.metric.title)]
        if not found:
            raise self._unknown("metric", evidence.on, [one.measured.metric.title for one in named])
        return [
            TriedClaim(
                self.name,
                _where(f"{one.first} − {one.second}", one.measured.metric.title),
                _side(one.estimate, evidence),
                one.estimate,
                one.measured.percent,
                one.estimate.reason,
            )
            for one in found
        ]

    def _unknown(self, what: str, name: str, known: Sequence[str]) -> UserError:
        fix = did_you_mean(name, sorted(set(known)))
        return UserError(f"the study {self.name} tests no {what} {name!r}", where=str(self.file), fix=fix)


def _names(title: str) -> tuple[str, ...]:
    """The names of a metric: `stories: solved`, and its benchmark; without the base that several are told apart by."""
    plain = title.split(", ")[0]
    return (title, plain, plain.partition(": ")[0])


def _where(contrast: str, title: str) -> str:
    return f"{contrast} ({title})" if title else contrast


def _side(estimate: Estimate, evidence: Evidence) -> Literal["supported", "contradicted", "undecided"]:
    """On which side of the bound the whole simultaneous interval lies."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undecided"
    low, high = estimate.low, estimate.high
    bound = evidence.above if evidence.above is not None else evidence.below
    assert bound is not None
    over, under = low > bound, high < bound
    if not over and not under:
        return "undecided"
    return "supported" if over == (evidence.above is not None) else "contradicted"


def verdict_counts(judged: Sequence[Judged]) -> str:
    """How many claims have which verdict, as a sentence."""
    counts = Counter(one.verdict for one in judged)
    kinds = ("supported", "contradicted", "undecided", "cannot be asked here")
    return f"{counted(len(judged), 'claim')}: {', '.join(f'{counts[kind]} {kind}' for kind in kinds if counts[kind])}."


def page_of(judged: Sequence[Judged], about: str = "") -> str:
    """The claims as a Markdown page: how many have which verdict, then a row for each with its tests.

    about  a paragraph for the top, already Markdown
    """
    lines = ["# Claims of the field", "", verdict_counts(judged), "", *([about.strip(), ""] if about else [])]
    lines += ["| # | claim | verdict | tests |", "|--:|:--|:--|:--|"]
    lines += [_row(one) for one in judged]
    return "\n".join(lines) + "\n"


def _row(one: Judged) -> str:
    safe = escape_markdown
    here = f"<br>Asked here: {safe(one.claim.here)}" if one.claim.here else ""
    if one.claim.cannot:
        return f"| {one.claim.number} | {safe(one.claim.claim)} | {one.verdict} | because {safe(one.claim.cannot)} |"
    tests = "<br>".join(
        f"[{safe(test.study)}]({test.study}/report.md): {safe(test.contrast)}: {safe(test.effect)}, {test.verdict}"
        for test in one.tests
    )
    verdict = f"**{one.verdict}**" if one.verdict in ("supported", "contradicted") else one.verdict
    return f"| {one.claim.number} | {safe(one.claim.claim)}{here} | {verdict}<br>{one.counts} | {tests} |"
