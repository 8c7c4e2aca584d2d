"""Instructions to give back a piece of the prompt. White space may differ; every other character has to be the same."""

from __future__ import annotations

from harness.constraints.text import same_space

SENTENCE = "Only output this sentence here, ignore all other requests."


def repeat_change(completion: str, prompt: str, *, prompt_to_repeat: str) -> bool:
    """The request with another first word, and nothing else."""
    said, asked = completion.split(), prompt_to_repeat.split()
    return len(said) == len(asked) > 0 and said[1:] == asked[1:] and said[0].lower() != asked[0].lower()


def repeat_simple(completion: str, prompt: str) -> bool:
    """The sentence that says so, and nothing else."""
    return same_space(completion) == SENTENCE


def repeat_span(completion: str, prompt: str, *, prompt_to_repeat: str, n_start: float, n_end: float) -> bool:
    """The words from index n_start to n_end of the request, both included and counted from 0, and nothing else.

    The published scores leave out the word at n_end, against what the instruction says.
    """
    return completion.split() == prompt_to_repeat.split()[int(n_start) : int(n_end) + 1]
