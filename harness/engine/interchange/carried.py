"""Additions of `bakeoff export` to a foreign format, with which `bakeoff judge` compares as the original report does.

Other tools keep these fields and do not need them: of the method its label, training seed and seed group, of the study
its baseline, margin and declared contrasts, of each metric its role and direction.

    {"method": "sft", "seed": 0, "deterministic": false, "seed_group": "", "protocol": {},
     "study": {"baseline": "base", ...}, "metrics": [{"name": "accuracy", "role": "quality", ...}]}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from harness.benchmark import Metric
from harness.engine.interchange.scored import LoggedMetric, Scored
from harness.errors import UserError

CARRIED = "bakeoff"  # the key of the record, wherever a format has room for one
STUDY = ("baseline", "reference", "margin", "out_of_distribution", "contrasts")


def carried_of(one: Scored) -> dict[str, Any]:
    """The record of a cell of a results folder."""
    names = [field.name for field in fields(Metric)]
    declared = [{name: getattr(metric.declared, name) for name in names} for metric in one.metrics if metric.declared]
    return {"method": one.method, "seed": one.seed, "protocol": dict(one.protocol), "metrics": declared, **one.carried}


def with_carried(one: Scored, record: Any, named: str, seed: int | None, where: str) -> Scored:
    """The scores with all that a record states; without one, as they are.

    named, seed  what the user said, which comes first
    """
    if not record:
        return one
    try:
        told: Mapping[str, Any] = json.loads(record) if isinstance(record, str) else record
        known = {field.name for field in fields(Metric)}
        declared = {
            entry["name"]: Metric(**{name: value for name, value in entry.items() if name in known})
            for entry in told["metrics"]
        }
        return replace(
            one,
            method=named or str(told["method"]),
            seed=told["seed"] if seed is None else seed,
            protocol=dict(told["protocol"]),
            metrics=_declared(one.metrics, declared),
            carried={name: told[name] for name in ("deterministic", "seed_group", "study")},
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"its record {CARRIED!r} of `bakeoff export` is damaged: {error}"
        raise UserError(what, where=where, fix="Export the results again, or remove that record.") from None


def _declared(metrics: Sequence[LoggedMetric], declared: Mapping[str, Metric]) -> tuple[LoggedMetric, ...]:
    """The metrics in the order of their declarations; what none declares, such as `chance`, last."""
    order = list(declared)
    told = [
        replace(one, declared=own, higher_is_better=own.higher_is_better, description=own.description)
        if (own := declared.get(one.name))
        else one
        for one in metrics
    ]
    return tuple(sorted(told, key=lambda one: order.index(one.name) if one.name in declared else len(order)))
