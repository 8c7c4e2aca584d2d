"""The microworld's corpus, tasks, training sets and items: deterministic, within the vocabulary, disjoint."""

from __future__ import annotations

import itertools
import random
from typing import cast

import pytest
from microworld_splits import SplitOverlap, check_disjoint, dataset_keys, dialogue_key, item_keys

from harness.errors import UserError
from harness.microworld import corpus, datasets, dialogues, items, rules, splits, stories, tasks, word_lists, world
from harness.microworld.rules import Instruction, follows
from harness.microworld.tokenizer import vocabulary
from harness.records import Demonstration, PreferencePair, Problem, digest_of, parent_and_version

ALL_KINDS = tuple(tasks.MAKERS)


def _corrupted(answer: str) -> str:
    """What no instruction is content with: one bullet too many, in lower case, with other words at its ends."""
    return f"spoiled {answer} - spoiled"


def test_the_same_seed_gives_the_same_corpus() -> None:
    assert corpus.corpus_digest(seed=4, count=500) == corpus.corpus_digest(seed=4, count=500)


def test_another_seed_gives_another_corpus() -> None:
    assert corpus.corpus_digest(seed=4, count=500) != corpus.corpus_digest(seed=5, count=500)


def test_every_kind_of_document_occurs() -> None:
    chance = random.Random(0)
    assert set(corpus.WRITERS) == {kind for mix in corpus.MIXES.values() for kind in mix}
    assert all(writer(world.the_world(), chance) for writer in corpus.WRITERS.values())


def test_the_world_is_the_recipes_size() -> None:
    the_world = world.the_world()
    assert (len(the_world.people), len(the_world.newcomers)) == (320, 30)
    assert {group: len(the_world.group(group)) for group in world.GROUPS} == dict.fromkeys(world.GROUPS, 80)


def test_no_newcomer_is_in_the_corpus() -> None:
    said = {word for text in itertools.islice(corpus.documents(), 3000) for word in text.lower().split()}
    assert not said & set(world.the_world().newcomers)


@pytest.mark.parametrize("mix", corpus.MIXES)
def test_no_word_of_the_corpus_is_unknown(mix: str) -> None:
    said = {word for text in itertools.islice(corpus.documents(mix=mix), 3000) for word in text.split()}
    assert not said - set(vocabulary())


@pytest.mark.parametrize("mix", corpus.MIXES)
def test_the_shares_of_a_mix_add_up(mix: str) -> None:
    assert sum(corpus.MIXES[mix].values()) == pytest.approx(1)


def _sentences_about(person: str) -> list[str]:
    return [world.the_world().statement(person, attribute) for attribute in word_lists.ATTRIBUTES]


def test_the_mix_with_answered_chat_differs_from_the_even_one_in_half_of_its_conversations() -> None:
    even, seen = corpus.MIXES["even"], corpus.MIXES["seen"]
    assert seen["answered-chat"] == seen["forum"] == even["forum"] / 2
    talks = ("forum", "answered-chat")
    assert {kind: share for kind, share in seen.items() if kind not in talks} == {
        kind: share for kind, share in even.items() if kind not in talks
    }


def test_an_answered_chat_is_about_training_people_and_categories_in_three_kinds() -> None:
    """The end of a request tells its kind: a question, a wish for an ending, a number of members."""
    drawn = random.Random(0)
    texts = [corpus.WRITERS["answered-chat"](world.the_world(), drawn) for _ in range(600)]
    people = [word for text in texts for word in text.split() if word in world.the_world().facts]
    assert set(people) <= set(splits.material("train").people)
    kinds = {"question": 0, "end": 0, "list": 0}
    for text in texts:
        request, answer = text.removeprefix("<u> ").split(" <a> ")
        if " with a note that ends with " in request:
            assert answer.split()[-1] == request.split()[-1]
            assert "starts with" not in request
            kinds["end"] += 1
        elif answer.startswith("- "):
            category = next(word for word in request.split() if word in word_lists.CATEGORIES)
            assert category in splits.CATEGORIES["train"]
            assert word_lists.COUNTS[answer.count("- ")] in request.split()
            kinds["list"] += 1
        else:
            assert request.endswith("?")
            assert answer in _sentences_about(answer.split()[0])
            kinds["question"] += 1
    assert all(154 <= count <= 246 for count in kinds.values())  # 200 each; a standard deviation is 11.5


