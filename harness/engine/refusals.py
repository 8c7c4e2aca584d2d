"""Rows that a method could not train on, and items that cannot be scored: found before a model is loaded.

Each method says which records its fit would refuse (`Method.refused`), and each benchmark which of its items no answer
could get right (`Benchmark.check_items`). That takes the tokenizer alone, and is kept in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.data.load import LoadedSet, training_data
from harness.engine.experiment import Experiment
from harness.engine.limits import TimeOverError, time_limit
from harness.engine.plan import Node, Plan, base_document, make_plan
from harness.engine.soundness import Unsound
from harness.engine.store.keys import key_of
from harness.errors import Unreachable, UserError
from harness.files import read_sealed, remember
from harness.method import plugin_name

LONGEST = 600.0  # seconds for one method and base; a template may loop for ever


def check_before_run(plan: Plan, folder: Path) -> None:
    """Raise UserError for the first row that a fit would refuse, or item that cannot be scored.

    folder  the store's root
    """
    for node, loaded, refused in _refused(plan, folder):
        ids = [record.id for record in loaded.records if record.id in refused]
        first = ids[0]
        named = f"{len(ids):,} of {len(loaded.records):,} rows of {loaded.kind}"
        raise UserError(
            f"{plugin_name(node.method)} cannot train {node.base.spec.label} on {named}: {refused[first]} ({first})",
            where=loaded.places.get(first, loaded.manifest["name"]),
            fix="Remove them, change max_length or max_new_tokens, or leave them out for every "
            f"method: data: {{{loaded.kind}: {{name: {loaded.manifest['name']}, on_error: skip}}}}.",
        )
    for column in plan.experiment.benchmarks:
        if column.label in plan.unreachable or isinstance(column.benchmark, Unsound):
            continue
        if any(cell.column is column and not cell.why for cell in plan.cells):
            _check_items(column.label, column.benchmark)


def _check_items(label: str, benchmark: Any) -> None:
    """Raise the benchmark's own UserError; whatever else goes wrong is said by its cells."""
    try:
        benchmark.check_items()
    except Unreachable:
        return
    except UserError as error:
        raise UserError(f"{label}: {error.what}", where=error.where, fix=error.fix) from None
    except (Exception, SystemExit):
        return


def plan_of_usable_rows(experiment: Experiment, store: Path, *, download: bool = False, weights: bool = True) -> Plan:
    """The plan, without the rows that may be skipped and that any of its methods would refuse.

    They are left out for every method, so that all are trained on the same rows. weights: as for `make_plan`
    """
    plan = make_plan(experiment, store, download=download, weights=weights)
    gone: dict[tuple[str, str], dict[str, str]] = {}
    for _, loaded, refused in _refused(plan, store, skipping=True):
        place = (loaded.kind, loaded.quality)
        gone[place] = {**refused, **gone.get(place, {})}
    return make_plan(experiment, store, download=download, weights=weights, without=gone) if gone else plan


def skipped_rows(plan: Plan, most: int = 3) -> Iterator[str]:
    """A line for each set of which rows are left out, with the first of them."""
    for one in plan.sets:
        if one.skipped:
            named = "; ".join(f"{error.where}: {error.what}" for error in one.skipped[:most])
            more = "; ..." if len(one.skipped) > most else ""
            yield f"{one.manifest['name']}: {len(one.skipped):,} rows are skipped ({named}{more})"


def _refused(
    plan: Plan, folder: Path, *, skipping: bool = False
) -> Iterator[tuple[Node, LoadedSet, Mapping[str, str]]]:
    """Each artifact's method and each set that it reads, where it would refuse rows of the set."""
    nodes: dict[str, Node] = {}
    for cell in plan.cells:
        if not cell.why:
            for node in (cell.node, *cell.node.beneath.values()):
                nodes.setdefault(key_of(_asked(node, plan)), node)
    for key, node in nodes.items():
        sets = _sets_of(node, plan)
        if any(one.may_skip == skipping for one in sets):
            refused = _refused_by(node, sets, folder, key)
            for one in sets:
                own = {record.id: refused[record.id] for record in one.records if record.id in refused}
                if own and one.may_skip == skipping:
                    yield node, one, own


def _sets_of(node: Node, plan: Plan) -> list[LoadedSet]:
    return [one for one in plan.sets if one.kind in node.method.needs and one.quality in (node.data.quality, "")]


def _asked(node: Node, plan: Plan) -> dict[str, Any]:
    """All that decides which rows a method refuses: neither the seed nor the number of rows that a fit gets."""
    own = {name: node.document[name] for name in ("method", "fields", "source")}
    rows = [one.manifest["digest"] for one in _sets_of(node, plan)]
    return {**own, "base": base_document(node.base), "rows": rows}


def _refused_by(node: Node, sets: list[LoadedSet], folder: Path, key: str) -> dict[str, str]:
    path = folder / "refusals" / f"{key}.json"
    known = read_sealed(path)
    if known is not None:
        return dict(known)
    try:
        with time_limit(LONGEST):
            found = dict(node.method.refused(training_data(sets, 0, 0), node.base.encoder))
    except (Exception, SystemExit, TimeOverError):  # the fit will say what is wrong
        return {}
    if folder.exists():  # a plan of a store that does not exist yet leaves nothing behind
        remember(path, found)
    return found
