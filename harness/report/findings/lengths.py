"""How long the answers are, and how many are empty or were cut: a gain that comes with length is seen here.

Words are what white space separates. Means over the answers that are kept in samples.parquet; they describe, and
nothing is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.collect import Block
from harness.report.numbers.matrix import Matrix
from harness.report.render import text
from harness.report.render.document import Column, Paragraph, Part, Table, TableCell

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Lengths:
    """Of one method's answers to one benchmark.

    words  per answer, on average
    empty  share of answers without a word
    cut    share of prompts that lost their left end
    """

    answers: int
    words: float
    empty: float
    cut: float


def lengths_of(samples: pandas.DataFrame) -> Mapping[tuple[str, str], Lengths]:
    """(method, benchmark) -> its answers' lengths, where there are answers. `samples` are those of one block."""
    found = {}
    for (method, benchmark), own in samples.groupby(["method", "benchmark"], sort=True):
        answers = [answer for texts in own["completions"] for answer in texts]
        if answers:
            words = [len(answer.split()) for answer in answers]
            cut = sum("truncated" in flags for flags in own["flags"])
            empty = sum(count == 0 for count in words)
            found[str(method), str(benchmark)] = Lengths(
                len(answers), sum(words) / len(words), empty / len(words), cut / len(own)
            )
    return found


def length_parts(block: Block, matrix: Matrix) -> Iterator[Part]:
    """A row for each method, a column for each benchmark that asks for answers."""
    lengths = lengths_of(block.samples) if block.samples is not None else {}
    benchmarks = [b.label for b in matrix.benchmarks if any((m.label, b.label) in lengths for m in block.methods)]
    if not benchmarks:
        return
    yield Paragraph(
        "Words per answer, with the share of empty answers where there are any, and of prompts that lost their left "
        "end. A metric that rewards length, or a judge that likes it, is to be read beside these."
    )
    columns = (Column("method", left=True), *(Column(name, "words per answer") for name in benchmarks))
    rows = []
    for method in block.methods:
        own = [lengths.get((method.label, name)) for name in benchmarks]
        if any(own):
            rows.append((TableCell(method.label), *(_cell(one) for one in own)))
    yield Table(columns, tuple(rows), caption="Length of the answers")


def _cell(found: Lengths | None) -> TableCell:
    if found is None:
        return TableCell(text.BLANK, mood="blank")
    said = [f"{100 * found.empty:.1f} % empty"] if found.empty else []
    said += [f"{100 * found.cut:.1f} % of prompts cut"] if found.cut else []
    return TableCell(f"{found.words:.1f}", small=", ".join(said), note=f"{found.answers:,} answers")
