"""Declarations of a method besides `trains`: whether its fit depends on the seed, costs, and trains on prompts.

They are class attributes that `Method` describes and does not define, so that a method without them has the content
key that it had before there were any.
"""

from __future__ import annotations

from harness.method import Method


def depends_on_seed(method: Method) -> bool:
    """Whether another seed gives another artifact from equal inputs; False for a mean of activations or a merge."""
    return bool(getattr(method, "depends_on_seed", method.trains))


def costs(method: Method) -> bool:
    """Whether its fit reads training tokens and makes parameters, which its report counts; False for a merge."""
    return bool(getattr(method, "costs", method.trains))


def trains_on_prompts(method: Method) -> bool:
    """Whether the words of prompts are trained on, as its user asked; False for a loss on answers alone."""
    return bool(getattr(method, "trains_on_prompts", False))
