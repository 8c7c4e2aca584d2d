"""`bakeoff plan --power`: an experiment and a pilot -> tables of what the run can decide, and what would raise it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy
from rich.table import Table
from rich.text import Text

from harness.engine.estimate import Questioned
from harness.engine.experiment import Experiment
from harness.engine.plan import Plan
from harness.engine.results.schema import read_rows
from harness.engine.results.write import deterministic, seed_groups
from harness.engine.showable import counted
from harness.engine.store.outcomes import read_outcomes
from harness.engine.store.store import Store
from harness.errors import UserError
from harness.files import read_json
from harness.report.compare import known_matrix
from harness.report.numbers.matrix import BenchmarkMetric
from harness.report.numbers.panel import Measured, block_rows, panels_of
from harness.report.numbers.planning import (
    PRIOR,
    Change,
    Outlook,
    PlannedMetric,
    PlannedRow,
    PlannedRun,
    RunPrice,
    best_change,
    design_changes,
    outlook,
    pilot_size,
    pilot_variation,
    price_of,
    prior_variation,
)
from harness.report.render.tabular import BLANK
from harness.stats.intervals import FEWEST_CLUSTERS
from harness.stats.power import Size

GRID_DRAWS = 1000  # for the other designs: a standard error of 1.6 points at 50 %, less on average over questions
FACTORS = (1.0, 2.0, 4.0)


def planned_run(plan: Plan, store: Store, pilot: Path | None) -> PlannedRun:
    """The tests of the experiment's first base and choice of data.

    Raises UserError where no test follows from the experiment: without a baseline, or without a second method.
    """
    asked = plan.experiment
    _check(asked)
    groups = seed_groups(plan)
    rows = {
        entry.label: PlannedRow(entry.label, deterministic(entry.method), groups.get(entry.label, ""))
        for entry in asked.methods
    }
    baseline = rows[str(asked.baseline)]
    measured = _pilot_panels(pilot) if pilot else {}
    if pilot and not measured:
        fix = "Name the results of a run on benchmarks of the same labels, or leave out --from."
        raise UserError("it has no metric with rows", where=str(pilot), fix=fix)
    metrics, left_out = [], {}
    for column in asked.benchmarks:
        applicable = {cell.entry.label for cell in plan.cells if cell.column.label == column.label and not cell.why}
        tested = [row for row in rows.values() if row is not baseline and row.label in applicable]
        for declared in column.benchmark.metrics():
            metric = BenchmarkMetric(**vars(declared), benchmark=column.label)
            if not (metric.primary and metric.against_baseline and tested):
                continue
            one = measured.get((metric.benchmark, metric.name))
            found = _metric(metric, one, tested, baseline, plan, store, sampled=column.benchmark.stochastic)
            if isinstance(found, str):
                left_out[metric.title] = found
            else:
                metrics.append(found)
    if not metrics:
        what = "no primary metric is compared with the baseline: " + "; ".join(f"{k}: {v}" for k, v in left_out.items())
        raise UserError(what, where=str(asked.file), fix="Name a pilot whose rows have these metrics: --from FOLDER.")
    price = _price(pilot) if pilot else RunPrice()
    margin = asked.margin
    return PlannedRun(
        tuple(metrics), tuple(rows.values()), baseline.label, len(asked.seeds), margin, price, left_out,
        declared=len(asked.contrasts),
    )  # fmt: skip


def _check(asked: Experiment) -> None:
    if asked.baseline is None or all(entry.label == asked.baseline for entry in asked.methods):
        fix = "Name a `baseline:` and at least one other method: every question compares a method with the baseline."
        raise UserError("it asks no question whose chance could be computed", where=str(asked.file), fix=fix)


def _metric(
    metric: BenchmarkMetric,
    one: Measured | None,
    tested: Sequence[PlannedRow],
    baseline: PlannedRow,
    plan: Plan,
    store: Store,
    *,
    sampled: bool,
) -> PlannedMetric | str:
    """The metric with its variance, or why nothing can be said about it."""
    seeds = len(plan.experiment.seeds)
    if one is not None and not one.percent:
        return "its values are not shares, so 2, 5 and 10 points mean nothing in it"
    known = pilot_variation(one, tested, baseline, sampled=sampled) if one is not None else None
    if one is not None and known is not None:
        size, variation, source = pilot_size(one, seeds), known[0], f"the pilot's rows{known[1]}"
    elif metric.unit:
        return f"it counts {metric.unit}, and the priors are of shares"
    else:
        size, where = _size_known(metric, plan, store)
        variation = prior_variation(tested, baseline, size, sampled=sampled)
        source = f"priors; {where}"
    if size.effective < FEWEST_CLUSTERS:
        return f"{size.effective:.2g} effective clusters: fewer than {FEWEST_CLUSTERS}, so nothing is tested"
    return PlannedMetric(metric, tuple(tested), size, variation, sampled, True, source)


def _size_known(metric: BenchmarkMetric, plan: Plan, store: Store) -> tuple[Size, str]:
    """Items and clusters of a cell that is done, or of the benchmark as it asks; without either they are assumed."""
    seeds = len(plan.experiment.seeds)
    for cell in plan.cells:
        if cell.column.label != metric.benchmark or cell.why or not store.done("outcomes", cell.key):
            continue
        weights: dict[str, float] = {}
        for outcome in read_outcomes(store.folder("outcomes", cell.key) / "outcomes.jsonl"):
            if outcome["metrics"].get(metric.name) is not None:
                weight = float(outcome["weights"].get(metric.name, 1.0))
                weights[outcome["cluster"]] = weights.get(outcome["cluster"], 0.0) + weight
        if len(weights) > 1:
            return _size_by(weights, seeds), f"items as in {cell.title}, which is done"
    if len(weights := _asked_weights(metric, plan)) > 1:
        return _size_by(weights, seeds), "items are the benchmark's own"
    known = _items_of_test_set(metric, plan)
    count = known or PRIOR.items
    source = "its test set's items" if known else f"{count} items"
    return Size(float(count), count, float(count), seeds), f"{source}, each from a source of its own, are assumed"


def _size_by(weights: Mapping[str, float], seeds: int) -> Size:
    """The size of a metric whose clusters have these weights."""
    sizes = numpy.array(list(weights.values()))
    return Size(float(sizes.sum()), sizes.size, float(sizes.sum() ** 2 / (sizes**2).sum()), seeds)


def _asked_weights(metric: BenchmarkMetric, plan: Plan) -> dict[str, float]:
    """Cluster -> weight of the benchmark's items with this metric, told by a policy that answers nothing.

    Empty where the benchmark needs a model, or asks more than answers and scores of a policy: a judge, for instance.
    """
    cell = next((one for one in plan.cells if one.column.label == metric.benchmark and not one.why), None)
    weights: dict[str, float] = {}
    if cell is None or cell.column.benchmark.reads_logits:
        return weights
    try:
        for outcome in cell.column.benchmark.evaluate(Questioned(cell.node.base), cell.seed):
            if metric.name in outcome.metrics:
                weight = float(outcome.weights.get(metric.name, 1.0))
                weights[outcome.cluster] = weights.get(outcome.cluster, 0.0) + weight
    except (Exception, SystemExit):  # its own run will say so
        return {}
    return weights


def _items_of_test_set(metric: BenchmarkMetric, plan: Plan) -> int:
    """The number of its known items; 0 where they are not known."""
    benchmark = next(one.benchmark for one in plan.experiment.benchmarks if one.label == metric.benchmark)
    try:
        known = benchmark.test_set()
    except (Exception, SystemExit):
        return 0
    return len(known.items) if known else 0


def _pilot_panels(folder: Path) -> Mapping[tuple[str, str], Measured]:
    """(benchmark, metric) -> the panel of the pilot's first base and choice of data that has rows."""
    matrix, rows = known_matrix(folder), read_rows(folder)
    for base in matrix.bases:
        for data in matrix.data:
            own, states = block_rows(rows, matrix, base, data)
            measured = panels_of(own, matrix, states)
            found = {(one.metric.benchmark, one.metric.name): one for one in measured if one.panel.methods}
            if found:
                return found
    return {}


