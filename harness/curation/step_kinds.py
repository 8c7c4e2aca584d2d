"""The steps of a curation pipeline. Each takes the examples and a seed, and accounts for every one of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.curation.duplicates import Duplicate, exact_duplicates, near_duplicates
from harness.curation.k_center import k_center
from harness.curation.scrub import scrub_example
from harness.curation.stack_exchange import refusal_of, without_markup
from harness.data.examples import Example, answer_text, prompt_text, whole_text
from harness.errors import UserError
from harness.policy.noise import stream_of

Examples = tuple[Example, ...]
PLACEHOLDER = re.compile(r"\{\{\s*\w+\s*\}\}|\[(?:INSERT|YOUR) [A-Z ]+\]")


@dataclass(frozen=True)
class StepResult:
    """The examples that go on, those removed with the reason of each, and how many were changed."""

    kept: Examples
    removed: tuple[tuple[Example, str], ...]
    changed: int = 0


def judged_good(examples: Examples, *, seed: int) -> StepResult:
    """Of judged answers those labelled good, as demonstrations. Other examples go on as they are."""
    good = [one for one in examples if one.kind != "judged" or one.extra["label"]]
    bad = tuple((one, "labelled bad") for one in examples if one.kind == "judged" and not one.extra["label"])
    kept = tuple(replace(one, kind="demonstrations") for one in good)
    return StepResult(kept, bad, sum(one.kind == "judged" for one in good))


def without_exact_duplicates(examples: Examples, *, seed: int) -> StepResult:
    """The first of the rows whose text is the same but for spacing."""
    return _without(examples, exact_duplicates(whole_text(one.record) for one in examples))


def without_near_duplicates(examples: Examples, *, seed: int, threshold: float = 0.8) -> StepResult:
    """The first of the rows that share at least `threshold` of their 5-word shingles."""
    return _without(examples, near_duplicates((whole_text(one.record) for one in examples), threshold, seed))


def _without(examples: Examples, found: Sequence[Duplicate]) -> StepResult:
    repeated = {one.row: one for one in found}
    kept = tuple(one for row, one in enumerate(examples) if row not in repeated)
    return StepResult(kept, tuple((examples[one.row], "repeats an earlier row") for one in found))


def length(
    examples: Examples, *, seed: int, min_characters: int = 1, max_characters: int = 10**9, max_prompt: int = 10**9
) -> StepResult:
    """Answers within the bounds, in characters, and prompts up to `max_prompt`."""

    def reason(one: Example) -> str:
        characters = len(answer_text(one.record))
        if characters < min_characters:
            return f"answer under {min_characters} characters"
        if characters > max_characters:
            return f"answer over {max_characters} characters"
        return f"prompt over {max_prompt} characters" if len(prompt_text(one.record)) > max_prompt else ""

    return _judged(examples, reason)


def quality(examples: Examples, *, seed: int) -> StepResult:
    """No answer that echoes its prompt, repeats its own lines, or has a placeholder left to fill."""

    def reason(one: Example) -> str:
        answer, asked = answer_text(one.record), prompt_text(one.record)
        lines = [line.strip() for line in answer.split("\n") if line.strip()]
        if answer.strip() == asked.strip():
            return "echoes its prompt"
        if len(lines) >= 4 and len(set(lines)) <= len(lines) / 2:
            return "repeats its own lines"
        return "a placeholder is left" if PLACEHOLDER.search(answer) else ""

    return _judged(examples, reason)


def stack_exchange(examples: Examples, *, seed: int, min_score: int = 10) -> StepResult:
    """LIMA's rules for Stack Exchange answers (arXiv 2305.11206, section 2.1)."""
    cleaned = tuple(without_markup(one) for one in examples)
    changed = sum(new is not old for new, old in zip(cleaned, examples, strict=True))
    return replace(_judged(cleaned, lambda one: refusal_of(one, min_score)), changed=changed)


