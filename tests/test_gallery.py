"""`bakeoff index`: a page of all studies in a folder, plain and inert."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest
from command_line import bakeoff
from conftest import ROOT
from test_report import Fake, Page

from harness.errors import UserError
from harness.files import write_json
from harness.report.compose import write_report
from harness.report.gallery import index_page, write_index


def test_every_study_has_its_question_answer_picture_and_link(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_report(Fake(items=60).write(tmp_path / name))
    (tmp_path / "other").mkdir()
    done = bakeoff("index", tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "index.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert [name for name in ('href="one/report.html"', 'href="two/report.html"') if name not in text] == []
    assert text.count("Which of 3 ways of aligning world/large") == 2
    assert text.count('<svg class="front"') == 2
    assert "world/large; 3 seeds; 24 cells; " in text
    before = (tmp_path / "index.html").read_bytes()
    assert write_index(tmp_path).read_bytes() == before


def test_a_study_asks_what_its_experiment_says_or_else_what_its_own_page_is_called(tmp_path: Path) -> None:
    for name in ("plain", "headed", "stated"):
        folder = Fake(items=60).write(tmp_path / name)
        if name != "plain":
            (folder / "README.md").write_text("# What does <b>tuning</b> cost?\n\nAnd more.\n")
        if name == "stated":
            asked = json.loads((folder / "matrix.json").read_text())
            write_json(folder / "matrix.json", {**asked, "question": "Does it <i>forget</i>?"})
        write_report(folder)
    asked = re.findall(r'<p class="faint">([^\n]*)</p>', index_page(tmp_path))
    assert asked[0] == "What does &lt;b&gt;tuning&lt;/b&gt; cost?"
    assert asked[1].startswith("Which of 3 ways of aligning world/large")
    assert asked[2] == "Does it &lt;i&gt;forget&lt;/i&gt;?"
    assert "Does it &lt;i&gt;forget&lt;/i&gt;?" in (tmp_path / "stated" / "report.html").read_text("utf-8")


def test_the_day_is_that_of_the_code_as_recorded_and_never_todays(tmp_path: Path) -> None:
    """A commit that no checkout has states no day, and a commit's name is no option of git."""
    for name, code in (
        ("recorded", {"commit": "f" * 40, "committed": "2026-11-22"}),
        ("unknown", {"commit": "e" * 40}),
        ("hostile", {"commit": "--output=planted"}),
    ):
        folder = Fake(items=60).write(tmp_path / name)
        write_json(folder / "provenance.json", {"code": code})
        write_report(folder)
    page = index_page(tmp_path)
    assert "run by the code of 2026-11-22, commit ffffffff." in page
    assert "run by the code, commit eeeeeeee." in page
    assert "planted" not in page
    assert date.today().isoformat() not in page


def test_the_committed_page_is_that_of_the_command() -> None:
    """But for the days, which a checkout without its history does not know. `bakeoff index results` writes it again."""
    results = ROOT / "results"
    day = r" of \d{4}-\d\d-\d\d, commit"
    committed = (results / "index.html").read_text("utf-8")
    assert re.sub(day, ", commit", committed) == re.sub(day, ", commit", index_page(results))
    assert "<script" not in committed
    assert not re.search(r'(?:src|href)="(?!#)(?:\w+:|//)', committed)


@pytest.mark.parametrize(
    "planted", ['<g onload="x()"></g>', "<script>x()</script>", '<a href="http://x">x</a>', "<path"]
)
def test_a_picture_with_anything_but_shapes_is_left_out(tmp_path: Path, planted: str) -> None:
    write_report(Fake(items=60).write(tmp_path / "one"))
    web = tmp_path / "one" / "report.html"
    web.write_text(
        web.read_text("utf-8").replace('<svg class="front"', f'<svg class="front">{planted}</svg><svg class="x"')
    )
    text = write_index(tmp_path).read_text("utf-8")
    assert planted not in text.split("<main", 1)[1]
    assert "<svg" not in text


def test_a_folder_without_reports_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder in it has a report"):
        write_index(tmp_path)
