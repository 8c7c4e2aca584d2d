"""Quality against knowledge kept, as a picture for each quality metric."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.collect import Block
from harness.report.findings.drawn_intervals import interval_words
from harness.report.findings.trades import trades_of
from harness.report.numbers.comparisons import Kept, Result
from harness.report.numbers.matrix import Matrix
from harness.report.render import tabular, text
from harness.report.render.axes import Point, draw
from harness.report.render.bands import axis_title
from harness.report.render.document import Paragraph, Part, Picture
from harness.report.render.front_picture import draw_front
from harness.stats.intervals import Estimate

MOST_PICTURES = 6


def tradeoff_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    if matrix.baseline is not None:
        fronts = trades_of(block, matrix)[:MOST_PICTURES] if block.of_role("knowledge") else ()
        yield from (Picture(*draw_front(one)) for one in fronts)
        if fronts:
            yield Paragraph(
                "Changes against the baseline: higher is better quality, further right keeps more knowledge. A mark "
                "shows means, its colour and shape how sure the answer about the method is; the line of a candidate is "
                f"the {interval_words(block)}, on which that rests. The shaded zone is a loss within the margin, in "
                "points; the dashed line joins the methods that no other beats in both means."
            )
        return
    across = f"knowledge kept, % of {matrix.baseline}" if matrix.baseline else "knowledge score"
    start = block.kept.get(str(matrix.baseline))
    margin = None
    if start is not None and start.score.value and matrix.margin > 0:
        margin = 100 * (1 - matrix.margin / start.score.value)
    for result in block.of_role("quality")[:MOST_PICTURES]:
        points = points_of(block, result, matrix)
        if not points:
            continue
        up = axis_title(result.metric, result.percent)
        drawn = draw(points, text.one_line(across, 60), up, margin)
        places = "; ".join(f"{p.label}: {p.y:.1f} at {p.x:.1f}" for p in points)
        yield Picture(drawn, f"{up} against {across}: {places}.")
    if margin is not None:
        yield Paragraph(
            "Higher is better quality, further right keeps more knowledge; lines are pointwise 95 % intervals "
            "(horizontal: of the paired difference from the baseline). The dashed line is the margin: "
            f"{tabular.points(matrix.margin, start.percent if start else True)} below the baseline."
        )


def points_of(block: Block, result: Result, matrix: Matrix) -> list[Point]:
    """Methods that have both a quality score and knowledge."""
    found = []
    for method in block.methods:
        score, kept = result.scores.get(method.label), block.kept.get(method.label)
        if score is None or score.estimate.value is None or kept is None:
            continue
        place = _knowledge(kept, method.label == matrix.baseline, matrix.baseline is not None)
        if place is None:
            continue
        factor = 100 if result.percent else 1
        up = scaled_interval(score.estimate, factor)
        is_baseline = method.label == matrix.baseline
        found.append(Point(method.label, place[0], score.estimate.value * factor, place[1], up, is_baseline))
    return found


def _knowledge(kept: Kept, is_baseline: bool, has_baseline: bool) -> tuple[float, tuple[float, float] | None] | None:
    """Per cent of the baseline's knowledge; the score itself without a baseline."""
    if is_baseline:
        return 100.0, None
    if not has_baseline:
        factor = 100 if kept.percent else 1
        if kept.score.value is None:
            return None
        return kept.score.value * factor, scaled_interval(kept.score, factor)
    if kept.share is None:
        return None
    if kept.share_low is None or kept.share_high is None:
        return 100 * kept.share, None
    return 100 * kept.share, (100 * kept.share_low, 100 * kept.share_high)


def scaled_interval(estimate: Estimate, factor: float) -> tuple[float, float] | None:
    """The interval in an axis's units; None where there is none."""
    if estimate.low is None or estimate.high is None:
        return None
    return estimate.low * factor, estimate.high * factor
