"""The formats of rows: how each is recognised, read into a record, and written back.

A format names the columns it needs. A row's format is the first one in FORMATS that recognises it, so the more
specific formats come first. Content that a record cannot hold (further columns, other spellings) is kept in an
Example: see examples.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from harness.data.placed import Row
from harness.data.preference_rows import read_pair, write_conversations, write_pair, write_sharegpt_pair
from harness.data.rows import (
    INPUT_COLUMNS,
    LABELS,
    SYSTEM_COLUMNS,
    TOOL_COLUMNS,
    TOOLS,
    check_columns,
    joined_text,
    label_in,
    labelled,
    prompt_value,
    read_alpaca,
    read_alpaca_answer,
    read_boxed,
    read_completion,
    read_problem,
    read_question,
    read_self_instruct,
    read_turns_column,
    with_thoughts,
    write_alpaca,
    write_completion,
    write_problem,
)
from harness.data.turns import THOUGHT_KEYS, is_sharegpt, is_turns, write_openai, write_sharegpt
from harness.errors import UserError
from harness.records import Demonstration, PreferencePair, Record

Kind = Literal["demonstrations", "preferences", "problems", "judged"]
ReadRow = Callable[[Row, str, str], Record]
WriteRow = Callable[[Any], dict[str, Any]]
# columns that a format reads in addition to those it needs; an edited record no longer agrees with them
OPTIONAL = frozenset(
    {*INPUT_COLUMNS, *SYSTEM_COLUMNS, *TOOL_COLUMNS, *THOUGHT_KEYS, "history", "output", "answer", "label"}
    | {"completion", "response"}
)


@dataclass(frozen=True)
class Format:
    """One way of writing a row.

    columns     the columns it needs
    recognises  a further condition under which detection chooses it (always true by default)
    read        (row, where, id) -> record; raises UserError
    write       record -> the row's content columns
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    read: ReadRow
    write: WriteRow
    recognises: Callable[[Row], bool] = lambda row: True

    def fits(self, row: Row) -> bool:
        """Whether the row has the columns; Arrow fills columns that only other rows have with nulls."""
        return all(row.get(name) is not None for name in self.columns)

    def record(self, row: Row, where: str, id: str) -> Record:
        """The record of a row. Raises UserError where the row cannot be trained as it says."""
        try:
            check_columns(row, where)
            return with_thoughts(self.read(row, where, id), row, where)
        except RecursionError:
            raise UserError("a column is nested too deeply", where=where, fix="Fix or remove it.") from None

    @property
    def further(self) -> frozenset[str]:
        """The columns that it reads where a row has them, unless its prompt is a list of turns."""
        own = {"id", "source", *self.columns, *SYSTEM_COLUMNS, *TOOL_COLUMNS}
        if not {"messages", "conversations", "conversation"} & {*self.columns}:
            own |= {*INPUT_COLUMNS, "history"}
        if self.kind in ("demonstrations", "judged"):
            own |= {*THOUGHT_KEYS}
        return frozenset(
            own | ({"verifier"} if self.kind == "problems" else {*LABELS} if self.kind == "judged" else set())
        )

    def recognised(self, row: Row) -> bool:
        """Whether detection chooses this format if no earlier one fits."""
        return self.fits(row) and self.recognises(row)


def format_of(row: Row) -> Format | None:
    """The format that detection chooses for the row, or None."""
    found = next((known for known in FORMATS if known.recognised(row)), None)
    # a row whose own column is null is named by the format that it would have
    return found or next((known for known in FORMATS if set(known.columns) <= set(row) and known.recognises(row)), None)


def by_name(name: str) -> Format:
    """The format of that name."""
    return next(known for known in FORMATS if known.name == name)


def unknown(row: Row, where: str, kind: str = "") -> UserError:
    """The error for a row that fits no format of this kind (any kind, by default)."""
    wanted = [known for known in FORMATS if kind in ("", known.kind) and known.name in SHOWN]
    return UserError(
        f"its columns are {', '.join(sorted(map(str, row))) or 'none'}",
        where=where,
        fix="A row needs " + ", or ".join(_words(known.columns) for known in wanted) + ".",
    )