def test_no_word_of_a_training_set_is_unknown() -> None:
    said: list[str] = []
    for name in datasets.dataset_names():
        for record in datasets.load(name):
            if isinstance(record, Demonstration):
                said += [message.content for message in record.messages]
            elif isinstance(record, PreferencePair):
                said += [record.prompt[0].content, record.chosen, record.rejected]
            else:
                said += [record.prompt[0].content, record.reference]
    assert not {word for text in said for word in text.split()} - set(vocabulary())


@pytest.mark.parametrize("reworded", [False, True])
def test_no_word_of_an_item_is_unknown(reworded: bool) -> None:
    found = items.instruction_items("test", kinds=ALL_KINDS, reworded=reworded)
    said = [text for item in found for text in (item.prompt, item.reference)]
    said += [text for item in items.knowledge_items("test") for text in (item.question, item.stem, *item.choices)]
    assert not {word for text in said for word in text.split()} - set(vocabulary())


def test_the_splits_are_disjoint() -> None:
    check_disjoint()


def test_the_checker_finds_a_planted_prompt() -> None:
    key = ("call/0", ("set_alarm", "monday", "7"))
    with pytest.raises(SplitOverlap, match="set_alarm"):
        check_disjoint({"train": [key], "test": [key]})


def test_the_checker_finds_a_planted_person_and_category() -> None:
    person = world.the_world().people[0]
    with pytest.raises(SplitOverlap, match=person):
        check_disjoint({"train": [("plain/0", (person, "city"))], "test": [("upper/0", (person, "pet"))]})
    with pytest.raises(SplitOverlap, match="forest"):
        check_disjoint({"train": [("list/0", ("forest", "two"))], "test": [("open/0", ("forest",))]})


def test_training_has_half_of_the_first_two_hundred_people() -> None:
    people = splits.material("train").people
    assert len(people) == 100
    assert set(people) <= set(world.the_world().people[:200])


def test_every_category_belongs_to_one_split() -> None:
    divided = [category for categories in splits.CATEGORIES.values() for category in categories]
    assert sorted(divided) == sorted(word_lists.CATEGORIES)


def test_there_are_a_thousand_demonstrations_with_at_least_sixty_calls() -> None:
    found = datasets.load("curated-1k")
    assert len(found) == 1000
    assert sum(record.id.endswith("-call") for record in found) >= 60
    assert len({record.id for record in found}) == 1000


def test_the_unbiased_teacher_gets_the_same_prompts_and_answers_differently() -> None:
    typical, unbiased = datasets.load("curated-1k"), datasets.load("curated-1k-unbiased")
    pairs = [
        (cast(Demonstration, a).messages, cast(Demonstration, b).messages)
        for a, b in zip(typical, unbiased, strict=True)
    ]
    assert all(a[0] == b[0] for a, b in pairs)
    assert any(a[1] != b[1] for a, b in pairs)


def test_the_unfiltered_set_has_the_curated_prompts_and_a_fault_in_about_half_of_its_answers() -> None:
    """Binomial with 1,000 rows and p = .5: four standard deviations are 63 rows."""
    curated, raw = datasets.load("curated-1k"), datasets.load("unfiltered-1k")
    pairs = [
        (cast(Demonstration, a).messages, cast(Demonstration, b).messages) for a, b in zip(curated, raw, strict=True)
    ]
    assert all(a[0] == b[0] for a, b in pairs)
    assert 437 <= sum(a[1] != b[1] for a, b in pairs) <= 563


def test_the_homogeneous_set_has_one_kind_of_prompt_and_right_answers_only() -> None:
    records = [cast(Demonstration, record) for record in datasets.load("homogeneous-1k")]
    assert len(records) == 1000
    assert {record.id.rsplit("-", 1)[1] for record in records} == {"end"}
    for record in records:
        marker = record.messages[0].content.split()[-1]
        assert follows(Instruction("ends_with", {"marker": marker}), record.messages[1].content)


