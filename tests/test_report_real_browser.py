"""The report in a real browser: hostile names and texts do nothing, axe-core finds no serious fault, keys reach all.

Needs Chromium, Node and two npm packages outside the repository; skipped, saying so, where they are missing:
`npm install puppeteer-core axe-core` in a folder, and BAKEOFF_NPM=that folder.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from real_browser import looked_at, missing
from test_report import Fake

from harness.report.compose import write_report

TAKE = "document.documentElement.dataset.taken=1"
ANSWER = (
    f"<script>{TAKE}</script><img src=x onerror='{TAKE}'><svg/onload='{TAKE}'><a href=\"javascript:{TAKE}\">x</a>"
    f"</pre></style></script></title></details><style>*{{display:none}}</style>\" onmouseover='{TAKE}' x=' "
    "\u202eright to left\u2066 \x07 \x1b[2J \x00 <!-- <![CDATA[ "
)
METHODS = (
    "plain</style><script>{}</script>",
    "tuned' onclick='{}' \u202e",
    'harsh" onfocus="{}" \x07',
    "weak</script><b>",
)
BASE = f"base</title><script>{TAKE}</script>"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A hostile report at first view and unfolded, on a desktop and a phone."""
    names = [name.replace("{}", TAKE) for name in METHODS]
    skills = dict(zip(names, Fake().skills.values(), strict=True))
    fake = Fake(answer=ANSWER * 20, items=60, skills=skills, bases=(BASE,), baseline=names[0], reference=names[1])
    folder = tmp_path_factory.mktemp("hostile")
    page = write_report(replace(fake, fixed=frozenset(names[:1])).write(folder))[1]
    looks: list[dict[str, Any]] = [
        {"width": 1440, "axe": True, "tab": 400, "save": str(folder)},
        {"width": 390, "dark": True, "axe": True, "tab": 400},
        {"width": 1440, "dark": True, "axe": True, "open": True, "poke": True},
        {"width": 390, "axe": True, "open": True},
    ]
    return list(looked_at([page], looks))


def test_hostile_names_and_texts_run_nothing_and_request_nothing(found: list[dict[str, Any]]) -> None:
    assert [one["taken"] for one in found] == [None] * 4
    assert [one["requests"] + one["errors"] for one in found] == [[]] * 4
    assert [one["controls"] for one in found] == [False] * 4


def test_axe_finds_no_serious_fault_folded_or_not_in_both_colour_schemes(found: list[dict[str, Any]]) -> None:
    grave = [fault for one in found for fault in one["axe"] if fault["impact"] in ("serious", "critical")]
    assert grave == [], json.dumps(grave, indent=1)


def test_the_tab_key_reaches_everything_that_can_be_used(found: list[dict[str, Any]]) -> None:
    reached = [one["tab"] for one in found if "tab" in one]
    assert [one["missed"] for one in reached] == [[], []]
    assert min(one["stops"] for one in reached) > 20


def test_no_page_is_wider_than_its_window(found: list[dict[str, Any]]) -> None:
    assert [one["wide"] <= one["width"] for one in found] == [True] * 4


def test_a_figure_is_saved_by_its_link_as_a_file_of_its_own(found: list[dict[str, Any]]) -> None:
    root = ElementTree.parse(found[0]["saved"]).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert float(root.attrib["width"]) > 100
    assert {"onclick", "onfocus", "onload", "href"}.isdisjoint(name for one in root.iter() for name in one.attrib)


@pytest.mark.parametrize("name", ["methods", "gemma-3-270m", "scoring"])
def test_nothing_is_cut_on_a4_and_a_phone_needs_no_more_than_10000_pixels(name: str, tmp_path: Path) -> None:
    """Sixteen methods, a benchmark of twenty groups, and a matrix of nineteen columns."""
    folder = Path(shutil.copytree(ROOT / "results" / name, tmp_path / name))
    page = write_report(folder)[1]
    printed, phone = looked_at([page], [{"width": 1440, "print": True}, {"width": 390}])
    assert printed["cut"] == []
    assert phone["tall"] <= 10_000
    assert phone["wide"] <= 390