def _words(columns: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in columns]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _problem_format(asked: str, key: str) -> Format:
    read, write = partial(read_problem, asked, key), partial(write_problem, asked, key)
    return Format(f"{asked}_{key}", "problems", (asked, key), read, write)


def _completion_format(asked: str, column: str) -> Format:
    read, write = partial(read_completion, asked, column), partial(write_completion, asked, column)
    return Format(f"{asked}_{column}", "demonstrations", (asked, column), read, write)


def _turns_format(name: str, kind: Kind, column: str, recognises: Callable[[Row], bool]) -> Format:
    def write(record: Demonstration) -> dict[str, Any]:
        write_turns = write_openai if name.startswith(("messages", "conversation")) else write_sharegpt
        return {column: write_turns(record.messages)}

    read = partial(read_turns_column, column)
    if kind == "judged":
        return _judged_format(name, (column,), read, write, recognises)
    return Format(name, kind, (column,), read, write, recognises)


def _judged_format(
    name: str, columns: tuple[str, ...], read: ReadRow, write: WriteRow, recognises: Callable[[Row], bool]
) -> Format:
    def checked(row: Row, where: str, id: str) -> Record:
        label_in(row, where)
        return read(row, where, id)

    return Format(name, "judged", columns, checked, write, recognises)


def _pair_format(name: str, asked: str, ending: str) -> Format:
    """Pairs whose prompt is in the column `asked`, or with "" the beginning that both answers share."""

    def recognises(row: Row) -> bool:
        # `messages` beside whole conversations repeats one of them
        return asked != "messages" or not is_turns(row["chosen" + ending])

    def write(record: PreferencePair) -> dict[str, Any]:
        if ending or not asked:
            return write_conversations(ending, record)
        return write_sharegpt_pair(record) if asked == "conversations" else write_pair(asked, record)

    answers = (f"chosen{ending}", f"rejected{ending}")
    columns = (asked, *answers) if asked else answers
    return Format(name + ending, "preferences", columns, partial(read_pair, asked, ending), write, recognises)


def _has_label(row: Row) -> bool:
    return any(name in row for name in LABELS)


# further names of a prompt and its completion
ASKED_AND_ANSWERED = (("question", "response"), ("query", "response"), ("input", "output"), ("problem", "solution"))
FORMATS: tuple[Format, ...] = (
    *(
        _pair_format(name, asked, ending)
        for ending in ("", "_messages")
        for name, asked in (
            ("preference", "prompt"),
            ("sharegpt_pair", "conversations"),
            ("question_pair", "question"),
            ("alpaca_pair", "instruction"),
            ("input_pair", "input"),
            ("messages_pair", "messages"),
            ("implicit_pair", ""),
        )
    ),
    _turns_format("messages_judged", "judged", "messages", _has_label),
    _turns_format("sharegpt_judged", "judged", "conversations", _has_label),
    _turns_format("conversation_judged", "judged", "conversation", labelled),
    *(
        _judged_format(
            f"{column}_judged",
            ("prompt", column),
            partial(read_completion, "prompt", column),
            partial(write_completion, "prompt", column),
            _has_label,
        )
        for column in ("completion", "response")
    ),
    # here `label` may also be the class that the row is an example of
    *(
        _judged_format(
            name, ("instruction", column), partial(read_alpaca, column), partial(write_alpaca, column), labelled
        )
        for name, column in (("alpaca_judged", "output"), ("instruction_judged", "response"))
    ),
    *(
        _judged_format(
            f"{asked}_{column}_judged",
            (asked, column),
            partial(read_completion, asked, column),
            partial(write_completion, asked, column),
            labelled,
        )
        for asked, column in ASKED_AND_ANSWERED
    ),
    _turns_format("sharegpt", "demonstrations", "conversations", lambda row: True),
    _turns_format("conversation", "demonstrations", "conversation", lambda row: is_turns(row["conversation"])),
    _turns_format("sharegpt_messages", "demonstrations", "messages", lambda row: is_sharegpt(row["messages"])),
    _turns_format("messages", "demonstrations", "messages", lambda row: True),
    Format(
        "self_instruct",
        "demonstrations",
        ("instruction", "instances"),
        read_self_instruct,
        lambda record: {
            "instruction": joined_text(record.messages[:-1]),
            "instances": [{"input": "", "output": record.messages[-1].content}],
        },
    ),
    Format(
        "alpaca_answer",
        "problems",
        ("instruction", "answer"),
        read_alpaca_answer,
        lambda record: {"instruction": joined_text(record.prompt), "answer": record.reference},
        # with a non-empty `output` the row is a demonstration, and `answer` is a further column
        lambda row: row.get("output") in (None, ""),
    ),
    *(
        Format(
            name, "demonstrations", ("instruction", column), partial(read_alpaca, column), partial(write_alpaca, column)
        )
        for name, column in (("alpaca", "output"), ("instruction_response", "response"))
    ),
    *(_completion_format("prompt", column) for column in ("completion", "response")),
    *(
        _problem_format(asked, key)
        for asked, key in (
            ("prompt", "reference"),
            ("prompt", "answer"),
            ("question", "reference"),
            ("question", "answer"),
            ("problem", "answer"),
        )
    ),
    # never detected, since `question_answer` comes first; fine-tuning on GSM8K asks for it by kind
    Format(
        "question_as_demonstration",
        "demonstrations",
        ("question", "answer"),
        read_question,
        lambda record: {"question": record.messages[-2].content, "answer": record.messages[-1].content},
    ),
    *(_completion_format(asked, column) for asked, column in ASKED_AND_ANSWERED),
    # never detected, since `problem_solution` comes first; sampling answers to MATH asks for it by kind
    Format(
        "boxed_problem",
        "problems",
        ("problem", "solution"),
        read_boxed,
        lambda record: {"problem": prompt_value(record.prompt)},
    ),
)
# the formats that an error message suggests
SHOWN = {"messages", "sharegpt", "alpaca", "prompt_completion", "preference", "sharegpt_pair"} | {
    "prompt_reference",
    "question_answer",
    "alpaca_answer",
}
# the format in which bakeoff writes each kind
CANONICAL: dict[str, Format] = {
    "demonstrations": by_name("messages"),
    "judged": by_name("messages_judged"),
    "preferences": by_name("preference"),
    "problems": by_name("prompt_reference"),
}