def test_the_set_with_turns_is_curated_rows_and_conversations_whose_every_answer_is_right() -> None:
    curated, found = datasets.load("curated-1k"), datasets.load("with-turns-1k")
    records = [cast(Demonstration, record) for record in found]
    rows = [cast(Demonstration, record).messages for record in curated]
    assert [record.messages for record in records[:700]] == rows[:700]
    told = dialogues.dialogues("train", 100)
    for record, dialogue in zip(records[700:], told, strict=True):
        assert [message.content for message in record.messages[::2]] == list(dialogue.turns)
        answers = [message.content for message in record.messages[1::2]]
        assert all(follows(dialogue.instruction, answer) for answer in answers)
        assert all(value in answer.split() for value, answer in zip(dialogue.values, answers, strict=True))
    assert len({record.id for record in records}) == 1000
    asked = {dialogue_key(one) for one in told}
    assert asked <= set(dataset_keys("train"))
    assert {dialogue_key(one) for one in dialogues.dialogues("test", 40)} <= set(item_keys("test"))


def test_two_and_four_steps_are_lengths_that_no_row_of_the_three_step_sets_has() -> None:
    names = ("three-steps-1k", "three-step-stories", "three-step-solutions")
    asked = [datasets.load(name, split) for name in names for split in ("train", "validation")]
    prompts = [
        (record.messages if isinstance(record, Demonstration) else cast(Problem, record).prompt)[0].content
        for records in asked
        for record in records
    ]
    stories_only = [prompt for prompt in prompts if prompt.endswith("how many are left ?")]
    assert len(stories_only) == 70 + 7 + 2 * (480 + 100)
    assert {prompt.count(" . ") - 1 for prompt in stories_only} == {3}


def test_but_for_stories_the_three_step_set_is_the_curated_one() -> None:
    curated, own = datasets.load("curated-1k"), datasets.load("three-steps-1k")
    pairs = [
        (cast(Demonstration, one).messages, cast(Demonstration, two).messages)
        for one, two in zip(curated, own, strict=True)
    ]
    assert all(one == two for one, two in pairs if not two[0].content.endswith("how many are left ?"))


def test_the_solutions_work_out_the_totals_of_the_same_problems() -> None:
    problems, solutions = datasets.load("three-step-stories"), datasets.load("three-step-solutions")
    for problem, solution in zip(problems, solutions, strict=True):
        asked, answer = (message.content for message in cast(Demonstration, solution).messages)
        assert asked == cast(Problem, problem).prompt[0].content
        assert rules.story_total(answer, cast(Problem, problem).reference)


def test_the_refined_set_holds_each_unfiltered_row_and_its_mended_answer_as_versions() -> None:
    raw = [cast(Demonstration, record) for record in datasets.load("unfiltered-1k")]
    curated = [cast(Demonstration, record) for record in datasets.load("curated-1k")]
    versions = [cast(Demonstration, record) for record in datasets.load("refined-1k")]
    assert [record.messages for record in versions[::2]] == [record.messages for record in raw]
    assert [record.messages for record in versions[1::2]] == [record.messages for record in curated]
    for at in range(0, 2000, 2):
        (parent, first), (same, second) = (parent_and_version(record.id) for record in versions[at : at + 2])
        assert (parent, first, second) == (same, "original", "response")


@pytest.mark.parametrize("name", datasets.dataset_names())
def test_a_training_set_is_the_same_each_time(name: str) -> None:
    assert digest_of(datasets.load(name)) == digest_of(datasets.load(name))


def test_every_rejected_call_differs_from_the_chosen_one() -> None:
    pairs = [cast(PreferencePair, record) for record in datasets.load("function-calls")]
    assert len(pairs) >= 300
    assert all(pair.chosen != pair.rejected for pair in pairs)


def test_every_story_has_a_total_that_its_verifier_accepts() -> None:
    problems = [cast(Problem, record) for record in datasets.load("stories")]
    assert len(problems) >= 400
    assert {problem.verifier for problem in problems} == {"story_total"}
    assert rules.story_total(f"count : 1 + 1 = 2 . total {problems[0].reference} .", problems[0].reference)
    assert not rules.story_total("count : 1 + 1 = 2 . total 99 .", problems[0].reference)


