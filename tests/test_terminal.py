"""The terminal at 80 and 120 columns: no line is too long, no word is broken, and the answer is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import bakeoff
from rich.console import Console
from test_report import Fake, pages

from harness.report.collect import collect
from harness.report.compare import pairing_table, two_methods
from harness.report.findings.first_screen import opening_of
from harness.report.render.document import BandAxis, BandCell, Candidate, Opening, Strip
from harness.report.render.opening_text import opening_lines, sentence_in

AXES = (BandAxis("instruction following", "points"), BandAxis("knowledge", "points", knowledge=True))
GAIN, KEPT = BandCell("+95", "+84 to +100", (0.8, 0.9, 1.0)), BandCell("−0.7", "−2.5 to +1.0", (0.2, 0.4, 0.6))
STRIP = Strip(
    "", ("", ""), "about 560 items (now 140).", (("undecided", 1),), AXES,
    (Candidate("pyreft", "undecided", (GAIN, KEPT), ("2 min", "1 % trained"), "× 1.1"),), "", (), "", "",
)  # fmt: skip
OPENING = Opening(("No clear winner yet:", "closest is pyreft."), (), (STRIP,), ())

AT_80 = """\
No clear winner yet: closest is pyreft.
To decide it: about 560 items (now 140).

method  how sure   instruction        knowledge            train  run
                   following
pyreft  undecided  +95 (+84 to +100)  −0.7 (−2.5 to +1.0)  2 min  × 1.1"""


def test_the_first_screen_at_80_columns_is_this() -> None:
    assert "\n".join(opening_lines(OPENING, 80)) == AT_80


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_the_first_screen_is_wider_and_every_word_is_whole(tmp_path: Path, width: int) -> None:
    found = opening_of(collect(Fake(items=300).write(tmp_path)))
    lines = list(opening_lines(found, width))
    assert max(map(len, lines)) <= width
    assert set(" ".join(found.answer).split()) <= set(" ".join(lines).split())
    assert [line.split()[0] for line in lines[-3:]] == [one.method for one in found.strips[0].candidates]


@pytest.mark.parametrize("width", [80, 120])
def test_a_comparison_has_its_finding_in_whole_words(tmp_path: Path, width: int) -> None:
    folder = Fake(items=60).write(tmp_path)
    console = Console(width=width, record=True, force_terminal=False)
    for pairing in two_methods(folder, "tuned", "harsh"):
        console.print(pairing_table(pairing, width))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    for word in ("tasks:", "accuracy", "difference", "finding", "tuned", "harsh", "better"):
        assert word in text.split() or f"│ {word}" in text or f"{word} │" in text


def test_every_method_has_a_line_in_a_list_that_fits_80_columns() -> None:
    listed = bakeoff("list", "methods").stdout.splitlines()
    assert max(map(len, listed)) <= 80
    assert sum(line.startswith("  sft ") for line in listed) == 1


def test_the_sentence_of_a_written_report_is_read_back(tmp_path: Path) -> None:
    folder = Fake(skills={"plain": (0.3, 0.7), "tuned_*1": (0.8, 0.7)}, reference=None, items=200).write(tmp_path)
    said = " ".join(opening_of(collect(folder)).answer)
    assert sentence_in(pages(folder)[0]) == said
    assert "tuned_*1" in said
