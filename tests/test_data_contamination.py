"""Decontamination: against sets of n-grams on 2,000 rows, and with contamination planted by hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from harness.curation.contamination import Contamination, find_contamination, read_test_set
from harness.data.examples import read_examples, whole_text
from harness.data.load import DataSpec, load_set
from harness.data.words import words_of
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair, Record, TestItem, TestSet

WORDS = [f"w{at}" for at in range(400)]


def row(text: str, answer: str = "yes", id: str = "r") -> Demonstration:
    return Demonstration((Message("user", text), Message("assistant", answer)), id)


def found_by_sets(records: list[Record], tests: list[TestSet], size: int) -> set[tuple[str, str, int]]:
    """The rule word for word, with Python sets: the share of an item's words under n-grams of one row."""
    found = set()
    for number, record in enumerate(records):
        words = words_of(whole_text(record))
        grams = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
        for test in tests:
            for item in test.items:
                asked = words_of(item.text)
                covered = set()
                for at in range(len(asked) - size + 1):
                    if tuple(asked[at : at + size]) in grams:
                        covered |= set(range(at, at + size))
                if len(covered) * 2 > len(asked):
                    found.add((test.name, item.id, number))
    return found


def by_words(found: Contamination) -> set[tuple[str, str, int]]:
    return {(match.test_set, match.item, match.row) for match in found.matches if match.how == "words"}


@pytest.mark.parametrize("size", [3, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 8))])
def test_two_thousand_rows_agree_with_sets_of_n_grams_exactly(size: int) -> None:
    draw = random.Random(size)
    pool = [" ".join(draw.choices(WORDS, k=12)) for _ in range(60)]

    def make(parts: int) -> str:
        return " ".join(draw.choice([draw.choice(pool), " ".join(draw.choices(WORDS, k=9))]) for _ in range(parts))

    records: list[Record] = [row(make(draw.randrange(1, 5)), draw.choice(WORDS), str(n)) for n in range(2000)]
    tests = [
        TestSet(name, tuple(TestItem(str(n), make(draw.randrange(0, 4))) for n in range(40))) for name in ("a", "b")
    ]
    wanted = found_by_sets(records, tests, size)
    assert len(wanted) > 50
    assert by_words(find_contamination(records, tests, size=size)) == wanted


@pytest.mark.slow
def test_real_rows_agree_with_sets_of_n_grams_exactly(shared_data: Path) -> None:
    """2,000 rows of GSM8K's training half against 100 items of its test half, with 4-grams so that much is shared."""
    records = list(load_set("demonstrations", DataSpec(str(shared_data / "gsm8k" / "train.jsonl"))).records[:2000])
    test = read_test_set(str(shared_data / "gsm8k" / "test.jsonl"))
    small = [TestSet("gsm8k", test.items[:100])]
    found = find_contamination(records, small, size=4, cover_above=0.5)
    assert by_words(found) == found_by_sets(records, small, 4)


@pytest.mark.parametrize("kind", ["exact", "case and spacing", "60 % excerpt"])
def test_planted_contamination_is_found(kind: str, shared_data: Path) -> None:
    """Fifty items of each of four real sets, hidden in the answers and prompts of real rows."""
    names = ("gsm8k/test.jsonl", "ifeval/input_data.jsonl", "truthfulqa/TruthfulQA.csv")
    sets = [read_test_set(str(shared_data / name)) for name in (*names, "mt_bench/mt_bench_question.jsonl")]
    records = [
        example.record for example in read_examples(str(shared_data / "self_instruct/seed_tasks.jsonl")).examples
    ]
    planted = set()
    for test in sets:
        # a 60 % excerpt must hold an n-gram, and cut words at neither end
        long = [item for item in test.items if len(words_of(item.text)) >= 15 and len(item.text.split()) >= 15][:50]
        for number, item in enumerate(long):
            planted.add((test.name, item.id))
            text = spoilt(item.text, kind)
            records.append(row(text) if number % 2 else row("Go on.", f"As they say: {text} And so on."))
    found = find_contamination(records, sets)
    assert planted <= {(match.test_set, match.item) for match in found.matches}
    assert len(planted) > 150
    clean = {match.row for match in found.matches} - set(range(175, len(records)))
    assert len(clean) < 5


def spoilt(text: str, kind: str) -> str:
    if kind == "exact":
        return text
    if kind == "case and spacing":
        return "  ".join(text.upper().split()).replace(" ", "\n ")
    words = text.split()
    # 60 % of the words as the matcher counts them
    wanted, kept = 0.6 * len(words_of(text)), len(words) // 5
    end = kept
    while len(words_of(" ".join(words[kept:end]))) < wanted and end < len(words):
        end += 1
    while len(words_of(" ".join(words[kept:end]))) < wanted:
        kept -= 1
    return " ".join(words[kept:end])


