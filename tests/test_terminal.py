"""The terminal at 80 and 120 columns: no line is too long, no word is broken, and the answer is there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from command_line import bakeoff
from conftest import ROOT
from rich.cells import cell_len
from rich.console import Console
from test_report import Fake, pages

from harness.engine.showable import counted, folded
from harness.report import compare
from harness.report.collect import collect
from harness.report.compare import Pairing, pairing_table, two_methods
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
pyreft  undecided  +95 (+84 to +100)  −0.7 (−2.5 to +1.0)  2 min  × 1.1
In brackets: 95 % interval."""


def test_the_first_screen_at_80_columns_is_this() -> None:
    assert "\n".join(opening_lines(OPENING, 80)) == AT_80


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_the_first_screen_is_wider_and_every_word_is_whole(tmp_path: Path, width: int) -> None:
    found = opening_of(collect(Fake(items=300).write(tmp_path)))
    lines = list(opening_lines(found, width))
    assert max(map(len, lines)) <= width
    assert set(" ".join(found.answer).split()) <= set(" ".join(lines).split())
    assert [line.split()[0] for line in lines[-5:-2]] == [one.method for one in found.strips[0].candidates]
    assert lines[-2:] == ["Shown worse on facts: harsh.", "In brackets: 95 % interval, corrected for all 6 tests."]


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


# ---- every verb that prints without fitting anything, on the demo and on results/methods

SNAPSHOTS = Path(__file__).parent / "snapshots"
METHODS = ROOT / "results" / "methods"
WAYS = {"piped": {}, "NO_COLOR": {"FORCE_COLOR": "1", "NO_COLOR": "1"}, "terminal": {"FORCE_COLOR": "1"}}
VERBS = [
    ("list",),
    ("show", "dpo"),
    ("show", "lm_eval"),
    ("show", "microworld/large"),
    ("show", "microworld/stories"),
    ("plan", "demo.yaml"),
    ("explain", "demo.yaml", "sft/knowledge/0"),
    ("compare", "results/methods", "lora", "sft"),
    ("check-model", "microworld/large"),
    ("init", "mine.yaml", "--base", "microworld/small", "--data", "demonstrations=microworld/curated-1k"),
    ("judge", "--out", "judged", "--baseline", "a", "scores.csv"),
]
SCORES = "method,seed,item,score\n" + "".join(
    f"{method},{seed},{item},{(item + seed) % 2}\n" for method in "ab" for seed in (0, 1) for item in range(30)
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
COLOURS = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;|48;)")


