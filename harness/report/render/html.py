"""The document as one HTML file that requests nothing from elsewhere: jinja2 escapes every text of it.

The sample browser filters its prompts without a script, by style rules on the checked buttons and options, because
the report's content policy allows no script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.report.render import text
from harness.report.render.document import (
    SURE_WORDS,
    Answer,
    Bullets,
    Document,
    Drawn,
    Part,
    Picture,
    Section,
    ShownItem,
    Tucked,
)
from harness.report.render.front_picture import mark_of
from harness.report.render.markdown import MOST_COMPLETIONS, mark
from harness.report.render.saved_figure import figure_name, saved_figure
from harness.report.render.tabular import Column, Table, TableCell

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent
LINES_OPEN = 44  # of one section
OPEN = 3  # sections that are unfolded at first view
MOST_WORDS = 500  # comparing longer answers takes longer than reading them
LEAST_ALIKE = 0.3  # below it almost everything differs, and marks would say nothing
GLOSSARY = {
    r"rank (?:interval|\d+–\d+)": "the ranks that the corrected tests allow: the best and the worst it may have",
    r"margin": "the loss of knowledge that the experiment declares as still kept",
    r"Holm": "a correction for several tests: the smallest p is multiplied by their number, the next by one less, ...",
    r"gap closed": "how much of the way from the baseline to the reference a method goes: 0 % none, 100 % all of it",
    r"not established": "neither better nor worse is shown, which does not mean equal",
}
"""Terms (as patterns) with their meaning; the first use of each is explained where a reader points or tabs to it."""

BOX_LINES, BOX_LETTERS = 14, 36  # of an answer's box: lines at full height, letters across on a phone
WIDE_TABLE, NARROW_TABLE = 130, 36  # characters across; wider tables scroll on a screen of 1440 pixels, and of 390
CARD_LINES = 60  # of small print, about two screens of a phone
PRINTED_COLUMNS = 13
CHANGES = {"gained": "baseline wrong, another right", "lost": "baseline right, another wrong"}


def to_html(document: Document) -> str:
    """The whole report. Data is never template source, so '{{' in it is text; only SVG is marked safe."""
    environment = page_environment()
    tree, anchors = nested(document), dict(zip((s.title for s in document.sections), document.anchors, strict=True))
    for section, anchor in zip(reversed(document.sections), reversed(document.anchors), strict=True):
        anchors[section.title] = anchor  # of equal titles, the first
    template = environment.get_template("report.html.j2")
    # what cannot be written as UTF-8 (a lone surrogate out of a JSON file) was named by `clean`, or is here
    return (
        template.render(document=document, tree=tree, anchors=anchors)
        .encode("utf-8", "backslashreplace")
        .decode("utf-8")
    )


@dataclass
class SectionNode:
    """A section on the page with those inside it; `number` makes names of its buttons unique."""

    section: Section
    anchor: str
    number: int
    open: bool
    inner: list[SectionNode]


def nested(document: Document) -> list[SectionNode]:
    """The sections as a tree, by their levels; the first few that have content are unfolded."""
    found: list[SectionNode] = []
    left = OPEN
    for number, (section, anchor) in enumerate(zip(document.sections, document.anchors, strict=True), start=1):
        shown = left > 0
        left -= bool(section.parts)
        section = replace(section, parts=bounded(section.parts))
        one = SectionNode(section, anchor, number, shown, [])
        (found[-1].inner if section.level > 2 and found else found).append(one)
    return found


def bounded(parts: Sequence[Part]) -> tuple[Part, ...]:
    """The parts of a section; the page folds those that follow after about two screens."""
    lines = 0
    for at, part in enumerate(parts):
        lines += height_of(part)
        if lines > LINES_OPEN and at and len(parts) - at > 1:
            return (*parts[:at], Tucked(f"{len(parts) - at} more tables, pictures and remarks", tuple(parts[at:])))
    return tuple(parts)


def height_of(part: Part) -> int:
    """About how many lines of a table a part is as high as."""
    if isinstance(part, Table):
        return round(sum(map(_lines_of, part.rows))) + 2
    if isinstance(part, Bullets):
        return sum(1 + len(said) for _, said in part.items)
    return 8 if isinstance(part, Picture | Drawn) else 1


def _lines_of(row: Sequence[TableCell]) -> float:
    """The height of a row; lines in small print are lower."""
    return max((1 + 0.6 * (bool(cell.detail) + bool(cell.small)) for cell in row), default=1)


def page_environment() -> jinja2.Environment:
    """The templates with what they may call; every text is escaped, and only SVG is marked safe."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["prose"] = lambda value: text.one_line(value, text.LONGEST_PROSE)
    environment.filters["explained"] = Explained()
    environment.filters["shorten"] = lambda value: text.cut(text.clean(value))
    environment.filters["line"] = text.one_line
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["drawn"] = lambda svg: Markup(svg)  # made by axes.py and its like, which escape
    environment.globals.update(figure_id=FigureNames(), figure_name=figure_name, saved_figure=saved_figure)
    functions = (
        mark,
        benchmarks_of,
        changes_of,
        kinds_of,
        compared_text,
        marked_texts,
        is_wide,
        is_tall,
        is_card,
        is_many,
        under,
        methods_shown,
    )
    environment.globals.update({function.__name__: function for function in functions})
    environment.globals.update(
        most_completions=MOST_COMPLETIONS, changes_in_words=CHANGES, most_filters=64, narrow_table=NARROW_TABLE
    )
    environment.globals.update(mark_of=mark_of, sure_words=SURE_WORDS)
    return environment