def test_half_of_an_item_is_no_match_and_a_word_more_is() -> None:
    """16 words: 8 covered are exactly half; 9 are more."""
    item = " ".join(WORDS[:16])
    tests = [TestSet("t", (TestItem("1", item),))]
    for count, matches in ((8, 0), (9, 1)):
        assert len(find_contamination([row(" ".join(WORDS[:count]))], tests).matches) == matches
    # the words must come from one row: two halves in two rows are no match
    halves = [row(" ".join(WORDS[:8])), row(" ".join(WORDS[8:16]))]
    assert find_contamination(halves, tests).matches == ()


def test_short_prompts_and_long_answers_match_as_a_whole() -> None:
    answer = " ".join(WORDS[:8])
    tests = [TestSet("t", (TestItem("1", "Who wrote Emma?", "Austen"), TestItem("2", "Tell me.", answer.upper())))]
    records: list[Record] = [
        row("who wrote  EMMA"),
        row("Tell me who wrote Emma, please"),
        row("x", "Austen"),
        PreferencePair((Message("user", "x"),), "y", answer, "p"),
    ]
    found = find_contamination(records, tests)
    assert [(match.item, match.row, match.how) for match in found.matches] == [("1", 0, "prompt"), ("2", 3, "answer")]


def test_a_set_is_flagged_above_two_percent() -> None:
    """Of 100 items two matches are 2 %, which is allowed; three are not."""
    items = tuple(TestItem(str(n), f"question number {n}") for n in range(100))
    for count, flagged in ((2, []), (3, ["t"])):
        found = find_contamination([row(f"Question number {n}?") for n in range(count)], [TestSet("t", items)])
        assert found.flagged() == flagged
        assert found.share("t") == count / 100
        assert found.contaminated_rows() == list(range(count))


def test_a_templated_set_is_compared_by_its_slots() -> None:
    """The template's own words would cover every prompt; with slots declared only equal values match."""
    template = "Write the following words in alphabetical order, one a line, and nothing else: {words}. Be {case}."

    def make(words: str, case: str) -> str:
        return template.replace("{words}", words).replace("{case}", case)

    items = (TestItem("1", make("pear fig", "small")), TestItem("2", make("oak elm", "large")))
    rows = [row(make("ash yew", "small")), row(make("Oak,  elm", "LARGE")), row(make("oak elm", "small"))]
    blind = find_contamination(rows, [TestSet("t", items)])
    assert len(blind.contaminated_rows()) == 3
    told = find_contamination(rows, [TestSet("t", items, (template,))])
    assert [(match.item, match.row, match.how) for match in told.matches] == [("2", 1, "slots")]
    with pytest.raises(UserError, match="has no slot"):
        find_contamination(rows, [TestSet("t", items, ("Write words.",))])


def test_words_keep_their_marks_and_unspaced_scripts_are_cut_by_letter() -> None:
    assert words_of("क्या आपने दिया?") == ["क्या", "आपने", "दिया"]
    assert words_of("ที่นี่ ok") == ["ที่", "นี่", "ok"]
    assert words_of("東京タワー2") == ["東", "京", "タ", "ワ", "ー", "2"]
    assert words_of("Ａdd  STRASSE, straße! e\u0301") == ["add", "strasse", "strasse", "é"]
    assert words_of("x_1 don't") == ["x_1", "don", "t"]


def test_hindi_and_thai_contamination_is_found() -> None:
    hindi = "राम ने अपने भाई को बाजार से दो किलो आम और एक किलो केले लाने के लिए कहा"
    thai = "วันนี้อากาศดีมากเราจึงไปเดินเล่นที่สวนสาธารณะใกล้บ้าน"
    tests = [TestSet("t", (TestItem("hi", hindi), TestItem("th", thai)))]
    rows = [row(f"अनुवाद करो: {hindi}।"), row(thai[:-3]), row(hindi[::-1])]
    assert [(match.item, match.row) for match in find_contamination(rows, tests).matches] == [("hi", 0), ("th", 1)]


def test_no_item_long_enough_and_no_row_are_no_match() -> None:
    tests = [TestSet("t", (TestItem("1", "short"),))]
    assert find_contamination([row(" ".join(WORDS))], tests).matches == ()
    assert find_contamination([], tests).rows == 0
    with pytest.raises(UserError, match="0 test sets"):
        find_contamination([], [])
