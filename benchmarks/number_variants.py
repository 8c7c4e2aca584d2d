"""Word problems beside variants of themselves: other numbers and names, the same reasoning (after 2410.05229).

The original problem of every template is asked, and `variants` of it whose slots were drawn again under the template's
conditions. `change` is a variant's score minus its original's, so its mean is the paired difference and its interval
goes over templates. Larger numbers are harder for a reason that is not reasoning (2605.28700): `magnitude` shows how
large they are, and `change_no_larger` is the difference over those variants whose numbers are no larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.readers import Faults, label_of, placed_rows
from harness.errors import UserError
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestItem, TestSet
from harness.scoring.answers.numbers import canonical, final_number, numbers_in
from harness.scoring.answers.word_problems import (
    INSTRUCTION,
    WordProblem,
    flags_of,
    problem_prompt,
    shots_of,
    word_problem,
)
from harness.scoring.variants.templates import Template, template_of
from harness.scoring.variants.variants import Reached, changes, magnitude, variants_of

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class Item:
    """A problem of a template: the original, or a variant of it."""

    problem: WordProblem
    template: str
    original: bool
    magnitude: float


@dataclass(frozen=True)
class NumberVariants(Benchmark):
    """Every template's original and its variants, each asked once."""

    version = 1
    needs = frozenset({"sample"})

    templates: str = setting("", "folder of template files: templates/symbolic of apple/ml-gsm-symbolic")
    variants: int = setting(4, "variants of each template")
    draw: int = setting(0, "which draw of variants; the same for every method and seed")
    limit: int | None = setting(None, "only the first so many templates", least=1)
    shots: int = setting(0, "worked problems before each question")
    shots_from: str = setting("", "where the shots come from: a training file, a folder or a hub id")
    instruction: str = setting(INSTRUCTION, "said after each question; empty: nothing")
    max_new_tokens: int = setting(512, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """The score of originals and variants, their paired difference, and its control."""
        change = "variant minus its original, 1 or 0 each: below 0, the gain does not carry over"
        alike = "the same over variants whose numbers are no larger than the original's"
        size = "mean log10(1 + number) of an item's numbers"
        return (
            Metric("correct", "share of right answers, originals and variants apart", role="quality", by_group=True),
            Metric("change", change, unit="share", against_baseline=False),
            Metric("change_no_larger", alike, primary=False, unit="share", against_baseline=False),
            Metric("magnitude", size, primary=False, by_group=True, unit="log10"),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per original and per variant, template after template."""
        items = self._items()
        shots = shots_of(self.shots_from, self.shots, [item.problem.question for item in items])
        prompts = [problem_prompt(item.problem.question, shots, self.instruction) for item in items]
        drawn = policy.sample(prompts, Sampling(self.max_new_tokens, seed=seed), [item.problem.id for item in items])
        original = Reached(0.0)
        for item, prompt, (completion,) in zip(items, prompts, drawn, strict=True):
            reached = Reached(float(final_number(completion.text) == item.problem.number), item.magnitude)
            original = reached if item.original else original
            metrics = {"correct": reached.correct, "magnitude": item.magnitude}
            if not item.original:
                metrics |= changes(original, reached)
            yield Outcome(
                item=item.problem.id,
                cluster=item.template,
                group="original" if item.original else "variant",
                metrics=metrics,
                prompt=policy.encoder.prompt_text(prompt),
                completions=(completion.text,),
                reference=canonical(item.problem.number),
                flags=flags_of(completion),
            )

    def data_digest(self) -> str:
        """Digest of the originals, the variants and the shots as they are asked."""
        items = self._items()
        shots = shots_of(self.shots_from, self.shots, [item.problem.question for item in items])
        problems = (*(item.problem for item in items), *shots)
        text = "\1".join(f"{one.id}\0{one.question}\0{one.answer}" for one in problems)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet:
        """The originals with their answers, and the variants; all of one template share their wording by design."""
        problems = [item.problem for item in self._items()]
        name = label_of(self.templates)
        return TestSet(name, tuple(TestItem(one.id, one.question, one.answer) for one in problems))

    def _items(self) -> list[Item]:
        if not self.templates:
            raise UserError(
                "number_variants needs templates",
                fix="Set templates to the folder templates/symbolic of github.com/apple/ml-gsm-symbolic.",
            )
        templates = [template_of(placed.row, placed.where) for placed in placed_rows(self.templates, Faults())]
        return [item for template in templates[: self.limit] for item in _family(template, self.variants, self.draw)]


def _family(template: Template, count: int, draw: int) -> Iterator[Item]:
    """The original, then its variants."""
    problem = word_problem(f"{template.id}-original", template.question, template.answer, template.id)
    yield Item(problem, template.id, True, _magnitude(problem))
    for at, variant in enumerate(variants_of(template, count, draw), 1):
        id, answer = f"{template.id}-variant-{draw}-{at}", f"#### {variant.reference}"
        problem = word_problem(id, variant.question, answer, template.id)
        yield Item(problem, template.id, False, _magnitude(problem))


def _magnitude(problem: WordProblem) -> float:
    """Numbers written as words are not seen; the answer's number counts like one of the question's."""
    return magnitude((*numbers_in(problem.question), problem.number))
