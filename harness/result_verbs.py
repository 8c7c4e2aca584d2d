"""What verify, compare and export do with results folders. None of them writes into a folder that it only reads."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console

from harness.report.text import one_line
from harness.verify import verify


def verify_verb(folder: Path) -> int:
    """Print every check of a results folder; 1 where something is not as it was written, otherwise 0."""
    console = Console(soft_wrap=True)
    counted: Counter[str] = Counter()
    for check in verify(folder):
        counted[check.word] += 1
        _say(console, f"{check.word:10} {one_line(check.file)}: {one_line(check.said, 400)}")
    total = ", ".join(f"{counted[word]} {word}" for word in ("ok", "NOT ok", "unchecked") if counted[word])
    _say(console, f"\n{folder}: {total}. Nothing was written.")
    if counted["NOT ok"]:
        _say(console, "Next: take the named files from where they come from again, or run the experiment again.")
        return 1
    _say(console, f"Next: bakeoff compare {folder} METHOD METHOD, or bakeoff export {folder}")
    return 0


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)
