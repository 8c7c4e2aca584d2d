"""The best of several methods scores too high: by how much the choice alone raises its mean.

With means x = mu + e, e normal with covariance V (items and seeds), the best of K methods is expected to score
E[max_j x_j - mu_J] above its true mean, J the method with the highest x. The true means mu are unknown; the observed
ones vary too much, by V, so that this expectation at mu = x is too small. They are drawn together first, until their
variance is what is left of the observed one without V:

    mu_j = x̄ + (x_j - x̄) sqrt(max(0, 1 - v / s2)),    s2 = sum (x_j - x̄)^2 / (K - 1),
    v = (trace V - sum V / K) / (K - 1)

Source: the parametric bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.5) at means
drawn together as by James and Stein. Limits: docs/statistics.md, sections 14 and 18.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
from numpy.typing import NDArray

from harness.stats.cluster_totals import Scores, leverage, linearised
from harness.stats.contrasts import BINARY, Scale
from harness.stats.families import symmetric_root

BOOTSTRAP_DRAWS = 20_000


def choice_bias(methods: Sequence[Scores], higher_is_better: bool = True, scale: Scale = BINARY) -> float | None:
    """How much the best of `methods` is expected to score above its true mean (0 or more, in the metric's units).

    Methods that collapse at some seeds do not count. None for fewer than two methods, for methods that do not share
    seeds, clusters and weights, and for one cluster.
    """
    methods = [one for one in methods if not one.collapse]
    first = methods[0] if methods else None
    if first is None or len(methods) < 2 or first.clusters < 2:
        return None
    if any(one.totals.shape != first.totals.shape or (one.weights != first.weights).any() for one in methods[1:]):
        return None
    sign = 1.0 if higher_is_better else -1.0
    means = sign * numpy.array([one.mean for one in methods])
    covariance = joint_covariance(methods)
    centres = _drawn_together(means, covariance)
    root = symmetric_root(covariance)
    drawn = centres + numpy.random.default_rng(BOOTSTRAP_DRAWS).standard_normal((BOOTSTRAP_DRAWS, len(methods))) @ root
    if scale.bounds is not None:
        low, high = sorted(sign * end for end in scale.bounds)
        drawn = drawn.clip(low, high)
    return max(0.0, float((drawn.max(axis=1) - centres[drawn.argmax(axis=1)]).mean()))


def joint_covariance(methods: Sequence[Scores]) -> NDArray[numpy.float64]:
    """(K, K) covariance of the methods' means: items for all pairs, seeds within a seed group.

    sum_c a_c^2 ū_ic ū_jc / (C (C - 1)) + (M_ij - E_ij) / (C S), where M_ij and E_ij are the products that M and E are
    the squares of; without floor and pool, the diagonal of the seeds' part at least 0.
    """
    weights, seeds, clusters = methods[0].weights, methods[0].seeds, methods[0].clusters
    u = numpy.stack([linearised(one.totals, weights) for one in methods])
    of_cluster, of_seed = u.mean(axis=1), u.mean(axis=2)
    jackknife = leverage(weights) * of_cluster
    items: NDArray[numpy.float64] = jackknife @ jackknife.T / (clusters * (clusters - 1))
    if seeds < 2:
        return items
    rest = (u - of_cluster[:, None, :] - of_seed[:, :, None]).reshape(len(methods), -1)
    between = clusters * (of_seed @ of_seed.T) / (seeds - 1)
    shared = (between - rest @ rest.T / ((clusters - 1) * (seeds - 1))) / (clusters * seeds)
    groups = [one.kin or f"\0{at}" for at, one in enumerate(methods)]
    related = numpy.array([[a == b for b in groups] for a in groups])
    positive = numpy.diag(shared) > 0
    found: NDArray[numpy.float64] = items + numpy.where(related & positive & positive[:, None], shared, 0.0)
    return found


def _drawn_together(means: NDArray[numpy.float64], covariance: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """The means with the spread that is left without their errors."""
    size = len(means)
    seen = float(means.var(ddof=1))
    noise = float((numpy.trace(covariance) - covariance.sum() / size) / (size - 1))
    left = max(0.0, 1 - noise / seen) if seen > 0 else 0.0
    centre = float(means.mean())
    found: NDArray[numpy.float64] = centre + (means - centre) * left**0.5
    return found
