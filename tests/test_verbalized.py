"""Verbalized sampling: what is read from a list, which answer is drawn how often, and how the answer is cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from harness.files import HARNESS
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.noise import stream_of
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message
from methods.verbalized import ListingPolicy, drawn, listed

LIST = '<answer probability="0.6">red</answer>\n<answer probability=".3">blue two</answer>'
QUESTION = Prompt((Message("user", "name a color"),))


class Writer(Policy):
    """Writes the same text always, and remembers what it was asked."""

    gives = frozenset({"sample"})

    def __init__(self, text: str) -> None:
        self.encoder = BaseModel(BaseSpec("microworld/small"), HARNESS / "microworld" / "models" / "small").encoder
        self.text = text
        self.asked: list[tuple[Prompt, Sampling]] = []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked += [(prompt, sampling) for prompt in prompts]
        return [(Completion(self.text, (7, 8), "length", thoughts="hm"),) * sampling.samples for _ in prompts]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (LIST, [("red", 0.6), ("blue two", 0.3)]),
        ("Sure:\n<answer probability='x'>red</answer> and <ANSWER Probability=20%>blue</ANSWER>",
         [("red", 0.0), ("blue", 0.2)]),
        ('<answer probability="0.5">red\nor so<answer probability="0.1">blu', [("red\nor so", 0.5), ("blu", 0.1)]),
        ("<answer>red</answer><answer probability='1'> </answer>", [("red", 0.0)]),
        ('<answer probability="-1">red</answer><answer probability="1e999">blue</answer>',
         [("red", 0.0), ("blue", 0.0)]),
        ("red", []),
        ("", []),
    ],
)  # fmt: skip
def test_a_list_is_read_whatever_is_around_it_and_missing(text: str, found: list[tuple[str, float]]) -> None:
    assert listed(text) == found


def test_answers_are_drawn_as_often_as_they_are_said_to_be_likely() -> None:
    """.6 to .3 is two to one: of 3,000 draws 2,000 +- 4 x 25.8, the standard deviation of that count."""
    streams = [stream_of("x", at) for at in range(3000)]
    counts = Counter(drawn(listed(LIST), stream) for stream in streams)
    assert abs(counts["red"] - 2000) < 104
    even = Counter(drawn([("a", 0.0), ("b", 0.0)], stream) for stream in streams)
    assert abs(even["a"] - 1500) < 110
    assert {drawn([("a", 0.0), ("b", 0.2)], stream) for stream in streams} == {"b"}


def test_the_request_follows_the_last_turn_and_the_list_may_be_longer_than_one_answer() -> None:
    writer = Writer(LIST)
    policy = ListingPolicy(writer, 2)
    prompt = Prompt((Message("system", "short"), *QUESTION.messages), assistant_prefix="my color :")
    (answers,) = policy.sample([prompt], Sampling(10, stop=("\n",), samples=40), ["a"])
    ((asked, sampling),) = writer.asked
    assert asked.messages[0] == prompt.messages[0]
    assert asked.messages[1].content.startswith("name a color\n\nWrite 2 different answers")
    assert asked.messages[1].content.endswith("Each answer begins with: my color :")
    assert (sampling.max_new_tokens, sampling.stop, sampling.samples) == (68, (), 40)
    assert {answer.text for answer in answers} == {"red", "blue two"}
    assert {answer.finish for answer in answers} == {"stop"}
    assert {answer.thoughts for answer in answers} == {"hm"}
    again = ListingPolicy(Writer(LIST), 2).sample([prompt], Sampling(10, samples=40), ["a"])
    assert again == [answers]
    other = ListingPolicy(Writer(LIST), 2).sample([prompt], Sampling(10, samples=40, seed=1), ["a"])
    assert other != [answers]


@pytest.mark.parametrize(
    ("text", "sampling", "answer", "finish"),
    [
        ("no list", Sampling(8), "no list", "length"),
        ("<answer probability='1'>red . blue</answer>", Sampling(8, stop=(" .",)), "red", "stop_string"),
        ("<answer probability='1'>red blue two one</answer>", Sampling(2), "red blue", "length"),
        ("<answer probability='1'>my color : red</answer>", Sampling(8), "red", "stop"),
    ],
)
def test_the_drawn_answer_is_cut_as_any_answer_is(text: str, sampling: Sampling, answer: str, finish: str) -> None:
    policy = ListingPolicy(Writer(text), 2)
    ((found,),) = policy.sample([Prompt(QUESTION.messages, assistant_prefix="my color :")], sampling, ["a"])
    assert (found.text, found.finish) == (answer, finish)
    assert found.token_ids == policy.encoder.tokens(found.text, bare=True)


def test_bare_text_is_completed_as_it_is_and_the_order_of_prompts_is_kept() -> None:
    writer = Writer(LIST)
    answers = ListingPolicy(writer, 2).sample([Prompt(text="a text"), QUESTION], Sampling(8), ["a", "b"])
    assert answers[0][0].text == LIST
    assert answers[1][0].text in ("red", "blue two")
    assert ListingPolicy(writer, 3).decoded_by() == (writer, 3)
