"""Evol-Instruct (arXiv 2304.12244): a model rewrites instructions in rounds, to be harder or on another subject."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.curation.writing.drafts import AfterRound, Draft, Generated, Sieve, ignore, seed_rows
from harness.curation.writing.filters import Novelty, instruction_fault, says_equal
from harness.curation.writing.requests import BREADTH, JUDGE, filled
from harness.curation.writing.writer import Writer
from harness.data.examples import Example


def evolve(
    examples: Sequence[Example],
    writer: Writer,
    operators: Mapping[str, str],
    *,
    rounds: int = 4,
    seed: int = 0,
    judge: bool = True,
    after_round: AfterRound = ignore,
) -> Generated:
    """Every round rewrites every instruction of the pool by an operator that the seed draws, and answers it.

    A draft that passes the filters replaces its parent in the pool; otherwise the parent is tried again in the next
    round. A rewritten instruction contains its parent by design, so the novelty filter compares it with all others (for
    the operator `breadth` also with its parent), and the judge compares it with its parent.
    """
    pool, found, novelty = seed_rows(examples), Generated(), Novelty()
    for one in pool:
        novelty.add(one.id, one.instruction)
    for number in range(1, rounds + 1):
        drafts = _rewritten(pool, writer, operators, number, seed)
        sieve = Sieve(drafts)
        _sift(sieve, {one.id: one for one in pool}, novelty, writer, judge)
        found.close_round(
            f"round {number}", len(drafts), [one.example(writer.name) for one in sieve.passed], sieve.removed
        )
        after_round(found)
        heirs = {one.parents[0]: one for one in sieve.passed}
        pool = [heirs.get(one.id, one) for one in pool]
    return found


def _rewritten(
    pool: Sequence[Draft], writer: Writer, operators: Mapping[str, str], number: int, seed: int
) -> list[Draft]:
    names = [random.Random(f"{seed} evolve {number} {one.id}").choice(list(operators)) for one in pool]
    requests = [filled(operators[name], instruction=one.instruction) for name, one in zip(names, pool, strict=True)]
    said = writer.ask(requests, [f"{number}/{one.id}/rewrite" for one in pool])
    return [
        Draft(
            f"{_root(one)}/{number}-{name}",
            text,
            name,
            number,
            (one.id, *one.parents),
            one.origin,
            cut_off=cut,
            difficulty=(one.difficulty or 0) + (name != BREADTH),
        )
        for one, name, (text, cut) in zip(pool, names, said, strict=True)
    ]


def _root(draft: Draft) -> str:
    return draft.parents[-1] if draft.parents else draft.id


def _sift(sieve: Sieve, parents: Mapping[str, Draft], novelty: Novelty, writer: Writer, judge: bool) -> None:
    sieve.drop(lambda one: instruction_fault(one.instruction, _parent(one, parents), cut_off=one.cut_off))
    if judge:
        _drop_equal(sieve, parents, writer)

    # a deeper instruction contains its ancestors; one on another subject must not
    sieve.answer_new(writer, novelty, lambda one: () if one.operator == BREADTH else one.parents)


def _parent(draft: Draft, parents: Mapping[str, Draft]) -> str:
    return parents[draft.parents[0]].instruction


def _drop_equal(sieve: Sieve, parents: Mapping[str, Draft], writer: Writer) -> None:
    """Remove drafts that add nothing to their parent, as the model judges."""
    asked = [filled(JUDGE, instruction=_parent(one, parents), other=one.instruction) for one in sieve.passed]
    deciding = replace(writer, sampling=replace(writer.sampling, temperature=0.0, max_new_tokens=8))
    said = deciding.ask(asked, [f"{one.id}/judge" for one in sieve.passed])
    equal = {one.id for one, verdict in zip(sieve.passed, said, strict=True) if says_equal(verdict.text)}
    sieve.drop(lambda one: "adds nothing to its parent" if one.id in equal else "")
