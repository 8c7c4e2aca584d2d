"""Scores of single files -> the cells of a matrix: what belongs together, and which metrics each benchmark has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmark import Metric
from harness.engine.interchange.carried import STUDY
from harness.engine.interchange.scored import LoggedMetric, Scored
from harness.errors import UserError, did_you_mean

CHANCE = "chance"
COMMON = "score"  # the name of the tested metric where the tasks of a benchmark have several


@dataclass(frozen=True)
class JudgedCell:
    """The scores of one method on one benchmark at one seed; several parts where the benchmark is a group of tasks."""

    parts: tuple[Scored, ...]

    @property
    def place(self) -> tuple[str, int, str]:
        """(method, seed, benchmark)"""
        first = self.parts[0]
        return first.method, first.seed or 0, first.benchmark

    @property
    def protocol(self) -> dict[str, str]:
        """The fields of all parts; values that differ between parts are joined."""
        names = dict.fromkeys(name for part in self.parts for name in part.protocol)
        return {
            name: joined_values(part.protocol[name] for part in self.parts if name in part.protocol) for name in names
        }

    @property
    def key(self) -> str:
        """A digest of the files that the cell was read from."""
        read = sorted({part.source.digest for part in self.parts})
        return hashlib.sha256("\n".join([*read, *map(str, self.place)]).encode()).hexdigest()[:24]


def joined_values(values: Iterable[str]) -> str:
    """The values without repetition; more than three as the digest of all."""
    found = sorted(set(values))
    if len(found) <= 3:
        return ", ".join(found)
    return f"{len(found)} values, together {hashlib.sha256(chr(10).join(found).encode()).hexdigest()[:12]}"


def cells_of(found: Iterable[Scored]) -> list[JudgedCell]:
    """The cells in the order of their rows. Raises UserError where two files give one method's scores on one part."""
    parts: dict[tuple[str, int, str], list[Scored]] = {}
    for one in found:
        own = parts.setdefault((one.method, one.seed or 0, one.benchmark), [])
        for other in own:
            if not (isinstance(one.groups, str) and isinstance(other.groups, str) and one.groups != other.groups):
                raise UserError(
                    f"two files give scores of {one.method!r} on {one.benchmark!r}; the other is {other.source.path}",
                    where=str(one.source.path),
                    fix="Name what differs: `bakeoff judge plain=FIRST chat=SECOND`, or for two training seeds "
                    "`sft/0=FIRST sft/1=SECOND`; or leave one out.",
                )
        own.append(one)
    cells = [JudgedCell(tuple(own)) for _, own in sorted(parts.items())]
    _check_seeds(cells)
    return cells


def _check_seeds(cells: Sequence[JudgedCell]) -> None:
    """Raise UserError where some seeds are stated and some not: an unknown seed must not be paired with a known one."""
    parts = [part for cell in cells for part in cell.parts]
    stated = {part.seed is None: part for part in parts}
    if len(stated) == 2:
        raise UserError(
            f"no training seed is stated for {stated[True].method!r}, and one is for {stated[False].method!r}",
            where=str(stated[True].source.path),
            fix=f"Write it, such as `{stated[True].method}/0=PATH`, or fill in the column `seed`.",
        )


def study_of(scored: Iterable[Scored]) -> dict[str, Any]:
    """The declarations of the exported study that all scores come from, as far as they name methods that were read."""
    found: list[dict[str, Any]] = []
    methods, benchmarks = set(), set()
    for one in scored:
        told = dict(one.carried.get("study", {}))
        methods.add(one.method)
        benchmarks.add(one.benchmark)
        if told not in found:
            found.append(told)
    if len(found) != 1 or not found[0]:
        return {}
    told = {name: found[0].get(name) for name in STUDY}
    if told["reference"] not in methods:
        told["reference"] = None
    told["contrasts"] = [pair for pair in told["contrasts"] or [] if methods.issuperset(pair)]
    outside = told["out_of_distribution"] or {}
    told["out_of_distribution"] = {
        one: other for one, other in outside.items() if {one.split("/")[0], other.split("/")[0]} <= benchmarks
    }
    return told


