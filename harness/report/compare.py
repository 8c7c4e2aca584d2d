"""Two methods of one results folder, or two runs method by method: the report's statistics on other pairs.

Seed variance is pooled over all methods of the block, as in the report, so that a method against the baseline has
the report's own interval. Every primary metric is a family of tests, and the groups of metrics that are reported by
group are another, again as in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.engine.results.schema import read_rows
from harness.engine.showable import counted
from harness.engine.store.keys import differing_fields
from harness.errors import UserError, did_you_mean
from harness.records import DataChoice
from harness.report.collect import Block
from harness.report.findings.tables import FEW, FLAG_FEW, finding_cell, sample_size_text
from harness.report.numbers.comparisons import Comparison, Result, compared
from harness.report.numbers.matrix import BenchmarkInfo, CellState, Matrix, MethodInfo, read_matrix
from harness.report.numbers.panel import Measured, block_rows, groups_of, panels_of
from harness.report.render import tabular, text
from harness.report.render.bands import benchmark_title, lines_of
from harness.report.render.tabular import BLANK
from harness.report.verdict import ONE_SEED

if TYPE_CHECKING:
    import pandas


ITEM = ["benchmark", "metric", "group", "item"]
States = dict[tuple[str, str], tuple[CellState, ...]]


@dataclass(frozen=True)
class Pairing:
    """The pairs compared at one base model and choice of training data.

    heads   column heads for the first and the second of every pair
    pairs   (name, first, second): a name for the pair, and the two labels in the block's scores
    block   results whose comparisons are keyed by the first label; `groups` are those that are tested
    margin  the loss of knowledge that still counts as kept
    notes   further differences between the two, and what was left out
    """

    heads: tuple[str, str]
    pairs: tuple[tuple[str, str, str], ...]
    block: Block
    matrix: Matrix
    notes: tuple[str, ...] = ()

    @property
    def results(self) -> Iterator[Result]:
        """Every metric on all items, each followed by its groups."""
        for result in self.block.results:
            yield result
            yield from (group for group in self.block.groups if group.metric.title == result.metric.title)


def two_methods(folder: Path, first: str, second: str) -> list[Pairing]:
    """`first` against `second` in every block of a results folder.

    Raises UserError where a method does not exist, or the two have no item and seed in common.
    """
    matrix = known_matrix(folder)
    matrix.require_whole(folder)
    labels = [method.label for method in matrix.methods]
    for name in (first, second):
        if name not in labels:
            fix = did_you_mean(name, labels)
            raise UserError(f"it has no method labelled {name!r}", where=str(folder), fix=fix)
    if first == second:
        raise UserError(f"{first!r} is compared with itself", where=str(folder), fix="Name two methods.")
    rows = read_rows(folder)
    found = []
    for base, data in ((base, data) for base in matrix.bases for data in matrix.data):
        own, states = block_rows(rows, matrix, base, data)
        block = _block(own, matrix, states, base, data, {first: second}, len(labels) * (len(labels) - 1) // 2)
        found.append(Pairing((first, second), ((first, first, second),), block, matrix))
    return _something(found, f"{first} and {second}", str(folder))


def two_runs(one: Path, other: Path) -> list[Pairing]:
    """Methods of equal labels of two results folders, on the items and seeds that both have.

    Raises UserError where the folders have no method, benchmark, base model, or item and seed in common.
    """
    first, second = known_matrix(one), known_matrix(other)
    first.require_whole(one)
    second.require_whole(other)
    where = f"{one} and {other}"
    labels = _common([m.label for m in first.methods], [m.label for m in second.methods], "method", where)
    _common([b.label for b in first.benchmarks], [b.label for b in second.benchmarks], "benchmark", where)
    _common(list(first.bases), list(second.bases), "base model", where)
    places = [(b, d) for b in first.bases for d in first.data if b in second.bases and d in second.data]
    if not places:
        raise UserError("no base model has the same choice of training data in both", where=where)
    rows = read_rows(one), read_rows(other)
    names_of = one.resolve().name, other.resolve().name
    heads = (str(one), str(other)) if names_of[0] == names_of[1] else names_of
    found = []
    for base, data in places:
        sides = [_side(rows[at], matrix, base, data, at + 1) for at, matrix in enumerate((first, second))]
        merged = _merged(first, second)
        own, left_out = _shared([side[0] for side in sides], merged.benchmarks)
        pairs = {f"{label}:1": f"{label}:2" for label in labels}
        block = _block(own, merged, {**sides[0][1], **sides[1][1]}, base, data, pairs)
        names = tuple((label, f"{label}:1", f"{label}:2") for label in labels)
        found.append(Pairing(heads, names, block, merged, (*_unlike(first, second, labels, heads), *left_out)))
    return _something(found, "the two runs", where)


def known_matrix(folder: Path) -> Matrix:
    """matrix.json of a results folder; where it is none, UserError names folders that are."""
    if not (folder / "matrix.json").is_file():
        others = [path.parent.name for path in folder.absolute().parent.glob("*/matrix.json")]
        fix = f"Name a folder that `bakeoff run` wrote. {did_you_mean(folder.name, others)}"
        raise UserError("it is not a results folder: it has no matrix.json", where=str(folder), fix=fix)
    return read_matrix(folder)


def _common(first: Sequence[str], second: Sequence[str], what: str, where: str) -> list[str]:
    common = [name for name in first if name in second]
    if not common:
        fix = f"The first has {', '.join(first) or 'none'}; the second {', '.join(second) or 'none'}."
        raise UserError(f"they have no {what} of the same name", where=where, fix=fix)
    return common


def _something(found: list[Pairing], who: str, where: str) -> list[Pairing]:
    """`found`; raises UserError where nothing in it could be compared."""
    made = [c.estimate for p in found for r in p.results for c in r.comparisons.values()]
    if any(estimate.value is not None for estimate in made):
        return found
    reasons = sorted({estimate.reason for estimate in made if estimate.reason}) or ["no scored cell"]
    fix = f"`bakeoff compare` needs items and seeds that both have: {'; '.join(reasons[:4])}."
    raise UserError(f"{who} have nothing in common to compare", where=where, fix=fix)


def _block(
    rows: pandas.DataFrame,
    matrix: Matrix,
    states: States,
    base: str,
    data: DataChoice,
    pairs: Mapping[str, str],
    alike: int = 1,
) -> Block:
    """The comparisons of `pairs`, corrected for `alike` times as many: a reader may have looked before choosing."""
    measured = panels_of(rows, matrix, states)
    groups = [one for one in groups_of(measured) if one.metric.primary and one.metric.by_group]
    labels = [*pairs, *pairs.values()]

    def possible(label: str, one: Measured) -> bool:
        cells = states.get((label, one.metric.benchmark), ())
        return label in one.panel.methods or any(cell.state != "n/a" for cell in cells)

    def opponents(one: Measured) -> dict[str, str]:
        return {a: b for a, b in pairs.items() if possible(a, one) and possible(b, one)}

    def of(given: Sequence[Measured], tested: Callable[[Measured], bool]) -> tuple[Result, ...]:
        return compared(given, labels, opponents, tested, matrix.margin, alike)

    return Block(
        base=base,
        data=data,
        methods=tuple(method for method in matrix.methods if method.label in labels),
        results=of(measured, lambda one: one.metric.primary),
        groups=of(groups, lambda one: True),
        states=states,
    )


def _side(
    rows: pandas.DataFrame, matrix: Matrix, base: str, data: DataChoice, side: int
) -> tuple[pandas.DataFrame, States]:
    """One run's rows and states in a block, its methods labelled LABEL:1 or LABEL:2 (no label holds a colon)."""
    own, states = block_rows(rows, matrix, base, data)
    labelled = own.assign(method=own["method"].astype(object) + f":{side}")
    return labelled, {(f"{label}:{side}", benchmark): cells for (label, benchmark), cells in states.items()}


