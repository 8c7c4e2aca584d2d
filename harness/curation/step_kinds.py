"""The steps of a curation pipeline. Each takes examples and a seed, and accounts for every example."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.curation.duplicates import Duplicate, exact_duplicates, near_duplicates
from harness.data.examples import Example, answer_text, prompt_text, whole_text, with_texts
from harness.data.words import words_of
from harness.errors import UserError
from harness.policy.noise import stream_of

Examples = tuple[Example, ...]
PLACEHOLDER = re.compile(r"\{\{\s*\w+\s*\}\}|\[(?:INSERT|YOUR) [A-Z ]+\]")
# bounds and patterns of LIMA's rules for Stack Exchange
SHORTEST, LONGEST = 1200, 4096
FIRST_PERSON = re.compile(r"\bI\b(?!/O)|\bI['’](?:m|ve|d|ll)\b|\b[Mm]y\b")
OTHER_ANSWERS = re.compile(
    r"\bas mentioned\b|\bstack ?(?:exchange|overflow)\b|\b(?:other|above|previous|accepted) answers?\b", re.I
)
IMAGE = re.compile(r"<img\b[^>]*>|!\[[^\]]*\]\([^)]*\)", re.I)
LINK = re.compile(r"<a\b[^>]*>(.*?)</a>|\[([^\]]+)\]\((?:https?:)?[^)\s]*\)", re.I | re.S)
TAG = re.compile(r"</?(?!(?:pre|code|ul|ol|li)\b)[a-z][^<>]*>", re.I)
CODE = re.compile(r"(<pre\b.*?</pre>|<code\b.*?</code>|```.*?```|`[^`\n]+`)", re.I | re.S)
# personal data with a recognisable form
CARD = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")
FORMS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("[EMAIL]", re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")),
    ("[KEY]", re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{30,}")),
    ("[KEY]", re.compile(r"\bAKIA[A-Z0-9]{16}\b|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")),
    ("[IBAN]", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),
    ("[SSN]", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")),
    ("[IP]", re.compile(r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]\d|\w)")),
    ("[PHONE]", re.compile(r"(?<![\w+])\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}(?!\w)")),
    ("[PHONE]", re.compile(r"(?<![\w(])(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}(?![\w-])")),
)


@dataclass(frozen=True)
class StepResult:
    """The kept examples, the removed ones with their reasons, and the number of changed ones."""

    kept: Examples
    removed: tuple[tuple[Example, str], ...]
    changed: int = 0


def judged_good(examples: Examples, *, seed: int) -> StepResult:
    """Keep the judged answers labelled good, as demonstrations; other examples are kept unchanged."""
    good = [one for one in examples if one.kind != "judged" or one.extra["label"]]
    bad = tuple((one, "labelled bad") for one in examples if one.kind == "judged" and not one.extra["label"])
    kept = tuple(replace(one, kind="demonstrations") if one.kind == "judged" else one for one in good)
    return StepResult(kept, bad, sum(one.kind == "judged" for one in good))


def without_exact_duplicates(examples: Examples, *, seed: int) -> StepResult:
    """Keep the first of all rows with the same text except for spacing."""
    return _without(examples, exact_duplicates(whole_text(one.record) for one in examples))


def without_near_duplicates(examples: Examples, *, seed: int, threshold: float = 0.8) -> StepResult:
    """Keep the first of all rows that share at least `threshold` of their 5-word shingles."""
    return _without(examples, near_duplicates((whole_text(one.record) for one in examples), threshold, seed))


def _without(examples: Examples, found: Sequence[Duplicate]) -> StepResult:
    repeated = {one.row: one for one in found}
    kept = tuple(one for row, one in enumerate(examples) if row not in repeated)
    return StepResult(kept, tuple((examples[one.row], "repeats an earlier row") for one in found))


def length(
    examples: Examples, *, seed: int, min_characters: int = 1, max_characters: int = 10**9, max_prompt: int = 10**9
) -> StepResult:
    """Keep answers within the bounds, in characters, whose prompts have up to `max_prompt` characters."""

    def reason(one: Example) -> str:
        characters = len(answer_text(one.record))
        if characters < min_characters:
            return f"answer under {min_characters} characters"
        if characters > max_characters:
            return f"answer over {max_characters} characters"
        return f"prompt over {max_prompt} characters" if len(prompt_text(one.record)) > max_prompt else ""

    return _judged(examples, reason)


def quality(examples: Examples, *, seed: int) -> StepResult:
    """Remove answers that echo their prompt, repeat their own lines, or have an unfilled placeholder."""

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
    """LIMA's rules for Stack Exchange answers (Zhou et al. 2023, arXiv 2305.11206, section 2.1).

    A score of at least `min_score`, between 1,200 and 4,096 characters, not in the first person, no reference to other
    answers; links, images and HTML are removed, except code and lists.
    """
    return _judged(examples, lambda one: refusal_of(one, min_score), without_markup)


def scrub(examples: Examples, *, seed: int) -> StepResult:
    """Replace personal data by a placeholder, in the text and in every further column.

    Addresses, numbers and keys are found by their form. Names have none and remain: the risk is lower, not zero.
    """
    return _judged(examples, lambda one: "its two answers are now equal" if _equal_answers(one) else "", scrub_example)


def _equal_answers(example: Example) -> bool:
    record: Any = example.record
    return example.kind == "preferences" and bool(record.chosen == record.rejected)


def best(examples: Examples, *, seed: int, n: int, column: str) -> StepResult:
    """Keep the n rows with the highest number in a further column, such as a quality score."""
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
    """Write the number of a scorer (none, ifd or reward) into a column of that name; remove rows outside the bounds."""
    if scorer == "none":
        return StepResult(examples, ())
    from harness.curation.quality import quality_scores

    numbers = quality_scores(examples, scorer, model, device)
    scored = tuple(replace(e, extra={**e.extra, scorer: number}) for e, number in zip(examples, numbers, strict=True))

    def reason(one: Example) -> str:
        # NaN (after an overflow) is outside all bounds
        found = float(one.extra[scorer])
        if math.isnan(found) or found >= below:
            return f"{scorer} of {below:g} or more"
        return "" if found > above else f"{scorer} of {above:g} or less"

    return replace(_judged(scored, reason), changed=len(scored))


def diverse(examples: Examples, *, seed: int, n: int, model: str = "") -> StepResult:
    """Keep exactly n rows that are far apart: k-center over the prompts' TF-IDF, or over a model's embeddings."""
    if n < len(examples):
        far = k_center([prompt_text(one.record) for one in examples], n, seed, model)
        return _chosen(examples, far, n, "near a chosen row")
    return _chosen(examples, range(len(examples)), n, "")


def sample(examples: Examples, *, seed: int, n: int) -> StepResult:
    """Keep exactly n rows, drawn by seed; a smaller sample is part of a larger one."""
    ranked = sorted(range(len(examples)), key=lambda at: (_draw(seed, examples[at]), at))
    return _chosen(examples, ranked, n, "not drawn")


def _draw(seed: int, example: Example) -> int:
    return stream_of("curate", seed, example.record.id)


def _chosen(examples: Examples, ranked: Sequence[int], n: int, reason: str) -> StepResult:
    """The first n of the ranked rows, in their own order."""
    if not 0 < n <= len(examples):
        raise UserError(f"{n} rows are wanted of {len(examples)}", fix="Ask for fewer, loosen a step, or add a source.")
    chosen = set(ranked[:n])
    kept = tuple(one for at, one in enumerate(examples) if at in chosen)
    return StepResult(kept, tuple((one, reason) for at, one in enumerate(examples) if at not in chosen))


def _judged(
    examples: Examples, reason: Callable[[Example], str], change: Callable[[Example], Example] = lambda one: one
) -> StepResult:
    """Change every example, then remove those for which there is a reason."""
    changed = tuple(map(change, examples))
    reasons = [reason(one) for one in changed]
    kept = tuple(one for one, why in zip(changed, reasons, strict=True) if not why)
    removed = tuple((one, why) for one, why in zip(changed, reasons, strict=True) if why)
    return StepResult(kept, removed, sum(new is not old for new, old in zip(changed, examples, strict=True)))


def without_markup(example: Example) -> Example:
    """The example without links, images and HTML; the same object where nothing changed."""
    record = with_texts(example.record, _cleaned)
    return example if record == example.record else example.edited(record)


def refusal_of(example: Example, min_score: int) -> str:
    """The reason why LIMA's rules leave the example out, or ""."""
    answer, score = answer_text(example.record), example.extra.get("score")
    if score is not None and not (isinstance(score, (int, float)) and score >= min_score):
        return f"score under {min_score}"
    if len(answer) < SHORTEST:
        return f"answer under {SHORTEST} characters"
    if len(answer) > LONGEST:
        return f"answer over {LONGEST} characters"
    prose = CODE.sub(" ", answer)
    if FIRST_PERSON.search(prose):
        return "written in the first person"
    return "refers to other answers" if OTHER_ANSWERS.search(prose) else ""


