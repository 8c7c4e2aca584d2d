"""Word problems and variants of them with other numbers and names but the same reasoning (after 2410.05229).

Every template's original problem is asked, and `variants` of it with slots redrawn under the template's conditions.
`change` is a variant's score minus its original's; its mean is the paired difference, with an interval over templates.
Larger numbers are harder for other reasons than reasoning (2605.28700): `magnitude` shows the size of the numbers, and
`change_no_larger` is the difference over variants whose numbers are not larger.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.placed import Faults
from harness.data.readers import label_of, placed_rows
from harness.errors import UserError
from harness.method import setting
from harness.policy.types import Sampling
from harness.records import TestItem, TestSet
from harness.scoring.answers.numbers import canonical, final_number, numbers_in
from harness.scoring.answers.word_problems import INSTRUCTION, WordProblem, problem_prompt, shots_of, word_problem
from harness.scoring.variants.templates import Template, require_own_answer, require_own_text, template_of
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
    """The original and variants of every template, each asked once."""

    version = 5
    needs = frozenset({"sample"})
    divisible = True
    sparse = True

    templates: str = setting(
        "", "folder of template files, such as templates/symbolic of apple/ml-gsm-symbolic", path=True
    )
    variants: int = setting(4, "number of variants of each template")
    draw: int = setting(0, "number of the draw of variants, which is the same for all methods and seeds")
    limit: int | None = setting(None, "number of templates; none: all", least=1)
    shots: int = setting(0, "worked problems before each question")
    shots_from: str = setting("", "source of the shots: a training file, folder or hub id", path=True)
    instruction: str = setting(INSTRUCTION, "text after each question")
    max_new_tokens: int = setting(512, "longest answer in tokens")

    def metrics(self) -> tuple[Metric, ...]:
        """The scores of originals and variants, their paired difference, and its control."""
        change = "variant minus its original, 1 or 0 each; below 0, gains do not transfer fully"
        alike = "the same over variants whose numbers are not larger than the original's"
        size = "mean log10(1 + number) of an item's numbers"
        return (
            Metric("correct", "share of right answers, for originals and for variants", role="quality", by_group=True),
            Metric("change", change, unit="share", against_baseline=False),
            Metric("change_no_larger", alike, primary=False, unit="share", against_baseline=False),
            Metric("magnitude", size, primary=False, by_group=True, unit="log10"),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per original and per variant, template by template."""
        items = self.chosen(self._items(), lambda item: item.template)
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
                completions=(completion.whole,),
                reference=canonical(item.problem.number),
                flags=completion.flags,
            )

    def data_digest(self) -> str:
        """Digest of the originals, the variants and the shots as they are asked."""
        items = self._items()
        shots = shots_of(self.shots_from, self.shots, [item.problem.question for item in items])
        problems = (*(item.problem for item in items), *shots)
        text = "\1".join(f"{one.id}\0{one.question}\0{one.answer}" for one in problems)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def scorer_facts(self) -> dict[str, str]:
        """The templates that are refused, with the reason of each."""
        refused = self._families()[1] if self.templates else []
        return {f"refused {Path(error.where).name}": error.what for error in refused}

    def test_set(self) -> TestSet:
        """The originals and variants with their answers; those of one template share their wording by design."""
        problems = [item.problem for item in self._items()]
        name = label_of(self.templates)
        return TestSet(name, tuple(TestItem(one.id, one.question, one.answer) for one in problems))

    def _items(self) -> list[Item]:
        if not self.templates:
            raise UserError(
                "number_variants needs templates",
                fix="Set templates to the folder templates/symbolic of github.com/apple/ml-gsm-symbolic.",
            )
        return [item for family in self._families()[0] for item in family]

    def _families(self) -> tuple[list[list[Item]], list[UserError]]:
        """The items of each template, and why others are refused. Raises UserError where all are."""
        families: list[list[Item]] = []
        refused: list[UserError] = []
        for placed in islice(placed_rows(self.templates, Faults()), self.limit):
            try:
                template = template_of(placed.row, placed.where)
                require_own_text(template, placed.where)
                family = list(_family(template, self.variants, self.draw))
                require_own_answer(template, placed.where)
                families.append(family)
            except UserError as error:
                refused.append(UserError(error.what, where=error.where or placed.where, fix=error.fix))
        if refused and not families:
            raise refused[0]
        return families, refused


def _family(template: Template, count: int, draw: int) -> Iterator[Item]:
    """The original, then its variants."""
    problem = word_problem(f"{template.id}-original", template.question, template.answer, template.id)
    yield Item(problem, template.id, True, _magnitude(problem))
    for at, variant in enumerate(variants_of(template, count, draw), 1):
        id, answer = f"{template.id}-variant-{draw}-{at}", f"#### {variant.reference}"
        problem = word_problem(id, variant.question, answer, template.id)
        yield Item(problem, template.id, False, _magnitude(problem))


def _magnitude(problem: WordProblem) -> float:
    """The magnitude of the numbers in digits, including the answer's."""
    return magnitude((*numbers_in(problem.question), problem.number))
