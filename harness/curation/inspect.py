"""The output of `bakeoff data inspect`: detected format, counts, lengths, repeats, scripts, some rows."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from harness.curation.duplicates import exact_duplicates, near_duplicates
from harness.curation.rendering import TrainedText, token_count, trained_texts
from harness.data.examples import Example, ExampleSet, answer_text, prompt_text, unused_keys, whole_text
from harness.data.folders import folder_and_configuration, names_no_split
from harness.data.placed import skipped_lines
from harness.data.words import words_of
from harness.records import Demonstration

if TYPE_CHECKING:
    from harness.data.load import LoadedSet
    from harness.policy.encoding import TextEncoder


BINS = (0, 10, 20, 50, 100, 200, 500, 1000, 2000)
SHOWN_CHARACTERS = 400


def inspection(found: ExampleSet, encoder: TextEncoder | None = None) -> Iterator[str]:
    """The figures, as lines for the terminal; with an encoder also the rows' tokens under its chat template."""
    examples = found.examples
    texts = [whole_text(one.record) for one in examples]
    yield f"{found.name}: {len(examples):,} {found.detection.kind}, format {found.detection.format}"
    yield f"  because {found.detection.reason}"
    yield from skipped_lines(found.skipped)
    yield from _remarks(found.name, unused_keys(examples))
    yield f"turns: {_counted(Counter(_turns(one) for one in examples))}"
    yield f"sources: {_counted(Counter(one.record.source or 'not stated' for one in examples))}"
    yield f"letters: {_counted(Counter(script_of(text) for text in texts))}"
    if found.detection.kind == "judged":
        yield f"labels: {_counted(Counter('good' if one.extra['label'] else 'bad' for one in examples))}"
    exact = len(exact_duplicates(texts))
    yield f"repeats: {exact:,} exact, {len(near_duplicates(texts)):,} near (similarity of at least 0.8, exact ones too)"
    for title, part in (("prompt", prompt_text), ("answer", answer_text)):
        yield from histogram(f"words of the {title}", [len(words_of(part(one.record))) for one in examples])
    if encoder:
        yield from histogram("tokens of the row", [token_count(one, encoder) for one in examples])


def remarks_on(sets: Iterable[LoadedSet]) -> Iterator[str]:
    """One line for each training set of which not all is used as a reader might expect."""
    said = ((one.manifest["name"], "; ".join(_remarks(one.manifest["name"], one.unused))) for one in sets)
    yield from dict.fromkeys(f"{harmless(name)}: {line}" for name, line in said if line)


def _remarks(name: str, unused: Mapping[str, int]) -> Iterator[str]:
    if unused:
        yield f"keys that are not used: {_counted(unused)}"
    if (local := folder_and_configuration(name)) and not local[1] and names_no_split(local[0]):
        yield "no file of the folder names a split: all its rows are train"


def chosen_rows(examples: Sequence[Example], rows: int) -> Sequence[Example]:
    """This many examples, spread evenly over the file."""
    return examples[:: max(1, len(examples) // max(1, rows))][:rows]


def shown(example: Example, encoder: TextEncoder | None = None) -> Iterator[str]:
    """The row for the terminal: trained lines begin with >, lines that are only read with a dot."""
    yield f"--- {harmless(example.record.id)}"
    for text, trained in trained_texts(example, encoder):
        cut = text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]} [{len(text):,} characters]"
        for line in harmless(cut).rstrip("\n").split("\n"):
            yield f"{'>' if trained else '.'} {line}"


def histogram(title: str, values: Sequence[int]) -> Iterator[str]:
    """A line per bin with a bar of at most 40 characters."""
    ordered = sorted(values)
    yield f"{title}: least {ordered[0]:,}, median {ordered[len(ordered) // 2]:,}, most {ordered[-1]:,}"
    counts = [
        sum(low <= value < high for value in values) for low, high in zip(BINS, (*BINS[1:], float("inf")), strict=True)
    ]
    for low, high, count in zip(BINS, (*BINS[1:], None), counts, strict=True):
        if count:
            bar = "#" * max(1, round(40 * count / max(counts)))
            yield f"  {f'{low}-{high - 1}' if high else f'{low}+':>9} {count:7,} {bar}"


def script_of(text: str) -> str:
    """The most frequent script, by the first word of the letters' Unicode names (LATIN, DEVANAGARI, CJK), or none."""
    letters = Counter(letter for letter in text[:2000] if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "unknown").split()[0]] += count
    return max(sorted(scripts), key=lambda name: scripts[name]) if scripts else "none"


def harmless(text: str) -> str:
    """The text without control characters, which could manipulate the terminal."""
    return "".join(letter if letter == "\n" or unicodedata.category(letter)[0] != "C" else "\ufffd" for letter in text)


def _counted(counts: Mapping[Any, int]) -> str:
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
    rest = sum(count for _, count in ranked[8:])
    words = [f"{harmless(str(name))} {count:,}" for name, count in ranked[:8]]
    return ", ".join(words + ([f"others {rest:,}"] if rest else []))


def _turns(example: Example) -> int:
    record = example.record
    return len(record.messages if isinstance(record, Demonstration) else record.prompt)


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c; }
h1, h2 { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; border: 1px solid #ccc; padding: .7rem; }
.masked { background: #e4e4e4; color: #444; }
.trained { background: #fff; color: #000; }
"""


def inspect_page(title: str, summary: Iterable[str], rows: Sequence[tuple[str, Sequence[TrainedText]]]) -> str:
    """The page. rows: the id of each row and its parts; all their text is escaped."""
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


def _stretch(one: TrainedText) -> str:
    return f'<span class="{"trained" if one.trained else "masked"}">{_text(one.text)}</span>'


def _text(text: str) -> str:
    return escape(harmless(text))
