"""The parts of a report, independent of its format. All text here is raw: the renderers escape it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.report.render.tabular import Mood, Table


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


Part = Table | Paragraph | Bullets | Picture | Verbatim | Folded | Prompts | Readings


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
