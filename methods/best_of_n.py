"""Best of n: several answers are drawn and one is given, by majority vote or by a reward model.

    majority:  the first answer that agrees with most others (self-consistency, Wang et al. 2022, 2203.11171)
    reward:    arg max over the n answers of r(prompt, answer)  (Stiennon et al. 2020, 2009.01325)

Nothing is trained and nothing is known of the reference answer: choosing with it is pass@n, an oracle and not a
method, and a policy never sees it. Whatever temperature a benchmark asks for, candidates are drawn at this
method's own, by default 0.7 as in self-consistency. Only samples are given, no log-probabilities, and decoding
costs n times as much. A vote compares what is found in each text, such as its last number; a tie goes to the
answer that came first, and texts without an answer do not vote. A reward model is a sequence classifier of one
output that reads prompt and answer through its own chat template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.data.answers import answer_of, require_kind
from harness.data.records import TrainingData
from harness.encoding import PLAIN_TEMPLATE
from harness.errors import UserError
from harness.lazy import LazyModule
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, setting
from harness.policy import Completion, Policy, Prompt, Sampling
from methods.sft import Sft

if TYPE_CHECKING:
    import torch
    import transformers

    from harness.base_model import BaseModel
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")

Choose = Callable[[Prompt, Sequence[Completion]], Completion]


@dataclass(frozen=True)
class BestOfN(Method):
    """Answers of another method, of which the best is given."""

    gives = frozenset({"sample"})
    trains = False

    policy: Method = setting(Sft(), "the method whose answers are drawn")
    samples: int = setting(16, "answers drawn for each that is given", search=(1, 64), log=True)
    temperature: float = setting(0.7, "temperature of the drawing", search=(0.3, 1.3))
    choose: Literal["majority", "reward"] = setting("majority", "how one is chosen", search=("majority", "reward"))
    answer: str = setting("number", "for a vote: which kind of answer is looked for in a text")
    reward_model: str = setting("", "for a reward: the folder of a sequence classifier with one output", folder=True)

    def requires(self) -> dict[str, ArtifactSpec]:
        """What answers."""
        return {"policy": ArtifactSpec(self.policy)}

    def check(self) -> None:
        """There must be something to choose from, and by."""
        self.policy.check()
        require_kind(self.answer)
        if self.samples < 1 or self.temperature <= 0:
            raise UserError(
                f"samples is {self.samples} and temperature {self.temperature}",
                fix="Draw at least one answer, at a temperature above 0: below, all are alike.",
            )
        if (self.choose == "reward") != bool(self.reward_model):
            raise UserError(
                f"choose is {self.choose!r} and reward_model {self.reward_model!r}",
                fix="Name a reward_model with `choose: reward`, and none without.",
            )

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: all that is trained is what answers."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The answering policy, behind the choice."""
        chooser: Choose = Reward(self.reward_model, base.spec.device) if self.reward_model else self._by_vote
        return ChoosingPolicy(inputs["policy"].load(), self.samples, self.temperature, chooser)

    def _by_vote(self, prompt: Prompt, candidates: Sequence[Completion]) -> Completion:
        return voted(self.answer, candidates)


def voted(kind: str, candidates: Sequence[Completion]) -> Completion:
    """The first candidate with the commonest answer; of equally common ones, the one that came first."""
    answers = [answer_of(kind, candidate.text) for candidate in candidates]
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return candidates[0]
    return candidates[answers.index(votes.most_common(1)[0][0])]


class ChoosingPolicy(Policy):
    """Gives one of several answers of another policy."""

    gives = frozenset({"sample"})

    def __init__(self, policy: Policy, samples: int, temperature: float, choose: Choose) -> None:
        self.policy, self.samples, self.temperature, self.choose = policy, samples, temperature, choose
        self.encoder = policy.encoder

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """As many chosen answers as asked for, each from candidates of its own."""
        wider = replace(sampling, temperature=self.temperature, samples=sampling.samples * self.samples)
        drawn = self.policy.sample(prompts, wider, keys)
        return [
            tuple(
                self.choose(prompt, candidates[start : start + self.samples])
                for start in range(0, len(candidates), self.samples)
            )
            for prompt, candidates in zip(prompts, drawn, strict=True)
        ]


class Reward:
    """A reward model: a sequence classifier of one output, in float32, from safetensors."""

    def __init__(self, folder: str, device: str) -> None:
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                f"the reward model does not load: {str(error).splitlines()[0]}",
                where=folder,
                fix="It is a folder, or a downloaded hub id, of a sequence classifier with safetensors weights.",
            ) from error
        if self.model.config.num_labels != 1:
            raise UserError(
                f"the reward model has {self.model.config.num_labels} outputs",
                where=folder,
                fix="A reward model has one: the reward.",
            )
        self.model = self.model.to(device).eval().requires_grad_(False)

    def __call__(self, prompt: Prompt, candidates: Sequence[Completion]) -> Completion:
        """The candidate with the highest reward; of equal ones, the first."""
        rewards = [self.reward(prompt, candidate.text) for candidate in candidates]
        return candidates[rewards.index(max(rewards))]

    def reward(self, prompt: Prompt, answer: str) -> float:
        """r(prompt, answer), read alone, so that no padding moves it."""
        ids = torch.tensor([self.tokenizer.encode(self._text(prompt, answer), add_special_tokens=False)])
        with torch.inference_mode():
            return float(self.model(ids.to(self.model.device)).logits[0, 0])

    def _text(self, prompt: Prompt, answer: str) -> str:
        if not prompt.messages:
            return prompt.text + prompt.assistant_prefix + answer
        rows: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in prompt.messages]
        rows.append({"role": "assistant", "content": prompt.assistant_prefix + answer})
        template = self.tokenizer.chat_template or PLAIN_TEMPLATE
        return str(self.tokenizer.apply_chat_template(rows, chat_template=template, tokenize=False))
