"""The document as Markdown. Pictures stay in the HTML report, since Markdown readers drop inline SVG."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.render import text
from harness.report.render.document import (
    SURE_WORDS,
    Answer,
    Bullets,
    Document,
    Drawn,
    Folded,
    Opening,
    Paragraph,
    Part,
    Picture,
    Prompts,
    Reading,
    Readings,
    Section,
    ShownItem,
    Strip,
    Tucked,
    Verbatim,
)
from harness.report.render.tabular import Column, Table, TableCell
from harness.report.render.text import escape_markdown as safe

IN_TEXT = 8  # prompts shown in Markdown, which has no filter buttons
MOST_COMPLETIONS = 3  # shown of one answer


def to_markdown(document: Document) -> str:
    """The whole report; every text of the document is escaped here."""
    lines = [f"# {safe(document.title)}", "", safe(document.question), ""]
    if document.opening is not None:
        lines += _opening(document.opening)
    for section in document.sections:
        lines += _section(section)
    return "\n".join(lines).rstrip("\n") + "\n"


def _opening(opening: Opening) -> Iterator[str]:
    """The first screen: the answer, what would decide it, warnings, and the candidates of each block."""
    yield f"**{safe(opening.answer[0])}** {safe(opening.answer[1])}"
    yield ""
    several = len(opening.strips) > 1
    if opening.badges:
        said = "; ".join(f"**{safe(one.text)}**" if one.warns else safe(one.text) for one in opening.badges)
        yield f"Before you quote this: {said}."
        yield ""
    for strip in opening.strips:
        if several:
            yield f"- **{safe(strip.title)}**: {safe(strip.answer[0])} {safe(strip.answer[1])}"
        if strip.decide:
            yield f"{'  - ' if several else ''}To decide it: {safe(strip.decide)}"
        if not several:
            yield ""
            if strip.candidates:
                yield from table_lines(candidates_table(strip))
                yield ""
                left_out = f" Not in this table: {strip.left_out}." if strip.left_out else ""
                yield safe(f"{strip.caption}; changes against the baseline, {strip.interval}. {strip.key}{left_out}")
                yield ""
    if several:
        yield ""
    for kind, meaning in opening.legend:
        yield f"- {safe(SURE_WORDS[kind])}: {safe(meaning)}"
    if opening.legend:
        yield ""


def candidates_table(strip: Strip) -> Table:
    """The candidates of a block as a table of text."""
    heads = [Column(axis.head, axis.unit) for axis in strip.axes]
    columns = (Column("method", left=True), *heads, Column("to train"), Column("to run"), Column("how sure", left=True))
    rows = []
    for one in strip.candidates:
        cells = [TableCell(cell.text, f"({cell.detail})" if cell.detail else "") for cell in one.cells]
        train = TableCell(one.train[0], small=one.train[1])
        rows.append(
            (
                TableCell(one.method, small=f"other {one.flag}" if one.flag else ""),
                *cells,
                train,
                TableCell(one.run),
                TableCell(SURE_WORDS[one.sure], small=one.note),
            )
        )
    return Table(columns, tuple(rows))


def _section(section: Section) -> Iterator[str]:
    yield f"{'#' * section.level} {safe(section.title)}"
    yield ""
    for part in (one for one in section.parts if not isinstance(one, Drawn)):
        yield from _part(part)
        yield ""


def _part(part: Part) -> Iterator[str]:
    if isinstance(part, Paragraph):
        yield f"**{safe(part.text)}**" if part.mood in ("good", "warning") else safe(part.text)
    elif isinstance(part, Bullets):
        for about, statements in part.items:
            yield f"- **{safe(about)}**"
            for one in statements:
                yield f"  - {safe(one.finding)}{f': {safe(one.names)}' if one.names else ''}"
    elif isinstance(part, Table):
        yield from table_lines(part)
    elif isinstance(part, Folded):
        yield from table_lines(part.table, part.title)
    elif isinstance(part, Picture):
        yield f"(Drawn in report.html.) {safe(part.alternative)}"
    elif isinstance(part, Tucked):
        inner = [one for one in part.parts if not isinstance(one, Drawn)]
        for at, each in enumerate(inner):
            yield from ([""] if at else [])
            yield from _part(each)
    elif isinstance(part, Verbatim):
        yield f"{safe(part.title)}:"
        yield ""
        yield text.fenced(part.text)
    elif isinstance(part, Prompts):
        for number, example in enumerate(part.examples[:IN_TEXT], start=1):
            yield from _example(number, example)
        if len(part.examples) > IN_TEXT:
            yield f"{len(part.examples) - IN_TEXT} more prompts are in report.html, where they can be filtered."
            yield ""
    elif isinstance(part, Readings):
        for reading in part.readings:
            yield from _reading(reading)


def _reading(reading: Reading) -> Iterator[str]:
    yield f"**{safe(text.one_line(reading.item, 80))}** ({safe(reading.base)})"
    yield ""
    yield text.fenced(text.cut(text.clean(reading.prompt)))
    yield ""
    for title, value, said in reading.excerpts:
        yield f"{safe(title)}, {value:.3f}:"
        yield ""
        for method, answer in said:
            yield f"{safe(method)}:"
            yield ""
            yield text.fenced(text.cut(text.clean(answer)))
            yield ""


def table_lines(table: Table, title: str = "") -> Iterator[str]:
    """A table with its caption above it, or the title where it has none."""
    # a folded table has its title above; its own caption would repeat it
    if title or table.caption:
        yield f"**{safe(table.caption or title)}**"
        yield ""
    heads = [
        f"{safe(column.head)} ({safe(column.unit)})" if column.unit else safe(column.head) for column in table.columns
    ]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'|'.join(':--' if column.left else '--:' for column in table.columns)}|"
    for row in table.rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(cell: TableCell) -> str:
    shown = f"**{safe(cell.text)}**" if cell.best and cell.text else safe(cell.text)
    return " ".join(part for part in (shown, safe(cell.detail), f"({safe(cell.small)})" if cell.small else "") if part)


def _example(number: int, example: ShownItem) -> Iterator[str]:
    group = f", {example.group}" if example.group else ""
    yield f"**{number}. {safe(f'{example.benchmark}{group}, item {text.one_line(example.item, 80)}')}**"
    yield ""
    yield text.fenced(text.cut(text.clean(example.prompt)))
    yield ""
    if example.reference:
        yield f"Reference answer: {safe(text.one_line(example.reference, 300))}"
        yield ""
    for answer in example.answers:
        yield from _answer(answer, example)


def _answer(answer: Answer, example: ShownItem) -> Iterator[str]:
    yield f"{safe(answer.method)}: {safe(mark(answer, example))}"
    yield ""
    for completion in answer.completions[:MOST_COMPLETIONS]:
        yield text.fenced(text.cut(text.clean(completion)))
        yield ""
    left = len(answer.completions) - MOST_COMPLETIONS
    if left > 0:
        yield f"{left} more"
        yield ""


def mark(answer: Answer, example: ShownItem) -> str:
    """Correct or not where the metric is 0 or 1, its value otherwise; and the flags of the item."""
    if answer.value is None:
        said = "not scored"
    elif answer.correct is None:
        said = f"{example.metric} {answer.value:.3g}"
    else:
        said = "✓ correct" if answer.correct else "✗ incorrect"
    return ", ".join([said, *(text.one_line(flag, 40) for flag in answer.flags)])
