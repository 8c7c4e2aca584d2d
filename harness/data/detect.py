"""Which format rows are in, and why: a decision that is shown, never a silent guess."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.data.formats import Format, Kind, format_of
from harness.data.prompt_rows import TOOLS, Row
from harness.errors import UserError

NOTES = {
    "judged": "`label` says whether the answer is good: the bad ones are no demonstrations",
    "alpaca_answer": "`output` is empty or absent and `answer` is not, so these are problems, not demonstrations",
    "self_instruct": "each row has one instance",
}


@dataclass(frozen=True)
class Detection:
    """The format and kind of the rows, and the reason in words; `counts` has the rows of every format met."""

    format: str
    kind: Kind
    reason: str
    counts: dict[str, int]


def detect(rows: Iterable[Row], where: str = "") -> Detection:
    """The format that most rows are in. Raises UserError where no row is in a known one, or there are none."""
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
    # most rows, then the order of the table
    best = max(formats.values(), key=lambda known: counts[known.name])
    return Detection(best.name, best.kind, _reason(best, counts, columns, has_tools), dict(counts))


def _reason(best: Format, counts: Counter[str], columns: set[str], has_tools: bool) -> str:
    total = sum(counts.values())
    words = [f"{counts[best.name]:,} of {total:,} rows have {' and '.join(f'`{name}`' for name in best.columns)}"]
    words += [NOTES[name] for name in (best.kind, best.name) if name in NOTES]
    if has_tools and "tools" in columns and best.name.startswith(("sharegpt", "messages")):
        words.append(f"`tools` becomes part of the system turn ({TOOLS.strip()!r})")
    words += [f"{count:,} rows are {name}" for name, count in counts.most_common() if name != best.name]
    return "; ".join(words)
