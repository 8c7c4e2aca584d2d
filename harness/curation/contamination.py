"""Finding test items in training sets: n-gram coverage after Tulu 3, and whole prompts and answers.

A test item matches a training row by
  words      more than half of its words are in 8-grams that also occur in that row (Lambert et al. 2024, arXiv
             2411.15124, section 3.2; open-instruct's decontamination code: the best single document);
  prompt     its whole prompt is one of the row's prompts (also for items with fewer words than an n-gram);
  answer     its whole answer, of at least as many words as an n-gram, is one of the row's answers;
  embedding  if a model is given: the cosine between the prompts of the row and the item is above a limit;
  slots      for templated sets: the row fills a declared template with the same values. The words of the template
             itself are ignored, so these items are compared by their values only.
A set is flagged when more than 2 % of its items match. Case, spacing and punctuation are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.curation.ngrams import ROWS_AT_ONCE, NgramIndex
from harness.data.examples import prompt_text, whole_text
from harness.data.placed import Faults
from harness.data.readers import label_of, placed_rows
from harness.data.words import words_of
from harness.errors import UserError
from harness.records import Demonstration, PreferencePair, Record, TestItem, TestSet

Key = tuple[str, ...]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
SLOT = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Match:
    """A test item that a training row contains.

    coverage  the share of its words, between 0 and 1; by embedding, the cosine
    """

    test_set: str
    item: str
    row: int
    coverage: float
    how: str


@dataclass(frozen=True)
class Contamination:
    """All matches, sorted by row, then set and item."""

    rows: int
    matches: tuple[Match, ...]
    sizes: dict[str, int]
    size: int
    cover_above: float
    flag_above: float

    def matched_items(self, name: str) -> list[str]:
        """Ids of a set's items that some row contains."""
        return sorted({match.item for match in self.matches if match.test_set == name})

    def share(self, name: str) -> float:
        """The share of a set's items that match, between 0 and 1."""
        return len(self.matched_items(name)) / self.sizes[name] if self.sizes[name] else 0.0

    def flagged(self) -> list[str]:
        """The sets whose share of matches is above the limit."""
        return [name for name in self.sizes if self.share(name) > self.flag_above]

    def contaminated_rows(self) -> list[int]:
        """Numbers of the training rows, from 0, that contain an item."""
        return sorted({match.row for match in self.matches})


def find_contamination(
    records: Iterable[Record],
    tests: Sequence[TestSet],
    *,
    size: int = 8,
    cover_above: float = 0.5,
    flag_above: float = 0.02,
    embed: Embed | None = None,
    similar: float = 0.9,
) -> Contamination:
    """Compare every record with every test item; the records are read once and not kept.

    size         words of an n-gram
    embed        texts -> vectors of length one; similar is the cosine above which two prompts match
    cover_above  an item matches when a larger share of its words is covered by one row
    flag_above   a set is flagged when a larger share of its items matches
    """
    if size < 1 or not tests:
        raise UserError(f"size={size} and {len(tests)} test sets", fix="Give n-grams of at least 1 word, and a set.")
    if len({test.name for test in tests}) < len(tests):
        raise UserError("two test sets have the same name", fix="Name each set once.")
    by_words, whole = _WordMatches(tests, size, cover_above), _WholeMatches(tests, size)
    near = _NearMatches(tests, embed, similar) if embed else None
    matches: dict[tuple[int, str, str], Match] = {}
    rows, waiting = 0, iter(records)
    while block := list(islice(waiting, ROWS_AT_ONCE)):
        found = chain(by_words.of(block, rows), *(whole.of(record, at) for at, record in enumerate(block, rows)))
        for match in chain(found, near.of(block, rows) if near else ()):
            matches.setdefault((match.row, match.test_set, match.item), match)
        rows += len(block)
    ordered = tuple(matches[key] for key in sorted(matches))
    sizes = {test.name: len(test.items) for test in tests}
    return Contamination(rows, ordered, sizes, size, cover_above, flag_above)


class _WordMatches:
    """The rule `words`, for items that fill no template."""

    def __init__(self, tests: Sequence[TestSet], size: int, cover_above: float) -> None:
        free = _free_items(tests)
        self.named = [(test.name, item.id) for test, item in free]
        self.index = NgramIndex([item.text for _, item in free], size)
        self.cover_above = cover_above

    def of(self, records: Sequence[Record], start: int) -> Iterator[Match]:
        for rows, items, words in self.index.coverage([whole_text(record) for record in records], start):
            lengths = self.index.lengths[items]
            # compared as products, so that rounding cannot make a share of exactly the limit match
            for at in np.flatnonzero(words > self.cover_above * lengths):
                share = float(words[at] / lengths[at])
                name, item = self.named[items[at]]
                yield Match(name, item, int(rows[at]), share, "words")


class _NearMatches:
    """The rule `embedding`, for items that fill no template."""

    def __init__(self, tests: Sequence[TestSet], embed: Embed, similar: float) -> None:
        free = _free_items(tests)
        self.named = [(test.name, item.id) for test, item in free]
        self.embed, self.similar = embed, similar
        self.vectors = embed([item.text for _, item in free])

    def of(self, records: Sequence[Record], start: int) -> Iterator[Match]:
        cosines = self.embed([prompt_text(record) for record in records]) @ self.vectors.T
        for row, item in zip(*np.nonzero(cosines > self.similar), strict=True):
            name, identity = self.named[item]
            yield Match(name, identity, start + int(row), float(cosines[row, item]), "embedding")


