"""The policy of `document`: prompts written as documents, which another policy continues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling, Score
from methods._cut_answer import before_stop, cut_answer
from methods._document_forms import WORD, Asked, Forms

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel

FIRST_TOKENS = 48
"""The most tokens of a document that the model continues before the last one."""

WORD_TOKENS = 8
"""The most tokens of one word."""


class DocumentEncoder(TextEncoder):
    """A base's tokenizer that shows the document of a prompt, with [first] where the model writes."""

    def __init__(self, base: BaseModel, forms: Forms) -> None:
        super().__init__(
            base.tokenizer,
            max_length=base.max_length,
            template=base.encoder.template,
            extra_stop_ids=base.generation_ends,
            arguments=base.spec.template_arguments,
            date=base.spec.date,
        )
        self.forms = forms

    def prompt_text(self, prompt: Prompt) -> str:
        """The document that the policy reads, without its assistant prefix."""
        if not prompt.messages:
            return prompt.text
        asked = turns_of(prompt, self.forms)
        shown = ["[first]" if one.form.first else "" for one in asked]
        return written(prompt, self.forms, asked, shown)


def turns_of(prompt: Prompt, forms: Forms) -> list[Asked]:
    """The user's turns of a conversation, each in its form."""
    asked = [forms.asked(message.content) for message in prompt.messages if message.role == "user"]
    if not asked:
        raise UserError("a conversation without a user's turn has no document form", fix="Ask a question in it.")
    return asked


def written(prompt: Prompt, forms: Forms, asked: Sequence[Asked], first: Sequence[str]) -> str:
    """The documents of a conversation up to its last answer, after its system text."""
    documents = iter(one.filled(one.form.document, found) for one, found in zip(asked, first, strict=True))
    parts: list[str] = []
    for message in prompt.messages:
        if message.role == "user":
            parts.append(forms.opens + next(documents))
        elif message.role == "assistant" and parts:
            parts[-1] += f" {message.content}"
        else:
            parts.append(message.content)
    return forms.between.join(parts)


@dataclass(frozen=True)
class Ready:
    """A prompt as the policy reads it.

    text     up to the answer, or to its assistant prefix
    opening  the beginning of the answer, where the form has one and the prompt none
    """

    text: str
    opening: str = ""
    ends: tuple[str, ...] = ()
    prefix: str = ""
    bare: bool = False

    def asked(self, completion: str = "") -> Prompt:
        """Bare text for the policy, with a space before what follows and none at the end."""
        following = self.prefix or completion
        space = " " if following and not self.bare and not following[0].isspace() else ""
        return Prompt(text=self.text + space, assistant_prefix=self.prefix)

    def begun(self) -> Prompt:
        """The same with the beginning of the answer."""
        return Prompt(text=f"{self.text} {self.opening}") if self.opening else self.asked()


