"""Families of prompts: what a variant changes and what it keeps, their answers, and the paired change."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import Any

import pytest
from saying import HOSTILE, Sayer

from benchmarks.ood import Ood
from harness.microworld import word_lists
from harness.microworld.splits import material
from harness.microworld.world import plain_words, the_world
from harness.scoring.variants.request_families import REQUEST_KINDS, SORTS, request_families
from harness.scoring.variants.story_families import STORY_KINDS, Plot, story_families, template_for
from harness.scoring.variants.variant_families import Member, is_right
from harness.scoring.variants.variants import Reached, changes, magnitude, variants_of

BENCHMARK = Ood(stories=12, requests=6)


def worked_out(story: str) -> int:
    """The total by reading the story as a person would: what others have does not count."""
    person, _, start, *_ = story.split()
    total = int(start)
    for verb, number in re.findall(rf"{person} ({'|'.join((*word_lists.GAINS, *word_lists.LOSSES))}) (\d+) \.", story):
        total += int(number) if verb in word_lists.GAINS else -int(number)
        assert 0 <= total <= 50
    return total


def stories() -> list[dict[str, Member]]:
    return [{member.kind: member for member in family} for family in story_families("test", 40)]


def requests() -> list[dict[str, Member]]:
    return [{member.kind: member for member in family} for family in request_families("test", 12)]


def test_every_storys_answer_is_what_its_sentences_come_to() -> None:
    for family in stories():
        assert tuple(family) == ("", *STORY_KINDS)
        for member in family.values():
            total = worked_out(member.prompt)
            assert member.wanted[0].arguments["total"] == total == member.numbers[-1]
            assert is_right(member, member.reference)
            assert is_right(member, f"count : total {total} .")
            assert not is_right(member, f"count : total {total + 1} .")


def test_a_storys_variant_changes_one_thing() -> None:
    for family in stories():
        original = family[""]
        sentences = original.prompt.split(" . ")
        redrawn, less, more, clause, reworded = (family[kind] for kind in STORY_KINDS)
        assert re.sub(r"\d+", "#", redrawn.prompt) == re.sub(r"\d+", "#", original.prompt) != redrawn.prompt
        assert less.prompt.split(" . ") == [*sentences[:3], sentences[-1]]
        assert more.prompt.split(" . ")[:4] == sentences[:4]
        assert len(more.prompt.split(" . ")) == len(sentences) + 1
        (added,) = set(clause.prompt.split(" . ")) - set(sentences)
        assert added.split()[0] != original.prompt.split()[0]
        assert clause.numbers == original.numbers
        assert reworded.numbers == original.numbers
        differing = [(a, b) for a, b in zip(original.prompt.split(), reworded.prompt.split(), strict=True) if a != b]
        assert differing
        assert {a for a, _ in differing} <= {word_lists.GAINS[0], word_lists.LOSSES[0]}
        assert {b for _, b in differing} <= {*word_lists.GAINS[1:], *word_lists.LOSSES[1:]}


def test_ten_thousand_draws_keep_the_limits_of_the_world() -> None:
    """Every draw of a template satisfies its conditions, and its recomputed answer is the story's."""
    plot = Plot("ann", "apple", ("+", "-", "+"), ("gets", "loses", "finds"))
    drawn = variants_of(template_for(plot, (), "draws"), 10_000, seed=1)
    assert len({variant.question for variant in drawn}) == 10_000
    for variant in drawn:
        assert worked_out(variant.question) == variant.answer
        assert 10 <= variant.values["n0"] <= 40
        assert all(1 <= variant.values[f"n{at}"] <= 9 for at in (1, 2, 3))