def own_folder(folder: Path) -> Path:
    """A folder with scores to judge and nothing else, for the verbs that write."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "scores.csv").write_text(SCORES)
    return folder


@pytest.fixture(scope="module")
def pairings() -> list[Pairing]:
    return two_methods(METHODS, "lora", "sft")


@pytest.fixture(scope="module")
def vocabulary() -> dict[tuple[str, ...], set[str]]:
    """The words of each verb at a width that folds nothing."""
    return {}


@pytest.fixture
def printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pairings: list[Pairing]):  # type: ignore[no-untyped-def]
    """What a verb prints at a width, in one of the ways."""
    monkeypatch.setattr(compare, "two_methods", lambda *given: pairings)

    def run(words: tuple[str, ...], width: int, way: str = "piped") -> str:
        for name in ("FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"COLUMNS": str(width), "TERM": "xterm", **WAYS[way]}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("BAKEOFF_STORE", str(tmp_path / "store"))
        folder = own_folder(tmp_path / "own") if words[0] in ("init", "judge") else ROOT
        done = bakeoff(*words, folder=folder)
        assert done.returncode == 0, done.stderr
        told = done.stdout.replace(str(tmp_path), ".").replace(str(ROOT), ".")
        return re.sub(r"\b[\d.]+ s$", "1 s", told, flags=re.MULTILINE)  # of a clock

    return run


def words_of(text: str) -> set[str]:
    return set(re.sub("[_│┃┏┳┓┡╇┩└┴┘━─\\\\]", " ", text).replace("\n", " ").replace(", ", " ").split())


@pytest.mark.parametrize("way", WAYS)
def test_no_verb_prints_a_line_over_the_width_or_breaks_a_word(printed, vocabulary, way: str) -> None:  # type: ignore[no-untyped-def]
    for words in VERBS:
        whole = vocabulary.get(words) or vocabulary.setdefault(words, words_of(printed(words, 1000)))
        for width in (80, 120):
            shown = printed(words, width, way)
            assert bool(COLOURS.search(shown)) <= (way == "terminal"), words
            plain = ESCAPES.sub("", shown)
            too_long = [line for line in plain.splitlines() if cell_len(line.rstrip()) > width]
            assert not too_long, (words, too_long)
            assert words_of(plain) - whole <= {"…"}, (words, width)


@pytest.mark.parametrize("words", VERBS[-2:], ids=["init", "judge"])
def test_init_and_judge_end_with_the_next_step_or_the_answer(printed, words: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    said = " ".join(printed(words, 80).split())
    wanted = "Next: bakeoff plan mine.yaml" if words[0] == "init" else "No method is shown to improve a:"
    assert wanted in said


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words", [("plan", "demo.yaml"), ("compare", "results/methods", "lora", "sft")], ids=["plan", "compare"]
)
def test_plan_and_compare_look_like_their_snapshots(printed, words: tuple[str, ...], width: int) -> None:  # type: ignore[no-untyped-def]
    shown = "\n".join(line.rstrip() for line in printed(words, width).splitlines()) + "\n"
    assert shown == (SNAPSHOTS / f"{words[0]}_{width}.txt").read_text("utf-8")


def test_a_comparison_ends_with_its_findings_in_a_sentence(printed) -> None:  # type: ignore[no-untyped-def]
    said = " ".join(printed(("compare", "results/methods", "lora", "sft"), 80).split())
    kept, open_ = (
        "kept within the margin on knowledge",
        "not established on instruction following, call or ask and stories",
    )
    assert f"lora against sft: {kept}; {open_}." in said


def test_a_pipe_without_a_width_gets_whole_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = bakeoff("show", "microworld/refined-1k").stdout
    assert "microworld/refined-1k (training set): each row of unfiltered-1k as it was (ID/original) and with" in shown


def test_a_command_that_is_folded_can_be_pasted_into_a_shell() -> None:
    line = "8 cells: 8 done. Next: bakeoff run a_long_name.yaml --set lora.rank=4 --set 'seeds=[0, 1]'"
    assert folded(line, 65) == [
        "8 cells: 8 done.",
        "Next: bakeoff run a_long_name.yaml --set lora.rank=4 --set \\",
        "      'seeds=[0, 1]'",
    ]


def test_a_folded_line_keeps_its_columns() -> None:
    assert folded("ok      newlines  kept at the beginning and the end", 40) == [
        "ok      newlines  kept at the beginning",
        "                  and the end",
    ]


def test_one_of_a_thing_is_not_called_several() -> None:
    assert [counted(number, "file") for number in (0, 1, 2, 1200)] == ["0 files", "1 file", "2 files", "1,200 files"]


def test_show_names_choices_and_what_the_methods_inside_need(printed) -> None:  # type: ignore[no-untyped-def]
    shown = printed(("show", "dpo"), 120)
    assert "needs   preferences; demonstrations, for its sft\n" in shown
    assert "sigmoid, ipo, robust, sigmoid_norm,\n" in shown
    assert "  start = sft " in shown
    assert "False to True" not in shown
    assert "adamw, adamw_8bit or paged" in shown


def test_show_of_a_name_that_is_nearly_right_names_the_right_one() -> None:
    assert "Did you mean 'microworld/curated-1k'?" in bakeoff("show", "curated-1k").stderr
    assert "bakeoff check-model" in bakeoff("show", "somebody/some-model").stderr