def _free_items(tests: Sequence[TestSet]) -> list[tuple[TestSet, TestItem]]:
    """The items that fill no template of their set."""
    free = []
    for test in tests:
        slots = Slots(test.templates)
        free += [(test, item) for item in test.items if not slots.values(item.text)]
    return free


class _WholeMatches:
    """The rules `prompt`, `answer` and `slots`."""

    def __init__(self, tests: Sequence[TestSet], size: int) -> None:
        self.prompts: dict[Key, list[tuple[str, str]]] = {}
        self.answers: dict[Key, list[tuple[str, str]]] = {}
        self.filled: list[tuple[Slots, dict[Key, list[tuple[str, str]]]]] = []
        for test in tests:
            slots, filled = Slots(test.templates), dict[Key, list[tuple[str, str]]]()
            if test.templates:
                self.filled.append((slots, filled))
            for item in test.items:
                named = (test.name, item.id)
                if values := slots.values(item.text):
                    filled.setdefault(values, []).append(named)
                    continue
                _remember(self.prompts, item.text, 1, named)
                _remember(self.answers, item.answer, size, named)

    def of(self, record: Record, row: int) -> Iterator[Match]:
        prompts, answers = _turns(record)
        for texts, known, how in ((prompts, self.prompts, "prompt"), (answers, self.answers, "answer")):
            if known:
                yield from _same((tuple(words_of(text)) for text in texts), known, row, how)
        for slots, filled in self.filled:
            yield from _same((slots.values(text) for text in prompts), filled, row, "slots")


class Slots:
    """Templates such as `Write {words} in {case}`, and the values with which a text fills them."""

    def __init__(self, templates: Sequence[str]) -> None:
        self.patterns = [re.compile(self._pattern(template), re.S | re.I) for template in templates]

    @staticmethod
    def _pattern(template: str) -> str:
        # spacing is ignored: a run of white space in the template matches any other
        fixed = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in SLOT.split(template)]
        if len(fixed) == 1:
            raise UserError(f"the template {template!r} has no slot", fix="Write its slots in braces: Add {numbers}.")
        return r"\s*" + "(.+?)".join(fixed) + r"\s*"

    def values(self, text: str) -> Key:
        """The number of the first template that the text fills, and the words of each slot; () for none."""
        for number, pattern in enumerate(self.patterns):
            if found := pattern.fullmatch(text):
                return (str(number), *(" ".join(words_of(value)) for value in found.groups()))
        return ()


def _remember(known: dict[Key, list[tuple[str, str]]], text: str, at_least: int, named: tuple[str, str]) -> None:
    words = tuple(words_of(text))
    if len(words) >= at_least:
        known.setdefault(words, []).append(named)


def _same(keys: Iterable[Key], known: dict[Key, list[tuple[str, str]]], row: int, how: str) -> Iterator[Match]:
    for key in keys:
        for name, item in known.get(key, ()):
            yield Match(name, item, row, 1.0, how)


def _turns(record: Record) -> tuple[list[str], list[str]]:
    """The prompts and the answers of a record."""
    messages = record.messages if isinstance(record, Demonstration) else record.prompt
    asked = [message.content for message in messages if message.role == "user"]
    answered = [message.content for message in messages if message.role == "assistant"]
    if isinstance(record, PreferencePair):
        answered += [record.chosen, record.rejected]
    elif not isinstance(record, Demonstration):
        answered.append(record.reference)
    return asked, answered


# the first of these columns that a row has is used; case is ignored
ASKED = ("prompt", "question", "problem", "instruction", "turns", "conversations", "messages", "input")
ANSWERED = ("reference", "answer", "best answer", "target", "output", "completion", "response")
IDENTIFIED = ("id", "key", "question_id", "problem_id", "task_id")


def read_test_set(name: str, templates: Sequence[str] = (), split: str = "test") -> TestSet:
    """The items of a file, folder or hub id; raises UserError where a row has no question."""
    items = []
    for number, where, row in placed_rows(name, Faults("stop"), split):
        named = {str(key).lower(): value for key, value in row.items()}
        asked = _first(named, ASKED)
        if not asked.strip():
            raise UserError(
                f"its columns are {', '.join(map(str, row))}",
                where=where,
                fix=f"An item needs one of {', '.join(ASKED)}.",
            )
        # choices belong to the question
        choices = [text_in(named[key]) for key in sorted(named) if key.startswith("choice")]
        text = "\n".join([asked, text_in(named.get("input", "")) if "instruction" in named else "", *choices]).strip()
        items.append(TestItem(_first(named, IDENTIFIED) or str(number), text, _first(named, ANSWERED)))
    if not items:
        raise UserError("it has no rows", where=name, fix="Give a file with at least one item.")
    return TestSet(label_of(name), tuple(_with_own_ids(items)), tuple(templates))


def text_in(value: Any) -> str:
    """The text of a value: a line for each turn or list element; numbers as JSON writes them."""
    if isinstance(value, str) or value is None:
        return value or ""
    if isinstance(value, Mapping):
        return text_in(value.get("content", value.get("value", "")))
    if isinstance(value, (list, tuple)):
        return "\n".join(text_in(part) for part in value)
    return json.dumps(value)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text_in(row[name]) for name in names if row.get(name) not in (None, "")), "")


def _with_own_ids(items: Sequence[TestItem]) -> list[TestItem]:
    """The items with a number after each repeated id, so that every item is counted."""
    seen: dict[str, int] = {}
    own = []
    for item in items:
        seen[item.id] = seen.get(item.id, 0) + 1
        own.append(item if seen[item.id] == 1 else TestItem(f"{item.id}#{seen[item.id]}", item.text, item.answer))
    return own
