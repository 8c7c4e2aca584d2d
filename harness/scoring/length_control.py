"""Wins at equal length: AlpacaEval 2's regression on the difference in length (Dubois et al. 2024, 2404.04475).

    q(win | x) = logistic(theta + phi * tanh((l_m - l_b) / s) + psi * gamma_x)              equation 2
    controlled win rate = mean over x of logistic(theta + psi * gamma_x)                    equation 3

with l the lengths of the two answers in characters, s the standard deviation of l_m - l_b over the questions, and
gamma_x the difficulty of a question (theta, phi and psi are those of the method less those of the opponent, which the
authors write apart). It is fitted by cross-entropy to wins, which may be a half. The authors take gamma_x from a
fit of all models of their leaderboard and choose a ridge by cross-validation; here gamma_x comes with the data or is
left out, and the ridge is 0.001 on phi and psi, which bends nothing and keeps the fit finite
where length tells every win.

`adjusted` spreads the controlled rate over the questions: each win less what the fit expects of it, plus what it would
expect at equal length. Their mean is equation 3, up to the fit's tolerance, since the residuals of a logistic
regression with an intercept add up to 0; so intervals and paired differences are those of a mean. They ignore that phi
is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit

Array = NDArray[numpy.float64]
RIDGE = 1e-3
FEWEST = 20  # questions: two numbers are fitted to them, or three
FURTHEST = 8.0  # of theta: a method that always wins has a logit of infinity, and 99.97 % here


@dataclass(frozen=True)
class LengthModel:
    """theta, phi and psi of one method against its opponent, and the standard deviation s of the differences."""

    theta: float
    phi: float
    psi: float
    deviation: float

    def expected(self, differences: Array, difficulties: Array) -> Array:
        """Equation 2: the chance of a win on each question. differences: our characters less theirs."""
        return numpy.asarray(expit(self.theta + self.phi * self._bend(differences) + self.psi * difficulties))

    def at_equal_length(self, difficulties: Array) -> Array:
        """The chance of a win on each question if both answers were equally long; the mean is equation 3."""
        return numpy.asarray(expit(self.theta + self.psi * difficulties))

    def _bend(self, differences: Array) -> Array:
        return numpy.tanh(differences / self.deviation) if self.deviation > 0 else numpy.zeros_like(differences)


def fit_lengths(wins: Array, differences: Array, difficulties: Array) -> LengthModel:
    """The model of least cross-entropy. wins are 1, a half or 0; difficulties all 0 where they are unknown."""
    shape = LengthModel(0.0, 1.0, 0.0, float(differences.std()))
    columns = numpy.stack([numpy.ones_like(wins), shape._bend(differences), difficulties], axis=1)

    def loss(weights: Array) -> tuple[float, Array]:
        logits = columns @ weights
        entropy = -(wins * log_expit(logits) + (1 - wins) * log_expit(-logits)).mean()
        slope = columns.T @ (expit(logits) - wins) / wins.size + 2 * RIDGE * weights * [0, 1, 1]
        return float(entropy + RIDGE * (weights[1:] ** 2).sum()), slope

    bounds = [(-FURTHEST, FURTHEST), (None, None), (None, None)]
    found = minimize(loss, numpy.zeros(3), jac=True, method="L-BFGS-B", bounds=bounds, tol=1e-12)
    theta, phi, psi = (float(one) for one in found.x)
    return LengthModel(theta, phi, psi, shape.deviation)


def adjusted(
    wins: Sequence[float], differences: Sequence[float], difficulties: Sequence[float] | None = None
) -> list[float]:
    """Every win as it would be at equal length; a value may lie a little outside of 0 to 1. Empty for no wins."""
    if not wins:
        return []
    won, longer = numpy.array(wins, dtype=float), numpy.array(differences, dtype=float)
    hard = numpy.zeros_like(won) if difficulties is None else numpy.array(difficulties, dtype=float)
    model = fit_lengths(won, longer, hard)
    return [float(one) for one in won - model.expected(longer, hard) + model.at_equal_length(hard)]
