"""The contrasts that the experiment declared before its first cell was scored: the tested family of the report.

Every declared difference on every primary metric, of all base models and choices of data together, is one family:
step-down max-t tests and simultaneous intervals. All other comparisons of the report are exploratory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.engine.results.declared import contrast_texts, contrasts_digest, declarations
from harness.report.collect import Block, ReportModel
from harness.report.numbers.comparisons import corrected_family, established_sign
from harness.report.numbers.panel import Measured, difference_of
from harness.report.render import bands, tabular, text
from harness.report.render.bands import in_plain
from harness.report.render.document import Paragraph, Part
from harness.report.render.tabular import Column, Table, TableCell, blank_cell, estimate_cell, text_columns
from harness.stats.intervals import FEWEST_CLUSTERS, Estimate

EXPLORATORY = "Exploratory, apart from the declared contrasts (below)."


@dataclass(frozen=True)
class DeclaredContrast:
    """A declared difference on one metric of one block; `adjusted` is None where no test is allowed.

    estimate  first - second, with the simultaneous interval of the family
    """

    first: str
    second: str
    block: Block
    measured: Measured
    estimate: Estimate
    adjusted: float | None = None

    @property
    def finding(self) -> str:
        """In a word: better, worse, or not established."""
        sign = established_sign(self.estimate, self.adjusted)
        if not sign:
            return "not established"
        return "better" if (sign > 0) == self.measured.metric.higher_is_better else "worse"


def declared_contrasts(blocks: Sequence[Block], contrasts: Sequence[tuple[str, str]]) -> tuple[DeclaredContrast, ...]:
    """Every declared contrast that the plan allows on every primary metric, corrected over all of them."""
    asked = [one for block in blocks for pair in contrasts for one in _asked(block, *pair)]
    panels = [(one.block.base, one.block.data, one.measured.metric.title) for one in asked]
    shown = corrected_family([one.estimate for one in asked], panels)
    return tuple(replace(one, estimate=estimate, adjusted=p) for one, (estimate, p) in zip(asked, shown, strict=True))


def _asked(block: Block, first: str, second: str) -> Iterator[DeclaredContrast]:
    """The contrast on each primary metric for which both methods were planned, and which has clusters enough."""
    for one in block.measured:
        planned = all(
            any(cell.state != "n/a" for cell in block.states.get((label, one.metric.benchmark), ()))
            for label in (first, second)
        )
        if planned and one.metric.primary and one.panel.effective_clusters >= FEWEST_CLUSTERS:
            estimate = difference_of(one, one.panel.comparable([first, second]))
            yield DeclaredContrast(first, second, block, one, estimate)


def declared_parts(model: ReportModel) -> Iterator[Part]:
    """When the contrasts were declared, whether they were changed, and the table; nothing where none ever was."""
    contrasts, known = model.matrix.contrasts, declarations(model.folder)
    if not contrasts and not known:
        return
    yield Paragraph(" ".join(_history(contrast_texts(contrasts), known)))
    if not contrasts:
        return
    found = declared_contrasts(model.blocks, contrasts)
    if not found:
        yield Paragraph("No primary metric has items enough to test them on.", "open")
        return
    yield Paragraph(
        f"They are the tested family of this report: {bands.counted(len(found), 'test')}, every declared contrast on "
        "every primary metric, paired over items and seeds. p is corrected over all of them (step-down max-t, 5 % "
        "family-wise), and the intervals hold all together with 95 %. Every other comparison in this report is "
        "exploratory: its tests hold their own families' error rates and were not declared."
    )
    yield Table(COLUMNS, tuple(_row(one, len(model.blocks) > 1) for one in found))


def _history(said: Sequence[str], known: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not known or known[-1]["contrasts"] != list(said):
        yield "When these contrasts were declared is not recorded: they may have been chosen after the results."
        return
    last = known[-1]
    when = _when(last)
    yield f"Declared {when}: {text.listed(list(said)) or 'no contrast'} (digest {contrasts_digest(said)})."
    for earlier, later in itertools.pairwise(known):
        if later["scored"]:
            yield (
                f"The declaration was changed {_when(later)}; until then it was: "
                f"{text.listed(list(earlier['contrasts'])) or 'no contrast'}."
            )


def declared_when(model: ReportModel) -> str:
    """When the experiment's contrasts were declared, in words that a reader can trust."""
    known = declarations(model.folder)
    if not known or known[-1]["contrasts"] != contrast_texts(model.matrix.contrasts):
        return "at a time that is not recorded"
    return _when(known[-1])


def _when(entry: Mapping[str, Any]) -> str:
    if not entry["scored"]:
        return "before the first cell was scored"
    return f"after {entry['scored']} of {bands.counted(entry['cells'], 'cell')} had been scored"


COLUMNS = (
    *text_columns("contrast", "metric"), Column("difference", "95 % intervals, together"), Column("p", "max-t"),
    *text_columns("finding"),
)  # fmt: skip


def _row(one: DeclaredContrast, several: bool) -> tuple[TableCell, ...]:
    percent = one.measured.percent
    known = one.estimate.value is not None
    effect = estimate_cell(one.estimate, percent, signed=True) if known else blank_cell(one.estimate.reason)
    mood = {"better": "good", "worse": "bad"}.get(one.finding, "open")
    return (
        TableCell(f"{one.first} − {one.second}"),
        TableCell(in_plain(one.measured.metric.title), small=one.block.title if several else ""),
        effect,
        TableCell(tabular.p_value(one.adjusted)),
        TableCell(one.finding, small=one.estimate.reason, mood=mood),  # type: ignore[arg-type]
    )
