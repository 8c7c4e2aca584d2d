"""The claims in a table: what the literature says, and what these rows say to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from harness.report import text
from harness.report.document import Cell, Column, Folded, Mood, Paragraph, Part, Table
from harness.report.findings import Claimed, Verdict
from harness.report.model import ReportModel

MOODS: dict[Verdict, Mood] = {"supported": "good", "contradicted": "bad", "undecided": "open", "not testable": "blank"}


def claim_parts(model: ReportModel) -> Iterator[Part]:
    """The claims that these rows can speak to, then those that they cannot."""
    tried = [claim for claim in model.claims if claim.verdict != "not testable"]
    counted = Counter(claim.verdict for claim in model.claims)
    said = [f"{counted[verdict]} {verdict}" for verdict in MOODS if counted[verdict]]
    if said:
        yield Paragraph(f"Claims of the literature, tried on these rows: {text.listed(said)}.")
    if tried:
        yield Paragraph(
            f"Supported or contradicted: after Holm's correction over the {len(tried)} claims tried (5 % family-wise). "
            "Intervals are pointwise 95 %. A contradiction holds for this rig; it does not refute the source.",
            "open",
        )
        yield Table(_columns(), tuple(_row(claim) for claim in tried))
    rest = [claim for claim in model.claims if claim.verdict == "not testable"]
    if rest:
        head = tuple(Column(word, left=True) for word in ("claim", "what it says", "missing here"))
        rows = tuple((Cell(c.name, note=c.source), Cell(c.statement, small=c.source), Cell(c.missing)) for c in rest)
        yield Folded(f"{len(rest)} that this experiment cannot test", Table(head, rows))


def _columns() -> tuple[Column, ...]:
    return (
        Column("claim", left=True),
        Column("what it says", left=True),
        Column("verdict", left=True),
        Column("effect", "pointwise 95 % interval"),
        Column("expected", ""),
        Column("p", "Holm"),
        Column("tested as", left=True),
    )


def _row(claim: Claimed) -> tuple[Cell, ...]:
    found = claim.estimate
    effect = Cell(text.BLANK, mood="blank")
    if found is not None and found.value is not None:
        shown = text.interval(found.low, found.high, claim.percent, "+") or text.BLANK
        effect = Cell(text.signed(found.value, claim.percent), shown, "points" if claim.percent else "")
    return (
        Cell(claim.name, note=claim.source),
        Cell(claim.statement, small=claim.source),
        Cell(claim.verdict, small=text.one_line(claim.missing, 80), mood=MOODS[claim.verdict]),
        effect,
        Cell(claim.bound),
        Cell(text.p_value(claim.p)),
        Cell(claim.contrast, small=claim.where),
    )