def methods_of(scored: Sequence[Scored], baseline: str) -> list[str]:
    """The methods in the order of the files; first the baseline: the one named, the exported study's, or the first."""
    found = list(dict.fromkeys(one.method for one in scored))
    own = study_of(scored).get("baseline")
    baseline = baseline or (own if own in found else "")
    if baseline and baseline not in found:
        raise UserError(
            f"the baseline is {baseline!r}, of which no scores were read", fix=did_you_mean(baseline, found)
        )
    return sorted(found, key=lambda name: name != (baseline or found[0]))


def metrics_of(cells: Sequence[JudgedCell]) -> dict[str, list[Metric]]:
    """Benchmark -> its metrics, the tested one first. Raises UserError where two files disagree on a direction."""
    found: dict[str, dict[str, tuple[LoggedMetric, Path]]] = {}
    mains: dict[str, set[str]] = {}
    for cell in cells:
        for part in cell.parts:
            own = found.setdefault(part.benchmark, {})
            mains.setdefault(part.benchmark, set()).add(part.metrics[0].name)
            for one in part.metrics:
                known, where = own.setdefault(one.name, (one, part.source.path))
                if known.higher_is_better != one.higher_is_better:
                    what = f"higher is better for {one.name} of {part.benchmark} here, and lower in {where}"
                    fix = "Judge results of one version of the benchmark."
                    raise UserError(what, where=str(part.source.path), fix=fix)
    return {label: list(_ordered(own, mains[label])) for label, own in found.items()}


def _ordered(own: Mapping[str, tuple[LoggedMetric, Path]], mains: set[str]) -> Iterator[Metric]:
    declared = [one.declared for one, _ in own.values() if one.declared]
    if declared:
        yield from declared
        return
    main = next(iter(mains)) if len(mains) == 1 else COMMON
    if main == COMMON and COMMON not in own:
        words = f"of each task its main metric ({', '.join(sorted(mains))}), higher is better"
        yield Metric(COMMON, words, role="quality", by_group=True)
    for name, (one, _) in sorted(own.items(), key=lambda pair: pair[0] != main):
        if name != CHANCE:
            first = name == main
            yield Metric(
                name, one.description, role="quality" if first else "other", primary=first,
                higher_is_better=one.higher_is_better, by_group=first,
            )  # fmt: skip


def of_metric(part: Scored, name: str) -> tuple[LoggedMetric | None, float]:
    """The metric of that name; for the common name of several tasks, the task's own first, so that higher is better."""
    found = next((one for one in part.metrics if one.name == name), None)
    if found is None and name == COMMON:
        return part.metrics[0], 1.0 if part.metrics[0].higher_is_better else -1.0
    return found, 1.0


def uneven_items(cells: Sequence[JudgedCell], methods: Sequence[str]) -> dict[str, Any]:
    """Benchmark -> its items, those that all methods have, and of each method how many it lacks; if all agree, none."""
    found = {}
    for benchmark in dict.fromkeys(cell.place[2] for cell in cells):
        own = [cell for cell in cells if cell.place[2] == benchmark]
        if _alike(own):
            continue
        of_method: dict[str, set[str]] = {}
        for cell in own:
            for part in cell.parts:
                items = part.items if isinstance(part.items, list) else part.items.to_pylist()
                of_method.setdefault(part.method, set()).update(items)
        every, common = set.union(*of_method.values()), set.intersection(*of_method.values())
        if every != common:
            lacking = {method: len(every) - len(of_method[method]) for method in methods if method in of_method}
            found[benchmark] = {"items": len(every), "in_all": len(common), "lacking": lacking}
    return found


def _alike(cells: Sequence[JudgedCell]) -> bool:
    """Whether all cells have one part with the same items in the same order, as is the rule."""
    first = cells[0].parts[0].items
    return all(len(cell.parts) == 1 and _equal(cell.parts[0].items, first) for cell in cells)


def _equal(items: Any, others: Any) -> bool:
    if isinstance(items, list) or isinstance(others, list):
        return type(items) is type(others) and bool(items == others)
    return bool(items.equals(others))
