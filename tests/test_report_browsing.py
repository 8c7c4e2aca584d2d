"""The sample browser: prompts are narrowed to a benchmark or to changes, and an answer's own words are marked."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest
from test_report import Fake, is_plain_picture, pages

from harness.report.collect import collect
from harness.report.compose import write_report
from harness.report.export import write_tables
from harness.report.findings.tables import _abreast
from harness.report.render.document import Answer, ShownItem
from harness.report.render.html import (
    CHANGES,
    Explained,
    FigureNames,
    benchmarks_of,
    changes_of,
    is_card,
    is_many,
    is_tall,
    is_wide,
    kinds_of,
    marked_texts,
)
from harness.report.render.saved_figure import figure_name, saved_figure
from harness.report.render.tabular import Column, Table, TableCell


def answers(**correct: bool | None) -> ShownItem:
    found = tuple(Answer(method, ("text",), None, right, "", ()) for method, right in correct.items())
    return ShownItem("tasks", "accuracy", "i1", "", 0, "prompt", "", found)


def test_words_that_the_other_answer_lacks_are_marked_and_the_pieces_are_the_answer() -> None:
    found = marked_texts("the cat sat on the red mat .", "the cat sat on the mat .")
    assert "".join(piece.text for piece in found) == "the cat sat on the red mat ."
    assert [piece.text.strip() for piece in found if piece.own] == ["red"]


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("the same", "the same"),
        ("the baseline's own", None),
        ("nothing here is alike", "X Y Z"),
        ("word " * 600, "word " * 599 + "other"),
        ("", "something"),
    ],
    ids=["equal", "no other", "all differs", "too long", "empty"],
)
def test_where_marks_would_say_nothing_there_are_none(own: str, other: str | None) -> None:
    assert [tuple(piece) for piece in marked_texts(own, other)] == [(own, False)]


def test_an_item_is_gained_or_lost_by_what_the_baseline_and_any_other_make_of_it() -> None:
    gained, lost, same = (
        answers(plain=False, a=True, b=False),
        answers(plain=True, a=False),
        answers(plain=True, a=True),
    )
    assert [kinds_of(one, "plain") for one in (gained, lost, same)] == [["gained"], ["lost"], []]
    assert kinds_of(gained, None) == kinds_of(answers(plain=None, a=True), "plain") == []
    assert changes_of([lost, gained], "plain") == list(CHANGES)
    assert benchmarks_of([gained, lost]) == ["tasks"]


def test_the_page_offers_each_benchmark_and_change_and_marks_every_prompt_with_its_own(tmp_path: Path) -> None:
    _, page = write_report(Fake(items=60).write(tmp_path))
    html = page.read_text("utf-8")
    offered = re.findall(r'<input type="radio" name="[a-z]+-\d+" value="(\w+)"', html)
    assert offered == ["all", "b0", "b1", "all", "gained", "lost"]
    kinds = re.findall(r'<article class="example b(\d)([a-z ]*)">', html)
    assert {number for number, _ in kinds} == {"0", "1"}
    assert {word for _, words in kinds for word in words.split()} == {"gained", "lost"}
    assert len(kinds) == 12
    assert len(re.findall(r"^\*\*\d+\. ", (tmp_path / "report.md").read_text("utf-8"), re.MULTILINE)) == 8


def test_marks_hold_hostile_text_as_text(tmp_path: Path) -> None:
    folder = Fake(items=25, answer="<b>same</b> words <script>x</script>").write(tmp_path)
    html = write_report(folder)[1].read_text("utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_each_term_is_explained_once_where_a_pointer_or_the_keyboard_reaches_it(tmp_path: Path) -> None:
    web = pages(Fake().write(tmp_path))[1]
    found = re.findall(r'<abbr tabindex="0" title="([^"]+)">([^<]+)</abbr>', web)
    assert len({meaning for meaning, _ in found}) == len(found)
    assert {"margin", "not established", "gap closed"} <= {term for _, term in found}
    assert any(term.startswith("rank ") for _, term in found)


def test_a_term_in_an_answer_or_a_name_is_never_markup() -> None:
    explained = Explained()
    assert str(explained("<b> margin & margins")).startswith("&lt;b&gt; <abbr")
    assert str(explained("margin")) == "margin"


def test_a_text_is_a_tab_stop_only_where_its_box_may_scroll() -> None:
    """A box of 14 lines, on a phone of 36 letters each."""
    assert [is_tall(text) for text in ("x" * 36 * 14, "x" * (36 * 14 + 1), "\n" * 13, "\n" * 14)] == [
        False, True, False, True,
    ]  # fmt: skip


def test_a_saved_figure_has_its_styles_and_the_light_colours_and_no_rule_of_others() -> None:
    inner = '<title>x</title><text class="tick">5 % "</text>'
    svg = f'<svg viewBox="0 0 30 20" role="img" aria-label="A &amp; b: c">{inner}</svg>'
    address = saved_figure(svg)
    assert is_plain_picture(address)
    root = ElementTree.fromstring(unquote(address.partition(",")[2]))
    assert (root.get("width"), root.get("height")) == ("30", "20")
    style, _, shown = root
    assert shown.text == '5 % "'
    assert "fill:" in (style.text or "").replace(" ", "")
    assert [word for word in ("var(", ".heat", ".front") if word in str(style.text)] == []
    assert figure_name(svg) == "a-b-c.svg"


def test_figures_of_equal_labels_have_addresses_of_their_own() -> None:
    name = FigureNames()
    assert [name('<svg aria-label="a b">') for _ in range(2)] == ["f-a-b", "f-a-b-2"]


def test_only_a_box_that_is_wider_than_a_screen_is_a_tab_stop() -> None:
    narrow = Table(
        (Column("method", left=True), Column("score")), ((TableCell("sft"), TableCell("0.5", "[0.4, 0.6]")),)
    )
    wide = Table(tuple(Column("a longer head") for _ in range(12)), ((TableCell("1"),) * 12,))
    assert [is_wide(narrow), is_wide(wide)] == [False, True]


def test_a_phone_shows_a_small_table_as_cards_and_scrolls_a_large_one() -> None:
    """Four columns take two lines of a card for every two cells: 5 lines a row, and 60 lines are the most."""
    columns = (Column("method", left=True), *(Column("a head of words", "unit") for _ in range(3)))
    tables = [Table(columns, ((TableCell("sft"), *[TableCell("0.5", "[0.4, 0.6]")] * 3),) * rows) for rows in (12, 13)]
    assert [is_card(table) for table in tables] == [True, False]
    assert not is_card(Table(columns[:2], ((TableCell("sft"), TableCell("0.5")),)))


def test_a_card_names_each_of_its_numbers(tmp_path: Path) -> None:
    _, web, _ = pages(Fake(items=60).write(tmp_path))
    assert 'class="scroll cards"' in web
    assert re.search(r'<td class="[^"]*" data-h="tasks, accuracy, %"', web)


def test_a_table_of_more_than_thirteen_columns_is_printed_sideways() -> None:
    assert [is_many(Table((Column("head"),) * count, ())) for count in (13, 14)] == [False, True]


def test_bold_is_the_best_of_a_column_and_significance_has_a_mark_of_its_own(tmp_path: Path) -> None:
    """tuned has the best tasks, shown better than plain; harsh is better there, worse in facts, and best in none."""
    folder = Fake(items=300).write(tmp_path)
    markdown, web, _ = pages(folder)
    table = markdown[markdown.index("## The matrix") :].split("\n\n")[1]
    rows = {line.split(" | ")[0].lstrip("| ").split()[0]: line for line in table.splitlines()[2:]}
    assert re.search(r"\*\*\d+\.\d ↑\*\* \[", rows["tuned"])
    assert re.search(r"\| \d+\.\d ↑ \[", rows["harsh"])
    assert re.search(r"\| \d+\.\d ↓ \[", rows["harsh"])
    assert "**" not in rows["harsh"]
    assert "Bold: the best mean of its column. ↑ better, ↓ worse than plain" in markdown
    assert re.search(r'<td class="good best"[^>]*><span>\d+\.\d ↑</span>', web)
    write_tables(collect(folder), tmp_path / "out", ["latex"])
    latex = (tmp_path / "out" / "matrix.tex").read_text("utf-8")
    assert r"$\uparrow$}" in latex
    bold = [re.findall(r"\\textbf\{", line) for line in latex.splitlines()]
    assert [len(found) for found in bold if found] == [1, 1]


def test_many_groups_are_divided_among_tables_of_equal_width() -> None:
    assert [len(part) for part in _abreast([object()] * 20)] == [5, 5, 5, 5]  # type: ignore[list-item]
    assert [len(part) for part in _abreast([object()] * 6)] == [6]  # type: ignore[list-item]
