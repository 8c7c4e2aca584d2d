"""A constant prompt as a file: a system text, examples and turn markers, in plain text for a base model to go on with.

    {system}{question}How can I ...?{answer}Falling asleep ...{end}{question}...

`question`, `answer` and `end` are the texts written before a question, before an answer and after it. The first is the
turn marker: an answer ends where it opens the next question, so a base that never ends a turn is stopped there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, did_you_mean
from harness.policy.encoding import TextEncoder
from harness.records import Message
from methods._shipped_yaml import ShippedYaml

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel

UNUSABLE = "the constant prompt (examples) is not usable"
PROMPTS = ShippedYaml(Path(__file__).parent / "constant_prompts", "examples", "examples", "prompt", UNUSABLE)
EXAMPLE = 'Example: question: "# Question\\n"'


@dataclass(frozen=True)
class ConstantPrompt:
    """The texts of a constant prompt."""

    question: str
    answer: str
    end: str
    system: str
    examples: tuple[tuple[Message, Message], ...]


def read_prompt(name: str) -> ConstantPrompt:
    """The constant prompt of that name or file. Raises UserError, with the file, for what it lacks."""
    file, content = PROMPTS.read(name)
    known = ("question", "answer", "end", "system", "examples")
    if unknown := [key for key in content if key not in known]:
        raise _fault(file, f"unknown key {unknown[0]!r}", did_you_mean(str(unknown[0]), known))
    for key in ("question", "answer", "end", "system"):
        if not isinstance(content.get(key, ""), str):
            raise _fault(file, f"{key} is not text", EXAMPLE)
    if not content.get("question", "").strip():
        raise _fault(file, "no turn marker: `question`, which opens a question and ends an answer, is missing", EXAMPLE)
    if not content.get("answer", "").strip():
        raise _fault(file, "`answer`, the text before an answer, is missing", 'Example: answer: "\\n\\n# Answer\\n"')
    rows = content.get("examples") or []
    marker = content["question"].strip()
    examples = tuple(_example(file, number, row, marker) for number, row in enumerate(rows, 1))
    texts = {key: content.get(key, "") for key in ("question", "answer", "end")}
    return ConstantPrompt(**texts, system=content.get("system", "").strip(), examples=examples)


def _example(file: Path, number: int, row: Any, marker: str) -> tuple[Message, Message]:
    fix = "Example: - {question: How ...?, answer: By ...}"
    if not isinstance(row, dict) or set(row) != {"question", "answer"}:
        raise _fault(file, f"example {number} has not exactly the keys question and answer", fix)
    texts = [row[key].strip() if isinstance(row[key], str) else "" for key in ("question", "answer")]
    if not all(texts):
        raise _fault(file, f"example {number} has an empty question or answer", fix)
    if marker in texts[1]:
        raise _fault(file, f"the answer of example {number} holds the turn marker {marker!r}", "Choose another marker.")
    return Message("user", texts[0]), Message("assistant", texts[1])


def _fault(file: Path, what: str, fix: str) -> UserError:
    return UserError(f"{UNUSABLE}: {what}", where=str(file), fix=fix)


class MarkedEncoder(TextEncoder):
    """A base's tokenizer with turns between markers; an answer ends where the next question opens."""

    def __init__(self, base: BaseModel, question: str, answer: str, end: str) -> None:
        self._marker = question.strip()
        super().__init__(
            base.tokenizer,
            max_length=base.max_length,
            template=template_of(question, answer, end),
            extra_stop_ids=base.generation_ends,
        )

    @property
    def turn_openers(self) -> tuple[str, ...]:
        """The turn marker."""
        return (self._marker,)


def template_of(question: str, answer: str, end: str) -> str:
    """The Jinja template that writes turns between these markers."""
    before, between, after = (json.dumps(text, ensure_ascii=False) for text in (question, answer, end))
    return (
        "{% for message in messages %}"
        f"{{% if message['role'] == 'system' %}}{{{{ message['content'] + {after} }}}}"
        f"{{% elif message['role'] == 'assistant' %}}{{{{ {between} + message['content'] + {after} }}}}"
        f"{{% else %}}{{{{ {before} + message['content'] }}}}{{% endif %}}"
        f"{{% endfor %}}{{% if add_generation_prompt %}}{{{{ {between} }}}}{{% endif %}}"
    )
