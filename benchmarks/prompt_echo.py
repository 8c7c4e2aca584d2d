"""How much of an answer is copied from its prompt: the rate at which a policy parrots.

    copied = share of the answer's words in runs of `run` or more consecutive words that the prompt has, too
    echo   = 1 if at least half of the answer's words are copied

Words are compared without their case and with their punctuation. Each prompt is answered greedily. A base model often
continues a chat with its prompt, and training on prompts as well as answers (`loss_on: all` of sft) is said to teach
it; the method `echo` has 1 on both. Some copying is right: a question's subject returns in its answer, but four words
in a row rarely do. An answer without words copies nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks._asked_once import AskedOnce
from harness.benchmark import Metric, Outcome
from harness.method import setting

if TYPE_CHECKING:
    from harness.policy.policy import Policy


@dataclass(frozen=True)
class PromptEcho(AskedOnce):
    """Each prompt answered greedily, and the answer's words compared with the prompt's."""

    needs = frozenset({"sample"})
    reads_logits = False
    version = 1

    run: int = setting(4, "fewest consecutive words that count as copied", least=1)

    def metrics(self) -> tuple[Metric, ...]:
        """Lower is less of the prompt."""
        return (
            Metric("echo", "share of answers of which at least half is copied", higher_is_better=False),
            Metric("copied", "share of an answer's words that are copied", higher_is_better=False, primary=False),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt; the seed changes nothing."""
        items, asked, drawn = self.answers(policy, 0.0, seed)
        for item, prompt, answer in zip(items, asked, drawn, strict=True):
            copied = copied_share(answer.text.casefold().split(), item.text.casefold().split(), self.run)
            yield Outcome(
                item=item.id,
                cluster=item.cluster,
                group=item.group,
                metrics={"echo": float(copied >= 0.5), "copied": copied},
                prompt=policy.encoder.prompt_text(prompt),
                completions=(answer.whole,),
                flags=answer.flags,
            )


def copied_share(answer: Sequence[str], prompt: Sequence[str], run: int) -> float:
    """The share of `answer` that lies in runs of `run` or more consecutive words of `prompt`; 0 for no words."""
    runs = {tuple(prompt[at : at + run]) for at in range(len(prompt) - run + 1)}
    copied = {
        at + step for at in range(len(answer) - run + 1) if tuple(answer[at : at + run]) in runs for step in range(run)
    }
    return len(copied) / len(answer) if answer else 0.0
