"""Reports in a real browser, by tests/real_browser.mjs. As a program, it prints how high, large and quick pages are.

Height is that at first view; ms passes from the request until the page answers the next event, cpu ms is the share of
it that the page's own thread was busy, which does not depend on what else the machine does.

BAKEOFF_NPM=FOLDER python tests/real_browser.py [--lighthouse] results/*/report.html

FOLDER is made outside the repository by `npm install puppeteer-core axe-core lighthouse`; Chromium and Node are needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

HERE = Path(__file__).with_suffix(".mjs")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")
PACKAGES = os.environ.get("BAKEOFF_NPM", "")
WIDTHS = (1440, 390)


def missing() -> str:
    """The programs and packages that are missing, without which no page is looked at; "" where all are there."""
    if CHROMIUM is None or NODE is None:
        return "Chromium or Node is not installed"
    wanted = ("puppeteer-core", "axe-core")
    if not all((Path(PACKAGES) / "node_modules" / name).is_dir() for name in wanted) or not PACKAGES:
        return f"BAKEOFF_NPM names no folder with node_modules of {' and '.join(wanted)}"
    return ""


def looked_at(pages: Sequence[Path | str], looks: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The findings of each look at each page, in that order; the keys of a look are those of real_browser.mjs."""
    told = json.dumps({"pages": [str(page) for page in pages], "looks": list(looks)})
    with subprocess.Popen([str(NODE), str(HERE), str(CHROMIUM), told], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield from map(json.loads, running.stdout)
    assert running.returncode == 0, "the browser failed"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server of the folder, on this machine alone."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *parts: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def lighthouse(page: Path) -> int:
    """Lighthouse's score for accessibility, of 100."""
    with served(page.parent) as address:
        done = subprocess.run(
            [
                str(Path(PACKAGES) / "node_modules/.bin/lighthouse"), f"{address}/{page.name}", "--quiet",
                "--only-categories=accessibility", "--output=json", "--max-wait-for-load=180000",
                "--chrome-flags=--headless --no-sandbox",
            ],
            env={**os.environ, "CHROME_PATH": str(CHROMIUM)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
    score: float = json.loads(done.stdout)["categories"]["accessibility"]["score"]
    return round(100 * score)


def main(told: list[str]) -> None:
    with_score = "--lighthouse" in told
    pages = [Path(one).resolve() for one in told if not one.startswith("--")]
    if why := missing():
        sys.exit(why)
    print("page                                       width  height      bytes     ms  cpu ms  requests  accessibility")
    for page in pages:
        for found in looked_at([page], [{"width": width} for width in WIDTHS]):
            score = str(lighthouse(page)) if with_score and found["width"] == WIDTHS[0] else ""
            numbers = (
                f"{found['tall']:7,} {found['bytes']:10,} {found['ms']:6,} {found['cpu']:7,} {len(found['requests']):9}"
            )
            print(f"{found['page']:40} {found['width']:7} {numbers}  {score:>13}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
