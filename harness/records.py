"""The canonical records that every method trains on: demonstrations, preference pairs, problems."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    thoughts  the reasoning that precedes the answer, where a row gives it apart; the chat template writes it
    trained   False for an assistant turn that is read but not imitated
    """

    role: Role
    content: str
    thoughts: str = ""
    trained: bool = True


@dataclass(frozen=True)
class Demonstration:
    """A conversation that ends with an assistant turn; all its assistant turns are imitated."""

    messages: tuple[Message, ...]
    id: str
    source: str = ""


@dataclass(frozen=True)
class JudgedAnswer(Demonstration):
    """A conversation whose last turn was judged: `good` says whether that answer is to be imitated or avoided."""

    good: bool = True


@dataclass(frozen=True)
class PreferencePair:
    """Two answers to one prompt: `chosen` is better than `rejected`."""

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    id: str
    source: str = ""


@dataclass(frozen=True)
class Problem:
    """A prompt whose answer the named verifier can check against `reference`."""

    prompt: tuple[Message, ...]
    reference: str
    verifier: str
    id: str
    source: str = ""


Record = Demonstration | PreferencePair | Problem


@dataclass(frozen=True)
class TrainingData:
    """The data that a method may train on, and its sources.

    manifest  one entry per set: its name, kind, number of rows, licence and digest
    """

    demonstrations: tuple[Demonstration, ...] = ()
    preferences: tuple[PreferencePair, ...] = ()
    problems: tuple[Problem, ...] = ()
    judged: tuple[JudgedAnswer, ...] = ()
    manifest: tuple[dict[str, Any], ...] = field(default=())


def digest_of(records: Sequence[Record]) -> str:
    """Hexadecimal digest of the records in their order: equal rows give equal digests."""
    hasher = hashlib.sha256()
    for record in records:
        line = json.dumps([type(record).__name__, asdict(record, dict_factory=_said)], sort_keys=True)
        hasher.update(line.encode() + b"\n")
    return hasher.hexdigest()[:16]


def _said(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Fields as a dictionary, without those of a turn that are at their default: most rows have neither."""
    return {name: value for name, value in fields if (name, value) not in (("thoughts", ""), ("trained", True))}


@dataclass(frozen=True)
class TestItem:
    """An item of a benchmark: the question, and the reference answer if it has one."""

    __test__ = False  # otherwise pytest takes it for a test
    id: str
    text: str
    answer: str = ""


@dataclass(frozen=True)
class TestSet:
    """A benchmark's items. templates: texts with {slots}, for sets whose prompts repeat by design."""

    __test__ = False
    name: str
    items: tuple[TestItem, ...]
    templates: tuple[str, ...] = ()


AFTER = {"original": "response", "instruction": "both"}
"""For each version of a refined demonstration the version that improves its answer."""


def parent_and_version(id: str) -> tuple[str, str]:
    """The part of the id that all versions share, and the version; an id without such an ending is an original."""
    parent, _, version = id.rpartition("/")
    return (parent, version) if version in {*AFTER, *AFTER.values()} else (id, "original")


class DataChoice(NamedTuple):
    """quality: one of the named sets, "" without that axis; size: rows drawn from it, 0 for all."""

    quality: str = ""
    size: int = 0

    @property
    def title(self) -> str:
        """The choice in words; empty where the experiment has neither axis."""
        return " ".join([self.quality, f"{self.size:,} training examples" if self.size else ""]).strip()
