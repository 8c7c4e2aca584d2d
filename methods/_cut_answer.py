"""The bounds of a benchmark on an answer that a policy did not draw token by token: stop strings and length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.policy.types import Sampling

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder


def cut_answer(text: str, finish: str, sampling: Sampling, encoder: TextEncoder) -> tuple[str, tuple[int, ...], str]:
    """The text before the first stop string and within the longest answer, its token ids, and how it ends.

    finish  how the whole text ends
    """
    ends = [at for at in (text.find(stop) for stop in sampling.stop) if at >= 0]
    if ends:
        text, finish = text[: min(ends)], "stop_string"
    ids = encoder.tokens(text, bare=True)
    if len(ids) > sampling.max_new_tokens:
        ids, finish = ids[: sampling.max_new_tokens], "length"
        text = encoder.text(ids)
    return text, ids, finish
