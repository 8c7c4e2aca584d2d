"""A table of the report as LaTeX for a paper, in the manner of booktabs; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from harness.report.render import text
from harness.report.render.tabular import Table, TableCell

# brackets and stars would be read as options of the row's end before them; a hyphen may be half of a dash
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "`": r"\textasciigrave{}", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}",
    "−": "$-$", "–": "--", "†": r"\dag{}", "‡": r"\ddag{}", "§": r"\S{}", "≥": r"$\geq$", "≤": r"$\leq$",
    "Δ": r"$\Delta$", "×": r"$\times$", "…": r"\dots{}",
}  # fmt: skip


def escape_latex(given: str) -> str:
    """Text that LaTeX sets as it is: no command, no alignment, no comment, one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in text.one_line(given, 4000))


def to_latex(table: Table, label: str) -> str:
    """A `table` environment with the caption; `label` is for \\ref and must be a plain word.

    A cell's interval and rank are in small print below its value. Cells coloured in the report are bold.
    """
    return "\n".join(_lines(table, label)) + "\n"


def _lines(table: Table, label: str) -> Iterator[str]:
    yield r"% needs \usepackage{booktabs}"
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{escape_latex(table.caption)}}}"
    yield rf"\label{{{label}}}"
    yield rf"\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in table.columns)}}}"
    yield r"\toprule"
    yield _row([escape_latex(column.head) for column in table.columns])
    yield _row([_small(column.unit) for column in table.columns])
    yield r"\midrule"
    for row in table.rows:
        yield _row([_shown(cell) for cell in row])
        for lines in zip(*(_beneath(cell) for cell in row), strict=True):
            if any(lines):
                yield _row(list(lines))
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _shown(cell: TableCell) -> str:
    shown = escape_latex(cell.text)
    return rf"\textbf{{{shown}}}" if cell.mood in ("good", "bad") and shown else shown


def _beneath(cell: TableCell) -> tuple[str, str]:
    return _small(cell.detail), _small(cell.small)


def _small(given: str) -> str:
    return rf"{{\scriptsize {escape_latex(given)}}}" if given else ""
