"""The document as one HTML file that requests nothing from elsewhere: jinja2 escapes every text of it.

The sample browser filters its prompts without a script, by style rules on the checked buttons, because the
report's content policy allows no script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from harness.report.render import text
from harness.report.render.document import Answer, Document, ShownItem
from harness.report.render.markdown import MOST_COMPLETIONS, mark

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_WORDS = 500  # comparing longer answers takes longer than reading them
LEAST_ALIKE = 0.3  # below it almost everything differs, and marks would say nothing
CHANGES = {"gained": "baseline wrong, another right", "lost": "baseline right, another wrong"}


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
    environment.filters["drawn"] = lambda svg: Markup(svg)  # made by axes.py and its like, which escape
    functions = (mark, benchmarks_of, changes_of, kinds_of, compared_text, marked_texts)
    environment.globals.update({function.__name__: function for function in functions})
    environment.globals.update(most_completions=MOST_COMPLETIONS, changes_in_words=CHANGES, most_filters=64)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    # what cannot be written as UTF-8 (a lone surrogate out of a JSON file) was named by `clean`, or is here
    return template.render(document=document).encode("utf-8", "backslashreplace").decode("utf-8")


class MarkedText(NamedTuple):
    """A piece of an answer; `own`: the other answer does not have it."""

    text: str
    own: bool


def benchmarks_of(examples: Sequence[ShownItem]) -> list[str]:
    """The benchmarks to choose from, in their order."""
    return list(dict.fromkeys(example.benchmark for example in examples))


def changes_of(examples: Sequence[ShownItem], baseline: str | None) -> list[str]:
    """The kinds of change that occur, in the order of CHANGES."""
    return [kind for kind in CHANGES if any(kind in kinds_of(example, baseline) for example in examples)]


def kinds_of(example: ShownItem, baseline: str | None) -> list[str]:
    """Whether another method gains or loses the item against the baseline."""
    start = next((answer.correct for answer in example.answers if answer.method == baseline), None)
    if start is None:
        return []
    others = {answer.correct for answer in example.answers if answer.method != baseline}
    return [kind for kind, was in (("gained", False), ("lost", True)) if start is was and (not was) in others]


def compared_text(example: ShownItem, answer: Answer, baseline: str | None) -> str | None:
    """The text that an answer is compared with: the baseline's first; None for the baseline's own."""
    if answer.method == baseline:
        return None
    start = next((one for one in example.answers if one.method == baseline and one.completions), None)
    return start.completions[0] if start else None


def marked_texts(own: str, other: str | None) -> list[MarkedText]:
    """`own` in pieces, those words marked that `other` does not have; one unmarked piece where marks would not help."""
    if other is None or own == other:
        return [MarkedText(own, False)]
    first, second = (re.findall(r"\w+\s*|[^\w\s]\s*|\s+", text) for text in (other, own))
    if max(len(first), len(second)) > MOST_WORDS:
        return [MarkedText(own, False)]
    bare = [[word.strip() for word in words] for words in (first, second)]
    matcher = SequenceMatcher(None, bare[0], bare[1], autojunk=False)
    if matcher.ratio() < LEAST_ALIKE:
        return [MarkedText(own, False)]
    pieces = [(second[low:high], kind != "equal") for kind, _, _, low, high in matcher.get_opcodes() if high > low]
    return [MarkedText("".join(words), new) for words, new in pieces]