def scrub(examples: Examples, *, seed: int) -> StepResult:
    """Personal data becomes a placeholder, in the text and in every further column."""
    scrubbed = tuple(scrub_example(one) for one in examples)
    changed = sum(new is not old for new, old in zip(scrubbed, examples, strict=True))
    outcome = _judged(scrubbed, lambda one: "its two answers are now equal" if _equal_answers(one) else "")
    return replace(outcome, changed=changed)


def _equal_answers(example: Example) -> bool:
    record: Any = example.record
    return example.kind == "preferences" and bool(record.chosen == record.rejected)


def best(examples: Examples, *, seed: int, n: int, column: str) -> StepResult:
    """The n rows with the highest number in a further column: the plug for a quality scorer."""
    scores = [one.extra.get(column) for one in examples]
    for one, score in zip(examples, scores, strict=True):
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise UserError(f"{one.record.id}: `{column}` is {score!r}, not a number", fix="Score every row first.")
    ranked = sorted(range(len(examples)), key=lambda at: (-scores[at], _draw(seed, examples[at])))  # type: ignore[operator]
    return _chosen(examples, ranked, n, f"a lower `{column}`")


def score(
    examples: Examples,
    *,
    seed: int,
    scorer: str,
    model: str = "",
    device: str = "cpu",
    below: float = math.inf,
    above: float = -math.inf,
) -> StepResult:
    """Write a scorer's number (none, ifd or reward) into a column of its name; rows outside the bounds are removed."""
    if scorer == "none":
        return StepResult(examples, ())
    from harness.curation.quality import quality_scores

    numbers = quality_scores(examples, scorer, model, device)
    scored = tuple(replace(e, extra={**e.extra, scorer: number}) for e, number in zip(examples, numbers, strict=True))

    def reason(one: Example) -> str:
        # a number that is none (an overflow) is within no bounds
        found = float(one.extra[scorer])
        if math.isnan(found) or found >= below:
            return f"{scorer} of {below:g} or more"
        return "" if found > above else f"{scorer} of {above:g} or less"

    return replace(_judged(scored, reason), changed=len(scored))


def diverse(examples: Examples, *, seed: int, n: int, model: str = "") -> StepResult:
    """Exactly n rows that lie far apart: k-center over the prompts' TF-IDF, or over a model's embeddings of them."""
    if n < len(examples):
        far = k_center([prompt_text(one.record) for one in examples], n, seed, model)
        return _chosen(examples, far, n, "near a chosen row")
    return _chosen(examples, range(len(examples)), n, "")


def sample(examples: Examples, *, seed: int, n: int) -> StepResult:
    """Exactly n rows, drawn by seed; a smaller sample lies inside a larger one."""
    ranked = sorted(range(len(examples)), key=lambda at: (_draw(seed, examples[at]), at))
    return _chosen(examples, ranked, n, "not drawn")


def _draw(seed: int, example: Example) -> int:
    return stream_of("curate", seed, example.record.id)


def _chosen(examples: Examples, ranked: Sequence[int], n: int, reason: str) -> StepResult:
    """The first n of the ranked rows, in their own order."""
    if not 0 < n <= len(examples):
        raise UserError(f"{n} rows are asked of {len(examples)}", fix="Ask for fewer, loosen a step, or add a source.")
    chosen = set(ranked[:n])
    kept = tuple(one for at, one in enumerate(examples) if at in chosen)
    return StepResult(kept, tuple((one, reason) for at, one in enumerate(examples) if at not in chosen))


def _judged(examples: Examples, reason: Callable[[Example], str]) -> StepResult:
    reasons = [reason(one) for one in examples]
    kept = tuple(one for one, why in zip(examples, reasons, strict=True) if not why)
    return StepResult(kept, tuple((one, why) for one, why in zip(examples, reasons, strict=True) if why))


STEPS: dict[str, Callable[..., StepResult]] = {
    "judged_good": judged_good,
    "exact_duplicates": without_exact_duplicates,
    "near_duplicates": without_near_duplicates,
    "length": length,
    "quality": quality,
    "stack_exchange": stack_exchange,
    "scrub": scrub,
    "score": score,
    "best": best,
    "diverse": diverse,
    "sample": sample,
}