def test_stories_of_four_steps_are_for_testing_alone() -> None:
    def steps(split: str) -> set[int]:
        prompts = [cast(Problem, record).prompt[0].content for record in datasets.load("stories", split)]
        return {prompt.count(" . ") - 1 for prompt in prompts}

    assert steps("train") == {1, 2, 3, 5}
    assert steps("test") == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("split", items.ITEM_SPLITS)
@pytest.mark.parametrize("reworded", [False, True])
def test_every_reference_follows_its_instructions_and_a_corrupted_one_does_not(split: str, reworded: bool) -> None:
    for item in items.instruction_items(split, kinds=ALL_KINDS, reworded=reworded):
        assert all(follows(one, item.reference) for one in item.instructions + item.content), item
        wrong = _corrupted(item.reference)
        assert not item.instructions or not all(follows(one, wrong) for one in item.instructions), item


def test_one_of_two_instructions_can_be_followed_alone() -> None:
    listed = (Instruction("bullet_list"), Instruction("item_count", {"count": 3}))
    assert [follows(wish, "- fox - bear") for wish in listed] == [True, False]
    note = (Instruction("starts_with", {"marker": "hello"}), Instruction("ends_with", {"marker": "bye"}))
    assert [follows(wish, "hello zovo lives in arvo .") for wish in note] == [True, False]


def test_an_unknown_instruction_is_a_user_error() -> None:
    with pytest.raises(UserError, match="upper_cas"):
        follows(Instruction("upper_cas"), "A B C")


@pytest.mark.parametrize("group", world.GROUPS)
def test_there_are_at_least_two_hundred_knowledge_items_in_each_group(group: str) -> None:
    found = [item for item in items.knowledge_items("test") if item.group == group]
    assert len(found) >= 200
    assert all(len(set(item.choices)) == 4 for item in found)
    facts = world.the_world().facts
    assert all(item.choices[item.answer] == facts[item.person][item.attribute] for item in found)


@pytest.mark.parametrize("bands", items.BANDS)
def test_banded_items_have_the_people_of_the_split_by_rank_and_every_value_as_a_choice(bands: str) -> None:
    found, the_world = items.banded_items("test", bands), world.the_world()
    assert len({item.group for item in found}) == 4
    people = {person for group in splits.people_by_split()["test"].values() for person in group}
    asked = {item.person for item in found}
    ranks = {rank for first, last in items.BANDS[bands] for rank in range(first, last + 1)}
    assert asked == {person for rank, person in enumerate(the_world.people, start=1) if rank in ranks} & people
    for item in found:
        _, first, _, last = item.group.split()
        assert int(first) <= the_world.people.index(item.person) + 1 <= int(last)
        assert item.choices == word_lists.POOLS[item.attribute]
        assert item.choices[item.answer] == the_world.facts[item.person][item.attribute]


def test_banded_items_ask_the_questions_of_the_others_under_the_same_ids() -> None:
    usual = {item.id: (item.question, item.stem) for item in items.knowledge_items("test")}
    found = [item for bands in items.BANDS for item in items.banded_items("test", bands)]
    assert all(usual[item.id] == (item.question, item.stem) for item in found)


def test_items_have_identities_of_their_own() -> None:
    found = [item.id for split in items.ITEM_SPLITS for item in items.instruction_items(split, kinds=ALL_KINDS)]
    found += [item.id for split in items.ITEM_SPLITS for item in items.knowledge_items(split)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("load", [lambda: datasets.load("curated-2k"), lambda: datasets.load("curated-1k", "dev")])
def test_an_unknown_set_or_split_is_a_user_error(load: object) -> None:
    with pytest.raises(UserError):
        load()  # type: ignore[operator]


def test_the_arithmetic_of_stories_stays_small() -> None:
    chance = random.Random(1)
    drawn = [stories.draw_story(chance, world.the_world().people, 5) for _ in range(500)]
    numbers = {int(word) for story in drawn for word in story.document().split() if word.isdigit()}
    assert max(numbers) <= stories.LARGEST_TOTAL
    assert min(numbers) >= 0