def test_requests_change_one_thing_and_their_answers_follow_it() -> None:
    found = requests()
    assert len(found) == 12 * len(SORTS)
    for family in found:
        original = family[""]
        assert tuple(family)[1:] in (REQUEST_KINDS, REQUEST_KINDS[:3])
        for member in family.values():
            assert is_right(member, member.reference), member
            assert not is_right(member, "i do not know .")
        assert family["reworded"].reference == original.reference
        assert family["reworded"].wanted == original.wanted
        assert family["about another"].reference != original.reference
        assert len({member.prompt for member in family.values()}) == len(family)
        if (unseen := family.get("unseen instruction")) is not None:
            assert not is_right(unseen, original.reference)
        more = family["an instruction more"]
        assert len(more.wanted) == len(original.wanted) + 1
        assert not is_right(more, original.reference)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("one_word", ["kolm", "kolm ."], ["bato lives in kolm .", "kolm kolm", "belm", ""]),
        ("twice", ["in kolm . in kolm ."], ["in kolm .", "in kolm . in belm .", "in belm . in belm .", "kolm kolm"]),
        ("framed", ["amen in kolm . yes amen"], ["amen in kolm . yes", "amen amen", "amen in kolm amen", ""]),
        ("upper_bullets", ["- FOX - OWL"], ["- FOX - owl", "FOX OWL", "- FOX - 3", ""]),
    ],
)
def test_rules_of_unseen_instructions(name: str, right: list[str], wrong: list[str]) -> None:
    from harness.microworld.rules import Instruction

    wish = Instruction(name, {"word": "kolm", "marker": "amen"})
    member = Member("f", "request", "k", "p", (wish,), "")
    assert [is_right(member, text) for text in right] == [True] * len(right)
    assert [is_right(member, text) for text in wrong] == [False] * len(wrong)


def test_prompts_are_of_their_split_and_in_the_vocabulary() -> None:
    known = {*plain_words(), *the_world().people}
    for split in ("test", "validation"):
        members = [m for family in (*story_families(split, 10), *request_families(split, 5)) for m in family]
        people = set(the_world().people) & {word for member in members for word in member.prompt.split()}
        assert people <= set(material(split).people)
        assert {word.lower() for m in members for word in f"{m.prompt} {m.reference}".split()} <= known


def answered(right: Any) -> list[Any]:
    items = {item.id: item for item in BENCHMARK._items()}
    return list(BENCHMARK.evaluate(Sayer(lambda p, key: items[key].reference if right(items[key]) else "no"), seed=0))


def test_the_change_is_the_variants_score_minus_its_own_originals() -> None:
    """Right on originals and redrawn ones only: every other kind of change is -1, the controls are 0."""
    kept = {"", "numbers redrawn", "about another"}
    found = answered(lambda item: item.kind in kept)
    by_group = defaultdict(set)
    for outcome in found:
        if "change" in outcome.metrics:
            by_group[outcome.group].add(outcome.metrics["change"])
    assert not [group for group in by_group if "original" in group]
    assert {group: values for group, values in by_group.items() if values != {-1.0}} == {
        "story: numbers redrawn": {0.0},
        "request: about another": {0.0},
    }
    assert len(by_group) == len(STORY_KINDS) + len(REQUEST_KINDS)


def test_the_control_for_size_compares_numbers_alone() -> None:
    """By hand: (log10 10 + log10 100) / 2 = 1.5; nothing is said of requests, which have no numbers."""
    assert magnitude((9, -99)) == pytest.approx(1.5)
    assert changes(Reached(1.0, 1.0), Reached(0.0, 1.0)) == {"change": -1.0, "change_no_larger": -1.0}
    assert changes(Reached(1.0, 1.0), Reached(0.0, 1.1)) == {"change": -1.0}
    assert changes(Reached(0.0), Reached(1.0)) == {"change": 1.0}
    found = answered(lambda item: True)
    of_stories = [one for one in found if one.group.startswith("story")]
    assert all(("magnitude" in one.metrics) == (one in of_stories) for one in found)
    redrawn = [one for one in of_stories if one.group == "story: numbers redrawn"]
    assert {"change_no_larger" in one.metrics for one in redrawn} == {True, False}


def test_a_family_is_a_cluster_and_ids_are_unique() -> None:
    found = answered(lambda item: True)
    assert {one.metrics["correct"] for one in found} == {1.0}
    assert len({one.item for one in found}) == len(found)
    sizes = Counter(one.cluster for one in found)
    assert set(sizes.values()) == {6, 5, 4}
    declared = {metric.name for metric in BENCHMARK.metrics()}
    assert {name for one in found for name in one.metrics} == declared


def test_the_digest_follows_the_families() -> None:
    others = [Ood(stories=12, requests=6), Ood(stories=13, requests=6), Ood(stories=12, requests=6, split="validation")]
    digests = [other.data_digest() for other in (BENCHMARK, *others)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored(text: str) -> None:
    found = Ood(stories=1, requests=1).evaluate(Sayer(lambda prompt, key: text), seed=0)
    assert {one.metrics["correct"] for one in found} == {0.0}
