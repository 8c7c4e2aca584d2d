"""From the store to an experiment's results folder: rows, samples, matrix, costs, provenance."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.engine.choice import RULE
from harness.engine.declarations import answers_are_fixed, depends_on_seed
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry, Tune
from harness.engine.gate import check_contamination
from harness.engine.joint_cells import CellGroup, JointCell, joint_cells
from harness.engine.plan import Cell, Plan, inside, needs_of
from harness.engine.registry import summary
from harness.engine.results.digests import matrix_digest, write_digests
from harness.engine.results.looked import Looked, recorded
from harness.engine.results.matrix_file import benchmark_record, matrix_record, method_record
from harness.engine.results.provenance import provenance
from harness.engine.results.schema import (
    CLAIMS_FILE,
    PART_COLUMNS,
    PARTS_FILE,
    SCHEMA_VERSION,
    TUNING_FILE,
    write_joint,
    write_rows,
    write_table,
)
from harness.engine.search import Search
from harness.engine.states import State, state_of
from harness.engine.store.keys import key_of
from harness.engine.store.outcomes import read_outcomes
from harness.engine.store.store import Store
from harness.engine.tuning import record
from harness.files import without_folder, write_json, write_text
from harness.method import Method, fields_of
from harness.policy.sources import parameter_count


def write_results(plan: Plan, store: Store, folder: Path, looked: Looked | None = None) -> list[State]:
    """Write the results files of everything that is done; return the states of all cells, in plan order.

    looked  the looks of a run that may stop, with what they released
    """
    folder.mkdir(parents=True, exist_ok=True)
    states = [state_of(cell, store) for cell in plan.cells]
    done = [cell for cell, state in zip(plan.cells, states, strict=True) if state.name == "done"]
    store.bring("outcomes", (cell.key for cell in done))
    texts = plan.experiment.keep_texts
    write_rows(folder, _rows(done, store), _samples(done, store, texts))
    (folder / PARTS_FILE).unlink(missing_ok=True)
    if looked:
        write_table(folder / PARTS_FILE, _parts(done, store), PART_COLUMNS, [*PART_COLUMNS])
    joints = joint_cells(plan, store)
    if joints:
        finished = [joint for joint in joints if joint.groups and store.done("joint", joint.key)]
        write_joint(folder, _joint_rows(finished, store), _joint_excerpts(finished if texts else [], store))
    whole = matrix(plan, states, joints, store)
    write_json(folder / "matrix.json", {**whole, "stop": recorded(looked)} if looked else whole)
    write_json(folder / "costs.json", {"schema": SCHEMA_VERSION, "artifacts": list(_costs(done, plan, store))})
    checked = [{**entry, "set": without_folder(entry["set"])} for entry in check_contamination(plan, store.root)]
    write_json(folder / "contamination.json", {"schema": SCHEMA_VERSION, "checked": checked})
    write_json(folder / "provenance.json", provenance(plan, store.root))
    (folder / TUNING_FILE).unlink(missing_ok=True)
    if plan.experiment.tune:
        write_json(folder / TUNING_FILE, tuning(plan, plan.experiment.tune))
    _write_claims(plan.experiment, folder / CLAIMS_FILE)
    own = folder / "experiment.yaml"
    if not own.exists() or own.resolve() != plan.experiment.file.resolve():
        write_text(own, plan.experiment.text)
    write_digests(folder)
    return states


def _write_claims(experiment: Experiment, own: Path) -> None:
    """The claims file of the experiment; without one, an earlier copy goes."""
    if experiment.claims is None:
        own.unlink(missing_ok=True)
    elif own.resolve() != experiment.claims.file.resolve():
        write_text(own, experiment.claims.text)


def results_digest(plan: Plan, states: list[State], joints: list[JointCell], store: Store) -> str:
    """A digest of all that a results folder is made from, so that an unchanged one need not be written again."""
    entries = (_joint_entry(joint, joint.state(store)) for joint in joints)
    return matrix_digest(plan.experiment.text, _cell_entries(plan, states), entries)


def matrix(plan: Plan, states: list[State], joints: list[JointCell], store: Store) -> dict[str, Any]:
    """The axes, the meaning of the metrics, and every cell's state."""
    experiment, groups = plan.experiment, seed_groups(plan)
    return matrix_record(
        experiment.text,
        name=experiment.name,
        baseline=experiment.baseline,
        reference=experiment.reference,
        margin=experiment.margin,
        out_of_distribution=experiment.out_of_distribution,
        bases=[spec.label for spec in experiment.bases],
        small_base=experiment.small_base.label if experiment.small_base else None,
        seeds=experiment.seeds,
        data_qualities=[*experiment.data_quality],
        data_sizes=experiment.data_sizes,
        quality_order=experiment.quality_order,
        contrasts=experiment.contrasts,
        question=experiment.question,
        methods=[_method(entry, plan, groups) for entry in experiment.methods],
        benchmarks=[_benchmark(column) for column in experiment.benchmarks],
        cells=_cell_entries(plan, states),
        joint=_joint_states(joints, store),
    )


