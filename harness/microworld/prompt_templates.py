"""The prompts of the microworld as templates with {slots}: what repeats by design, for the contamination check.

Two prompts of one template are the same question only where their slots have the same values.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.microworld import phrases
from harness.microworld.incomplete_calls import REQUESTS


def prompt_templates() -> tuple[str, ...]:
    """Every wording of every kind of prompt; longer templates stand before those that they begin with."""
    return tuple(_templates())


def _templates() -> Iterator[str]:
    questions = [question for wordings in phrases.QUESTIONS.values() for question in wordings]
    yield from (f"{question} {phrases.REPLY} {{form}}" for question in questions)
    yield from questions
    yield from (f"call : {request}" for wordings in phrases.CALL_REQUESTS.values() for request in wordings)
    yield from (f"call : {request}" for wordings in REQUESTS.values() for request in wordings.values())
    yield f"{{story}} {phrases.STORY_QUESTION}"
    yield from phrases.LIST_REQUESTS
    yield from phrases.OPEN_REQUESTS
