"""Which tokens change: the likeliest tokens of a policy, ranked by its base model (Lin et al. 2023, 2312.01552, URIAL).

    rank_t = rank of y_t under the base after y_<t,   y the greedy answer of the policy

    unshifted: rank 1        marginal: rank 2 or 3        shifted: rank above 3

An item's value is a share of the tokens of its answer, the stop token included. All prompts have equal weight whatever
the length of their answers, as in `divergence`, so that methods stay paired. The policy writes and reads the prompt in
its own way, and the base model reads the bare prompt. The base itself has rank 1 everywhere, but for rounding; a random
policy over V tokens would be shifted at a share of 1 - 3 / V. A policy without log-probabilities is n/a.

`shifted_CLASS` is the share of all tokens that are shifted and of one class, so that the classes sum to `shifted`;
`share_CLASS` is the share that the class has of all tokens. Their ratio says how often a token of the class is shifted:
take it of the means, since an answer may have no such token. A rule gives each token its class, in any tokenizer. A
word is a run of letters and digits, apostrophes and hyphens inside it included; a token belongs to the first word of
which it writes a part.

    number   the word has a digit
    style    the word is on the list below: function words of English, and words that greet, hedge, refuse or link
    content  any other word
    format   the token writes no part of a word: punctuation, bullets, line ends, the end of the answer

The list is English; words of other languages count as content. A paper that classed tokens by hand would differ at the
edges, so compare methods under this rule and not its levels with published ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks._asked_once import AskedOnce
from harness.benchmark import Metric, Outcome
from harness.method import setting
from harness.policy.divergence import ranks
from harness.policy.policy import base_of

if TYPE_CHECKING:
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy

CLASSES = ("style", "content", "number", "format")
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
STYLE_WORDS = """
a an the this that these those some any no every each all both either neither other another such what which whose
i me my mine you your yours he him his she her hers it its we us our ours they them their theirs who one
myself yourself itself ourselves themselves there here
of in on at by for with from to into onto over under about after before between through during without within
against among as than like per up down out off upon near
and or but nor so if then else because since while although though unless until when where why how whether
am is are was were be been being do does did done doing have has had having will would shall should can could may
might must ought i'm you're it's that's don't doesn't isn't can't won't let let's
not very too also just only even still yet more most much many few less least again now ever never always often
sometimes usually perhaps maybe
however therefore moreover furthermore additionally overall finally firstly secondly lastly thus hence instead
indeed certainly sure absolutely course please thank thanks sorry apologize unfortunately hello hi hey dear welcome
bye goodbye cheers regards sincerely amen yes ok okay well great glad happy feel free help remember important note
"""
STYLE = frozenset(STYLE_WORDS.split())


@dataclass(frozen=True)
class TokenShift(AskedOnce):
    """Each prompt answered greedily, and each token of the answer ranked by the base model."""

    version = 2  # 1 had each class's own share, which answers without such tokens lack
    of_each = 6

    limit: int | None = setting(None, "number of prompts, for the microworld of each kind (none: 6)", least=1)

    def metrics(self) -> tuple[Metric, ...]:
        """Shifted tokens first; lower is closer to the base model."""
        lower: Any = {"higher_is_better": False, "against_baseline": False}
        detail: Any = {"primary": False, "against_baseline": False}
        return (
            Metric("shifted", "share of tokens that the base model ranks below its first three", **lower),
            Metric("marginal", "share of tokens that are second or third for the base model", **detail),
            Metric("unshifted", "share of tokens that are first for the base model", **detail),
            *(
                Metric(f"shifted_{name}", f"share of tokens that are shifted {name} tokens", primary=False, **lower)
                for name in CLASSES
            ),
            *(Metric(f"share_{name}", f"share that {name} has of all tokens", **detail) for name in CLASSES),
        )

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per prompt; the seed changes nothing. Raises UserError where the base model is unknown."""
        base = base_of(policy)
        items, asked, drawn = self.answers(policy, 0.0, seed)
        found = ranks(policy, base, asked, drawn)
        for item, prompt, answer, ranked in zip(items, asked, drawn, found, strict=True):
            yield Outcome(
                item=item.id,
                cluster=item.cluster,
                group=item.group,
                metrics=shares(ranked, token_classes(policy.encoder, answer.drawn_ids)),
                prompt=policy.encoder.prompt_text(prompt),
                completions=(answer.whole,),
                flags=answer.flags,
            )


def shares(ranked: Sequence[float], classes: Sequence[str]) -> dict[str, Any]:
    """The metrics of one answer: its tokens' ranks under the base, and their classes."""
    shifted = [rank > 3 for rank in ranked]
    found = {
        "shifted": _share(shifted),
        "marginal": _share([1 < rank <= 3 for rank in ranked]),
        "unshifted": _share([rank == 1 for rank in ranked]),
    }
    for name in CLASSES:
        found[f"shifted_{name}"] = _share([up and its == name for up, its in zip(shifted, classes, strict=True)])
        found[f"share_{name}"] = _share([its == name for its in classes])
    return found


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def token_classes(encoder: TextEncoder, ids: Sequence[int]) -> list[str]:
    """The class of each token of an answer, by the rule above."""
    texts = ["", *(encoder.text(ids[: end + 1]) for end in range(len(ids)))]
    words = [(word.start(), word.end(), word.group()) for word in WORD.finditer(texts[-1])]
    classes = []
    for before, after in pairwise(texts):
        start, end = min(len(before), len(after)), len(after)
        classes.append(next((_class(word) for first, last, word in words if first < end and start < last), "format"))
    return classes


def _class(word: str) -> str:
    if any(letter.isdigit() for letter in word):
        return "number"
    return "style" if word.casefold().replace("’", "'") in STYLE else "content"