def _method(entry: MethodEntry, plan: Plan, groups: Mapping[str, str]) -> dict[str, Any]:
    return method_record(
        entry.label,
        summary("methods", entry.plugin),
        deterministic=deterministic(entry.method),
        seed_group=groups.get(entry.label, ""),
        plugin=entry.plugin,
        on=entry.on,
        fields=fields_of(entry.method),
        needs=sorted(needs_of(entry.method)),
        inputs=_inputs(entry, plan.experiment),
        badges=badges(plan, entry.label),
        **({"answers_are_fixed": True} if answers_are_fixed(entry.method) else {}),
    )


def _benchmark(column: BenchmarkEntry) -> dict[str, Any]:
    own = column.benchmark
    return benchmark_record(
        column.label,
        summary("benchmarks", column.plugin),
        own.version,
        own.metrics(),
        own.joint_metrics(),
        plugin=column.plugin,
        fields=fields_of(own),
        stochastic=own.stochastic,
    )


def _inputs(entry: MethodEntry, experiment: Experiment) -> list[str]:
    """The rows of the experiment that the method is built on, with the same settings: experts, samplers, starts."""
    within = inside(entry.method)
    return [other.label for other in experiment.methods if other is not entry and other.method in within]


def badges(plan: Plan, label: str) -> list[str]:
    """Where settings are searched for: whether a row has the settings found or those of the experiment."""
    if _search_of(label, plan):
        return ["tuned"]
    return ["untuned"] if any(label == one.entry.label for one in plan.searches) else []


def _search_of(label: str, plan: Plan) -> Search | None:
    """The search whose chosen settings the row has."""
    return next((search for search in plan.searches if label == search.rows()[-1]), None)


def tuning(plan: Plan, tune: Tune) -> dict[str, Any]:
    """The search for settings: the benchmarks and split that decided, the rule, and every trial."""
    columns = [column.label for column in plan.experiment.benchmarks]
    return {
        "schema": SCHEMA_VERSION,
        "rule": RULE,
        "trials": tune.trials,
        "split": tune.on,
        "seed": tune.seed,
        "base": plan.experiment.bases[0].label,
        "benchmarks": [label for label in columns if label in plan.tuned_on],
        "margin": plan.experiment.margin,
        "searches": [record(search) for search in plan.searches],
    }


def _cell_entries(plan: Plan, states: list[State]) -> list[dict[str, Any]]:
    """An entry for each cell; the parts of one benchmark's items are one cell."""
    together: dict[tuple[Any, ...], list[tuple[Cell, State]]] = {}
    for cell, state in zip(plan.cells, states, strict=True):
        own = () if cell.part else (cell.key,)
        together.setdefault((*cell.columns.values(), *own), []).append((cell, state))
    found = []
    for parts in together.values():
        cell, state = parts[0][0], _together([state for _, state in parts])
        key = cell.key if len(parts) == 1 else key_of({"parts": [one.key for one, _ in parts]})
        backend = {"backend": cell.backend.name} if cell.backend.name else {}
        found.append({**cell.columns, "key": key, "state": state.name, "why": state.why, **backend})
    return found


def _together(parts: list[State]) -> State:
    """The state of a cell from those of its parts: the least finished, or "partial" where only some have outcomes."""
    least = min(parts, key=lambda state: _LEAST_FINISHED.index(state.name))
    if least.name in ("done", "failed") or all(state.name != "done" for state in parts):
        return least
    return State("done" if least.name == "stopped" else "partial", least.why or "only a part of its items is done")


_LEAST_FINISHED = ("failed", "running", "to run", "stopped", "done", "n/a")


def _parts(cells: list[Cell], store: Store) -> Iterator[dict[str, Any]]:
    """The part that each item of a divided benchmark is in, once."""
    seen: set[tuple[str, str, str]] = set()
    for cell in cells:
        if cell.part is None:
            continue
        for outcome in read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"):
            place = (cell.column.label, outcome["group"], outcome["item"])
            if place not in seen:
                seen.add(place)
                yield dict(zip(PART_COLUMNS, (*place, cell.part[1]), strict=True))


def deterministic(method: Method) -> bool:
    """Whether nothing about the method depends on the seed."""
    beneath = (needed.method for needed in method.requires().values())
    return not (depends_on_seed(method) or method.draws) and all(map(deterministic, beneath))


def seed_groups(plan: Plan) -> dict[str, str]:
    """Method -> the first method of its seed group, where several methods are built on a common artifact of each seed.

    They share the luck of that artifact's seed, so that the statistics pair them by it. An artifact that is the same at
    every seed is not luck and joins no methods.
    """
    users: dict[str, set[str]] = {}
    for cell in plan.cells:
        for node in (cell.node, *cell.node.beneath.values()):
            if not deterministic(node.method):
                users.setdefault(node.key, set()).add(cell.entry.label)
    group = {entry.label: entry.label for entry in plan.experiment.methods}
    for labels in users.values():
        joined = {group[label] for label in labels}
        first = next(name for name in group if name in joined)
        group = {label: first if name in joined else name for label, name in group.items()}
    names = list(group.values())
    return {label: name for label, name in group.items() if names.count(name) > 1}