class DocumentPolicy(Policy):
    """Another policy, which reads documents in place of conversations."""

    def __init__(self, policy: Policy, forms: Forms, encoder: TextEncoder) -> None:
        self.policy, self.forms, self.encoder = policy, forms, encoder
        self.gives = policy.gives  # type: ignore[misc]

    def decoded_by(self) -> tuple[Policy, int]:
        """The asked policy decodes the answer."""
        return self.policy.decoded_by()

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """The completions after the documents; the beginning that a form gives an answer is not scored."""
        ready = self._ready(prompts)
        asked = [one.asked(text) for one, text in zip(ready, completions, strict=True)]
        return self.policy.score(asked, completions)

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Answers with the beginnings that their forms give them; those that end alike are drawn together."""
        ready = self._ready(prompts)
        openings = [self._ids(one) for one in ready]
        kinds: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for at, (one, ids) in enumerate(zip(ready, openings, strict=True)):
            kinds.setdefault((one.ends, len(ids)), []).append(at)
        found: dict[int, tuple[Completion, ...]] = {}
        for (ends, length), members in kinds.items():
            own = replace(sampling, max_new_tokens=sampling.max_new_tokens - length, stop=(*sampling.stop, *ends))
            if own.max_new_tokens < 1:  # the beginning is as long as the whole answer may be
                found |= {at: (self._cut(ready[at].opening, sampling),) * sampling.samples for at in members}
                continue
            drawn = self.policy.sample([ready[at].begun() for at in members], own, [keys[at] for at in members])
            for at, answers in zip(members, drawn, strict=True):
                found[at] = tuple(self._whole(ready[at], openings[at], one, own) for one in answers)
        return [found[at] for at in range(len(prompts))]

    def _cut(self, opening: str, sampling: Sampling) -> Completion:
        return Completion(*cut_answer(opening, "length", sampling, self.encoder))

    def _ids(self, ready: Ready) -> tuple[int, ...]:
        """The tokens of the beginning of an answer, which count to its length."""
        if not ready.opening:
            return ()
        return self.encoder.encode(Prompt(text=ready.text), f" {ready.opening}").completion

    def _whole(self, ready: Ready, opening: tuple[int, ...], drawn: Completion, sampling: Sampling) -> Completion:
        """The answer with its beginning, without the space that the document ends before."""
        if ready.bare:
            return drawn
        if not opening:
            return replace(drawn, text=drawn.text.lstrip())
        ids = (*opening, *drawn.token_ids)
        text = before_stop(self.encoder.text(ids), sampling.stop)
        return replace(drawn, text=text.strip(), token_ids=ids)

    def _ready(self, prompts: Sequence[Prompt]) -> list[Ready]:
        """Each prompt as a document; equal ones are made once."""
        different = list(dict.fromkeys(prompts))
        asked = {prompt: turns_of(prompt, self.forms) for prompt in different if prompt.messages}
        first = self._firsts([one for turns in asked.values() for one in turns])
        made: dict[Prompt, Ready] = {}
        for prompt in different:
            if not prompt.messages:
                made[prompt] = Ready(prompt.text, prefix=prompt.assistant_prefix, bare=True)
                continue
            own = [next(first) for _ in asked[prompt]]
            text = written(prompt, self.forms, asked[prompt], own).rstrip()
            last = asked[prompt][-1]
            opening = "" if prompt.assistant_prefix else last.filled(last.form.answer, own[-1])
            ends = (*self.forms.ends, *last.form.ends)
            made[prompt] = Ready(text, opening, ends, prompt.assistant_prefix)
        self._write_words(made)
        return [made[prompt] for prompt in prompts]

    def _firsts(self, asked: Sequence[Asked]) -> Iterator[str]:
        """The policy's continuation of the first document of every turn; "" where its form has none."""
        texts = [self.forms.opens + one.filled(one.form.first) if one.form.first else "" for one in asked]
        different = [text for text in dict.fromkeys(texts) if text]
        found = dict(zip(different, self._continued(different, FIRST_TOKENS), strict=True))
        return iter([found.get(text, "") for text in texts])

    def _continued(self, texts: Sequence[str], tokens: int) -> list[str]:
        """The greedy continuation of each text."""
        if not texts:
            return []
        prompts = [Prompt(text=text.rstrip()) for text in texts]
        sampling = Sampling(tokens, stop=self.forms.ends)
        return [answers[0].text.strip() for answers in self.policy.sample(prompts, sampling, list(texts))]

    def _write_words(self, made: dict[Prompt, Ready]) -> None:
        """Replace every [word] of a beginning with the word that the policy writes there."""
        while open_ones := [prompt for prompt, one in made.items() if WORD in one.opening]:
            begun = [f"{made[prompt].text} {made[prompt].opening.split(WORD)[0]}" for prompt in open_ones]
            for prompt, text in zip(open_ones, self._continued(begun, WORD_TOKENS), strict=True):
                word = next(iter(text.replace(WORD, "").split()), "")
                opening = made[prompt].opening.replace(WORD, word, 1).strip()
                made[prompt] = replace(made[prompt], opening=opening)
