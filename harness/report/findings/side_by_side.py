"""Some prompts with every method's answer: the items on which the methods differ most, chosen without chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy

from harness.report.collect import Block
from harness.report.numbers.matrix import Matrix
from harness.report.render.document import Answer, ShownItem

if TYPE_CHECKING:
    import pandas

    from harness.report.numbers.panel import Measured


MOST_EXAMPLES = 24
MOST_OF_BENCHMARK = 6


def examples_of(block: Block, matrix: Matrix, blocks: int = 1) -> tuple[ShownItem, ...]:
    """At most 24 examples over all `blocks`, at most six of a benchmark, by its first primary metric."""
    firsts: dict[str, Measured] = {}
    for one in sorted(block.measured, key=lambda one: not one.metric.primary):
        firsts.setdefault(one.metric.benchmark, one)
    chosen = [firsts[b.label] for b in matrix.benchmarks if b.label in firsts and firsts[b.label].panel.methods]
    samples = block.samples
    if matrix.judged and samples is not None:  # of long logs only some texts are kept, and tables have none
        samples = samples[samples["prompt"] != ""]
    if not chosen or samples is None or not has_texts(samples):
        return ()
    allowed = max(MOST_EXAMPLES // blocks, 1)
    each = max(min(MOST_OF_BENCHMARK, allowed // len(chosen)), 1)
    found = [list(_of_benchmark(samples, one, matrix, each)) for one in chosen]
    # the first of every benchmark, then the second, so that a shorter list includes every benchmark
    examples = [example for rank in zip_longest(*found) for example in rank if example is not None]
    return tuple(examples[:allowed])


def has_texts(samples: pandas.DataFrame) -> bool:
    """Whether any sample has its prompt or an answer: a run with `keep_texts: false` writes neither."""
    return bool((samples["prompt"].fillna("") != "").any()) or any(map(len, samples["completions"].to_numpy()))


def _of_benchmark(samples: pandas.DataFrame, one: Measured, matrix: Matrix, most: int) -> Iterator[ShownItem]:
    labels = [method.label for method in matrix.methods if method.label in {*one.panel.methods, *one.panel.constants}]
    values = numpy.stack([one.panel.scores_of(label)[0] for label in labels])
    own = samples[samples["benchmark"] == one.metric.benchmark]
    if matrix.judged:
        kept = set(zip(own["group"], own["item"], strict=True))
        places = zip(one.panel.groups, one.panel.items, strict=True)
        values[:, [place not in kept for place in places]] = numpy.nan
    for index in _most_different(values, one, most):
        item, group = str(one.panel.items[index]), str(one.panel.groups[index])
        rows = own[(own["item"] == item) & (own["group"] == group)]
        example = _example(rows, one, labels, values[:, index], item, group, matrix.baseline)
        if example is not None:
            yield example


def _most_different(values: Any, one: Measured, most: int) -> list[int]:
    """Items by decreasing variance between methods, from groups not yet shown where possible."""
    seen = ~numpy.isnan(values).all(axis=0)
    spread = numpy.full(values.shape[1], -1.0)
    spread[seen] = numpy.nanvar(values[:, seen], axis=0)
    order = sorted(range(len(spread)), key=lambda index: (-spread[index], index))
    order = [index for index in order if spread[index] > 0] or order[:1]
    chosen: list[int] = []
    while order and len(chosen) < most:
        shown = {one.panel.groups[index] for index in chosen}
        following = next((index for index in order if one.panel.groups[index] not in shown), order[0])
        chosen.append(following)
        order.remove(following)
    return chosen


def _example(
    rows: pandas.DataFrame,
    one: Measured,
    labels: Sequence[str],
    values: Any,
    item: str,
    group: str,
    baseline: str | None,
) -> ShownItem | None:
    """The item at each method's first seed; the prompt shown is the baseline's, or the first method's."""
    found = {}
    for label, value in zip(labels, values, strict=True):
        of_method = rows[rows["method"] == label].sort_values("seed", kind="stable")
        if len(of_method):
            found[label] = (of_method.iloc[0], None if numpy.isnan(value) else float(value))
    if not found:
        return None
    shown = found.get(str(baseline), next(iter(found.values())))[0]
    return ShownItem(
        benchmark=one.metric.benchmark,
        metric=one.metric.name,
        item=item,
        group=group,
        seed=int(shown["seed"]),
        prompt=str(shown["prompt"]),
        reference=str(shown["reference"] or ""),
        answers=tuple(_answer(label, row, value, one, str(shown["prompt"])) for label, (row, value) in found.items()),
    )


def _answer(label: str, row: Any, value: float | None, one: Measured, prompt: str) -> Answer:
    correct = value == 1 if one.scale.binary and one.metric.higher_is_better and value is not None else None
    return Answer(
        method=label,
        completions=tuple(str(text) for text in (row["completions"] if row["completions"] is not None else ())),
        value=value,
        correct=correct,
        own_prompt="" if row["prompt"] == prompt else str(row["prompt"]),
        flags=tuple(str(flag) for flag in (row["flags"] if row["flags"] is not None else ())),
    )
