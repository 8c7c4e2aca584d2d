"""The README's two tables of plugins, written from the plugins' docstrings.

    .venv/bin/python docs/tables.py          (or `make tables`)

They are between `<!-- tables -->` and `<!-- /tables -->`. tests/test_docs.py asserts that the README holds them as this
file writes them.
"""

from __future__ import annotations

from pathlib import Path

from harness.engine import registry

README = Path(__file__).parents[1] / "README.md"
COLUMNS = 3
NEEDS = ("demonstrations", "preferences", "problems", "judged", "small_base")


def table(kind: registry.Kind) -> str:
    """Plugins in columns, read downwards: each with the first line of its docstring and, of a method, what it needs."""
    names = sorted(path.stem for path in registry.plugin_folder(kind).glob("[!_]*.py"))
    rows = -(-len(names) // COLUMNS)
    names += [""] * (rows * COLUMNS - len(names))
    lines = [f"| {' | '.join(_cell(kind, name) for name in names[row::rows])} |" for row in range(rows)]
    return "\n".join([f"| {kind} |{' |' * (COLUMNS - 1)}", "|---" * COLUMNS + "|", *lines])


def _cell(kind: registry.Kind, name: str) -> str:
    if not name:
        return ""
    needs = registry.plugin_class(kind, name).needs if kind == "methods" else ()
    said = ", ".join(need.replace("_", " ") for need in NEEDS if need in needs)
    summary = registry.summary(kind, name).replace("|", "\\|")
    return f"`{name}`: {summary}{f' *Needs {said}.*' if said else ''}"


def with_tables(text: str) -> str:
    """The README's text with both tables written again. Raises ValueError where the markers are missing."""
    before, opened, rest = text.partition("<!-- tables -->\n")
    _, closed, after = rest.partition("<!-- /tables -->\n")
    if not (opened and closed):
        raise ValueError(f"{README} lacks <!-- tables --> or <!-- /tables -->")
    return before + opened + "\n".join([table("methods"), "", table("benchmarks"), closed]) + after


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
