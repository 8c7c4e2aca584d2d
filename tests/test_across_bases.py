"""One difference over several base models: worked by hand, covered as it should be, and silent with too few."""

from __future__ import annotations

import math
from pathlib import Path

import numpy
import pytest
from scipy import stats
from test_report import Fake

from harness.report.collect import collect
from harness.report.compose import write_report
from harness.report.findings.across_bases import across_bases, across_bases_parts
from harness.report.render.document import Paragraph
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, mean

FOUR = ("one/a", "two/b", "three/c", "four/d")


def test_the_difference_over_bases_is_the_mean_of_their_differences(tmp_path: Path) -> None:
    model = collect(Fake(bases=FOUR).write(tmp_path))
    found = across_bases(model.blocks, model.matrix)
    assert {one.method for one in found} == {"tuned", "harsh", "weak"}
    for one in found:
        assert set(one.of_bases) == set(FOUR)
        assert one.estimate.value == pytest.approx(sum(one.of_bases.values()) / 4)
        (own,) = {
            r.comparisons[one.method].estimate.value
            for b in model.blocks for r in b.results if b.base == "one/a" and r.metric.title == one.metric.title
        }  # fmt: skip
        assert one.of_bases["one/a"] == pytest.approx(own)


def test_bases_count_as_draws_with_one_degree_of_freedom_less_than_there_are() -> None:
    """Items that are all alike within a base: only the bases vary, and the interval is that of a t-test over them."""
    differences = numpy.array([0.1, 0.3, 0.2, 0.4])
    totals = numpy.repeat(differences[:, None], 50, axis=1)
    found = mean(Scores(totals, numpy.ones(50)), scale=Scale(binary=False, unit=1e-9))
    reference = stats.t.interval(0.95, 3, differences.mean(), differences.std(ddof=1) / math.sqrt(4))
    assert (found.low, found.high) == pytest.approx(reference, rel=1e-6)


def test_a_report_pools_four_bases_and_speaks_of_fewer_one_by_one(tmp_path: Path) -> None:
    folder = Fake(bases=FOUR).write(tmp_path / "four")
    write_report(folder)
    said = (folder / "report.md").read_text("utf-8")
    assert "## Across base models" in said
    assert "Mean difference from plain over 4 base models" in said
    few = collect(Fake(bases=FOUR[:3]).write(tmp_path / "three"))
    assert across_bases(few.blocks, few.matrix) == ()
    (only,) = across_bases_parts(few)
    assert isinstance(only, Paragraph)
    one = collect(Fake().write(tmp_path / "one"))
    assert list(across_bases_parts(one)) == []


def test_a_cell_that_failed_on_one_base_leaves_the_pooled_difference_blank(tmp_path: Path) -> None:
    folder = Fake(bases=FOUR, lose=lambda method, seed, item: method == "harsh" and item < 60).write(tmp_path)
    model = collect(folder)
    blank = [one for one in across_bases(model.blocks, model.matrix) if one.method == "harsh"]
    assert blank
    assert all(one.estimate.value is None and one.adjusted is None and one.estimate.reason for one in blank)


@pytest.mark.parametrize("bases", [4, 6, 10])
@pytest.mark.parametrize("between", [0.0, 0.6])
def test_intervals_over_bases_cover_what_they_promise(bases: int, between: float) -> None:
    """600 draws of a method without effect on average; a standard error of 0.9 points."""
    chance = numpy.random.default_rng([bases, int(10 * between)])
    held = 0
    for _ in range(600):
        difficulty, shared = chance.normal(0, 1.2, 100), chance.normal(0, 0.4, 100)
        rows = []
        for _ in range(bases):
            own = difficulty + chance.normal(0, 0.8, 100) + chance.normal(0, 0.5)
            tuned = (
                own + shared + chance.normal(0, 0.4, 100) + chance.normal(0, between) + chance.normal(0, 0.1, (3, 1))
            )
            plain = chance.random(100) < 1 / (1 + numpy.exp(-own))
            rows.append(((chance.random((3, 100)) < 1 / (1 + numpy.exp(-tuned))) * 1.0 - plain).mean(axis=0))
        found = mean(Scores(numpy.stack(rows), numpy.ones(100)), scale=Scale(binary=False))
        held += (found.low or 0) <= 0 <= (found.high or 0)
    assert held / 600 >= 0.92