NOTES = {
    "judged": "`label` says whether the answer is good: bad answers are not demonstrations",
    "alpaca_answer": "`output` is empty or absent and `answer` is not, so these are problems, not demonstrations",
    "self_instruct": "each row has one instance",
}


@dataclass(frozen=True)
class Detection:
    """The format and kind of the rows, and the reason in words; `counts` has the number of rows in each format."""

    format: str
    kind: Kind
    reason: str
    counts: dict[str, int]


def detect(rows: Iterable[Row], where: str = "") -> Detection:
    """The format of most rows. Raises UserError where no row is in a known format, or there are no rows."""
    counts: Counter[str] = Counter()
    formats: dict[str, Format] = {}
    columns: set[str] = set()
    has_tools = False
    for row in rows:
        found = format_of(row)
        counts[found.name if found else "unknown"] += 1
        columns |= set(map(str, row))
        has_tools = has_tools or bool(row.get("tools"))
        if found:
            formats[found.name] = found
    if not counts:
        raise UserError("it has no rows", where=where, fix="Give at least one row.")
    if not formats:
        raise UserError(
            f"no known format: its columns are {', '.join(sorted(columns)) or 'none'}",
            where=where,
            fix="See the formats in README.md; rename the columns, or write rows of `messages`.",
        )
    # ties go to the format that occurs first in the file
    best = max(formats.values(), key=lambda known: counts[known.name])
    return Detection(best.name, best.kind, _reason(best, counts, columns, has_tools), dict(counts))


def _reason(best: Format, counts: Counter[str], columns: set[str], has_tools: bool) -> str:
    total = sum(counts.values())
    label = [name for name in LABELS if best.kind == "judged" and name in columns][:1]
    words = [f"{counts[best.name]:,} of {total:,} rows have {_words([*best.columns, *label])}"]
    words += [NOTES[name] for name in (best.kind, best.name) if name in NOTES]
    if has_tools and "tools" in columns and best.name.startswith(("sharegpt", "messages")):
        words.append(f"`tools` becomes part of the system turn ({TOOLS.strip()!r})")
    words += [f"{count:,} rows are {name}" for name, count in counts.most_common() if name != best.name]
    return "; ".join(words)
