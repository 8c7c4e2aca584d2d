"""The documents of lm-eval tasks as plain texts, under the numbers and digests by which lm-eval logs them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def documents(tasks: Mapping[str, Any], limit: int | None) -> Iterator[tuple[str, int, str, str, str]]:
    """(task, number, digest, what is asked with its choices, the reference answer) of every document."""
    from lm_eval.utils import handle_non_serializable, hash_string

    for name, task in tasks.items():
        for number, document in task.doc_iterator(limit=limit):
            logged = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
            yield name, number, hash_string(logged), *_texts(task, document)


def _texts(task: Any, document: Mapping[str, Any]) -> tuple[str, str]:
    """Question and answer. Tasks in which the context itself is chosen (an index for a text) ask their choices."""
    asked, answer = task.doc_to_text(document), task.doc_to_target(document)
    choices = list(task.doc_to_choice(document)) if task.OUTPUT_TYPE == "multiple_choice" else []
    parts = [asked] if isinstance(asked, str) else []
    parts += [choice for choice in choices if isinstance(choice, str) and choice not in "".join(parts)]
    if isinstance(answer, int) and 0 <= answer < len(choices):
        answer = choices[answer]
    return "\n".join(parts), answer if isinstance(answer, str) else ""
