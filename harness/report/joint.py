"""Rows of policies that met -> what they have in common, with intervals, and the answers to read.

A mean over the meetings of one kind is taken per item and seed before anything else; then items are clustered and
seeds are random, as everywhere. Twins share seeds with one another, so theirs is a statement about these runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.data_choice import DataChoice
from harness.report.matrix import Matrix, MetricInfo
from harness.rows import read_excerpts, read_joint, read_json
from harness.statistics import Estimate, Scale, Scores, mean

if TYPE_CHECKING:
    import pandas

MOST_ITEMS = 4  # with the most alike, and as many with the most different answers, of each base
KINDS = {
    "methods": "two methods on one base",
    "bases": "one method on two bases",
    "both": "two methods on two bases",
    "seeds": "one method with two seeds",
}

Place = tuple[str, str]
"""(base, method)"""


@dataclass(frozen=True)
class Meeting:
    """What meetings of one kind come to.

    who       in words
    policies  how many meet
    scores    joint metric -> mean over meetings, items and seeds
    """

    who: str
    policies: int
    scores: Mapping[str, Estimate]


@dataclass(frozen=True)
class Reading:
    """One item's excerpts: (title, value, ((method, text), ...)) each."""

    base: str
    item: str
    prompt: str
    excerpts: tuple[tuple[str, float, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Joint:
    """One benchmark's policies at one choice of training data.

    maps      joint metric -> (place, place) -> mean over seeds and items; a place with itself: its twins
    left_out  (who, why)
    """

    benchmark: str
    data: DataChoice
    state: str
    why: str
    metrics: tuple[MetricInfo, ...]
    places: tuple[Place, ...] = ()
    maps: Mapping[str, Mapping[tuple[Place, Place], float]] | None = None
    meetings: tuple[Meeting, ...] = ()
    readings: tuple[Reading, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()


def joints_of(folder: Path, matrix: Matrix) -> tuple[Joint, ...]:
    """The joints of a results folder; none where no benchmark compares policies."""
    told = read_json(folder / "matrix.json").get("joint", [])
    if not told:
        return ()
    rows = read_joint(folder) if (folder / "joint.parquet").exists() else None
    excerpts = read_excerpts(folder) if (folder / "excerpts.parquet").exists() else None
    return tuple(_joint(entry, rows, excerpts, matrix) for entry in told)


def _joint(
    told: Mapping[str, Any], rows: pandas.DataFrame | None, excerpts: pandas.DataFrame | None, matrix: Matrix
) -> Joint:
    label, data = told["benchmark"], DataChoice(told["data_quality"], int(told["data_size"]))
    own, shown = _of(rows, label, data), _of(excerpts, label, data)
    metrics = tuple(metric for info in matrix.benchmarks if info.label == label for metric in info.joint_metrics)
    left_out = tuple((str(one["who"]), str(one["why"])) for one in told.get("left_out", ()))
    if own is None or own.empty:
        return Joint(label, data, told["state"], told["why"], metrics, left_out=left_out)
    readings = tuple(_readings(shown, own, metrics)) if shown is not None else ()
    return Joint(
        benchmark=label,
        data=data,
        state=told["state"],
        why=told["why"],
        metrics=metrics,
        places=tuple(_places(own, matrix)),
        maps={metric.name: _map(own[own["metric"] == metric.name]) for metric in metrics if metric.primary},
        meetings=tuple(_meetings(own, metrics)),
        readings=readings,
        left_out=left_out,
    )


def _of(rows: pandas.DataFrame | None, label: str, data: DataChoice) -> pandas.DataFrame | None:
    if rows is None:
        return None
    found = (rows["benchmark"] == label) & (rows["data_quality"] == data.quality) & (rows["data_size"] == data.size)
    return rows[found]


def _places(rows: pandas.DataFrame, matrix: Matrix) -> Iterator[Place]:
    """Who met, by base and then by method, in the experiment's order."""
    pairs = rows[rows["kind"] != "all"]
    met = set(zip(pairs["base"], pairs["method"], strict=True))
    met |= set(zip(pairs["other_base"], pairs["other_method"], strict=True))
    bases = list(dict.fromkeys([*matrix.bases, *([matrix.small_base] if matrix.small_base else [])]))
    methods = [method.label for method in matrix.methods]
    yield from sorted(met, key=lambda place: (bases.index(place[0]), methods.index(place[1])))


def _map(rows: pandas.DataFrame) -> dict[tuple[Place, Place], float]:
    pairs = rows[rows["kind"] != "all"]
    means = pairs.groupby(["base", "method", "other_base", "other_method"])["value"].mean()
    found: dict[tuple[Place, Place], float] = {}
    for (base, method, other_base, other_method), value in means.items():
        one, other = (base, method), (other_base, other_method)
        found[one, other] = found[other, one] = float(value)
    return found


def _meetings(rows: pandas.DataFrame, metrics: Sequence[MetricInfo]) -> Iterator[Meeting]:
    """Pairs by kind, those on one base by base; then everybody on a base."""
    for kind, words in KINDS.items():
        own = rows[rows["kind"] == kind]
        apart = kind in ("methods", "seeds") and own["base"].nunique() > 1
        for base in sorted(own["base"].unique()) if apart else ([""] if len(own) else []):
            some = own[own["base"] == base] if base else own
            yield Meeting(f"{words}{f', {base}' if base else ''}", 2, _scores(some, metrics, kind != "seeds"))
    everybody = rows[rows["kind"] == "all"]
    for base in sorted(everybody["base"].unique()):
        # a seed at which a method is missing asks about fewer policies: their numbers are not averaged
        own = everybody[everybody["base"] == base]
        own = own[own["policies"] == own["policies"].max()]
        yield Meeting(f"all methods together, {base}", int(own["policies"].max()), _scores(own, metrics, True))


def _scores(rows: pandas.DataFrame, metrics: Sequence[MetricInfo], over_seeds: bool) -> dict[str, Estimate]:
    by_metric = dict(list(rows.groupby("metric")))
    return {m.name: _estimate(by_metric[m.name], over_seeds) for m in metrics if m.name in by_metric}


def _estimate(rows: pandas.DataFrame, over_seeds: bool) -> Estimate:
    """Mean over meetings, then over items (clustered) and seeds; on the items that every seed has."""
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


def _readings(excerpts: pandas.DataFrame, rows: pandas.DataFrame, metrics: Sequence[MetricInfo]) -> Iterator[Reading]:
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
