"""Verbalized sampling: a model lists answers with probabilities, and one is drawn (Zhang et al. 2025, 2510.01171).

    answer ~ q,   q(answer_i) = stated p_i / sum of stated p,   from a list of k answers that the model writes

Asked for one answer, an aligned model gives its favourite; asked for a list with probabilities, it shows more of what
it could say. Nothing is trained. `k` 5 is the paper's; the words of the request are this project's. The list is drawn
at the benchmark's temperature and may be k times as long as one answer, plus the marks around each, up to half of the
context. Where no answer has a stated probability above 0, all are equally likely; otherwise one without is never drawn.
The drawn answer is cut at the benchmark's stop strings and length. A text without a list is the answer itself. The
policy gives samples but no log-probabilities, and benchmarks in bare text, which has no turn to ask in, are n/a.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method, setting
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, TrainingData
from methods._cut_answer import cut_answer
from methods.sft import Sft

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel

REQUEST = (
    "Write {k} different answers to the message above, each with its probability among all the answers that you could "
    'give. Write each of them as <answer probability="0.2">the answer</answer> and nothing else.'
)
BEGINNING = " Each answer begins with: {prefix}"
MARKS = 24
"""Tokens of the marks around one answer, at most."""
LISTED = re.compile(r'<answer(?:\s+probability\s*=\s*"?(?P<p>[^">]*)"?)?\s*>(?P<text>.*?)(?:</answer>|(?=<answer)|\Z)',
                    re.DOTALL | re.IGNORECASE)  # fmt: skip


@dataclass(frozen=True)
class Verbalized(Method):
    """Another method's model lists several answers with probabilities, and one of them is drawn."""

    gives = frozenset({"sample"})
    trains = False
    draws = True

    policy: Method = setting(Sft(), "the method that answers")
    k: int = setting(5, "answers in a list", search=(2, 10), least=2, quick=2)

    def requires(self) -> dict[str, ArtifactSpec]:
        """The artifact of the answering method."""
        return {"policy": ArtifactSpec(self.policy)}

    def check(self) -> None:
        """Refuse what the answering method refuses."""
        self.policy.check()

    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write nothing: only the answering method is trained."""
        return FitReport()

    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The answering policy, asked for lists."""
        return ListingPolicy(inputs["policy"].load(), self.k)


class ListingPolicy(Policy):
    """Asks another policy for a list of answers with probabilities, and draws one of them."""

    gives = frozenset({"sample"})

    def __init__(self, policy: Policy, k: int) -> None:
        self.policy, self.k, self.encoder = policy, k, policy.encoder

    def decoded_by(self) -> tuple[Policy, int]:
        """The inner policy decodes k answers for one."""
        inner, times = self.policy.decoded_by()
        return inner, times * self.k

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """As many answers as asked for, each drawn from a list of its own; bare text is completed as it is."""
        room = max(sampling.max_new_tokens, self.encoder.max_length // 2)
        longest = min(room, self.k * (sampling.max_new_tokens + MARKS))
        # a stop string would end the list: it ends the drawn answer instead
        wider = replace(sampling, max_new_tokens=longest, stop=())
        asked = [at for at, prompt in enumerate(prompts) if prompt.messages]
        plain = [at for at, prompt in enumerate(prompts) if not prompt.messages]
        found: dict[int, tuple[Completion, ...]] = {}
        lists = self.policy.sample([self._asked(prompts[at]) for at in asked], wider, [keys[at] for at in asked])
        for at, drawn in zip(asked, lists, strict=True):
            streams = [stream_of("verbalized", sampling.salt, sampling.seed, keys[at], n) for n in range(len(drawn))]
            pairs = zip(drawn, streams, strict=True)
            found[at] = tuple(self._drawn(one, prompts[at], sampling, stream) for one, stream in pairs)
        bare = self.policy.sample([prompts[at] for at in plain], sampling, [keys[at] for at in plain])
        found |= dict(zip(plain, bare, strict=True))
        return [found[at] for at in range(len(prompts))]

    def _asked(self, prompt: Prompt) -> Prompt:
        """The prompt with the request after its last turn, whose answers begin as the prompt wants."""
        beginning = BEGINNING.format(prefix=prompt.assistant_prefix.strip()) if prompt.assistant_prefix.strip() else ""
        request = REQUEST.format(k=self.k) + beginning
        *before, last = prompt.messages
        if last.role == "user":
            return Prompt((*before, Message("user", f"{last.content}\n\n{request}")))
        return Prompt((*prompt.messages, Message("user", request)))

    def _drawn(self, written: Completion, prompt: Prompt, sampling: Sampling, stream: int) -> Completion:
        """The drawn answer as a completion of its own: cut at a stop string and at the benchmark's length."""
        answers = listed(written.text)
        if answers:
            text, finish = drawn(answers, stream).removeprefix(prompt.assistant_prefix.strip()).strip(), "stop"
        else:
            text, finish = written.text, written.finish
        text, ids, finish = cut_answer(text, finish, sampling, self.encoder)
        return replace(written, text=text, token_ids=ids, finish=finish, stop_id=None)


def listed(text: str) -> list[tuple[str, float]]:
    """The answers of a list, each with its stated probability; 0 where none can be read. Empty answers do not count."""
    found = [(match["text"].strip(), _probability(match["p"] or "")) for match in LISTED.finditer(text)]
    return [(answer, probability) for answer, probability in found if answer]


def _probability(text: str) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", text)
    if not found:
        return 0.0
    return float(found[1]) / (100 if found[2] else 1)


def drawn(answers: Sequence[tuple[str, float]], stream: int) -> str:
    """One of the answers by their probabilities, which need not sum to 1; evenly where all are 0."""
    weights = [probability for _, probability in answers]
    if not sum(weights):
        weights = [1.0] * len(answers)
    left = (stream % 2**53) / 2**53 * sum(weights)
    for (answer, _), weight in zip(answers, weights, strict=True):
        left -= weight
        if left < 0:
            return answer
    return answers[-1][0]  # where rounding left a last bit
