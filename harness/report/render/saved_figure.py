"""A picture of the page as a file of its own: SVG with its styles in it, carried by the link that saves it.

The link holds the file (a data: address), so that saving it needs neither a request nor a script. Colours are those
of the light page, written out, because programs other than browsers do not read variables of style sheets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import quote

FOLDER = Path(__file__).parent
KEPT = " <>/='();,:{}?!*[]@$&+-._~|"  # readable in an address; the template escapes what an attribute may not hold


def saved_figure(svg: str) -> str:
    """The address of the file. Tooltips are left out: they belong to the page, and they are half of a heat map."""
    told = re.sub(r"<title>.*?</title>", "", svg, flags=re.DOTALL).replace("\n", "")
    wide, high = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', told)[0]
    ink = light_colours()["ink"]
    told = told.replace(
        "<svg", f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" color="{ink}"', 1
    )
    style = "".join(_rules(told)).replace("system-ui, ", "")
    told = told.replace(">", f'><style>{style}</style><rect width="100%" height="100%" fill="#fff"/>', 1)
    return "data:image/svg+xml," + quote(re.sub(r"<[^>]*>", _other_quotes, told), safe=KEPT)


def _other_quotes(tag: re.Match[str]) -> str:
    """The tag with quotes that need no escape in the page's attribute, where it has none of them."""
    return tag[0] if "'" in tag[0] else tag[0].replace('"', "'")


def figure_name(svg: str) -> str:
    """The name of the file, made of the picture's label."""
    label = re.search(r'aria-label="([^"]*)"', svg)
    words = re.sub(r"&\w+;", " ", label.group(1) if label else "")
    return (re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:80].strip("-") or "figure") + ".svg"


@cache
def light_colours() -> dict[str, str]:
    """The colours by their names in the page's style sheet, whose first rule is that of the light page."""
    css = (FOLDER / "report.css").read_text("utf-8")
    return dict(re.findall(r"--([\w-]+): (#\w+)", css[: css.index("}")]))


@cache
def _sheet() -> list[tuple[str, str]]:
    """Selectors and declarations of the rules for pictures, with the colours for their names."""
    css = (FOLDER / "figure.css").read_text("utf-8")
    css = re.sub(r"var\(--([\w-]+)\)", lambda name: light_colours()[name[1]], css)
    return [(own.strip(), said.strip()) for own, said in re.findall(r"([^{}]+)\{([^{}]*)\}", css)]


def _rules(svg: str) -> Iterator[str]:
    """The rules that this picture needs."""
    used = set(" ".join(re.findall(r'class="([^"]*)"', svg)).split())
    for selectors, said in _sheet():
        own = [one.strip() for one in selectors.split(",") if set(re.findall(r"\.(\w+)", one)) <= used]
        if own:
            yield ",".join(own) + "{" + said + "}"
