"""Claims of the literature, tested on the rows of this experiment.

A claim is data (claims.yaml): a linear contrast of means and its expected value. It is tested on every metric that it
is about; if the experiment lacks something for the test, the report names it. An interaction (a difference of
differences) is asked on the scale of the scores and on that of their logits, and both have to agree. Supported: the
two-sided p, Holm-adjusted over the claims of its family that are tested here, is below 5 % on the side that the claim
expects; contradicted: on the other side; undecided otherwise. A claims file may name families; all claims without a
name are one. Fewer than 20 clusters are flagged; one seed decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.engine.claims_file import SHIPPED_CLAIMS, Claim, read_claims
from harness.report.collect import ReportModel, collect
from harness.report.findings.claim_terms import (
    ClaimBench,
    NotCompetent,
    NotTestable,
    Term,
    in_words,
    is_interaction,
    sets_of,
)
from harness.report.numbers.comparisons import claimable
from harness.report.numbers.matrix import Matrix
from harness.report.render import bands, tabular, text
from harness.report.render.document import Folded, Paragraph, Part
from harness.report.render.tabular import Column, Mood, Table, TableCell, blank_cell, estimate_cell, text_columns
from harness.stats.families import LEVEL, holm
from harness.stats.intervals import FLAGGED_CLUSTERS, Estimate

if TYPE_CHECKING:
    import pandas


Verdict = Literal["supported", "contradicted", "undecided", "not testable"]


@dataclass(frozen=True)
class Claimed:
    """A claim tried on one metric: the contrast, its estimate and what follows; `missing` where it was not.

    contrast  in words; bound: what the estimate is held against; p: Holm-adjusted over the claims tried of its family
    logits    of an interaction: the estimate on the second scale; contradiction: what would count as one
    """

    name: str
    source: str
    statement: str
    verdict: Verdict
    where: str = ""
    contrast: str = ""
    bound: str = ""
    estimate: Estimate | None = None
    percent: bool = True
    p: float | None = None
    missing: str = ""
    logits: str = ""
    contradiction: str = ""
    family: str = ""


@dataclass(frozen=True)
class _Tried:
    """A claim on one metric before the correction; `kind` is "" where there is nothing to test.

    counted  whether it is one of the family's tests: one that the rows stop, and not the design, still is
    logits   the estimate on the logit scale, of an interaction
    """

    claimed: Claimed
    kind: str = ""
    bound: float = 0.0
    counted: bool = False
    logits: Estimate | None = None


def claims_of(
    rows: pandas.DataFrame, matrix: Matrix, artifacts: Sequence[Mapping[str, Any]], file: Path = SHIPPED_CLAIMS
) -> tuple[Claimed, ...]:
    """Every claim of `file` on every metric that it is about, in the file's order."""
    known = read_claims(file)
    bench = ClaimBench(rows, matrix, artifacts, known.tuned)
    return tuple(_decided([one for claim in known.claims for one in _tried(bench, claim)]))


def _tried(bench: ClaimBench, claim: Claim) -> Iterator[_Tried]:
    """The claim once for each base and metric, with its expectation resolved; or what is missing."""
    said = Claimed(
        claim.name, claim.source, claim.statement, "not testable", contradiction=claim.contradiction,
        family=claim.family,
    )  # fmt: skip
    try:
        bench.require(claim)
        contrasts = list(bench.contrasts(claim))
    except NotTestable as error:
        yield _Tried(replace(said, missing=str(error)))
        return
    for base, terms, oriented in contrasts:
        if not sets_of(terms):
            yield _Tried(replace(said, missing=f"it would compare {terms[0].shown} with itself"))
            continue
        try:
            bench.require_competence(claim, base, [term.metric for term in terms])
        except NotTestable as error:
            yield _Tried(replace(said, missing=str(error)), counted=isinstance(error, NotCompetent))
            continue
        yield _one(bench, said, claim, base, terms, oriented)


def _one(bench: ClaimBench, said: Claimed, claim: Claim, base: str, terms: Sequence[Term], oriented: bool) -> _Tried:
    metrics = {term.metric.title: term.metric for term in terms}
    sign = -1.0 if oriented and not terms[0].metric.higher_is_better else 1.0
    kind, value = claim.expects
    named = {"margin": bench.matrix.margin, "-margin": -bench.matrix.margin}
    bound = named[value] if isinstance(value, str) else value
    several = len(bench.matrix.bases) > 1 and not claim.about_models
    percent = bench.percent(terms)
    logs = any(bench.measured(term.metric.title, term.group).panel.log for term in terms)
    claimed = replace(
        said,
        verdict="undecided",
        where=" and ".join(metrics) + (f", {base}" if several else "") + (", in logarithms" if logs else ""),
        contrast=in_words(terms),
        estimate=bench.estimate(terms, sign),
        percent=percent,
    )
    # a bound other than 0 is in points and has no counterpart among logits
    both = percent and kind != "within" and bound == 0 and is_interaction(claim.terms)
    return _Tried(claimed, kind, bound, True, bench.on_logits(terms, sign) if both else None)


