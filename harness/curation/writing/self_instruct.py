"""Self-Instruct (arXiv 2212.10560): a model continues a list of instructions, and answers the new ones.

As published, a request shows eight instructions, six of the user's and two of the model's own. The published question
whether an instruction is a classification is left out: every instruction is answered in the same way.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from harness.curation.card import joint_origin
from harness.curation.writing.drafts import AfterRound, Draft, Generated, Sieve, ignore, seed_rows
from harness.curation.writing.filters import Novelty, instruction_fault, unseen_fault
from harness.curation.writing.requests import MORE_TASKS, filled
from harness.curation.writing.writer import Writer, Written
from harness.data.examples import Example

SHOWN, SHOWN_OWN, ASKED = 8, 2, 8
NUMBERED = re.compile(r"\s*\d+\s*[.):](.*)")


def self_instruct(
    examples: Sequence[Example],
    writer: Writer,
    *,
    rounds: int = 4,
    requests: int = 8,
    seed: int = 0,
    after_round: AfterRound = ignore,
) -> Generated:
    """In every round, request eight instructions `requests` times; keep those that are new and answered well."""
    seeds, own, found, novelty = seed_rows(examples), list[Draft](), Generated(), Novelty()
    for one in seeds:
        novelty.add(one.id, one.instruction)
    for number in range(1, rounds + 1):
        drafts = _drafts(seeds, own, writer, number, requests, seed)
        sieve = Sieve(drafts)
        _sift(sieve, novelty, writer)
        kept = [one.example(writer.name) for one in sieve.passed]
        found.close_round(f"round {number}", len(drafts), kept, sieve.removed)
        after_round(found)
        own += sieve.passed
    return found


def _drafts(
    seeds: Sequence[Draft], own: Sequence[Draft], writer: Writer, number: int, requests: int, seed: int
) -> list[Draft]:
    keys = [f"self-instruct/{seed}/{number}/{at}" for at in range(requests)]
    shown = [_shown(seeds, own, random.Random(key)) for key in keys]
    said = writer.ask([_request(tasks) for tasks in shown], keys)
    # instructions of several sets are shown: the licence of each set applies to the result
    return [
        Draft(f"{key}-{at}", text, "self_instruct", number, tuple(one.id for one in tasks), _origin(tasks), cut_off=cut)
        for key, tasks, written in zip(keys, shown, said, strict=True)
        for at, (text, cut) in enumerate(_listed(written), 1)
    ]


def _origin(tasks: Sequence[Draft]) -> str:
    return joint_origin([one.origin for one in tasks])


def _shown(seeds: Sequence[Draft], own: Sequence[Draft], chance: random.Random) -> list[Draft]:
    of_own = chance.sample(list(own), min(SHOWN_OWN, len(own)))
    chosen = of_own + chance.sample(list(seeds), min(SHOWN - len(of_own), len(seeds)))
    chance.shuffle(chosen)
    return chosen


def _request(tasks: Sequence[Draft]) -> str:
    lines = [f"{at}. {' '.join(one.instruction.split())}" for at, one in enumerate(tasks, 1)]
    return filled(MORE_TASKS, examples="\n".join(lines), count=str(ASKED), first=str(len(tasks) + 1))


def _listed(written: Written) -> list[Written]:
    """The numbered lines, at most as many as requested; in a text that was cut off the last line is cut off."""
    numbered = (NUMBERED.fullmatch(line) for line in written.text.split("\n"))
    found = [line[1].strip() for line in numbered if line and line[1].strip()]
    ended = [Written(text, False) for text in found]
    if written.cut_off and ended:
        ended[-1] = Written(found[-1], True)
    # a reply without numbered lines gives one empty draft, so that the funnel shows it
    return ended[:ASKED] or [Written("", written.cut_off)]


def _sift(sieve: Sieve, novelty: Novelty, writer: Writer) -> None:
    sieve.drop(lambda one: instruction_fault(one.instruction, cut_off=one.cut_off) or unseen_fault(one.instruction))
    sieve.answer_new(writer, novelty)