def _price(folder: Path) -> RunPrice:
    path = folder / "costs.json"
    return price_of(read_json(path).get("artifacts", []) if path.exists() else [])


# ---- what is printed


def tables(run: PlannedRun, worked: Callable[[int, int, str], None]) -> Iterator[Table | str]:
    """The chances of every question, the means at other designs, what buys most, and the answer in a sentence."""
    steps = 3 + len(FACTORS) * len(_seeds(run))
    worked(0, steps, "this design")
    now = outlook(run)
    yield from _sources(run)
    yield f"\nChance to be decided, % ({_count(run.seeds, 'seed')}, family of {run.tests}):"
    yield _questions(run, now)
    effect = run.effects[-2]
    done = 1
    grid: dict[tuple[float, int], Outlook] = {}
    for factor in FACTORS:
        for seeds in _seeds(run):
            worked(done, steps, f"{factor:g} x items, {seeds} seeds")
            grid[factor, seeds] = (
                now if (factor, seeds) == (1.0, run.seeds) else outlook(run, factor, seeds, GRID_DRAWS)
            )
            done += 1
    kept = ' / "kept"' if _asks_kept(run) else ""
    yield f"\nMean chance over the questions, %: better by {100 * effect:g} points{kept}, by items and seeds:"
    yield _grid(run, grid, effect)
    worked(done, steps, "what buys most")
    found = design_changes(run, effect, GRID_DRAWS)
    yield f"\nWhat raises the mean chances (better by {100 * effect:g} points; of the same methods):"
    yield _changes(run, found)
    worked(steps, steps, "")
    yield _advice(run, found)
    yield from _answer(run, now)