# ---- verdicts


def _decided(tried: Sequence[_Tried]) -> Iterator[Claimed]:
    """Holm over the claims of each family that could be tried, then the side on which each falls."""
    several = any(one.claimed.estimate is not None and one.claimed.estimate.seeds > 1 for one in tried)
    sides = [_both_sides(one) for one in tried]
    allowed = [
        min(1.0, 2 * min(pair))
        if pair is not None and one.claimed.estimate is not None and several and claimable(one.claimed.estimate, True)
        else None
        for one, pair in zip(tried, sides, strict=True)
    ]
    families: dict[str, list[int]] = {}
    for at, one in enumerate(tried):
        if one.counted:
            families.setdefault(one.claimed.family, []).append(at)
    adjusted: dict[int, float | None] = {}
    for members in families.values():
        adjusted.update(zip(members, holm([allowed[at] for at in members]), strict=True))
    for at, one in enumerate(tried):
        if not one.kind:
            yield one.claimed
            continue
        verdict = _verdict(adjusted[at], sides[at])
        yield replace(
            one.claimed,
            p=adjusted[at],
            verdict=verdict,
            missing=_reason(one),
            bound=_bound_in_words(one.kind, one.bound, one.claimed.percent),
            estimate=_together(
                one.claimed.estimate, verdict, one.kind, one.bound, LEVEL / len(families[one.claimed.family])
            ),
            logits=_logits_in_words(one.logits),
        )


def _both_sides(one: _Tried) -> tuple[float, float] | None:
    """The one-sided p of the claim's denial and of the claim; of an interaction the larger one of both scales."""
    if not one.kind or one.claimed.estimate is None:
        return None
    own = _sides(one.claimed.estimate, one.kind, one.bound)
    if one.logits is None or own is None:
        return own
    other = _sides(one.logits, one.kind, one.bound)
    return None if other is None else (max(own[0], other[0]), max(own[1], other[1]))


def _logits_in_words(estimate: Estimate | None) -> str:
    """The estimate of an interaction on the second scale; "" where only one scale is asked."""
    if estimate is None:
        return ""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "in logits: no value"
    low, high = (tabular.signed(limit, False) for limit in (estimate.low, estimate.high))
    return f"in logits {tabular.signed(estimate.value, False)} [{low}, {high}]"


def _together(estimate: Estimate | None, verdict: Verdict, kind: str, bound: float, level: float) -> Estimate | None:
    """The estimate with an interval that holds together with those of all claims; a decided one ends at its bound."""
    interval = estimate.interval(level) if estimate is not None else None
    if estimate is None or interval is None:
        return estimate
    low, high = interval
    if kind != "within" and verdict in ("supported", "contradicted"):
        upper = (kind == "above") == (verdict == "supported")
        low, high = (max(low, bound), high) if upper else (low, min(high, bound))
    return replace(estimate, low=low, high=high)


def _sides(estimate: Estimate, kind: str, bound: float) -> tuple[float, float] | None:
    """One-sided p of the claim's denial, and of the claim itself."""
    if estimate.value is None or estimate.p is None:
        return None
    turned = replace(estimate, value=-estimate.value)

    def denies(low: float) -> float:
        return float(estimate.p_above(low) or 0.0)

    def asserts(high: float) -> float:
        return float(turned.p_above(-high) or 0.0)

    if kind == "above":
        return denies(bound), asserts(bound)
    if kind == "below":
        return asserts(bound), denies(bound)
    return max(denies(-bound), asserts(bound)), min(asserts(-bound), denies(bound))


def _verdict(p: float | None, sides: tuple[float, float] | None) -> Verdict:
    if p is None or sides is None or p >= LEVEL:
        return "undecided"
    return "supported" if sides[0] < sides[1] else "contradicted"