def _shared(
    sides: Sequence[pandas.DataFrame], benchmarks: Sequence[BenchmarkInfo]
) -> tuple[pandas.DataFrame, list[str]]:
    """The rows of both on their common items, and notes on items that only one has."""
    import pandas

    asked = [side[side["benchmark"].isin([b.label for b in benchmarks])] for side in sides]
    keys = [side[ITEM].drop_duplicates() for side in asked]
    common = keys[0].merge(keys[1], on=ITEM)
    notes = []
    for benchmark in benchmarks:
        counts = [k[k["benchmark"] == benchmark.label][["group", "item"]].drop_duplicates() for k in keys]
        both = len(counts[0].merge(counts[1], on=["group", "item"]))
        if any(len(count) != both for count in counts):
            notes.append(f"{benchmark.label}: {both} items in common, of {len(counts[0])} and {len(counts[1])}.")
    return pandas.concat([side.merge(common, on=ITEM) for side in asked]), notes


def _merged(first: Matrix, second: Matrix) -> Matrix:
    """The methods of both; the benchmarks and metrics that both have in the same version."""
    theirs = {benchmark.label: benchmark for benchmark in second.benchmarks}
    benchmarks = []
    for own in first.benchmarks:
        other = theirs.get(own.label)
        if other is not None and (own.plugin, own.version) == (other.plugin, other.version):
            names = {metric.name for metric in other.metrics}
            benchmarks.append(replace(own, metrics=tuple(m for m in own.metrics if m.name in names)))
    methods = [
        replace(method, label=f"{method.label}:{side}")
        for side, matrix in enumerate((first, second), start=1)
        for method in matrix.methods
    ]
    seeds = tuple(sorted({*first.seeds, *second.seeds}))
    return replace(first, methods=tuple(methods), benchmarks=tuple(benchmarks), seeds=seeds, baseline=None, cells=())


