"""Where the verbs print: a terminal, or COLUMNS, has a width to keep to; a pipe has none, and gets whole lines."""

from __future__ import annotations

from functools import partial

from rich.console import Console

from harness.engine.progress import has_width, print_line


def line_console() -> Console:
    """For lines, which `print_line` folds where there is a width."""
    return Console(soft_wrap=True)


def printer() -> partial[None]:
    """A function that prints a line."""
    return partial(print_line, line_console())


def known_width() -> int | None:
    """The width to keep to; None where there is none."""
    console = line_console()
    return console.width if has_width(console) else None


def wide_console(width: int = 160) -> Console:
    """For tables, which a file or a pipe without a width of its own shows at this one."""
    console = Console()
    return console if has_width(console) else Console(width=width)