class Explained:
    """A filter for one page: prose whose terms have a tooltip where they are used for the first time."""

    def __init__(self) -> None:
        self.left = dict(GLOSSARY)

    def __call__(self, value: str) -> Markup:
        from markupsafe import Markup, escape

        shown = str(escape(text.one_line(value, text.LONGEST_PROSE)))
        for pattern, meaning in list(self.left.items()):
            found = re.search(rf"(?<![\w&;])(?:{pattern})(?!\w)", shown, re.IGNORECASE)
            if found is not None and "<abbr" not in shown:
                term = f'<abbr tabindex="0" title="{escape(meaning)}">{found.group()}</abbr>'
                shown = shown[: found.start()] + term + shown[found.end() :]
                del self.left[pattern]
        return Markup(shown)


class FigureNames:
    """A name for each picture of one page, by which it is cited; of equal labels, the second ends in 2."""

    def __init__(self) -> None:
        self.used: set[str] = set()

    def __call__(self, svg: str) -> str:
        name = "f-" + figure_name(svg).removesuffix(".svg")
        found = next(one for one in chain([name], (f"{name}-{at}" for at in count(2))) if one not in self.used)
        self.used.add(found)
        return found


def is_tall(shown: str) -> bool:
    """Whether a text is about as high as to scroll in its box on a phone, so that the box is limited and a tab stop."""
    return sum(max(1, -(-len(line) // BOX_LETTERS)) for line in shown.split("\n")) > BOX_LINES


def is_wide(table: Table, least: int = WIDE_TABLE) -> bool:
    """Whether a table is about as wide as to scroll on a desktop (`least` characters), so that it is a tab stop."""
    lines: list[list[tuple[str, ...]]] = [[(column.head, column.unit) for column in table.columns]]
    lines += [[(cell.text, cell.detail, cell.small) for cell in row] for row in table.rows]
    widths = [0] * len(table.columns)
    for line in lines:
        for at, parts in enumerate(line):
            whole = 30 if table.columns[at].left else 40  # longer texts are folded
            widths[at] = max(widths[at], *(min(len(part), whole) for part in parts))
    return sum(wide + 3 for wide in widths) > least


def is_card(table: Table) -> bool:
    """Whether a phone shows a row as a card of its cells: of a table wider than a phone that is not too high then.

    Of larger tables a phone moves the columns behind the names of the methods, so that a column can be compared.
    """
    lines = len(table.rows) * (1 + -(-(len(table.columns) - 1) // 2) * 2)
    return is_wide(table, NARROW_TABLE) and lines <= CARD_LINES


def is_many(table: Table) -> bool:
    """Whether a table has so many columns that it is printed on a sheet of its own, turned sideways."""
    return len(table.columns) > PRINTED_COLUMNS


def under(column: Column) -> str:
    """A column's head and unit, for a card that has no row of heads."""
    return text.one_line(f"{column.head}, {column.unit}" if column.unit else column.head, 60)


class MarkedText(NamedTuple):
    """A piece of an answer; `own`: the other answer does not have it."""

    text: str
    own: bool


def benchmarks_of(examples: Sequence[ShownItem]) -> list[str]:
    """The benchmarks to choose from, in their order."""
    return list(dict.fromkeys(example.benchmark for example in examples))


def methods_shown(examples: Sequence[ShownItem]) -> list[str]:
    """The methods to choose from, in their order."""
    return list(dict.fromkeys(answer.method for example in examples for answer in example.answers))


def changes_of(examples: Sequence[ShownItem], baseline: str | None) -> list[str]:
    """The kinds of change that occur, in the order of CHANGES."""
    return [kind for kind in CHANGES if any(kind in kinds_of(example, baseline) for example in examples)]


def kinds_of(example: ShownItem, baseline: str | None) -> list[str]:
    """Whether another method gains or loses the item against the baseline."""
    start = next((answer.correct for answer in example.answers if answer.method == baseline), None)
    if start is None:
        return []
    others = {answer.correct for answer in example.answers if answer.method != baseline}
    return [kind for kind, was in (("gained", False), ("lost", True)) if start is was and (not was) in others]


def compared_text(example: ShownItem, answer: Answer, baseline: str | None) -> str | None:
    """The text that an answer is compared with: the baseline's first; None for the baseline's own."""
    if answer.method == baseline:
        return None
    start = next((one for one in example.answers if one.method == baseline and one.completions), None)
    return start.completions[0] if start else None


def marked_texts(own: str, other: str | None) -> list[MarkedText]:
    """`own` in pieces, those words marked that `other` does not have; one unmarked piece where marks would not help."""
    if other is None or own == other:
        return [MarkedText(own, False)]
    first, second = (re.findall(r"\w+\s*|[^\w\s]\s*|\s+", text) for text in (other, own))
    if max(len(first), len(second)) > MOST_WORDS:
        return [MarkedText(own, False)]
    bare = [[word.strip() for word in words] for words in (first, second)]
    matcher = SequenceMatcher(None, bare[0], bare[1], autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return [MarkedText(own, False)]
    pieces = [(second[low:high], kind != "equal") for kind, _, _, low, high in matcher.get_opcodes() if high > low]
    return [MarkedText("".join(words), new) for words, new in pieces]
