"""The edits of `loreft`: their weights, what they do to hidden states, and rows that stay orthonormal in training."""

from __future__ import annotations

from typing import NamedTuple

from harness.lazy import torch


class Weights(NamedTuple):
    """One intervention in float32: directions (r, d), which are R or W2; weight (r, d) and bias (r), W and b."""

    directions: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor


def edit(weights: Weights, direft: bool, hidden: torch.Tensor) -> torch.Tensor:
    """The edited states (N, d) in float32, equal to the given ones to the last bit where W = R and b = 0."""
    directions, weight, bias = weights
    read = weight if direft else weight - directions
    hidden = hidden.float()
    return hidden + torch.nn.functional.linear(hidden, read, bias) @ directions


def orthonormal(directions: torch.Tensor) -> torch.nn.ParameterDict:
    """Rows (r, d) that stay orthonormal however `turn` (r, d), which begins at 0, is trained.

    R^T = Q H(turn), where Q (d, d) is orthogonal, begins with the given rows and is kept as r reflections, and
    H is the first r columns of a product of r reflections. These are the coordinates of torch's `orthogonal`,
    which pyreft uses; that one keeps Q whole, 64 MB at d = 4096, and completes it at random.
    """
    start = torch.geqrf(directions.T)[0].tril(-1) + torch.eye(*directions.T.shape)
    # the axes of reflections are known up to their sign
    sign = (reflected(start, torch.eye(*start.shape)) * directions.T).sum(0).sign()
    fixed = {"start": start, "sign": torch.cat([sign, torch.ones(len(start) - len(sign))])[:, None]}
    part = torch.nn.ParameterDict({name: torch.nn.Parameter(it, requires_grad=False) for name, it in fixed.items()})
    part["turn"] = torch.nn.Parameter(torch.zeros_like(directions))
    return part


def reflected(axes: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Columns (d, r) after reflections along the last axis (d, r), ..., the first one, all at once.

    The product of I - 2 v v^T / v^T v is I - V T V^T, where the inverse of T is the upper triangle of V^T V
    with half its diagonal (Schreiber and Van Loan 1989).
    """
    gram = axes.T @ axes
    inverse = gram.triu(1) + (gram.diagonal() / 2).diag()
    return columns - axes @ torch.linalg.solve_triangular(inverse, axes.T @ columns, upper=True)


def turned(part: torch.nn.ParameterDict) -> torch.Tensor:
    """The orthonormal rows R (r, d) of what `orthonormal` made."""
    ones = torch.eye(*part["start"].shape, device=part["start"].device)
    # a reflection turns its own axis around, hence the minus
    return reflected(part["start"], -part["sign"] * reflected(part["turn"].T.tril(-1) + ones, ones)).T


def weights_of(part: torch.nn.ParameterDict) -> Weights:
    """The weights of a trainable intervention, R materialised, with gradients."""
    directions = turned(part) if "turn" in part else part["directions"]
    return Weights(directions, part["weight"], part["bias"])