def _rows(cells: list[Cell], store: Store) -> Iterator[dict[str, Any]]:
    for cell in cells:
        for outcome in read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"):
            for metric, value in outcome["metrics"].items():
                yield {
                    **cell.columns,
                    "metric": metric,
                    "group": outcome["group"],
                    "item": outcome["item"],
                    "cluster": outcome["cluster"],
                    "value": float(value),
                    "weight": float(outcome["weights"].get(metric, 1.0)),
                }


def _samples(cells: list[Cell], store: Store, texts: bool) -> Iterator[dict[str, Any]]:
    """Every item of every cell; without `texts`, its prompt, answers and reference are empty."""
    names = ("group", "item", "prompt", "completions", "reference", "flags")
    left_out = {} if texts else {"prompt": "", "completions": [], "reference": ""}
    for cell in cells:
        for outcome in read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"):
            yield {**cell.columns, **{name: outcome[name] for name in names}, **left_out}


def _joint_states(joints: list[JointCell], store: Store) -> list[dict[str, Any]]:
    """The state of each joint cell, and the cells that it leaves out, with the reason."""
    return [
        {
            **_joint_entry(joint, joint.state(store)),
            "policies": len({cell.key for cell in joint.cells}),
            "left_out": [{"who": who, "why": why} for who, why in joint.left_out()],
        }
        for joint in joints
    ]


def _joint_entry(joint: JointCell, state: State) -> dict[str, Any]:
    return {
        "benchmark": joint.column.label,
        "data_quality": joint.data.quality,
        "data_size": joint.data.size,
        "key": joint.key if joint.cells else "",
        "state": state.name,
        "why": state.why,
    }


def _joint_rows(joints: list[JointCell], store: Store) -> Iterator[dict[str, Any]]:
    """Every metric of every group of cells on every item."""
    for group, outcome in _compared(joints, store):
        columns = {**group.columns, **{name: outcome[name] for name in ("group", "item", "cluster")}}
        for metric, value in outcome["metrics"].items():
            yield {**columns, "metric": sys.intern(metric), "value": float(value)}


def _joint_excerpts(joints: list[JointCell], store: Store) -> Iterator[dict[str, Any]]:
    """The excerpts where all methods are compared."""
    for group, outcome in _compared(joints, store):
        if group.kind == "all":
            labels = {cell.key: cell.entry.label for cell in group.cells}
            columns = {**group.columns, **{name: outcome[name] for name in ("group", "item", "prompt")}}
            for excerpt in outcome["excerpts"]:
                said = {name: excerpt[name] for name in ("title", "value", "texts")}
                yield {**columns, **said, "methods": [labels[name] for name in excerpt["policies"]]}


def _compared(joints: list[JointCell], store: Store) -> Iterator[tuple[CellGroup, dict[str, Any]]]:
    """Groups with their outcomes, item by item; two groups may have the same policies."""
    for joint in joints:
        by_names: dict[tuple[str, ...], list[CellGroup]] = {}
        for group in joint.groups:
            by_names.setdefault(group.names, []).append(group)
        for outcome in read_outcomes(store.folder("joint", joint.key) / "joint.jsonl"):
            for group in by_names[tuple(outcome["policies"])]:
                yield group, outcome


_SPENT = ("fit_seconds", "training_tokens", "generated_tokens")
_FIT_KEYS = (*_SPENT, "trained_parameters", "stored_bytes", "peak_memory_mb", "micro_batch", "notes")


def _costs(cells: list[Cell], plan: Plan, store: Store) -> Iterator[dict[str, Any]]:
    """One ledger entry per (base, method, data quality, data size, seed)."""
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        place = tuple(value for name, value in cell.columns.items() if name != "benchmark")
        groups.setdefault(place, []).append(cell)
    for _, members in sorted(groups.items()):
        node = members[0].node
        ledgers = [(cell.column.label, store.cost("outcomes", cell.key)) for cell in members]
        spent: dict[str, float] = {}
        for label, ledger in ledgers:
            spent[label] = spent.get(label, 0.0) + ledger["seconds"]
        first = ledgers[0][1]
        fits = first["fits"]
        yield {
            **{name: value for name, value in members[0].columns.items() if name != "benchmark"},
            "total_parameters": parameter_count(node.base.folder),
            **{f"shared_{name}": sum(float(fits[key][name]) for key in node.beneath) for name in _SPENT},
            **_search_cost(members[0].entry.label, plan),
            "evaluate_seconds": spent,
            "seconds_per_token": first["seconds_per_token"],
            "overhead_per_token": first["overhead_per_token"],
            **{key: fits[node.key][key] for key in _FIT_KEYS},
        }


def _search_cost(label: str, plan: Plan) -> dict[str, float | None]:
    """Cost of the search for a row's settings: 0 without a search, None where a row does not come from one."""
    if not plan.experiment.tune:
        return {"tuning_trials": 0}
    search = _search_of(label, plan)
    if search is None:
        return {"tuning_trials": None}
    spent = {f"tuning_{name}": sum(trial.cost.get(name, 0.0) for trial in search.trials) for name in _SPENT}
    return {"tuning_trials": len(search.trials), **spent}