def _unlike(first: Matrix, second: Matrix, labels: Sequence[str], heads: tuple[str, str]) -> Iterator[str]:
    """Differences between two runs other than their scores."""
    alone = [
        (head, [m.label for m in matrix.methods if m.label not in labels])
        for head, matrix in zip(heads, (first, second), strict=True)
    ]
    for head, names in alone:
        if names:
            yield f"Only in {head}, and not compared: {', '.join(names)}."
    for label in labels:
        yield from _changed(label, _method(first, label), _method(second, label))
    theirs = {benchmark.label: benchmark for benchmark in second.benchmarks}
    for own in first.benchmarks:
        other = theirs.get(own.label)
        if other is None:
            continue
        if (own.plugin, own.version) != (other.plugin, other.version):
            was, now = (f"{b.plugin} version {b.version}" for b in (own, other))
            yield f"{own.label} is not compared: {was} in the first, {now} in the second."
        else:
            yield from _changed(own.label, own, other)
    if first.margin != second.margin:
        yield f"The margins are {first.margin:g} and {second.margin:g}; the first is used."


def _method(matrix: Matrix, label: str) -> MethodInfo:
    return next(method for method in matrix.methods if method.label == label)


def _changed(label: str, own: MethodInfo | BenchmarkInfo, other: MethodInfo | BenchmarkInfo) -> Iterator[str]:
    changed = list(differing_fields({"plugin": own.plugin, **own.fields}, {"plugin": other.plugin, **other.fields}))
    if changed:
        yield f"{label} differs in its fields (first -> second; None may be a new field): {'; '.join(changed)}."


STYLES = {"good": "green", "bad": "red", "open": "yellow", "blank": "dim"}
LONGEST = 60
MOST_TITLES = 8
OUTCOMES = ("better", "worse", "worse, within the margin", "kept within the margin", "not established", "no claim",
            "not tested")  # fmt: skip
NARROW_HEAD = 14


def plain_text(value: str, longest: int = LONGEST, style: str = "") -> Text:
    """Text on one line that rich does not read as markup."""
    return Text(text.one_line(value, longest), style=style)


USUAL_WIDTH = 120


def pairing_table(pairing: Pairing, width: int = USUAL_WIDTH) -> Table:
    """A row for each metric (and group) of each pair: scores, difference, interval, p, finding.

    Where that is wider, a row has several lines, so that no word is broken and no column is cut.
    """
    table = _wide_table(pairing)
    return table if Console(width=1000).measure(table).maximum <= width else _narrow_table(pairing)


def _wide_table(pairing: Pairing) -> Table:
    several = len(pairing.pairs) > 1 or pairing.pairs[0][0] != pairing.heads[0]
    table = Table(title=plain_text(pairing.block.title, 200), title_justify="left")
    for head in ("metric", *(("method",) if several else ())):
        table.add_column(head)
    for head in (*pairing.heads, "difference", "95 % interval", "p (corrected)"):
        table.add_column(plain_text(head), justify="right")
    table.add_column("finding")
    table.add_column("items x seeds", justify="right")
    for result in pairing.results:
        for name, first, second in pairing.pairs:
            if first in result.comparisons:
                table.add_row(*_row(pairing, result, (name,) if several else (), first, second))
    return table


