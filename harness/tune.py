"""The block `tune:` of an experiment: as many trials for every method, scored on items that no test uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.errors import UserError, did_you_mean
from harness.search import searchable

if TYPE_CHECKING:
    from harness.config import Experiment

TRIAL = "~"  # NAME~3 is the third draw of NAME
TUNED = "_tuned"


@dataclass(frozen=True)
class Tune:
    """What the user asks of the search.

    trials      settings tried for each method; the first are those that the experiment writes
    on          the split of the benchmarks that the trials are scored on
    seed        of the draws and of the trials' training: one that is reported nowhere else
    benchmarks  labels of those that decide; empty: all that have such a split
    fields      label -> the fields that are searched; all with a range where a label is missing
    """

    trials: int = 8
    on: str = "validation"
    seed: int = 100
    benchmarks: tuple[str, ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def check_tune(experiment: Experiment, tune: Tune, where: str) -> None:
    """Raises UserError for labels and fields that are not there, and for numbers that will not do."""
    if tune.trials < 2:
        raise UserError(f"`trials` is {tune.trials}", where=where, fix="Give 2 or more: the first is as written.")
    if tune.seed in experiment.seeds or tune.seed < 0:
        raise UserError(
            f"`tune` has the seed {tune.seed}",
            where=where,
            fix="Give one from 0 that is not among `seeds`: trials are reported nowhere else.",
        )
    columns = [entry.label for entry in experiment.benchmarks]
    for label in tune.benchmarks:
        if label not in columns:
            raise UserError(f"`tune` names the benchmark {label!r}", where=where, fix=did_you_mean(label, columns))
    methods = {entry.label: entry.method for entry in experiment.methods}
    for label, names in tune.fields.items():
        if label not in methods:
            raise UserError(f"`tune` names the method {label!r}", where=where, fix=did_you_mean(label, methods))
        known = searchable(methods[label])
        for name in names:
            if name not in known:
                raise UserError(
                    f"`tune`: {label} has no field {name!r} with a search range",
                    where=where,
                    fix=did_you_mean(name, known) if known else "Leave the method out.",
                )
    for label in (entry.label for entry in experiment.methods if entry.label + TUNED in methods):
        raise UserError(f"{label + TUNED} is a row that `tune` adds", where=where, fix="Give that entry another label.")
