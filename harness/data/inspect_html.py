"""The rows of `bakeoff data inspect` as a page, with what the loss masks shaded. It runs and loads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from harness.data.inspect import harmless
from harness.data.rendering import Stretch

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
h1, h2 { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; border: 1px solid #ccc; padding: .7rem; }
.masked { background: #e4e4e4; color: #444; }
.trained { background: #fff; color: #000; }
"""


def inspect_page(title: str, summary: Iterable[str], rows: Sequence[tuple[str, Sequence[Stretch]]]) -> str:
    """The page. rows: the id of each row and its stretches; every text of theirs is escaped."""
    shown = "\n".join(
        f"<h2>{_text(id)}</h2>\n<pre>{''.join(_stretch(one) for one in stretches)}</pre>" for id, stretches in rows
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{_text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{_text(title)}</h1>
<pre>{_text(chr(10).join(summary))}</pre>
<p><span class="masked">Shaded</span>: read, but masked in the loss. The rest is trained.</p>
{shown}
</body>
</html>
"""


def _stretch(one: Stretch) -> str:
    return f'<span class="{"trained" if one.trained else "masked"}">{_text(one.text)}</span>'


def _text(text: str) -> str:
    return escape(harmless(text))
