"""Preference pairs of a correct answer and a wrong one whose failure is known.

Correct function calls are paired with systematic corruptions and with the model's own failures. Where a problem names
a verifier, an answer that meets all its demands is paired with one that misses some (the construction of IFBench's
preference data, arXiv 2507.02833).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.curation.corruptions import CORRUPTIONS, Pool, Site, corrupted
from harness.data.examples import Example
from harness.data.placed import Faults, Placed
from harness.data.readers import placed_rows
from harness.data.rows import as_prompt
from harness.errors import UserError, did_you_mean
from harness.records import Demonstration, Message, PreferencePair, Problem
from harness.scoring.answers.verifiers import missed
from harness.scoring.calls.failures import failure_of
from harness.scoring.calls.notations import Calling, read_calls
from harness.scoring.calls.signatures import offered

Key = str | tuple[Message, ...]


@dataclass
class Samples:
    """Completions by id and by prompt; `used` has the keys that `of` has found."""

    drawn: dict[Key, list[str]] = field(default_factory=dict)
    used: set[Key] = field(default_factory=set)
    skipped: tuple[UserError, ...] = ()

    def of(self, id: str, prompt: tuple[Message, ...]) -> list[str]:
        """The distinct completions of a row, in the order of the file."""
        keys = [key for key in (id, prompt) if key in self.drawn]
        self.used.update(keys)
        return list(dict.fromkeys(text for key in keys for text in self.drawn[key]))

    def unused(self) -> int:
        """The number of ids or prompts in the file that belong to no row."""
        return len(self.drawn) - len(self.used)


def read_own_samples(name: str, on_error: str = "stop") -> Samples:
    """Rows with `id` or `prompt`, and `completion` (a text) or `completions` (a list of texts).

    An empty completion is valid: a model may answer nothing. Raises UserError naming a row that has none.
    """
    faults, samples = Faults(on_error), Samples()
    for placed in placed_rows(name, faults):
        try:
            key, texts = _row(placed)
        except UserError as error:
            faults.add(error)
            continue
        samples.drawn.setdefault(key, []).extend(texts)
    samples.skipped = tuple(faults.skipped)
    if not samples.drawn:
        raise UserError("it holds no completions", where=name, fix="Write rows of `id` or `prompt`, and `completions`.")
    return samples


def _row(placed: Placed) -> tuple[Key, Sequence[str]]:
    row, where = placed.row, placed.where
    given = row.get("completions", [row["completion"]] if "completion" in row else None)
    if not isinstance(given, list) or not given or not all(_is_text(one) for one in given):
        raise UserError("it has no completions", where=where, fix="Give `completions` as a list of texts.")
    return _key(row, where), given


def _key(row: Mapping[str, Any], where: str) -> Key:
    if row.get("id") not in (None, ""):
        return str(row["id"])
    if "prompt" in row:
        return as_prompt(row, "prompt", where)
    raise UserError("it has neither `id` nor `prompt`", where=where, fix="Say which row was answered.")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


@dataclass
class Pairs:
    """The pairs, the number of pairs for each failure, and the reasons why prompts have none."""

    examples: list[Example] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)

    def add(self, parent: Example, id: str, prompt: Sequence[Message], answers: tuple[str, str], made: Made) -> None:
        """Add a pair of (chosen, rejected) with its provenance."""
        record = PreferencePair(tuple(prompt), *answers, f"{id}/{made.label}", parent.record.source)
        extra = {"parent": parent.record.id, "failure": made.failure, "made_by": made.by}
        self.examples.append(Example(record, "preferences", "preference", extra, parent.origin))
        self.failures[f"{made.failure} ({made.by})"] += 1


@dataclass(frozen=True)
class Made:
    """The origin of a rejected answer: its failure, and its source (corruption or model)."""

    failure: str
    by: str
    number: int = 0

    @property
    def label(self) -> str:
        """The part of the id that distinguishes the pairs of one prompt."""
        return f"{self.by}/{self.number}" if self.by == "model" else self.failure


@dataclass(frozen=True)
class Turn:
    """A turn of a set with a correct function call."""

    example: Example
    id: str
    prompt: tuple[Message, ...]
    calling: Calling
    next_said: str


def call_turns(example: Example) -> list[Turn]:
    """The turns of a demonstration, or the chosen answer of a pair, that are function calls."""
    record = example.record
    if isinstance(record, Problem):
        return []
    messages = (
        record.messages if isinstance(record, Demonstration) else (*record.prompt, Message("assistant", record.chosen))
    )
    callings = [read_calls(one.content) if one.role == "assistant" else None for one in messages]
    places = [at for at, calling in enumerate(callings) if calling]
    turns = []
    for at, calling in enumerate(callings):
        if calling:
            later = [m for m, c in zip(messages[at:], callings[at:], strict=True) if m.role == "assistant" and not c]
            id = record.id if len(places) == 1 else f"{record.id}#{at + 1}"
            turns.append(Turn(example, id, messages[:at], calling, later[0].content if later else ""))
    return turns


def call_pairs(
    examples: Sequence[Example],
    per_call: int = 1,
    seed: int = 0,
    kinds: Sequence[str] = (),
    samples: Samples | None = None,
) -> Pairs:
    """Pairs for every function call: `per_call` corruptions of different kinds, then the model's own failures.

    The kinds are balanced: a call gets those that are rarest so far and that apply to it. Raises UserError where a
    kind is unknown or no row has a call.
    """
    kinds = _checked_kinds(kinds)
    turns = [turn for example in examples for turn in call_turns(example)]
    if not turns:
        raise UserError("no answer is a function call", fix='Give rows whose assistant answers {"name", "arguments"}.')
    pool, found = _pool(examples, turns), Pairs()
    if len(examples) > len({turn.example.record.id for turn in turns}):
        found.without["no function call"] = len(examples) - len({turn.example.record.id for turn in turns})
    used: Counter[str] = Counter()
    for turn in turns:
        before = len(found.examples)
        _corruptions(turn, pool, per_call, random.Random(f"{seed} pairs {turn.id}"), kinds, used, found)
        if samples:
            _own_failures(turn, samples, found)
        if len(found.examples) == before:
            found.without["the call has no such failure"] += 1
    return found


def _checked_kinds(kinds: Sequence[str]) -> Sequence[str]:
    for kind in kinds:
        if kind not in CORRUPTIONS:
            raise UserError(f"unknown kind of failure {kind!r}", fix=did_you_mean(kind, CORRUPTIONS))
    return kinds or tuple(CORRUPTIONS)


def _pool(examples: Sequence[Example], turns: Sequence[Turn]) -> Pool:
    pool = Pool()
    for turn in turns:
        pool.add(turn.calling)
    for example in examples:
        for message in example.record.messages if isinstance(example.record, Demonstration) else ():
            if message.role == "assistant" and not read_calls(message.content):
                pool.said.append(message.content)
    return pool


def _corruptions(
    turn: Turn, pool: Pool, wanted: int, chance: random.Random, kinds: Sequence[str], used: Counter[str], found: Pairs
) -> None:
    asked = next((message.content for message in reversed(turn.prompt) if message.role == "user"), "")
    site = Site(turn.calling, offered(turn.prompt), pool, asked, turn.next_said)
    made = 0
    for kind in sorted(kinds, key=lambda kind: (used[kind], chance.random())):
        if made == wanted:
            return
        answer = corrupted(kind, site, chance)
        if answer:
            found.add(turn.example, turn.id, turn.prompt, (turn.calling.text, answer), Made(kind, "corruption"))
            used[kind] += 1
            made += 1


def _own_failures(turn: Turn, samples: Samples, found: Pairs) -> None:
    """Every distinct wrong completion of the model; those that are or may be correct are left out."""
    signatures = offered(turn.prompt)
    for number, answer in enumerate(samples.of(turn.id, turn.prompt)):
        failure = failure_of(turn.calling, answer, signatures)
        if failure and answer.strip():
            found.add(turn.example, turn.id, turn.prompt, (turn.calling.text, answer), Made(failure, "model", number))


def verifier_pairs(examples: Sequence[Example], samples: Samples, per_prompt: int = 1, seed: int = 0) -> Pairs:
    """Up to `per_prompt` pairs for each problem: a completion that misses nothing and one that misses something.

    No completion is in two pairs.
    """
    found = Pairs()
    for example in examples:
        record: Any = example.record
        drawn = samples.of(record.id, record.prompt)
        right, wrong = _sorted_answers(record, drawn)
        if not right or not wrong:
            found.without["no completion" if not drawn else "none is wrong" if right else "none is right"] += 1
            continue
        chance = random.Random(f"{seed} pairs {record.id}")
        for number, (chosen, (rejected, misses)) in enumerate(_drawn_pairs(right, wrong, per_prompt, chance)):
            made = Made(", ".join(misses), "model", number)
            found.add(example, record.id, record.prompt, (chosen, rejected), made)
    return found


def _sorted_answers(record: Problem, drawn: Sequence[str]) -> tuple[list[str], list[tuple[str, Sequence[str]]]]:
    """The correct answers, and the wrong ones with what they miss; blank answers are left out: they train nothing."""
    judged = [(text, missed(record.verifier, text, record.reference)) for text in drawn if text.strip()]
    return [text for text, misses in judged if not misses], [(text, misses) for text, misses in judged if misses]


def _drawn_pairs(
    right: list[str], wrong: list[tuple[str, Sequence[str]]], wanted: int, chance: random.Random
) -> Iterator[tuple[str, tuple[str, Sequence[str]]]]:
    chance.shuffle(right)
    chance.shuffle(wrong)
    yield from zip(right[:wanted], wrong[:wanted], strict=False)
