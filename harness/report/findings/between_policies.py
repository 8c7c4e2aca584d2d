"""Similarity between policies: means with intervals over pairs of policies, and answers to read.

Pairs of one kind are averaged per item and seed first; then items are clustered and seeds are random, as everywhere.
Two runs of one method with different seeds share runs between pairs, so their interval describes these runs only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.results.schema import read_table
from harness.files import read_json
from harness.records import DataChoice
from harness.report.collect import Block
from harness.report.findings.tradeoff import scaled_interval
from harness.report.numbers.comparisons import Result
from harness.report.numbers.matrix import BenchmarkMetric, Matrix
from harness.report.render import text
from harness.report.render.axes import Point, draw
from harness.report.render.bands import axis_title, in_plain
from harness.report.render.document import Folded, Paragraph, Part, Picture, Reading, Readings
from harness.report.render.heat_map import draw_heat_map
from harness.report.render.tabular import BLANK, Column, Table, TableCell, blank_cell, estimate_cell
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, mean
from harness.stats.intervals import Estimate

if TYPE_CHECKING:
    import pandas


Place = tuple[str, str]
"""(base, method)"""


@dataclass(frozen=True)
class GroupSummary:
    """The means of one kind of comparison between policies.

    who       the kind, in words
    policies  number of policies in each comparison
    scores    joint metric -> mean over comparisons, items and seeds
    """

    who: str
    policies: int
    scores: Mapping[str, Estimate]


@dataclass(frozen=True)
class JointFinding:
    """One benchmark's policies at one choice of training data.

    maps      joint metric -> (place, place) -> mean over seeds and items; a place with itself: two of its seeds
    left_out  (who, why)
    """

    benchmark: str
    data: DataChoice
    state: str
    why: str
    metrics: tuple[BenchmarkMetric, ...]
    places: tuple[Place, ...] = ()
    maps: Mapping[str, Mapping[tuple[Place, Place], float]] | None = None
    comparisons: tuple[GroupSummary, ...] = ()
    readings: tuple[Reading, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


MOST_ITEMS = 4  # with the most alike, and as many with the most different answers, of each base
KINDS = {
    "methods": "two methods on one base",
    "bases": "one method on two bases",
    "both": "two methods on two bases",
    "seeds": "one method with two seeds",
}


def joint_findings(folder: Path, matrix: Matrix) -> tuple[JointFinding, ...]:
    """The joints of a results folder; none where no benchmark compares policies."""
    told = read_json(folder / "matrix.json").get("joint", [])
    if not told:
        return ()
    rows = read_table(folder, "joint") if (folder / "joint.parquet").exists() else None
    excerpts = read_table(folder, "excerpts") if (folder / "excerpts.parquet").exists() else None
    return tuple(_joint(entry, rows, excerpts, matrix) for entry in told)


def _joint(
    told: Mapping[str, Any], rows: pandas.DataFrame | None, excerpts: pandas.DataFrame | None, matrix: Matrix
) -> JointFinding:
    label, data = told["benchmark"], DataChoice(told["data_quality"], int(told["data_size"]))
    own, shown = _of(rows, label, data), _of(excerpts, label, data)
    metrics = tuple(metric for info in matrix.benchmarks if info.label == label for metric in info.joint_metrics)
    left_out = tuple((str(one["who"]), str(one["why"])) for one in told.get("left_out", ()))
    if own is None or own.empty:
        return JointFinding(label, data, told["state"], told["why"], metrics, left_out=left_out)
    readings = tuple(_readings(shown, own, metrics)) if shown is not None else ()
    return JointFinding(
        benchmark=label,
        data=data,
        state=told["state"],
        why=told["why"],
        metrics=metrics,
        places=tuple(_places(own, matrix)),
        maps={metric.name: _map(own[own["metric"] == metric.name]) for metric in metrics if metric.primary},
        comparisons=tuple(_comparisons(own, metrics)),
        readings=readings,
        left_out=left_out,
    )


def _of(rows: pandas.DataFrame | None, label: str, data: DataChoice) -> pandas.DataFrame | None:
    if rows is None:
        return None
    found = (rows["benchmark"] == label) & (rows["data_quality"] == data.quality) & (rows["data_size"] == data.size)
    return rows[found]


def _places(rows: pandas.DataFrame, matrix: Matrix) -> Iterator[Place]:
    """The policies compared, by base and then by method, in the experiment's order."""
    pairs = rows[rows["kind"] != "all"]
    compared = set(zip(pairs["base"], pairs["method"], strict=True))
    compared |= set(zip(pairs["other_base"], pairs["other_method"], strict=True))
    bases = list(dict.fromkeys([*matrix.bases, *([matrix.small_base] if matrix.small_base else [])]))
    methods = [method.label for method in matrix.methods]
    yield from sorted(compared, key=lambda place: (bases.index(place[0]), methods.index(place[1])))


def _map(rows: pandas.DataFrame) -> dict[tuple[Place, Place], float]:
    pairs = rows[rows["kind"] != "all"]
    means = pairs.groupby(["base", "method", "other_base", "other_method"])["value"].mean()
    found: dict[tuple[Place, Place], float] = {}
    for (base, method, other_base, other_method), value in means.items():
        one, other = (base, method), (other_base, other_method)
        found[one, other] = found[other, one] = float(value)
    return found


