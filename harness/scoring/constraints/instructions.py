"""Prompts with verifiable instructions: rows in IFEval's form -> items, and items -> outcomes.

A row has `key`, `prompt`, `instruction_id_list` and `kwargs`, one mapping of arguments per instruction. Verdicts are
strict (the answer as it is) and loose (the best of eight readings of it, Zhou et al. 2023, arXiv 2311.07911), which
forgive an opening line ("Sure, here it is:"), a closing line, and asterisks of Markdown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.benchmark import Metric, Outcome
from harness.data.folders import folder_and_configuration
from harness.data.placed import Faults
from harness.data.readers import check_id, is_local, placed_rows
from harness.errors import UserError
from harness.policy.types import Prompt, Sampling
from harness.records import Message, TestItem

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class ConstraintItem:
    """A prompt, the types of its instructions, and the arguments of each without null ones."""

    key: str
    prompt: str
    types: tuple[str, ...]
    arguments: tuple[Mapping[str, Any], ...]

    @property
    def group(self) -> str:
        """The type of the only instruction, or "several"."""
        return self.types[0] if len(self.types) == 1 else "several"


LONGEST, LONGEST_RUN = 20_000, 1_000
"""Characters of an answer that are read, and of a run of one character. Longer answers are degenerate, and some of the
official rules take quadratic time."""


@dataclass(frozen=True)
class Followed:
    """Whether each instruction of a prompt is followed, in order."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    def metrics(self) -> dict[str, float]:
        """Whether all instructions of the prompt are followed, and the share of them that is."""
        return {
            "prompt_strict": float(all(self.strict)),
            "instruction_strict": sum(self.strict) / len(self.strict),
            "prompt_loose": float(all(self.loose)),
            "instruction_loose": sum(self.loose) / len(self.loose),
        }

    def weights(self) -> dict[str, float]:
        """The weights of the shares: a prompt with two instructions counts twice."""
        number = float(len(self.strict))
        return {"instruction_strict": number, "instruction_loose": number} if number != 1 else {}


def followed(completion: str, rules: Sequence[Callable[[str], bool]]) -> Followed:
    """Apply each rule to the answer and to its loose readings."""
    readings = loose_readings(completion)
    strict = tuple(rule(completion) for rule in rules)
    loose = tuple(known or any(map(rule, readings)) for rule, known in zip(rules, strict, strict=True))
    return Followed(strict, loose)


def loose_readings(completion: str) -> list[str]:
    """The answer whole, without the first line, the last, or both; each with and without asterisks; no duplicates."""
    lines = completion.split("\n")
    kept = [completion, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*kept, *(text.replace("*", "") for text in kept)]))


def readable(completion: str) -> str:
    """The answer cut to LONGEST characters, with runs cut to LONGEST_RUN."""
    runs = (islice(run, LONGEST_RUN) for _, run in groupby(completion[: 10 * LONGEST]))
    return completion if len(completion) <= LONGEST_RUN else "".join(chain.from_iterable(runs))[:LONGEST]


METRICS = (
    Metric("prompt_strict", "share of prompts with every instruction followed", role="quality"),
    Metric("instruction_strict", "share of instructions followed", role="quality", primary=False),
    Metric(
        "prompt_loose", "prompt_strict, forgiving an opening or closing line and asterisks", "quality", primary=False
    ),
    Metric("instruction_loose", "instruction_strict, forgiving the same", role="quality", primary=False),
)


def constraint_items(
    data: str,
    split: str,
    limit: int | None,
    known: Collection[str],
    trial: Callable[[ConstraintItem], object] | None = None,
) -> list[ConstraintItem]:
    """The items of a file, folder or hub id. Raises UserError for a row of another form, an unknown type
    or a repeated key.

    trial  called with each item, so that unusable arguments are found before the policy is asked
    """
    items: list[ConstraintItem] = []
    seen: dict[str, str] = {}
    for placed in placed_rows(data, Faults("stop"), split):
        if limit is not None and len(items) >= limit:
            break
        item = _item(placed.row, placed.where, known)
        check_id(item.key, placed.where, seen)
        if trial:
            _try(trial, item, placed.where)
        items.append(item)
    if not items:
        raise UserError("it has no rows", where=data, fix="Name a file with at least one prompt.")
    return items


def _item(row: Mapping[str, Any], where: str, known: Collection[str]) -> ConstraintItem:
    types, arguments = row.get("instruction_id_list"), row.get("kwargs")
    right = isinstance(types, list) and isinstance(arguments, list) and len(types) == len(arguments) > 0
    right = right and all(one is None or isinstance(one, Mapping) for one in arguments or ())
    if not right or not isinstance(row.get("prompt"), str):
        raise UserError(
            "the row is not a prompt with instructions",
            where=where,
            fix="A row has key, prompt, instruction_id_list and kwargs; the last two are lists of equal length.",
        )
    assert isinstance(types, list)
    assert isinstance(arguments, list)
    if unknown := [one for one in types if not isinstance(one, str) or one not in known]:
        raise UserError(
            f"no rule for the instruction {unknown[0]!r}",
            where=where,
            fix="Check that the data set fits the benchmark.",
        )
    given = tuple({k: v for k, v in (one or {}).items() if v is not None} for one in arguments)
    return ConstraintItem(str(row.get("key", where)), str(row["prompt"]), tuple(types), given)


def _try(trial: Callable[[ConstraintItem], object], item: ConstraintItem, where: str) -> None:
    try:
        trial(item)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"the arguments of {', '.join(item.types)} do not fit its rule: {error}",
            where=where,
            fix="Compare them with a row of the published set.",
        ) from error


def outcomes(
    policy: Policy,
    items: Sequence[ConstraintItem],
    sampling: Sampling,
    judge: Callable[[ConstraintItem, str], Followed],
    flags: Callable[[ConstraintItem], tuple[str, ...]],
) -> Iterator[Outcome]:
    """Ask every item once and judge the answer.

    flags  the benchmark's own flags of an item, in addition to those of its answer
    """
    prompts = [Prompt(messages=(Message("user", item.prompt),)) for item in items]
    drawn = policy.sample(prompts, sampling, [item.key for item in items])
    for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
        read = readable(completion.text)
        result = judge(item, read)
        yield Outcome(
            item=item.key,
            cluster=item.key,
            group=item.group,
            metrics=result.metrics(),
            weights=result.weights(),
            prompt=policy.encoder.prompt_text(prompt),
            completions=(completion.whole,),
            flags=(*completion.flags, *(("read in part",) if read != completion.text else ()), *flags(item)),
        )


def test_items(items: Sequence[ConstraintItem]) -> tuple[TestItem, ...]:
    """The items for the contamination check; they have no reference answers."""
    return tuple(TestItem(item.key, item.prompt) for item in items)


def digest_of_data(data: str, split: str) -> str:
    """Digest of the content of local files, or of the name of a hub data set."""
    hasher = hashlib.sha256(f"{data}\0{split}".encode() if not is_local(data) else b"")
    local = folder_and_configuration(data)
    path = local[0] / local[1] if local else Path(data)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if is_local(data) else []
    for file in files:
        if file.is_file():
            hasher.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return hasher.hexdigest()[:16]
