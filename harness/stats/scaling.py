"""Error by the size of a model and the amount of its data: two laws, fitted to cells and tried on the largest one.

    multiplicative   A * X^-a * D^-b + E            additive   A * X^-a + B * D^-b + E

X is a size (parameters of the base, or the rank of an adapter), D the rows of training data, E what neither removes.
The multiplicative law is equation 1 of Zhang et al. 2024 (arXiv 2402.17193), who compare it with the additive one.

For given exponents both laws are linear in A, B and E, which are the non-negative least squares solution; scipy's least
squares then searches for the exponents alone (variable projection, Golub and Pereyra 1973). All cells have one weight.

The intervals come from a bootstrap over cells: residuals, inflated by sqrt(n / (n - p)) for the p parameters of the
law, are drawn with replacement around the fitted values, each draw times sqrt((n - p) / chi2(n - p)), as the scale of
the residuals is itself an estimate. Drawing the cells themselves would lose a corner of the table in most draws.
Specification: docs/statistics.md, section 23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy
from numpy.typing import NDArray

from harness.stats.intervals import CONFIDENCE

Array = NDArray[numpy.float64]
Law = Literal["multiplicative", "additive"]

PARAMETERS: dict[Law, int] = {"multiplicative": 4, "additive": 5}
LOWEST, HIGHEST = -1.0, 3.0  # exponents; those of published fits are 0 to 1
_STARTS = (-0.2, 0.1, 0.4, 0.8, 1.6)
MOST_STEPS = 40  # along a valley that the cells do not determine, more would not end the search
_NARROWED = 14  # the grid's last step is half of 0.6^13, 0.0007
_EDGE = 0.02  # an end of an interval so near to an edge of the search, or to 0, is taken for that


@dataclass(frozen=True)
class Cells:
    """One number per cell: the size X, the rows of data D (both positive) and the error."""

    sizes: Array
    rows: Array
    errors: Array

    @property
    def count(self) -> int:
        return int(self.errors.size)

    @property
    def largest(self) -> NDArray[numpy.bool_]:
        """The cell of the largest size and, there, of the most data."""
        at_largest = self.sizes == self.sizes.max()
        return numpy.asarray(at_largest & (self.rows == self.rows[at_largest].max()), dtype=numpy.bool_)

    def only(self, chosen: NDArray[numpy.bool_]) -> Cells:
        """Those cells."""
        return Cells(self.sizes[chosen], self.rows[chosen], self.errors[chosen])


@dataclass(frozen=True)
class Fit:
    """A law with its exponents, and its coefficients where sizes and rows are in units of `unit`."""

    law: Law
    exponents: tuple[float, float]
    coefficients: tuple[float, ...]
    unit: tuple[float, float]

    @property
    def floor(self) -> float:
        """E: the error that neither a larger size nor more data removes."""
        return self.coefficients[-1]

    @property
    def scale(self) -> float:
        """A, in the units of the cells; of the additive law the coefficient of the size alone."""
        of_rows = self.unit[1] ** self.exponents[1] if self.law == "multiplicative" else 1.0
        return float(self.coefficients[0] * self.unit[0] ** self.exponents[0] * of_rows)

    def predict(self, sizes: Array, rows: Array) -> Array:
        """The error at these sizes and amounts of data."""
        columns = _columns(self.law, self.exponents, sizes / self.unit[0], rows / self.unit[1])
        return numpy.asarray(columns @ numpy.array(self.coefficients))


@dataclass(frozen=True)
class Forecast:
    """The largest cell, predicted by a law that was fitted to the others; the ends are None where they are unknown."""

    law: Law
    observed: float
    predicted: float
    low: float | None = None
    high: float | None = None

    @property
    def miss(self) -> float:
        """Predicted less observed, in the unit of the errors."""
        return self.predicted - self.observed


@dataclass(frozen=True)
class Scaling:
    """The multiplicative law on all cells, with intervals, and both laws' forecasts of the largest cell.

    size, rows   the intervals of the two exponents; floor: that of E
    spread       the largest error of a cell less the smallest
    """

    fit: Fit
    size: tuple[float, float]
    rows: tuple[float, float]
    floor: tuple[float, float]
    forecasts: tuple[Forecast, ...]
    spread: float

    @property
    def undetermined(self) -> str:
        """Why these cells do not determine the law; "" where they do."""
        for name, (low, high) in (("size", self.size), ("data", self.rows)):
            if low <= LOWEST + _EDGE or high >= HIGHEST - _EDGE:
                return f"the exponent of {name} is not bounded by these cells"
            if low <= _EDGE and high >= -_EDGE:
                return f"the exponent of {name} may be 0"
        first = self.forecasts[0] if self.forecasts else None
        if first is None or first.low is None or first.high is None:
            return "too few cells to hold the largest one out"
        if first.high - first.low > self.spread:
            return "the interval of the forecast is wider than all cells are apart"
        return ""


def fit_law(law: Law, cells: Cells) -> Fit:
    """The law with the least sum of squared residuals; the search begins at the best exponents of a grid.

    Raises ValueError where a size or number of rows is not positive, or there are fewer cells than parameters.
    """
    from scipy.optimize import least_squares, nnls  # slow to import

    if cells.count < PARAMETERS[law] or not (cells.sizes > 0).all() or not (cells.rows > 0).all():
        raise ValueError(f"the {law} law takes {PARAMETERS[law]} or more cells of positive size and data")
    unit = (float(numpy.exp(numpy.log(cells.sizes).mean())), float(numpy.exp(numpy.log(cells.rows).mean())))
    sizes, rows = cells.sizes / unit[0], cells.rows / unit[1]

    def residuals(exponents: Array) -> Array:
        columns = _columns(law, exponents, sizes, rows)
        return numpy.asarray(columns @ nnls(columns, cells.errors)[0] - cells.errors)

    starts = [(a, b) for a in _STARTS for b in _STARTS]
    best = min(starts, key=lambda one: float((residuals(numpy.array(one)) ** 2).sum()))
    found = least_squares(residuals, best, bounds=(LOWEST, HIGHEST), x_scale=0.1, max_nfev=MOST_STEPS)
    columns = _columns(law, found.x, sizes, rows)
    coefficients = tuple(float(one) for one in nnls(columns, cells.errors)[0])
    return Fit(law, (float(found.x[0]), float(found.x[1])), coefficients, unit)


def _columns(law: Law, exponents: Array | tuple[float, float], sizes: Array, rows: Array) -> Array:
    of_size, of_rows = sizes ** -exponents[0], rows ** -exponents[1]
    parts = [of_size * of_rows] if law == "multiplicative" else [of_size, of_rows]
    return numpy.stack([*parts, numpy.ones_like(of_size)], axis=1)


def scaling(cells: Cells, draws: int = 200, seed: int = 0) -> Scaling:
    """The fit with its 95 % intervals and the forecasts of the largest cell. Needs five cells or more (ValueError)."""
    if cells.count <= PARAMETERS["multiplicative"]:
        raise ValueError(f"an interval takes more than {PARAMETERS['multiplicative']} cells")
    chance = numpy.random.default_rng(seed)
    fit = fit_law("multiplicative", cells)
    exponents, coefficients = _fitted_again(fit, cells, _redrawn(fit, cells, draws, chance))
    spread = float(cells.errors.max() - cells.errors.min())
    of_size, of_rows, floor = (_interval(values) for values in (*exponents.T, coefficients[:, 1]))
    return Scaling(fit, of_size, of_rows, floor, _forecasts(cells, draws, chance), spread)


def _forecasts(cells: Cells, draws: int, chance: numpy.random.Generator) -> tuple[Forecast, ...]:
    """Both laws on all cells but the largest; the interval is one for a new cell, so it contains its residual."""
    held, others = cells.only(cells.largest), cells.only(~cells.largest)
    found = []
    for law, parameters in PARAMETERS.items():
        if others.count < parameters:
            continue
        fit = fit_law(law, others)
        said = Forecast(law, float(held.errors[0]), float(fit.predict(held.sizes, held.rows)[0]))
        if law == "multiplicative" and others.count > parameters:
            drawn = _redrawn(fit, others, draws, chance, more=1)
            exponents, coefficients = _fitted_again(fit, others, drawn[:, :-1])
            place = numpy.log([held.sizes[0] / fit.unit[0], held.rows[0] / fit.unit[1]])
            values = coefficients[:, 0] * numpy.exp(-exponents @ place) + coefficients[:, 1] + drawn[:, -1]
            said = Forecast(law, said.observed, said.predicted, *_interval(values))
        found.append(said)
    return tuple(found)


def _redrawn(fit: Fit, cells: Cells, draws: int, chance: numpy.random.Generator, more: int = 0) -> Array:
    """(draws, cells) errors drawn anew; `more` residuals without a cell are appended."""
    expected = fit.predict(cells.sizes, cells.rows)
    freedom = cells.count - PARAMETERS[fit.law]
    residuals = cells.errors - expected
    residuals = (residuals - residuals.mean()) * numpy.sqrt(cells.count / freedom)
    scales = numpy.sqrt(freedom / numpy.maximum(chance.chisquare(freedom, (draws, 1)), 1e-9))
    around = numpy.concatenate([expected, numpy.zeros(more)])
    return numpy.asarray(around + scales * chance.choice(residuals, (draws, around.size)))


def _fitted_again(fit: Fit, cells: Cells, errors: Array) -> tuple[Array, Array]:
    """The multiplicative law on each line of errors (draws, cells): exponents and coefficients, (draws, 2) each.

    The search of `fit_law`, for all draws at once: a grid around the best exponents so far that narrows step by step.
    """
    places = numpy.log(numpy.stack([cells.sizes / fit.unit[0], cells.rows / fit.unit[1]]))
    offsets = numpy.stack(numpy.meshgrid(*[numpy.linspace(-1, 1, 5)] * 2), axis=-1).reshape(-1, 2)
    best = numpy.tile(numpy.array(fit.exponents), (len(errors), 1))
    every = numpy.arange(len(errors))
    for step in range(_NARROWED):
        tried = numpy.clip(best[:, None] + 0.6**step * offsets, LOWEST, HIGHEST)
        slopes, floors, squares = _straight(numpy.exp(-tried @ places), errors[:, None])
        chosen = squares.argmin(axis=1)
        best = tried[every, chosen]
    return best, numpy.stack([slopes[every, chosen], floors[every, chosen]], axis=1)


def _straight(across: Array, errors: Array) -> tuple[Array, Array, Array]:
    """Slope, floor and sum of squares of the lines of least squares, neither below 0, over the last axis."""
    middle, height = across.mean(axis=-1), errors.mean(axis=-1)
    around = across - middle[..., None]
    slopes = (around * errors).sum(axis=-1) / numpy.maximum((around**2).sum(axis=-1), 1e-300)
    floors = height - slopes * middle
    through = (across * errors).sum(axis=-1) / (across**2).sum(axis=-1)
    slopes = numpy.where(slopes < 0, 0.0, numpy.where(floors < 0, numpy.maximum(through, 0.0), slopes))
    floors = numpy.where(slopes > 0, numpy.maximum(floors, 0.0), numpy.maximum(height, 0.0))
    squares = ((across * slopes[..., None] + floors[..., None] - errors) ** 2).sum(axis=-1)
    return slopes, floors, squares


def _interval(values: Array) -> tuple[float, float]:
    low, high = numpy.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
