"""A comparison as one table for the terminal. Text is never read as markup and has no control characters."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from harness.report.compare import Pairing
from harness.report.findings.tables import FEW, FLAG_FEW, finding_cell, sample_size_text
from harness.report.numbers.comparisons import Comparison, Result
from harness.report.render import tabular, text
from harness.report.render.tabular import BLANK
from harness.report.verdict import ONE_SEED

STYLES = {"good": "green", "bad": "red", "open": "yellow", "blank": "dim"}
LONGEST = 60


def plain_text(value: str, longest: int = LONGEST, style: str = "") -> Text:
    """Text on one line that rich does not read as markup."""
    return Text(text.one_line(value, longest), style=style)


def pairing_table(pairing: Pairing) -> Table:
    """A row for each metric (and group) of each pair: scores, difference, interval, p, finding."""
    several = len(pairing.pairs) > 1 or pairing.pairs[0][0] != pairing.heads[0]
    table = Table(title=plain_text(pairing.block.title, 200), title_justify="left")
    for head in ("metric", *(("method",) if several else ())):
        table.add_column(head, overflow="fold")
    for head in (*pairing.heads, "difference", "95 % interval", "p (Holm)"):
        table.add_column(plain_text(head), justify="right", overflow="fold")
    table.add_column("finding")
    table.add_column("items x seeds", justify="right")
    for result in pairing.results:
        for name, first, second in pairing.pairs:
            if first in result.comparisons:
                table.add_row(*_row(pairing, result, (name,) if several else (), first, second))
    return table


def _row(pairing: Pairing, result: Result, name: tuple[str, ...], first: str, second: str) -> Iterator[Text]:
    comparison = result.comparisons[first]
    yield plain_text(", ".join(part for part in (result.metric.title, result.group) if part), 80)
    yield from (plain_text(one) for one in name)
    for label in (first, second):
        score = result.scores.get(label)
        yield plain_text(tabular.score_text(None if score is None else score.estimate.value, result.percent))
    estimate = comparison.estimate
    yield plain_text(tabular.signed(estimate.value, result.percent))
    yield plain_text(tabular.interval(estimate.low, estimate.high, result.percent, "+") or BLANK)
    yield plain_text(tabular.p_value(comparison.adjusted))
    yield _finding(pairing, result, comparison)
    yield plain_text(f"{sample_size_text(comparison)}{FLAG_FEW if estimate.few_clusters else ''}")


def _finding(pairing: Pairing, result: Result, comparison: Comparison) -> Text:
    if comparison.estimate.low is None:
        return plain_text(comparison.estimate.reason, 80, "dim")
    cell = finding_cell(comparison, result, pairing.matrix)
    return plain_text(cell.text, style=STYLES.get(cell.mood, ""))


def remarks(pairing: Pairing) -> Iterator[str]:
    """Notes that a reader needs before quoting the table."""
    first, second = pairing.heads
    if pairing.block.one_seed:
        yield ONE_SEED
    yield (
        f"Difference: {first} − {second}, paired over items and seeds; shares in %, their differences in points. "
        "Better and worse describe the first. Intervals are pointwise."
    )
    by_group = max((group.family for group in pairing.block.groups), default=0)
    own = f"; the groups are a separate family of {by_group}" if by_group else ""
    yield f"p: two-sided, after Holm's correction over the {pairing.block.tests} tests of primary metrics{own}."
    yield "Not established means that neither is shown to be better, not that they are equal."
    if any(c.estimate.few_clusters for result in pairing.results for c in result.comparisons.values()):
        yield FEW
    yield from pairing.notes