def _reason(one: _Tried) -> str:
    estimate = one.claimed.estimate
    if estimate is None or estimate.p is None:
        return estimate.reason if estimate is not None else "no estimate"
    if estimate.items_only:
        return "one seed: it describes these trained runs only"
    if one.logits is not None and one.logits.p is None:
        return one.logits.reason
    return f"fewer than {FLAGGED_CLUSTERS} effective clusters" if estimate.few_clusters else ""


def _bound_in_words(kind: str, bound: float, percent: bool) -> str:
    if kind == "within":
        return f"within ±{tabular.points(bound, percent)}"
    return f"{kind} {tabular.score_text(bound, percent)}"


MOODS: dict[Verdict, Mood] = {"supported": "good", "contradicted": "bad", "undecided": "open", "not testable": "blank"}


COLUMNS = (
    *text_columns("claim", "statement", "verdict"), Column("effect", "95 % intervals, together"), Column("expected"),
    Column("p", "Holm"), Column("tested as", left=True),
)  # fmt: skip


def claims_in(model: ReportModel, file: Path | None = None) -> tuple[Claimed, ...]:
    """Every claim of `file`, or of the report's own claims file, on the rows of the report."""
    return claims_of(model.rows, model.matrix, model.ledger, file or model.claims)


def claim_parts(model: ReportModel) -> Iterator[Part]:
    """The claims that these rows can test, then those that they cannot."""
    claims = claims_in(model)
    tried = [claim for claim in claims if claim.verdict != "not testable"]
    counted = Counter(claim.verdict for claim in claims)
    said = [f"{counted[verdict]} {verdict}" for verdict in MOODS if counted[verdict]]
    if said:
        whose = "Claims of the literature" if model.claims == SHIPPED_CLAIMS else "The claims of this experiment"
        yield Paragraph(f"{whose}, tested on these rows: {text.listed(said)}.")
    if tried:
        yield Paragraph(
            f"Supported or contradicted: {_corrected_in_words(tried)} A contradiction holds for this experiment; it "
            "does not refute the source.",
            "open",
        )
        yield Table(COLUMNS, tuple(_row(claim) for claim in tried))
    rest = [claim for claim in claims if claim.verdict == "not testable"]
    if rest:
        head = text_columns("claim", "statement", "missing here")
        rows = tuple(
            (TableCell(c.name, note=c.source), TableCell(c.statement, small=c.source), TableCell(c.missing))
            for c in rest
        )
        yield Folded(f"{len(rest)} that this experiment cannot test", Table(head, rows))


def _corrected_in_words(tried: Sequence[Claimed]) -> str:
    """The families with their sizes, and the error rate of all of them."""
    sizes = Counter(claim.family for claim in tried)
    if len(sizes) == 1:
        return (
            f"after Holm's correction over the {bands.counted(len(tried), 'test')} (5 % family-wise). The "
            "intervals hold all together with 95 %."
        )
    named = text.listed([f"{name or 'without a name'} ({size})" for name, size in sizes.items()])
    return (
        f"after Holm's correction within the {len(sizes)} families that the claims file names: {named}. Each has 5 % "
        f"family-wise and its intervals hold together with 95 %; the chance of any false finding in this section is "
        f"at most {100 * LEVEL * len(sizes):.0f} %."
    )


def _row(claim: Claimed) -> tuple[TableCell, ...]:
    effect = blank_cell()
    if claim.estimate is not None and claim.estimate.value is not None:
        shown = estimate_cell(claim.estimate, claim.percent, signed=True)
        small = [*(["points"] if claim.percent else []), *([claim.logits] if claim.logits else [])]
        effect = replace(shown, small="; ".join(small))
    return (
        TableCell(claim.name, note=claim.source, small=f"family: {claim.family}" if claim.family else ""),
        TableCell(claim.statement, small=claim.source),
        TableCell(claim.verdict, small=text.one_line(claim.missing, 80), mood=MOODS[claim.verdict]),
        effect,
        TableCell(claim.bound),
        TableCell(tabular.p_value(claim.p)),
        TableCell(claim.contrast, small=claim.where),
    )


def claims_lines(folder: Path, file: Path | None) -> tuple[Table, list[tuple[str, str]]]:
    """The table of the claims that the rows of a results folder can test, and (name, what is missing) of the others.

    file  a claims file; None: the one of the folder's report
    """
    model = collect(folder)
    model.matrix.require_whole(folder)
    claims = claims_in(model, file)
    tried = tuple(_row(claim) for claim in claims if claim.verdict != "not testable")
    return Table(COLUMNS, tried), [(c.name, c.missing) for c in claims if c.verdict == "not testable"]
