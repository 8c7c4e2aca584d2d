"""Claims of the field: what the tests of a folder's studies say together, and mistakes in its claims.yaml."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.report.field_claims import (
    Evidence,
    FieldClaim,
    Judged,
    TriedClaim,
    judged_claims,
    page_of,
    read_field_claims,
)
from harness.report.field_claims import _side as side
from harness.stats.intervals import Estimate

RESULTS = Path(__file__).parents[1] / "results"
EVIDENCE = (Evidence("study", claim="x"),)


def judged(*verdicts: Any, cannot: str = "", every: bool = False) -> Judged:
    claim = FieldClaim(1, "c", () if cannot else EVIDENCE, cannot=cannot, all=every)
    return Judged(claim, tuple(TriedClaim("study", "a − b", verdict) for verdict in verdicts))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (("supported", "undecided"), "supported"),
        (("contradicted", "undecided", "not testable"), "contradicted"),
        (("supported", "contradicted"), "undecided"),
        (("undecided",), "undecided"),
        (("not testable",), "undecided"),
    ],
)
def test_a_claim_falls_on_the_side_of_its_tests_and_stays_undecided_where_they_disagree(
    verdicts: Any, expected: str
) -> None:
    assert judged(*verdicts).verdict == expected
    assert judged("supported", "supported", "contradicted").counts == "2 supported, 1 contradicted"


def test_a_claim_that_says_several_things_needs_the_support_of_every_test() -> None:
    assert judged("supported", "supported", every=True).verdict == "supported"
    assert judged("supported", "undecided", every=True).verdict == "undecided"
    assert judged("supported", "contradicted", every=True).verdict == "contradicted"
    assert judged("supported", "not testable", every=True).verdict == "undecided"


def test_a_claim_that_no_rows_can_deny_says_why() -> None:
    page = page_of([judged(cannot="nobody | measured it")], "Toy worlds.")
    assert "1 claim: 1 cannot be asked here." in page
    assert "Toy worlds." in page
    assert "because nobody \\| measured it" in page


@pytest.mark.parametrize(
    ("interval", "bound", "expected"),
    [
        ((0.1, 0.3), {"above": 0.0}, "supported"),
        ((-0.3, -0.1), {"above": 0.0}, "contradicted"),
        ((-0.1, 0.1), {"above": 0.0}, "undecided"),
        ((0.0, 0.1), {"above": 0.0}, "undecided"),
        ((-0.1, 0.01), {"below": 0.02}, "supported"),
        ((0.03, 0.1), {"below": 0.02}, "contradicted"),
    ],
)
def test_a_declared_contrast_decides_where_its_whole_interval_is_on_one_side_of_the_bound(
    interval: tuple[float, float], bound: Any, expected: str
) -> None:
    estimate = Estimate(sum(interval) / 2, low=interval[0], high=interval[1])
    assert side(estimate, Evidence("study", contrast="a - b", **bound)) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("claims: [{number: 1, claim: c}]", r":1.*either evidence or a reason"),
        ("claims: [{number: 1, claim: c, cannot: x, evidence: [{study: s, claim: y}]}]", "either evidence or a reason"),
        (
            "claims:\n- {number: 1, claim: c, cannot: x}\n- {number: 1, claim: d, cannot: x}",
            r":2.*two claims have the number 1",
        ),
        ("claims: [{number: 1, claim: c, evidence: [{study: s}]}]", "either a claim or a contrast"),
        ("claims: [{number: 1, claim: c, evidence: [{study: s, contrast: a - b}]}]", "needs one bound"),
        ("claims: [{number: 0, claim: c, cannot: x}]", "number"),
        ("[]", "a mapping with a list `claims`"),
    ],
)
def test_a_mistake_in_the_file_is_reported_at_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "claims.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_field_claims(file)
    assert re.search(complaint, f"{caught.value.where} {caught.value}", re.DOTALL)


def test_evidence_that_a_study_does_not_have_is_a_mistake(tmp_path: Path) -> None:
    shutil.copytree(RESULTS / "where_it_changes", tmp_path / "study")
    file = tmp_path / "claims.yaml"
    head = "claims: [{number: 7, claim: c, evidence: [{study: "
    for text, complaint in (
        ("elsewhere, claim: x", "no study 'elsewhere'"),
        ("study, claim: nobody said this", "tests no claim"),
        ("study, contrast: sft_first - nobody, above: 0", "tests no declared contrast"),
        ("study, contrast: sft_first - sft_last, above: 0, on: stories", "tests no metric 'stories'"),
    ):
        file.write_text(head + text + "}]}]")
        with pytest.raises(UserError, match=complaint):
            list(judged_claims(tmp_path))
    file.write_text(head + "study, contrast: sft_first - sft_last, above: 0}]}]")
    (one,) = judged_claims(tmp_path)
    # results/where_it_changes/README.md: undecided on knowledge, -57.2 on instructions
    assert [test.verdict for test in one.tests if "token" not in test.contrast] == ["undecided", "contradicted"]
    assert "−57.2 [−88.2, −26.3]" in page_of([one])


def test_the_committed_file_has_each_of_the_53_claims_once() -> None:
    assert [one.number for one in read_field_claims(RESULTS / "claims.yaml").claims] == list(range(1, 54))


@pytest.mark.slow
def test_the_committed_page_is_what_the_studies_say() -> None:
    about = read_field_claims(RESULTS / "claims.yaml").about
    assert (RESULTS / "claims.md").read_text("utf-8") == page_of(list(judged_claims(RESULTS)), about)
