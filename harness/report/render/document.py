"""The parts of a report, independent of its format. All text here is raw: the renderers escape it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from harness.report.render.tabular import Mood, Table

Sure = Literal["shown", "likely", "undecided", "idle", "worse", "missing"]
"""How sure an answer about a method is; every one has its own colour, shape and word in pictures and tables."""

SURE_WORDS: dict[Sure, str] = {
    "shown": "shown", "likely": "likely", "undecided": "undecided", "worse": "shown worse", "idle": "no gain shown",
    "missing": "not measured",
}  # fmt: skip


@dataclass(frozen=True)
class Paragraph:
    text: str
    mood: Mood = ""


@dataclass(frozen=True)
class Statement:
    """A finding ('better than base') and the methods that it is about."""

    finding: str
    names: str
    mood: Mood = ""


@dataclass(frozen=True)
class Bullets:
    """Statements about each subject."""

    items: tuple[tuple[str, tuple[Statement, ...]], ...]


@dataclass(frozen=True)
class Picture:
    """An SVG drawn by this package, its texts escaped; `alternative` says the same in words."""

    svg: str
    alternative: str


@dataclass(frozen=True)
class Verbatim:
    """A text shown as it is, folded."""

    title: str
    text: str


@dataclass(frozen=True)
class Folded:
    """A table that is folded until asked for."""

    title: str
    table: Table


@dataclass(frozen=True)
class Answer:
    method: str
    completions: tuple[str, ...]
    value: float | None
    correct: bool | None
    own_prompt: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class ShownItem:
    """One item with every method's answers at one seed; `value` of an answer is that of `metric`."""

    benchmark: str
    metric: str
    item: str
    group: str
    seed: int
    prompt: str
    reference: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Prompts:
    """Prompts with every method's answers, each compared with the baseline's."""

    examples: tuple[ShownItem, ...]
    baseline: str | None = None


@dataclass(frozen=True)
class Reading:
    """One item's excerpts: (title, value, ((method, text), ...)) each."""

    base: str
    item: str
    prompt: str
    excerpts: tuple[tuple[str, float, tuple[tuple[str, str], ...]], ...]


@dataclass(frozen=True)
class Readings:
    """Prompts with their most similar and most different answers, each folded."""

    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class BandAxis:
    """The axis of a column of bands: its name and unit, marks as (place, text), the zero, and the zone within a margin.

    Places are shares of the axis's length.
    """

    head: str
    unit: str
    marks: tuple[tuple[float, str], ...] = ()
    zero: float | None = None
    zone: tuple[float, float] | None = None
    knowledge: bool = False


@dataclass(frozen=True)
class BandCell:
    """A value and its interval as texts, and as (low, value, high) on the column's axis; None where there is none.

    best: no other row of the table has a better value
    """

    text: str
    detail: str = ""
    band: tuple[float, float, float] | None = None
    best: bool = False


@dataclass(frozen=True)
class Candidate:
    """One of the few methods on the first screen.

    flag  the fields of the protocol in which it differs from most methods, in words
    note  the metrics on which it is shown worse, and whether it is a control
    train, run  what fitting and decoding cost; the second text of `train` is in small print
    """

    method: str
    sure: Sure
    cells: tuple[BandCell, ...]
    train: tuple[str, str]
    run: str
    flag: str = ""
    note: str = ""


@dataclass(frozen=True)
class Badge:
    """A fact about the experiment with the title of the section that explains it; `warns` where it may overturn it."""

    text: str
    section: str
    warns: bool = False


@dataclass(frozen=True)
class Strip:
    """The answer of one block.

    answer    (what follows, why): the first is printed in bold; decide: what would decide what is open, or ""
    tally     how many methods there are of each kind, those without any left out
    pictures  (name, drawing, the same in words) of each metric that is set against knowledge
    key       a line below the table
    worse_at  what the methods that are shown worse are worse at, and how many
    interval  what the intervals of the candidates are, in a few words
    left_out  the methods that are in no row of the table, with their words
    """

    title: str
    answer: tuple[str, str]
    decide: str
    tally: tuple[tuple[Sure, int], ...]
    axes: tuple[BandAxis, ...]
    candidates: tuple[Candidate, ...]
    caption: str
    pictures: tuple[tuple[str, str, str], ...]
    picture_title: str
    key: str
    worse_at: str = ""
    interval: str = "95 % interval"
    left_out: str = ""


@dataclass(frozen=True)
class Opening:
    """The first screen: an answer for each block, and over several blocks (`sure` of every method in each) a grid."""

    answer: tuple[str, str]
    badges: tuple[Badge, ...]
    strips: tuple[Strip, ...]
    legend: tuple[tuple[Sure, str], ...]
    grid: tuple[tuple[str, tuple[Sure, ...]], ...] = ()


@dataclass(frozen=True)
class Drawn:
    """A picture for the page alone: a table or statements of the same section say the same as text."""

    caption: str
    svg: str


@dataclass(frozen=True)
class Tucked:
    """Parts that the page folds under a title; Markdown shows them without it."""

    title: str
    parts: tuple[Part, ...]


Part = Table | Drawn | Tucked | Paragraph | Bullets | Picture | Verbatim | Folded | Prompts | Readings


@dataclass(frozen=True)
class Section:
    title: str
    parts: tuple[Part, ...]
    level: int = 2


@dataclass(frozen=True)
class Document:
    title: str
    question: str
    sections: tuple[Section, ...]
    opening: Opening | None = None

    @property
    def anchors(self) -> tuple[str, ...]:
        """An anchor for each section, made of its title; of equal titles, those after the first have a number."""
        found: list[str] = []
        for section in self.sections:
            name = anchor_of(section.title)
            same = sum(one == name or re.fullmatch(rf"{re.escape(name)}-\d+", one) is not None for one in found)
            found.append(f"{name}-{same + 1}" if same else name)
        return tuple(found)


def anchor_of(title: str) -> str:
    """A title as it may follow a '#': small letters, digits and hyphens."""
    return "s-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].strip("-")
