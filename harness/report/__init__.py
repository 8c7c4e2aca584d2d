"""Results -> report.md and report.html: rows to numbers (`collect`), numbers to a document (`compose`), and
the document to text (`to_markdown`, `to_html`). Imports no torch, and pandas only when a report is written.
"""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path) -> tuple[Path, Path]:
    """Write report.md and report.html beside the results in `folder`; returns their paths.

    The same files give the same bytes: no clock, no chance. Both appear whole or not at all. Raises UserError
    where matrix.json is missing or a file has another schema. Where the folder has a digests.json, it names them.
    """
    from harness.engine.results.digests import record_report
    from harness.files import write_text
    from harness.report.collect import collect
    from harness.report.compose import compose
    from harness.report.render.html import to_html
    from harness.report.render.markdown import to_markdown

    document = compose(collect(folder))
    written = {folder / "report.md": to_markdown(document), folder / "report.html": to_html(document)}
    for path, content in written.items():
        write_text(path, content)
    record_report(folder)
    return folder / "report.md", folder / "report.html"
