"""The Vendi score: how many different things a sample holds in effect (Friedman and Dieng 2023, 2210.02410).

    VS_q = exp( (1 / (1 - q)) log sum lambda^q ),   q = 1: exp(-sum lambda log lambda),   lambda of K / n
"""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray

from harness.diversity.similarity import Vectors


def vendi(kernel: NDArray[numpy.float64], order: float = 1.0) -> float:
    """The score of a similarity matrix (n, n), symmetric with ones on its diagonal."""
    return _effective(numpy.linalg.eigvalsh(kernel / len(kernel)), order)


def vendi_of(units: Vectors, order: float = 1.0) -> float | None:
    """The score of unit vectors (n, d) under their cosines; None for none. O(n d min(n, d))."""
    if not len(units):
        return None
    size, width = units.shape
    # both products have the same positive eigenvalues
    product = units @ units.T if size <= width else units.T @ units
    return _effective(numpy.linalg.eigvalsh(product / size), order)


def _effective(eigenvalues: NDArray[numpy.floating[Any]], order: float) -> float:
    shares = eigenvalues[eigenvalues > 1e-12]
    if order == 1:
        return math.exp(-float((shares * numpy.log(shares)).sum()))
    if math.isinf(order):
        return 1 / float(shares.max())
    return math.exp(math.log(float((shares**order).sum())) / (1 - order))