def _comparisons(rows: pandas.DataFrame, metrics: Sequence[BenchmarkMetric]) -> Iterator[GroupSummary]:
    """Pairs by kind, those on one base by base; then all methods on a base together."""
    for kind, words in KINDS.items():
        own = rows[rows["kind"] == kind]
        apart = kind in ("methods", "seeds") and own["base"].nunique() > 1
        for base in sorted(own["base"].unique()) if apart else ([""] if len(own) else []):
            some = own[own["base"] == base] if base else own
            yield GroupSummary(f"{words}{f', {base}' if base else ''}", 2, _scores(some, metrics, kind != "seeds"))
    together = rows[rows["kind"] == "all"]
    for base in sorted(together["base"].unique()):
        # a seed at which a method is missing asks about fewer policies: their numbers are not averaged
        own = together[together["base"] == base]
        own = own[own["policies"] == own["policies"].max()]
        yield GroupSummary(f"all methods together, {base}", int(own["policies"].max()), _scores(own, metrics, True))


def _scores(rows: pandas.DataFrame, metrics: Sequence[BenchmarkMetric], over_seeds: bool) -> dict[str, Estimate]:
    by_metric = dict(list(rows.groupby("metric")))
    return {m.name: _estimate(by_metric[m.name], over_seeds) for m in metrics if m.name in by_metric}


def _estimate(rows: pandas.DataFrame, over_seeds: bool) -> Estimate:
    """Mean over comparisons, then over items (clustered) and seeds; on the items that every seed has."""
    by_item = rows.assign(seed=rows["seed"] if over_seeds else 0)
    wide = by_item.groupby(["cluster", "group", "item", "seed"])["value"].mean().unstack("seed").dropna()
    if wide.empty:
        return Estimate(None, reason="no item in common")
    by_cluster = wide.groupby(level="cluster")
    totals = by_cluster.sum().to_numpy(dtype=float).T
    scores = Scores(totals, by_cluster.size().to_numpy(dtype=float))
    values = wide.to_numpy(dtype=float)
    unit = max(1.0, float(values.max() - values.min()))
    return mean(scores, scale=Scale(binary=False, unit=unit))


def _readings(
    excerpts: pandas.DataFrame, rows: pandas.DataFrame, metrics: Sequence[BenchmarkMetric]
) -> Iterator[Reading]:
    """Of each base at its first seed, the items on which all methods are most and least alike."""
    first = next((metric.name for metric in metrics if metric.primary), None)
    for base in sorted(excerpts["base"].unique()):
        own = excerpts[excerpts["base"] == base]
        seed = own["seed"].min()
        own = own[own["seed"] == seed]
        judged = rows[(rows["kind"] == "all") & (rows["base"] == base) & (rows["seed"] == seed)]
        judged = judged[(judged["metric"] == first) & judged["item"].isin(own["item"])]
        order = list(judged.sort_values(["value", "item"], ascending=[False, True], kind="stable")["item"])
        chosen = list(dict.fromkeys([*order[:MOST_ITEMS], *order[-MOST_ITEMS:]]))
        for item in chosen:
            yield _reading(base, item, own[own["item"] == item])


def _reading(base: str, item: str, rows: pandas.DataFrame) -> Reading:
    found = []
    for _, row in rows.sort_values("title", kind="stable").iterrows():
        said = tuple((str(m), str(t)) for m, t in zip(row["methods"], row["texts"], strict=True))
        found.append((str(row["title"]), float(row["value"]), said))
    found.sort(key=lambda one: -one[1])
    return Reading(base, item, str(rows.iloc[0]["prompt"]), tuple(found))


def joint_parts(joint: JointFinding, blocks: Sequence[Block], matrix: Matrix) -> Iterator[Part]:
    """The section on one benchmark's comparison of policies."""
    if joint.state != "done":
        yield Paragraph(f"{joint.benchmark} between policies: {joint.state}{f', {joint.why}' if joint.why else ''}.")
    if joint.places:
        yield Paragraph(_legend(joint))
        yield _table(joint)
        yield from _maps(joint)
    yield from _against_quality(joint, [block for block in blocks if block.data == joint.data], matrix)
    if joint.readings:
        yield Paragraph(
            "The prompts on which the methods of a base model are most and least alike, at its first seed. For each "
            "prompt: the two answers of different methods that are most alike, and the two that differ most."
        )
        yield Readings(joint.readings)
    if joint.left_out:
        rows = [(TableCell(who), TableCell(text.one_line(why, 200))) for who, why in joint.left_out]
        yield Folded("Policies that are not compared", Table(
            (Column("policies", left=True), Column("reason", left=True)), tuple(rows)
        ))  # fmt: skip


def _legend(joint: JointFinding) -> str:
    said = ["Means over comparisons, items and seeds, with pointwise 95 % intervals; nothing here is tested."]
    if any(one.policies == 2 and "seeds" in one.who for one in joint.comparisons):
        said.append(
            "Two runs of one method with different seeds are the yardstick for all other pairs. Their pairs share "
            "runs, so their interval covers items only and describes these runs."
        )
    said.append(f"{BLANK} could not be computed; it is not zero.")
    return " ".join(said)


