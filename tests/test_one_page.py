"""The card of a results folder: its size, its bytes, its words, and that no text leaves the page or covers another."""

from __future__ import annotations

import json
import struct
import tomllib
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from test_report import Fake

pytest.importorskip("matplotlib")

from harness.errors import UserError
from harness.report import one_page
from harness.report.collect import collect
from harness.report.findings.first_screen import opening_of
from harness.report.findings.trades import trades_of
from harness.report.render.axes import Axis

SKILLS = {
    "plain": (0.3, 0.7), "tuned_with_a_name_that_is_far_too_long": (0.8, 0.72), "a $x$ <b>": (0.79, 0.71),
    "harsh": (0.6, 0.3), "weak": (0.31, 0.7), "other": (0.5, 0.69), "third": (0.51, 0.68),
}  # fmt: skip


def boxes(folder: Path) -> list[tuple[str, tuple[float, float, float, float]]]:
    """Every text of the card with (left, top, right, bottom)."""
    model = collect(folder)
    with one_page._figure() as sheet:
        one_page._draw(sheet, opening_of(model), model, trades_of(model.blocks[0], model.matrix)[0])
        renderer = sheet.figure.canvas.get_renderer()
        found = []
        for one in sheet.axes.texts:
            box = one.get_window_extent(renderer)
            found.append((one.get_text(), (box.x0, one_page.HIGH - box.y1, box.x1, one_page.HIGH - box.y0)))
        return found


def test_it_is_1200_by_675_with_equal_bytes_and_asks_nothing_of_the_network(tmp_path: Path) -> None:
    folder = Fake(skills=SKILLS, reference=None, items=60).write(tmp_path / "r")
    first = {path.name: path.read_bytes() for path in one_page.write_one_page(folder)}
    again = {path.name: path.read_bytes() for path in one_page.write_one_page(folder, tmp_path / "other")}
    assert first == again
    assert struct.unpack(">II", first["card.png"][16:24]) == (1200, 675)
    root = ElementTree.fromstring(first["card.svg"])
    assert root.attrib["viewBox"] == "0 0 1200 675"
    assert not [one for one in root.iter() if one.tag.endswith("}text") or one.tag.endswith("}image")]
    assert [
        value for one in root.iter() for key, value in one.attrib.items() if "href" in key and value[0] != "#"
    ] == []


@pytest.mark.parametrize("bases", [("a",), ("a", "b")])
def test_no_text_leaves_the_page_and_none_covers_another(tmp_path: Path, bases: tuple[str, ...]) -> None:
    found = boxes(Fake(skills=SKILLS, reference=None, bases=bases, items=60).write(tmp_path))
    for said, (left, top, right, bottom) in found:
        assert left >= 40, said
        assert right <= 1162, said
        assert top >= 0, said
        assert bottom <= 675, said
    for at, (said, one) in enumerate(found):
        for other, two in found[at + 1 :]:
            apart = one[2] <= two[0] + 1 or two[2] <= one[0] + 1 or one[3] <= two[1] + 4 or two[3] <= one[1] + 4
            assert apart, (said, other, one, two)


def test_the_words_hold_the_answer_and_every_number_of_the_table(tmp_path: Path) -> None:
    folder = Fake(skills=SKILLS, reference=None, items=60).write(tmp_path)
    opening = opening_of(collect(folder))
    words = one_page.write_one_page(folder)[2].read_text("utf-8")
    assert " ".join(opening.answer) in words
    for one in opening.strips[0].candidates:
        assert one.method in words
        assert all(f"{cell.text} ({cell.detail})" in words for cell in one.cells)


def test_the_question_that_an_experiment_states_is_above_the_answer(tmp_path: Path) -> None:
    folder = Fake(skills=SKILLS, reference=None, items=60).write(tmp_path)
    asked = "Does it forget?"
    matrix = json.loads((folder / "matrix.json").read_text())
    (folder / "matrix.json").write_text(json.dumps({**matrix, "question": asked}))
    found = boxes(folder)
    bottom = next(box[3] for said, box in found if said == asked)
    first = opening_of(collect(folder)).answer[0].split()[0]
    assert bottom <= next(box[1] for said, box in found if said == first) + 4
    assert asked in one_page.write_one_page(folder)[2].read_text("utf-8")


def test_a_matrix_without_a_result_still_has_a_card(tmp_path: Path) -> None:
    folder = Fake(items=60).write(tmp_path)
    matrix = json.loads((folder / "matrix.json").read_text())
    matrix["baseline"] = None
    (folder / "matrix.json").write_text(json.dumps(matrix))
    assert "No baseline is declared" in one_page.write_one_page(folder)[2].read_text("utf-8")


def test_without_matplotlib_a_card_is_refused_in_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_page, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="a card is drawn by matplotlib, which is not installed") as refused:
        one_page.write_one_page(tmp_path)
    assert refused.value.fix == "pip install 'bakeoff[card]'"
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert any(one.startswith("matplotlib") for one in stated["card"])


def test_the_numbers_of_the_lower_axis_never_touch_and_0_is_among_them() -> None:
    """Numbers of seven letters are wider than the 51 px between two ticks."""
    axis = Axis.around([-0.0118, 0.0118], 1046.0, 790.0)
    with one_page._figure() as sheet:
        shown = one_page._apart(sheet, axis)
        assert len(shown) < len(axis.ticks())
        for (low, said), (high, other) in pairwise(shown):
            wide = (sheet.width(said, 12) + sheet.width(other, 12)) / 2
            assert abs(axis.place(high) - axis.place(low)) >= wide + 4
    assert "0" in [said for _, said in shown]


def test_it_says_on_what_methods_are_worse_and_which_have_no_mark(tmp_path: Path) -> None:
    """harsh keeps 30 % of the facts of 70 %; nothing is known of the facts of other."""
    broken = {("other", seed, "facts"): "n/a:it can only sample" for seed in (0, 1, 2)}
    said = [text for text, _ in boxes(Fake(skills=SKILLS, reference=None, items=60, broken=broken).write(tmp_path))]
    line = next(one for one in said if one.startswith("Changes against plain"))
    assert line.endswith("Shown worse on facts. Not measured for the picture: other.")
