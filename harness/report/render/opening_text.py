"""The first screen as lines of text for a terminal of a given width; no word of it is broken."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from textwrap import wrap

from harness.report.render import text
from harness.report.render.document import SURE_WORDS, Candidate, Opening, Strip

NARROW = 80
GAP = 2
LONGEST_METHOD = 24


def opening_lines(opening: Opening, width: int = NARROW) -> Iterator[str]:
    """The sentence, what would decide it, warnings, and a line for each candidate, or for each setting."""
    yield from folded_lines(" ".join(opening.answer), width)
    if len(opening.strips) == 1 and opening.strips[0].decide:
        yield from folded_lines(f"To decide it: {opening.strips[0].decide}", width)
    warnings = [badge.text for badge in opening.badges if badge.warns]
    if warnings:
        yield from folded_lines(f"Mind: {'; '.join(warnings)}.", width)
    if len(opening.strips) == 1 and opening.strips[0].candidates:
        yield ""
        yield from _candidates(opening.strips[0], width)
        yield from _notes(opening.strips[0], width)
        yield from _below(opening.strips[0], width)
    elif len(opening.strips) > 1:
        yield ""
        for strip in opening.strips:
            yield from folded_lines(f"{strip.title}: {' '.join(strip.answer)}", width, "  ")


def folded_lines(said: str, width: int, indent: str = "") -> list[str]:
    """A sentence on lines of that width, broken between words; those after the first are indented."""
    return wrap(
        text.one_line(said, text.LONGEST_PROSE), width, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _candidates(strip: Strip, width: int) -> Iterator[str]:
    """As many columns as there is room for: knowledge, the first gain, cost, then the other gains."""
    gains = [at for at, axis in enumerate(strip.axes) if not axis.knowledge]
    knowledge = [at for at, axis in enumerate(strip.axes) if axis.knowledge]
    methods = [text.one_line(one.method, LONGEST_METHOD) for one in strip.candidates]
    columns: list[tuple[str, list[str]]] = [
        ("method", methods),
        ("how sure", [SURE_WORDS[one.sure] for one in strip.candidates]),
    ]
    wanted = [*(_column_of(strip, at) for at in [*gains[:1], *knowledge])]
    wanted.append(("train", [one.train[0] for one in strip.candidates]))
    wanted.append(("run", [one.run for one in strip.candidates]))
    gap = GAP if _wide([*columns, *wanted], GAP) <= width else 1
    for column in [*wanted, *(_column_of(strip, at) for at in gains[1:])]:
        if _wide([*columns, column], gap) <= width:
            columns.append(column)
    yield from _rows(columns, gap)


def _notes(strip: Strip, width: int) -> Iterator[str]:
    """'Shown worse on knowledge: sft and proxy.': the notes on candidates, with those that they are about."""
    found: dict[str, list[str]] = {}
    for one in strip.candidates:
        note = f"{SURE_WORDS[one.sure]} {one.note}" if one.note.startswith("on ") else one.note
        if note:
            found.setdefault(note, []).append(text.one_line(one.method, LONGEST_METHOD))
    for note, methods in found.items():
        yield from folded_lines(f"{note[:1].upper()}{note[1:]}: {text.listed(methods)}.", width, "  ")


def _below(strip: Strip, width: int) -> Iterator[str]:
    """The meaning of the brackets, and the methods without a line."""
    if any(cell.band for one in strip.candidates for cell in one.cells):
        yield from folded_lines(f"In brackets: {strip.interval}.", width, "  ")
    if strip.left_out:
        yield from folded_lines(f"Not in this table: {strip.left_out}.", width, "  ")


def _column_of(strip: Strip, at: int) -> tuple[str, list[str]]:
    return strip.axes[at].head, [_cell_text(one, at) for one in strip.candidates]


def _cell_text(one: Candidate, at: int) -> str:
    cell = one.cells[at]
    return f"{cell.text} ({cell.detail})" if cell.band else cell.text


def _wide(columns: Sequence[tuple[str, list[str]]], gap: int) -> int:
    return sum(_width(column) for column in columns) + gap * (len(columns) - 1)


def _width(column: tuple[str, list[str]]) -> int:
    """A head of several words takes several lines."""
    head, cells = column
    return max(len(word) for word in [*head.split(), *cells])


def _rows(columns: Sequence[tuple[str, list[str]]], gap: int) -> Iterator[str]:
    widths = [_width(column) for column in columns]
    heads = [wrap(head, width, break_long_words=False) for (head, _), width in zip(columns, widths, strict=True)]
    for line in range(max(len(head) for head in heads)):
        shown = [head[line] if line < len(head) else "" for head in heads]
        yield _row(shown, widths, gap)
    for line in range(len(columns[0][1])):
        yield _row([cells[line] for _, cells in columns], widths, gap)


def _row(cells: Sequence[str], widths: Sequence[int], gap: int) -> str:
    return (" " * gap).join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def sentence_in(markdown: str) -> str:
    """The answer that a report.md opens with, as plain text; "" where there is none."""
    blocks = markdown.split("\n\n", 3)
    if len(blocks) < 3 or not blocks[2].startswith("**"):
        return ""
    return html.unescape(re.sub(r"\\(.)", r"\1", blocks[2].replace("**", "")))