def _cleaned(text: str) -> str:
    # code is kept as it is: it is not markup
    parts = CODE.split(text)
    return "".join(part if at % 2 else _without_markup(part) for at, part in enumerate(parts))


def _without_markup(text: str) -> str:
    text = LINK.sub(lambda found: found.group(1) or found.group(2) or "", IMAGE.sub("", text))
    stripped = TAG.sub("", text)
    return html.unescape(stripped) if stripped != text else text


def scrubbed(text: str) -> str:
    """The text with each match replaced by its kind in brackets."""
    text = CARD.sub(lambda found: "[CARD]" if _is_card(found.group()) else found.group(), text)
    for kind, pattern in FORMS:
        text = pattern.sub(kind, text)
    return text


def scrub_example(example: Example) -> Example:
    """The example without personal data in record and further columns; the same object where nothing changed."""
    record = with_texts(example.record, scrubbed)
    edited = example.edited(record) if record != example.record else example
    extra = _deep(edited.extra)
    return edited if extra == edited.extra else replace(edited, extra=extra)


def _deep(value: Any) -> Any:
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, Mapping):
        return {key: _deep(one) for key, one in value.items()}
    return [_deep(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_card(text: str) -> bool:
    """Luhn's check, without which any long number would count as a card number."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [digit if at % 2 == 0 else sum(divmod(2 * digit, 10)) for at, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def k_center(texts: Sequence[str], n: int, seed: int, model: str = "") -> list[int]:
    """Indices of n texts that are far apart: greedy k-center (Gonzalez 1985), by cosine.

    The seed draws the first; each further text is the one farthest from all chosen ones, and ties go to the earliest.
    The result for a smaller n is a prefix.

    model  the model whose embeddings are compared; without one, TF-IDF, which is lexical, not semantic
    """
    vectors = _embedded(texts, model) if model else _counted(texts)
    nearest = np.full(len(texts), -1.0)
    at = int(np.random.default_rng(seed).integers(len(texts)))
    chosen = []
    for _ in range(min(n, len(texts))):
        chosen.append(at)
        # rounded, so that equal texts have equal distances whatever the order of a sum
        similar = np.round((vectors @ vectors[at].T).toarray().ravel(), 12)
        nearest = np.maximum(nearest, similar)
        nearest[at] = np.inf
        at = int(np.argmin(nearest))
    return chosen


def _counted(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(analyzer=_terms, dtype=np.float64).fit_transform(texts).tocsr()


def _embedded(texts: Sequence[str], model: str) -> Any:
    from scipy.sparse import csr_array

    from harness.policy.embeddings import Embedder

    return csr_array(Embedder(model)(texts).astype(np.float64))


def _terms(text: str) -> list[str]:
    # a text without words still needs a vector
    return words_of(text) or ["\x00"]


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