def _narrow_table(pairing: Pairing) -> Table:
    several = len(pairing.pairs) > 1 or pairing.pairs[0][0] != pairing.heads[0]
    table = Table(title=plain_text(pairing.block.title, 200), title_justify="left", box=SIMPLE, padding=(0, 1))
    table.add_column("metric")
    for head in (*pairing.heads, "difference"):
        table.add_column(plain_text(head, NARROW_HEAD), justify="right")
    table.add_column("finding")
    for result in pairing.results:
        for name, first, second in pairing.pairs:
            if first not in result.comparisons:
                continue
            title, *rest = _row(pairing, result, (name,) if several else (), first, second)
            method = [rest.pop(0)] if several else []
            one, other, change, interval, p, finding, size = rest
            named = [plain_text(title.plain.replace("_", " "), 80), *method]
            said = [finding, plain_text(f"p {p.plain}, {size.plain}")]
            table.add_row(*(Text("\n").join(lines) for lines in (named, [one], [other], [change, interval], said)))
    return table


def _row(pairing: Pairing, result: Result, name: tuple[str, ...], first: str, second: str) -> Iterator[Text]:
    comparison = result.comparisons[first]
    yield plain_text(", ".join(part for part in (result.metric.title, result.group) if part), 80)
    yield from (plain_text(one) for one in name)
    for label in (first, second):
        score = result.scores.get(label)
        yield plain_text(tabular.score_text(None if score is None else score.estimate.value, result.percent))
    estimate = comparison.estimate
    lines = lines_of(result, pairing.matrix)
    yield plain_text(tabular.change(estimate, result.percent, lines))
    yield plain_text(tabular.change_interval(estimate, result.percent, lines) or BLANK)
    yield plain_text(tabular.p_value(comparison.adjusted))
    yield _finding(pairing, result, comparison)
    yield plain_text(f"{sample_size_text(comparison)}{FLAG_FEW if estimate.few_clusters else ''}")


def _finding(pairing: Pairing, result: Result, comparison: Comparison) -> Text:
    if comparison.estimate.low is None:
        return plain_text(comparison.estimate.reason, 80, "dim")
    cell = finding_cell(comparison, result, pairing.matrix)
    return plain_text(cell.text, style=STYLES.get(cell.mood, ""))


def findings_line(pairing: Pairing) -> str:
    """The findings on all items: 'lora against sft: better on a and b; not established on c.'"""
    found: dict[str, list[str]] = {}
    results = [result for result in pairing.block.results if result.metric.primary]
    several = len(pairing.pairs) > 1 or pairing.pairs[0][0] != pairing.heads[0]
    for name, first, _ in pairing.pairs:
        for result in results:
            if (comparison := result.comparisons.get(first)) and comparison.estimate.low is not None:
                title = benchmark_title(result, results) + (f" ({name})" if several else "")
                found.setdefault(finding_cell(comparison, result, pairing.matrix).text, []).append(title)
    said = [
        f"{word} on {_few(titles)}" for word, titles in sorted(found.items(), key=lambda one: OUTCOMES.index(one[0]))
    ]
    return f"{pairing.heads[0]} against {pairing.heads[1]}: {'; '.join(said) or 'nothing has an interval'}."


def _few(titles: list[str]) -> str:
    return text.listed(titles) if len(titles) <= MOST_TITLES else f"{len(titles)} metrics"


def remarks(pairing: Pairing) -> Iterator[str]:
    """Notes that a reader needs before quoting the table."""
    first, second = pairing.heads
    if pairing.block.one_seed:
        yield ONE_SEED
    yield (
        f"Difference: {first} − {second}, paired over items and seeds; shares in %, their differences in points. "
        "Better and worse describe the first. The intervals of tested differences hold all together."
    )
    by_group = max((group.family for group in pairing.block.groups), default=0)
    own = f"; the groups are a separate family of {by_group}" if by_group else ""
    yield (
        f"p: two-sided, corrected (step-down max-t) for the {counted(pairing.block.tests, 'test')} of primary metrics "
        f"that could have been asked{own}."
    )
    yield "Not established means that neither is shown to be better, not that they are equal."
    if any(c.estimate.few_clusters for result in pairing.results for c in result.comparisons.values()):
        yield FEW
    yield from pairing.notes
