"""Methods that train in rounds: what each round drew, kept and trained on, as a curve and a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from harness.report.collect import ReportModel
from harness.report.render import tabular
from harness.report.render.curve_picture import Line, Place, draw_curves
from harness.report.render.document import Paragraph, Part, Picture
from harness.report.render.tabular import Column, Table, TableCell

MEANING = (
    "A round draws answers to the training problems with the model of the round before (the first with its samplers), "
    "keeps those that verify, and trains the base again. So a round's share of samples that verify says how good the "
    "model before it is on the problems that it trains on; it is not a test score, and the last model has none here. "
    "Means over seeds, without intervals."
)


@dataclass(frozen=True)
class Rounds:
    """The rounds of a method on one base and choice of data; seeds -> the figures of each round, in their order."""

    label: str
    seeds: tuple[Sequence[Mapping[str, Any]], ...]

    @property
    def count(self) -> int:
        return min(len(figures) for figures in self.seeds)

    def mean(self, at: int, name: str) -> float | None:
        """Over the seeds; None where one does not have the figure."""
        values = [figures[at].get(name) for figures in self.seeds]
        known = [float(value) for value in values if isinstance(value, (int, float))]
        return fmean(known) if len(known) == len(values) else None

    def share(self, at: int) -> float | None:
        """Percent of a round's samples that verify."""
        drawn, right = self.mean(at, "drawn"), self.mean(at, "verified")
        return 100 * right / drawn if drawn and right is not None else None


def rounds_of(ledger: Sequence[Mapping[str, Any]]) -> list[Rounds]:
    """Every method with more than one round in its notes."""
    found: dict[str, list[Sequence[Mapping[str, Any]]]] = {}
    several = len({entry.get("base") for entry in ledger}) > 1
    for entry in ledger:
        figures = (entry.get("notes") or {}).get("rounds")
        if isinstance(figures, list) and len(figures) > 1 and all(isinstance(one, Mapping) for one in figures):
            data = [str(entry.get(name)) for name in ("data_quality", "data_size") if entry.get(name)]
            place = [str(entry["method"]), *([str(entry.get("base"))] if several else []), *data]
            found.setdefault(", ".join(place), []).append(figures)
    return [Rounds(label, tuple(seeds)) for label, seeds in found.items()]


def rounds_parts(model: ReportModel) -> Iterator[Part]:
    """The meaning, the curve where shares are known, and the table."""
    found = rounds_of(model.ledger)
    if not found:
        return
    yield Paragraph(MEANING)
    if lines := [line for line in map(_line, found) if line.places]:
        ticks = [str(number + 1) for number in range(max(one.count for one in found))]
        up = "samples that verify, %"
        said = "; ".join(
            f"{one.label}: {', '.join(f'{p.up:.1f} in round {p.across}' for p in one.places)}" for one in lines
        )
        yield Picture(draw_curves(lines, ticks, "round", up), f"{up} by round: {said}.")
    names = ("drawn", "verified", "trained_on", "contaminated", "training_tokens")
    heads = ("samples", "that verify", "answers trained on", "dropped as test items", "tokens of training")
    columns = (Column("method", left=True), Column("round"), *(Column(head) for head in heads), Column("loss"))
    rows = [
        (one.label, str(at + 1), *(tabular.count(one.mean(at, name)) for name in names), _loss(one.mean(at, "loss")))
        for one in found
        for at in range(one.count)
    ]
    yield Table(columns, tuple(tuple(TableCell(text) for text in row) for row in rows))


def _line(one: Rounds) -> Line:
    shares = [(at, one.share(at)) for at in range(one.count)]
    return Line(one.label, tuple(Place(str(at + 1), share) for at, share in shares if share is not None))


def _loss(value: float | None) -> str:
    return tabular.BLANK if value is None else f"{value:.3f}"
