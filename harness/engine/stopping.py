"""`run --until decided`: the looks that an experiment declares, the cells due at each, and those that are released.

An experiment with a block `stop` scores every benchmark that can be divided in parts of its items, one for each share
in `stop.items`. The parts are cells of their own: their keys are the same whether or not the run stops, so that a whole
run after a stopped one finds all of them done. A look follows when all cells due at it are done. What it decides, the
report's statistics say (harness/report/numbers/looks.py); here it is only a table of releases.

The looks share the error rate in proportion to their evaluations: at look k of shares t_k the tests have the level
LEVEL (t_k - t_(k-1)), and by Bonferroni's inequality all looks together have LEVEL, whatever the run does in between
(alpha spending with a linear function: Lan and DeMets, Biometrika 70, 1983). docs/statistics.md, section 22.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from harness.engine.experiment import Experiment, Stop
from harness.engine.plan import Cell, Plan, by_artifact
from harness.engine.results.looked import Look, Releases


def looks_of(stop: Stop, seeds: int) -> tuple[Look, ...]:
    """The looks of an experiment with that many seeds, in order: shares of the items first, then more seeds."""
    first, *later = stop.seeds or (seeds,)
    designs = [*((share, first) for share in stop.items), *((1.0, count) for count in later)]
    done = [0.0, *(share * count / seeds for share, count in designs)]
    spent = [now - before for before, now in pairwise(done)]
    return tuple(Look(*design, share) for design, share in zip(designs, spent, strict=True))


def look_of(cell: Cell, experiment: Experiment) -> int:
    """The number, from 1, of the look at which a cell is due."""
    if experiment.stop is None:
        return 1
    at = experiment.seeds.index(cell.seed)
    counts = experiment.stop.seeds or (len(experiment.seeds),)
    later = next(number for number, count in enumerate(counts) if at < count)
    if later:
        return len(experiment.stop.items) + later
    return 1 if cell.part is None else 1 + experiment.stop.items.index(cell.part[1])


def due(plan: Plan, look: int, releases: Releases) -> Plan:
    """The cells to be scored by that look; policies are compared with one another only after the last one."""
    cells = [cell for cell in marked(plan, releases).cells if look_of(cell, plan.experiment) <= look]
    return replace(plan, cells=cells, by_node=by_artifact(cells), compares=False)


def marked(plan: Plan, releases: Releases) -> Plan:
    """The plan with the cells that were released: they are not run, and say which look decided them."""
    if not releases:
        return plan
    cells = [_marked(cell, plan.experiment, releases) for cell in plan.cells]
    return replace(plan, cells=cells, by_node=by_artifact(cells))


def _marked(cell: Cell, experiment: Experiment, releases: Releases) -> Cell:
    # a method on the small base has one row, which the comparisons on every base use
    bases = [cell.node.base.spec.label] if cell.entry.on == "base" else [spec.label for spec in experiment.bases]
    looks = [releases.get((base, cell.data, cell.entry.label, cell.column.label)) for base in bases]
    decided = [look for look in looks if look is not None]
    if cell.why or len(decided) < len(looks) or look_of(cell, experiment) <= max(decided):
        return cell
    return replace(cell, why=f"decided at look {max(decided)}, so it was not needed", state="stopped")