def _table(joint: JointFinding) -> Table:
    known = [m for m in joint.metrics if any(m.name in one.scores for one in joint.comparisons)]
    columns = [Column("compared", left=True), Column("policies")]
    columns += [Column(in_plain(m.name), note=m.description) for m in known]
    rows = []
    for one in joint.comparisons:
        cells = [_cell(one.scores.get(metric.name)) for metric in known]
        rows.append((TableCell(one.who), TableCell(str(one.policies)), *cells))
    return Table(tuple(columns), tuple(rows), caption=f"{joint.benchmark}: similarity between policies")


def _cell(estimate: Estimate | None) -> TableCell:
    if estimate is None:
        return blank_cell()
    cell = estimate_cell(estimate, False)
    detail = "" if estimate.low is None else cell.detail
    return replace(cell, detail=detail, small="items only" if estimate.items_only else "")


def _maps(joint: JointFinding) -> Iterator[Part]:
    """By base and then by method; with several bases also by method and then by base."""
    orders = {"by base": sorted(joint.places, key=lambda place: _rank(joint, place, 0))}
    if len({base for base, _ in joint.places}) > 1:
        orders["by method"] = sorted(joint.places, key=lambda place: _rank(joint, place, 1))
    for metric in joint.metrics:
        for name, places in orders.items():
            yield from _map_part(joint, metric, name, places)


def _rank(joint: JointFinding, place: Place, first: int) -> tuple[int, int]:
    """The place's number among bases and among methods, the one that groups first."""
    bases = list(dict.fromkeys(base for base, _ in joint.places))
    methods = list(dict.fromkeys(method for _, method in joint.places))
    numbers = (bases.index(place[0]), methods.index(place[1]))
    return numbers[first], numbers[1 - first]


def _map_part(joint: JointFinding, metric: BenchmarkMetric, order: str, places: Sequence[Place]) -> Iterator[Picture]:
    found = (joint.maps or {}).get(metric.name)
    if not found:
        return
    several = len({base for base, _ in places}) > 1
    names = [f"{method}, {base}" if several else method for base, method in places]
    at = {place: number for number, place in enumerate(places)}
    values = {(at[one], at[other]): value for (one, other), value in found.items()}
    grouped = 0 if order == "by base" else 1
    breaks = [n for n in range(1, len(places)) if places[n][grouped] != places[n - 1][grouped]] if several else []
    title = f"{in_plain(joint.benchmark)}: {in_plain(metric.name)} between policies, {order}"
    yield Picture(draw_heat_map(names, values, title, breaks), f"{title}. {_words(names, values)}")


def _words(names: Sequence[str], values: dict[tuple[int, int], float]) -> str:
    """The highest and the lowest pairs, and the pairs of seeds."""
    pairs = sorted(((v, a, b) for (a, b), v in values.items() if a < b), key=lambda one: (-one[0], one[1:]))
    seeds = sorted((a, v) for (a, b), v in values.items() if a == b)
    said = []
    for lead, some in (("Highest", pairs[:3]), ("lowest", pairs[-3:])):
        said.append(f"{lead}: " + "; ".join(f"{names[a]} with {names[b]} {v:.3f}" for v, a, b in some))
    if seeds:
        said.append(
            "the same method with other seeds (the diagonal): " + "; ".join(f"{names[a]} {v:.3f}" for a, v in seeds)
        )
    return ". ".join(said) + "."


def _against_quality(joint: JointFinding, blocks: Sequence[Block], matrix: Matrix) -> Iterator[Part]:
    """Each block's first quality metric against the benchmark's metrics of a single method, where lower is better."""
    for block in blocks:
        quality = next(iter(block.of_role("quality")), None)
        for result in block.results:
            own = result.metric.benchmark == joint.benchmark and result.metric.primary
            if quality is None or not own or result.metric.higher_is_better:
                continue
            points = _points(block, result, quality, matrix)
            if len(points) > 1:
                across, up = _axis(result), _axis(quality)
                places = "; ".join(f"{p.label}: {p.y:.1f} at {p.x:.1f}" for p in points)
                yield Picture(draw(points, across, up), f"{block.base}: {up} against {across}: {places}.")


def _points(block: Block, across: Result, up: Result, matrix: Matrix) -> list[Point]:
    found = []
    for method in block.methods:
        one, other = across.scores.get(method.label), up.scores.get(method.label)
        if one is None or other is None or one.estimate.value is None or other.estimate.value is None:
            continue
        factors = [100 if result.percent else 1 for result in (across, up)]
        x, y = one.estimate.value * factors[0], other.estimate.value * factors[1]
        sides = [scaled_interval(score.estimate, factor) for score, factor in zip((one, other), factors, strict=True)]
        found.append(Point(method.label, x, y, sides[0], sides[1], method.label == matrix.baseline))
    return found


def _axis(result: Result) -> str:
    return axis_title(result.metric, result.percent)
