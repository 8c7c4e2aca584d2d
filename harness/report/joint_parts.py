"""Policies beside one another: heat maps, means by kind of pair, diversity beside quality, answers to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.report import text
from harness.report.document import Cell, Column, Folded, Paragraph, Part, Picture, Readings, Table
from harness.report.heat_map import draw_heat_map
from harness.report.joint import Joint, Place
from harness.report.matrix import Matrix, MetricInfo
from harness.report.model import Block, Result
from harness.report.picture import Point, draw
from harness.statistics import Estimate

MOST_LEFT_OUT = 12


def joint_parts(joint: Joint, blocks: Sequence[Block], matrix: Matrix) -> Iterator[Part]:
    """Everything about one benchmark's policies together."""
    if joint.state != "done":
        yield Paragraph(f"{joint.benchmark} between policies: {joint.state}{f', {joint.why}' if joint.why else ''}.")
    if joint.places:
        yield Paragraph(_legend(joint))
        yield _table(joint)
        yield from _maps(joint)
    yield from _beside_quality(joint, [block for block in blocks if block.data == joint.data], matrix)
    if joint.readings:
        yield Paragraph(
            "The prompts on which all methods of a base are most and least alike, at its first seed: of each the two "
            "answers of different methods that are most alike, and the two that are most different."
        )
        yield Readings(joint.readings)
    if joint.left_out:
        rows = [(Cell(who), Cell(text.one_line(why, 200))) for who, why in joint.left_out]
        yield Folded("Who meets nobody, or not each other", Table(
            (Column("who", left=True), Column("why", left=True)), tuple(rows)
        ))  # fmt: skip


def _legend(joint: Joint) -> str:
    said = ["Means over meetings, items and seeds, with pointwise 95 % intervals; nothing here is tested."]
    if any(meeting.policies == 2 and "seeds" in meeting.who for meeting in joint.meetings):
        said.append(
            "A model and its twin, trained alike with another seed, are the measure of all others. Twins share seeds "
            "with one another: their interval is of items only, for these runs."
        )
    said.append(f"{text.BLANK} could not be computed; it is not zero.")
    return " ".join(said)


def _table(joint: Joint) -> Table:
    known = [m for m in joint.metrics if any(m.name in meeting.scores for meeting in joint.meetings)]
    columns = [Column("who meets", left=True), Column("policies")]
    columns += [Column(m.name, note=m.description) for m in known]
    rows = []
    for meeting in joint.meetings:
        cells = [_cell(meeting.scores.get(metric.name)) for metric in known]
        rows.append((Cell(meeting.who), Cell(str(meeting.policies)), *cells))
    return Table(tuple(columns), tuple(rows), caption=f"{joint.benchmark}: policies with one another")


def _cell(estimate: Estimate | None) -> Cell:
    if estimate is None or estimate.value is None:
        return Cell(text.BLANK, mood="blank", note="" if estimate is None else estimate.reason)
    shown, small = text.score(estimate.value, False), "items only" if estimate.items_only else ""
    return Cell(shown, text.interval(estimate.low, estimate.high, False), small=small)


def _maps(joint: Joint) -> Iterator[Part]:
    """By base and then by method; with several bases also by method and then by base."""
    orders = {"by base": sorted(joint.places, key=lambda place: _rank(joint, place, 0))}
    if len({base for base, _ in joint.places}) > 1:
        orders["by method"] = sorted(joint.places, key=lambda place: _rank(joint, place, 1))
    for metric in joint.metrics:
        for name, places in orders.items():
            yield from _map(joint, metric, name, places)


def _rank(joint: Joint, place: Place, first: int) -> tuple[int, int]:
    """The place's number among bases and among methods, the one that groups first."""
    bases = list(dict.fromkeys(base for base, _ in joint.places))
    methods = list(dict.fromkeys(method for _, method in joint.places))
    numbers = (bases.index(place[0]), methods.index(place[1]))
    return numbers[first], numbers[1 - first]


def _map(joint: Joint, metric: MetricInfo, order: str, places: Sequence[Place]) -> Iterator[Picture]:
    found = (joint.maps or {}).get(metric.name)
    if not found:
        return
    several = len({base for base, _ in places}) > 1
    names = [f"{method}, {base}" if several else method for base, method in places]
    at = {place: number for number, place in enumerate(places)}
    values = {(at[one], at[other]): value for (one, other), value in found.items()}
    grouped = 0 if order == "by base" else 1
    breaks = [n for n in range(1, len(places)) if places[n][grouped] != places[n - 1][grouped]] if several else []
    title = f"{joint.benchmark}: {metric.name} between policies, {order}"
    yield Picture(draw_heat_map(names, values, title, breaks), f"{title}. {_words(names, values)}")


def _words(names: Sequence[str], values: dict[tuple[int, int], float]) -> str:
    """The highest and the lowest pairs, and the twins."""
    pairs = sorted(((v, a, b) for (a, b), v in values.items() if a < b), key=lambda one: (-one[0], one[1:]))
    twins = sorted((a, v) for (a, b), v in values.items() if a == b)
    said = []
    for lead, some in (("Highest", pairs[:3]), ("lowest", pairs[-3:])):
        said.append(f"{lead}: " + "; ".join(f"{names[a]} with {names[b]} {v:.3f}" for v, a, b in some))
    if twins:
        said.append("twins (the diagonal): " + "; ".join(f"{names[a]} {v:.3f}" for a, v in twins))
    return ". ".join(said) + "."


def _beside_quality(joint: Joint, blocks: Sequence[Block], matrix: Matrix) -> Iterator[Part]:
    """Each block's first quality metric against what the benchmark says of a method alone, where less is better."""
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
        sides = [_scaled(score.estimate, factor) for score, factor in zip((one, other), factors, strict=True)]
        found.append(Point(method.label, x, y, sides[0], sides[1], method.label == matrix.baseline))
    return found


def _scaled(estimate: Estimate, factor: float) -> tuple[float, float] | None:
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low * factor, estimate.high * factor


def _axis(result: Result) -> str:
    return text.one_line(f"{result.metric.title}{text.unit(result.metric.unit, result.percent)}", 60)
