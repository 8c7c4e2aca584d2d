"""Declarations of a method besides `trains`: whether its fit depends on the seed, costs, and trains on prompts,
whether its answers are fixed, and which files its fields name.

They are class attributes that `Method` describes and does not define, so that a method without them has the content
key that it had before there were any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import Any, get_args, get_type_hints

from harness.data.load import DataSpec, load_set
from harness.errors import UserError
from harness.method import Footprint, Method, plugin_name

POLICY_KINDS = get_args(get_type_hints(Footprint)["policy"])


def depends_on_seed(method: Method) -> bool:
    """Whether another seed gives another artifact from equal inputs; False for a mean of activations or a merge."""
    return bool(getattr(method, "depends_on_seed", method.trains))


def costs(method: Method) -> bool:
    """Whether its fit reads training tokens and makes parameters, which its report counts; False for a merge."""
    return bool(getattr(method, "costs", method.trains))


def trains_on_prompts(method: Method) -> bool:
    """Whether the words of prompts are trained on, as its user asked; False for a loss on answers alone."""
    return bool(getattr(method, "trains_on_prompts", False))


def answers_are_fixed(method: Method) -> bool:
    """Whether a prompt has one answer, at every seed and temperature; False for whatever asks a model."""
    return bool(getattr(method, "answers_are_fixed", False))


def named_paths(method: Method) -> dict[str, Any]:
    """The fields of a method that name files, with their values."""
    own = dataclasses.fields(method)  # type: ignore[arg-type]
    return {item.name: getattr(method, item.name) for item in own if item.metadata.get("path")}


def paths_of(method: Method) -> Iterator[tuple[str, Any]]:
    """The fields that name files, with their values: the method's own, and those of methods inside."""
    yield from named_paths(method).items()
    for item in dataclasses.fields(method):  # type: ignore[arg-type]
        value = getattr(method, item.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Method):
                yield from paths_of(inner)


def rows_shown(method: Method, own: tuple[Any, ...]) -> tuple[Any, ...]:
    """The rows that a fit sees: its own or those of a field {data}, and after them those that {share, data} adds.

    Such a share is of all rows together; its set repeats.
    """
    named = [
        one for one in named_paths(method).values() if isinstance(one, Mapping) and isinstance(one.get("data"), str)
    ]
    shown = own
    for value in (one for one in named if "share" not in one):
        shown = tuple(load_set("demonstrations", DataSpec(value["data"])).records)
    for value in (one for one in named if one.get("share")):
        known = load_set("demonstrations", DataSpec(value["data"])).records
        count = max(1, round(len(shown) * value["share"] / (1 - value["share"])))
        shown = (*shown, *islice(cycle(known), count))
    return shown


def declared_footprint(method: Method, model: Any) -> Footprint | None:
    """The footprint on a model without numbers, checked; raises UserError where that is not a Footprint."""
    found: Any = method.footprint(model)
    if found is None:
        return None
    what, fix = f"`footprint` of {plugin_name(method)} gives ", "Example: return Footprint(model)"
    if not isinstance(found, Footprint):
        raise UserError(f"{what}{found!r:.80} ({type(found).__name__}), not a Footprint or None", fix=fix)
    if not hasattr(found.trainee, "get_output_embeddings"):
        raise UserError(f"{what}a trainee of the type {type(found.trainee).__name__}, not a model", fix=fix)
    if found.policy not in POLICY_KINDS:
        kinds = ", ".join(POLICY_KINDS)
        raise UserError(f"{what}policy = {found.policy!r:.80}, which is not one of {kinds}", fix=fix)
    return found