def _advice(run: PlannedRun, found: Sequence[Change]) -> str:
    best = best_change(found)
    if run.seeds == 1:
        return (
            "One seed decides about these trained runs and not about the methods, so its chances cannot be compared "
            "with those at several seeds. Name more seeds first."
        )
    if best is None:
        return "None of these changes raises the mean chances by a point or more at an extra cost."
    return f"Per extra {run.price.unit}, {best.title} raises the mean chances most."


def _seeds(run: PlannedRun) -> tuple[int, ...]:
    return run.seeds, run.seeds + 2, run.seeds + 5


def _sources(run: PlannedRun) -> Iterator[str]:
    asked = f"{_count(len(run.rows) - 1, 'method')} on {_count(len(run.metrics), 'metric')}"
    yield f"{counted(run.tests, 'test')} against {run.baseline}: {asked}."
    for one in run.metrics:
        size = one.size
        effective = "" if round(size.effective) == size.clusters else f" ({size.effective:.0f} effective)"
        yield f"{one.metric.title}: {size.items:,.0f} items, {size.clusters} clusters{effective}; from {one.source}"
    for title, why in run.left_out.items():
        yield f"{title}: left out, since {why}"
    if run.declared:
        yield (
            f"The {_count(run.declared, 'declared contrast')} of this experiment are another family, whose chances are "
            "not computed: these are of every method against the baseline."
        )
    if any(one.source.startswith("priors") for one in run.metrics):
        yield (
            f"Priors, not measurements: accuracy a = {100 * PRIOR.accuracy:g} %; the variance of a difference over "
            f"items is {PRIOR.of_items:g} a (1 - a); a seed changes a trained method by {100 * PRIOR.seeds:g} points "
            f"(sd), and each item's score by a variance of {PRIOR.interaction:g} a (1 - a). "
            "A pilot replaces them: --from FOLDER."
        )


def _questions(run: PlannedRun, now: Outlook) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("method", overflow="fold")
    for effect in run.effects:
        table.add_column(f"better by {100 * effect:g}", justify="right")
    if _asks_kept(run):
        table.add_column(f"kept (margin {100 * run.margin:g})", justify="right")
    for at, one in enumerate(run.metrics):
        together: dict[tuple[str, ...], list[str]] = {}
        for row in one.tested:
            shown = [_percent(now.better[at].get(effect, {}).get(row.label)) for effect in run.effects]
            shown += [_percent(now.kept[at].get(row.label))] if _asks_kept(run) else []
            # methods of one prior differ by the draws alone
            key = tuple(shown) if not one.source.startswith("priors") else (str(row.fixed), row.kin)
            together.setdefault(key, []).append(row.label)
        for labels in together.values():
            shown = [_percent(_over(now.better[at].get(effect, {}), labels)) for effect in run.effects]
            shown += [_percent(_over(now.kept[at], labels))] if _asks_kept(run) else []
            table.add_row(one.metric.title, Text(", ".join(labels)), *shown)
    return table


def _grid(run: PlannedRun, grid: Mapping[tuple[float, int], Outlook], effect: float) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("items")
    for seeds in _seeds(run):
        table.add_column(_count(seeds, "seed"), justify="right")
    for factor in FACTORS:
        cells = []
        for seeds in _seeds(run):
            one = grid[factor, seeds]
            chances = [one.mean_better(effect), *([one.mean_kept()] if _asks_kept(run) else [])]
            cells.append(" / ".join(_percent(chance) for chance in chances))
        table.add_row(f"{factor:g} x", *cells)
    return table


def _changes(run: PlannedRun, found: Sequence[Change]) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in ("change", "better, %", "kept, %", f"extra {run.price.unit}s", f"points per {run.price.step}"):
        table.add_column(head, justify="left" if head == "change" else "right")
    for one in found:
        kept = BLANK if one.kept is None else f"{_percent(one.kept[0])} to {_percent(one.kept[1])}"
        rate = one.rate(run.price)
        better = f"{_percent(one.better[0])} to {_percent(one.better[1])}"
        table.add_row(one.title, better, kept, f"{one.extra:+,.0f}", "costs less" if rate is None else f"{rate:+,.2g}")
    return table


def _answer(run: PlannedRun, now: Outlook) -> Iterator[str]:
    effect = run.effects[-2]
    found = f"one that is truly {100 * effect:g} points better is found in {_percent(now.mean_better(effect))} %"
    kept = now.mean_kept()
    if kept is not None:
        yield (
            f'\nAt this design a method without any loss is shown "kept" in {_percent(kept)} % of cases, and {found} '
            "(mean over the questions)."
        )
    else:
        yield f"\nAt this design {found} of cases (mean over the questions)."


def _asks_kept(run: PlannedRun) -> bool:
    return run.margin > 0 and any(one.metric.role == "knowledge" for one in run.metrics)


def _over(chances: Mapping[str, float], labels: Sequence[str]) -> float | None:
    known = [chances[label] for label in labels if label in chances]
    return fmean(known) if known else None


def _percent(chance: float | None) -> str:
    return BLANK if chance is None else f"{100 * chance:.0f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
