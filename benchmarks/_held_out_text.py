"""Held-out text as the reply to a fixed request: the documents of `perplexity` and `layers`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.benchmark import Benchmark
from harness.data.placed import Faults
from harness.data.readers import label_of, placed_rows
from harness.errors import UserError
from harness.method import setting
from harness.microworld.corpus import CorpusDocument, held_out
from harness.records import TestItem, TestSet

EMBEDDED = "microworld"
REQUESTS = {True: "please write", False: "Write a text."}
"""The request for microworld text, whose vocabulary is small, and for other text."""


@dataclass(frozen=True)
class HeldOutText(Benchmark):
    """Documents of the microworld, or of a file, folder or hub id, whole or in pieces."""

    needs = frozenset({"score"})
    divisible = True
    of_each: ClassVar[int] = 40

    data: str = setting(EMBEDDED, "microworld, a .txt file of paragraphs, or a file, folder or hub id", path=True)
    split: str = setting("test", "split; test or validation for the microworld")
    column: str = setting("text", "column with the text")
    request: str = setting("", "request that the text answers; empty: a neutral request to write")
    limit: int | None = setting(None, "number of documents, for the microworld of each kind (none: 40)", least=1)
    longest: int = setting(1500, "most characters of a piece; longer documents are cut at white space")

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise UserError(f"longest is {self.longest}", fix="Set longest to 1 or more.")

    def data_digest(self) -> str:
        """Digest of the documents as they are scored, and of the request."""
        text = "\1".join(f"{item.id}\0{item.text}" for item in self._items())
        return hashlib.sha256(f"{self._request()}\1{text}".encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet | None:
        """The documents; None for the microworld, whose text all comes from the same templates."""
        if self.data == EMBEDDED:
            return None
        return TestSet(label_of(self.data), tuple(TestItem(item.id, item.text) for item in self._items()))

    def _request(self) -> str:
        return self.request or REQUESTS[self.data == EMBEDDED]

    def _items(self) -> list[CorpusDocument]:
        if self.data == EMBEDDED:
            return held_out(self.split, self.limit or self.of_each)
        texts = _paragraphs(self.data)[: self.limit] if self.data.endswith(".txt") else self._rows()
        items = [piece for at, text in enumerate(texts) for piece in pieces(f"{self.split}-{at}", text, self.longest)]
        if not items:
            raise UserError("it contains no text", where=self.data, fix="Name a file that contains text.")
        return items

    def _rows(self) -> list[str]:
        texts = []
        for placed in placed_rows(self.data, Faults(), self.split):
            text = placed.row.get(self.column)
            if not isinstance(text, str):
                found = ", ".join(map(str, placed.row))
                raise UserError(
                    f"no text in column {self.column!r}", where=placed.where, fix=f"Set column to one of: {found}."
                )
            texts.append(text)
            if len(texts) == self.limit:
                break
        return texts


def pieces(identity: str, text: str, longest: int) -> Iterator[CorpusDocument]:
    """The text in non-blank pieces of at most `longest` characters, cut at white space if possible; one cluster."""
    rest, number = text.strip(), 0
    while rest:
        end = len(rest) if len(rest) <= longest else max(rest.rfind(" ", 0, longest + 1), rest.rfind("\n", 0, longest))
        end = end if end > 0 else longest
        yield CorpusDocument(f"{identity}-{number}", "", identity, rest[:end].rstrip())
        rest, number = rest[end:].lstrip(), number + 1


def _paragraphs(name: str) -> list[str]:
    """The paragraphs of a text file, separated by blank lines."""
    path = Path(name)
    if not path.is_file():
        raise UserError("the file does not exist", where=name, fix="Give its path relative to the experiment file.")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UserError("the file is not UTF-8 text", where=name, fix="Save it as UTF-8.") from error
    return [paragraph for paragraph in text.split("\n\n") if paragraph.strip()]
