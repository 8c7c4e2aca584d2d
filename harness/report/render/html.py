"""The document as one HTML file without any request to elsewhere: jinja2 escapes every text of it."""

from __future__ import annotations

from pathlib import Path

from harness.report.prompts import MOST_COMPLETIONS
from harness.report.render import browsing, text
from harness.report.render.document import Document
from harness.report.render.markdown import mark

TEMPLATE = Path(__file__).with_name("report.html.j2")


def to_html(document: Document) -> str:
    """The whole report. Data is never template source, so '{{' in it is text; only SVG is marked safe."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["prose"] = lambda value: text.one_line(value, text.LONGEST_PROSE)
    environment.filters["shorten"] = lambda value: text.cut(text.clean(value))
    environment.filters["line"] = text.one_line
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["drawn"] = lambda svg: Markup(svg)  # made by picture.py, which escapes
    environment.globals.update(mark=mark, most_completions=MOST_COMPLETIONS, browsing=browsing, most_filters=64)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # what cannot be written as UTF-8 (a lone surrogate out of a JSON file) was named by `clean`, or is here
    return template.render(document=document).encode("utf-8", "backslashreplace").decode("utf-8")
