"""The report in a browser: hostile text does nothing, nothing is wider than a phone, and it prints.

Needs Chromium (`apt-get install chromium`); skipped, saying so, where there is none.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from test_report import Fake

from harness.report.compose import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

TAKE = "document.documentElement.dataset.taken = 1"
HOSTILE = (
    f"<script>{TAKE}</script> <img src=x onerror='{TAKE}'> <svg onload='{TAKE}'></svg> "
    f'<a href="javascript:{TAKE}">x</a></pre></td></table>'
    f"</details><style>body {{display: none}}</style> {{{{7*7}}}} \" onmouseover='{TAKE}' "
) + "y" * 100_000

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on answers, prompts and reasons that are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    broken = {("weak", 0, "tasks"): f"failed:{HOSTILE[:3000]}"}
    return write_report(Fake(answer=HOSTILE, items=25, broken=broken).write(folder))[1]


def browse(page: Path, folder: Path, *options: str) -> str:
    """The page's document after its scripts have run."""
    assert CHROMIUM is not None
    told = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=3000", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(told, capture_output=True, text=True, timeout=240, check=True).stdout


def with_script(page: Path, text: str) -> str:
    """The page with `text` at its end, and without the policy that lets no script run."""
    told = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text("utf-8"))
    return told.replace("</body>", text + "</body>")


def measuring(page: Path, folder: Path) -> Path:
    """A copy that opens every fold and writes how wide it is into its own root."""
    script = (
        "<script>document.querySelectorAll('details').forEach(one => one.open = true);"
        "const root = document.documentElement;"
        "root.dataset.wide = document.scrollingElement.scrollWidth; root.dataset.room = window.innerWidth</script>"
    )
    copy = folder / "measuring.html"
    copy.write_text(with_script(page, script), "utf-8")
    return copy


def test_hostile_answers_run_nothing_in_the_browser(page: Path, tmp_path: Path) -> None:
    document = browse(page, tmp_path, "--dump-dom")
    assert "data-taken" not in document.split("<head", 1)[0]
    assert not re.search(r"<(script|img|iframe|object)\b", document)
    assert "{{7*7}}" in document
    assert "&lt;script&gt;" in document


def test_a_script_that_slipped_through_would_still_not_run(page: Path, tmp_path: Path) -> None:
    slipped = tmp_path / "slipped.html"
    slipped.write_text(page.read_text("utf-8").replace("</body>", HOSTILE[:600] + "</body>"), "utf-8")
    assert "data-taken" not in browse(slipped, tmp_path, "--dump-dom").split("<head", 1)[0]


def test_the_same_text_would_run_without_either_guard(page: Path, tmp_path: Path) -> None:
    open_door = tmp_path / "open.html"
    open_door.write_text(with_script(page, HOSTILE[:600]), "utf-8")
    assert "data-taken" in browse(open_door, tmp_path, "--dump-dom").split("<head", 1)[0]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_but_scrolling_tables_is_wider_than_the_window(page: Path, tmp_path: Path, width: int) -> None:
    # Chromium's own windows are 500 pixels wide at least, so the phone is a frame
    frame = tmp_path / "frame.html"
    inner = measuring(page, tmp_path)
    frame.write_text(
        f"<body><iframe id=f width={width} height=800 src={inner.as_uri()}></iframe><script>f.onload = () => "
        "document.body.dataset.found = JSON.stringify({...f.contentDocument.documentElement.dataset})</script></body>"
    )
    document = browse(frame, tmp_path, "--dump-dom", "--allow-file-access-from-files")
    wide, room = (int(re.search(rf"{name}&quot;:&quot;(\d+)", document)[1]) for name in ("wide", "room"))  # type: ignore[index]
    assert room in range(width - 20, width + 1)
    assert wide <= room


def test_it_prints_to_pdf(page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={printed}")
    assert printed.read_bytes()[:5] == b"%PDF-"
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) >= 2


def test_a_checked_button_leaves_only_its_prompts_in_view(tmp_path: Path) -> None:
    page = write_report(Fake(items=60).write(tmp_path / "results"))[1]
    script = (
        "<script>const seen = () => [...document.querySelectorAll('article.example')]"
        ".filter(one => one.getClientRects().length).map(one => one.className).join('|');"
        "const root = document.documentElement; root.dataset.before = seen();"
        "document.querySelector('[value=b1]').click(); root.dataset.after = seen();"
        "document.querySelector('[value=lost]').click(); root.dataset.both = seen();</script>"
    )
    copy = tmp_path / "clicking.html"
    copy.write_text(with_script(page, script), "utf-8")
    head = browse(copy, tmp_path, "--dump-dom").split("<head", 1)[0]
    before, after, both = (
        re.search(rf'data-{name}="([^"]*)"', head)[1].split("|") for name in ("before", "after", "both")
    )
    assert len(before) == 12
    assert after == [name for name in before if " b1" in name] != []
    assert both == [name for name in after if "lost" in name] != after
