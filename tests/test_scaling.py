"""The scaling laws: planted exponents are found, the largest cell is forecast, and thin designs say so."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
from numpy.typing import NDArray
from test_report import Fake

from harness.files import read_json, write_json
from harness.report.collect import ReportModel, collect
from harness.report.compose import write_report
from harness.report.findings.how_quality_scales import scaled, scaling_parts
from harness.report.render.document import Paragraph
from harness.stats.scaling import Cells, Fit, Scaling, fit_law, scaling

PLANTED = (0.3, 0.4)


def design(sizes: int, rows: int) -> tuple[NDArray[numpy.float64], NDArray[numpy.float64]]:
    """Sizes four times, and amounts of data three times, as large from step to step."""
    across = numpy.repeat(4.0 ** numpy.arange(sizes), rows)
    return across, numpy.tile(100 * 3.0 ** numpy.arange(rows), sizes)


def planted(sizes: int, rows: int, sd: float, seed: int) -> Cells:
    """Errors of 0.5 X^-0.3 (D / 100)^-0.4 + 0.05 with normal noise."""
    size, data = design(sizes, rows)
    errors = 0.5 * size**-0.3 * (data / 100) ** -0.4 + 0.05
    return Cells(size, data, errors + numpy.random.default_rng([7, seed]).normal(0, sd, errors.size))


def holds(found: Scaling) -> tuple[bool, bool, bool]:
    ends = (found.size, found.rows, found.floor)
    low, middle, high = (low <= truth <= high for truth, (low, high) in zip((*PLANTED, 0.05), ends, strict=True))
    return low, middle, high


def test_a_law_without_noise_is_found_exactly() -> None:
    cells = planted(4, 5, 0, 0)
    fit = fit_law("multiplicative", cells)
    assert fit.exponents == pytest.approx(PLANTED, abs=1e-4)
    assert fit.floor == pytest.approx(0.05, abs=1e-4)
    assert fit.scale == pytest.approx(0.5 * 100**0.4, rel=1e-3)
    # 0.5 * 16^-0.3 * 9^-0.4 + 0.05 = 0.5 * 0.435275 * 0.415244 + 0.05
    assert fit.predict(numpy.array([16.0]), numpy.array([900.0]))[0] == pytest.approx(0.140373, abs=1e-5)


def test_each_law_forecasts_a_cell_of_its_own_better() -> None:
    size, data = design(4, 5)
    both = 0.4 * size**-0.5 + 0.3 * (data / 100) ** -0.5 + 0.02
    for law, errors in (("multiplicative", planted(4, 5, 0, 0).errors), ("additive", both)):
        misses = {one.law: abs(one.miss) for one in scaling(Cells(size, data, errors), 50).forecasts}
        assert min(misses, key=lambda name: misses[name]) == law
        assert misses[law] < 1e-4


def test_planted_exponents_are_within_their_intervals() -> None:
    found = [holds(scaling(planted(3, 4, 0.005, seed), 200, seed)) for seed in range(12)]
    assert numpy.mean(found, axis=0).min() >= 10 / 12
    assert not scaling(planted(3, 4, 0.005, 0)).undetermined


@pytest.mark.slow
@pytest.mark.parametrize(("sizes", "rows", "sd"), [(4, 5, 0.005), (3, 4, 0.01), (2, 4, 0.005)])
def test_intervals_hold_in_about_95_percent_of_simulations(sizes: int, rows: int, sd: float) -> None:
    """100 simulations: a standard error of 2.2 points."""
    found = [holds(scaling(planted(sizes, rows, sd, seed), 200, seed)) for seed in range(100)]
    assert numpy.mean(found, axis=0).min() >= 0.9


def test_data_that_do_not_determine_the_law_forecast_nothing() -> None:
    size, data = design(3, 4)
    chance = numpy.random.default_rng(3)
    flat = scaling(Cells(size, data, 0.3 + chance.normal(0, 0.02, size.size)))
    assert flat.undetermined
    by_data = scaling(Cells(size, data, 0.5 * (data / 100) ** -0.4 + 0.05 + chance.normal(0, 0.005, size.size)))
    assert by_data.undetermined == "the exponent of size may be 0"
    with pytest.raises(ValueError, match="more than 4 cells"):
        scaling(planted(2, 2, 0.01, 0))
    with pytest.raises(ValueError, match="positive"):
        fit_law("additive", Cells(numpy.zeros(6), numpy.ones(6), numpy.ones(6)))


def test_predictions_do_not_depend_on_the_units_of_size_and_data() -> None:
    cells = planted(3, 4, 0.005, 1)
    other = Cells(cells.sizes * 1e6, cells.rows / 7, cells.errors)
    first, second = fit_law("multiplicative", cells), fit_law("multiplicative", other)
    assert isinstance(first, Fit)
    assert first.predict(cells.sizes, cells.rows) == pytest.approx(second.predict(other.sizes, other.rows), abs=1e-5)


def of_sizes(folder: Path, parameters: dict[str, int], data: tuple[int, ...]) -> ReportModel:
    """A fake study whose bases have these parameters."""
    Fake(bases=tuple(parameters), data_sizes=data, items=30).write(folder)
    costs = read_json(folder / "costs.json")
    for entry in costs["artifacts"]:
        entry["total_parameters"] = parameters[entry["base"]]
    write_json(folder / "costs.json", costs)
    return collect(folder)


def test_a_report_on_two_bases_and_three_sizes_of_data_has_the_section(tmp_path: Path) -> None:
    model = of_sizes(tmp_path, {"one/a": 1_000_000, "two/b": 4_000_000}, (100, 300, 1000))
    found = scaled(model)
    assert {one.method for one in found} >= {"tuned", "harsh"}
    # the fake's scores are the same on all bases, so that nothing can be said of size
    assert all(one.found is not None and one.found.undetermined for one in found)
    assert list(scaling_parts(model)) == list(scaling_parts(model))
    write_report(tmp_path)
    said = (tmp_path / "report.md").read_text("utf-8")
    assert "## How quality scales" in said
    assert "cannot forecast" in said


def test_ranks_of_one_adapter_are_sizes_too(tmp_path: Path) -> None:
    folder = Fake(data_sizes=(100, 300, 1000), items=30).write(tmp_path)
    matrix = read_json(folder / "matrix.json")
    for method in matrix["methods"]:
        if method["label"] in ("tuned", "harsh", "weak"):
            method |= {"plugin": "lora", "fields": {"rank": {"weak": 1, "harsh": 4, "tuned": 16}[method["label"]]}}
    write_json(folder / "matrix.json", matrix)
    found = scaled(collect(folder))
    assert {(one.method, one.axis, one.cells) for one in found} == {("lora", "rank", 9)}
    # the fake's shares of right answers are about 31, 60 and 80 %: errors fall as the rank grows
    quality = next(one.found for one in found if one.metric.title == "tasks: accuracy")
    assert quality is not None
    assert quality.fit.exponents[0] > 0.2


def test_of_two_bases_of_one_size_the_first_is_fitted_and_the_other_is_named(tmp_path: Path) -> None:
    sizes = {"one/a": 1_000_000, "two/half": 1_000_000, "three/b": 4_000_000}
    model = of_sizes(tmp_path, sizes, (100, 300, 1000))
    assert {one.cells for one in scaled(model)} == {6}
    said = [part.text for part in scaling_parts(model) if isinstance(part, Paragraph)]
    assert said[1].endswith("by their size alone: two/half (as large as one/a).")
    assert scaled(of_sizes(tmp_path / "alike", {"one/a": 5, "two/b": 5}, (100, 300, 1000))) == ()


@pytest.mark.parametrize("data", [(0,), (100, 300)])
def test_a_report_on_fewer_sizes_has_no_such_section(tmp_path: Path, data: tuple[int, ...]) -> None:
    model = of_sizes(tmp_path, {"one/a": 1_000_000, "two/b": 4_000_000}, data)
    assert list(scaling_parts(model)) == []
