"""Curation: funnels that add up, rules worked by hand, and the real rows to exactly 1,000 with equal bytes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.data_verbs import DEFAULT_STEPS
from harness.curation.card import data_card
from harness.curation.mixing import apportioned, merge, mix
from harness.curation.pipeline import curate, parse_steps
from harness.curation.step_kinds import k_center, scrubbed
from harness.data.examples import Example, ExampleSet, canonical_row, read_examples
from harness.errors import UserError
from harness.records import Demonstration, Message, PreferencePair


def example(asked: str, answer: str, id: str = "1", **extra: Any) -> Example:
    record = Demonstration((Message("user", asked), Message("assistant", answer)), id)
    return Example(record, "demonstrations", "messages", extra, "x")


def ids(examples: tuple[Example, ...]) -> list[str]:
    return [one.record.id for one in examples]


def test_a_funnel_adds_up_and_every_row_that_left_is_listed_with_its_reason() -> None:
    rows = [
        example("a", "The answer is one.", "1"),
        example("a", "The answer  is one.", "2"),
        example("b", "b", "3"),
        example("c", "So\nso\nso\nso\nSo", "4"),
        example("d", "Dear {{name}}", "5"),
        example("e", "x" * 50, "6"),
    ]
    done = curate(rows, parse_steps(["exact_duplicates", "quality", {"length": {"max_characters": 40}}]))
    assert ids(done.examples) == ["1"]
    assert [(line.rows_in, line.rows_out) for line in done.funnel] == [(6, 5), (5, 2), (2, 1)]
    assert [(one.example.record.id, one.reason) for one in done.removed] == [
        ("2", "repeats an earlier row"),
        ("3", "echoes its prompt"),
        ("4", "repeats its own lines"),
        ("5", "a placeholder is left"),
        ("6", "answer over 40 characters"),
    ]


REAL = [
    "ultrafeedback_sft1k/ultrafeedback_1k.json",
    "self_instruct/seed_tasks.jsonl",
    "self_instruct/user_oriented_instructions.jsonl",
    "llama_factory_demo/identity.json",
    "llama_factory_demo/kto_en_demo.json",
    "llm_adapters/openbookqa/test.json",
    "llm_adapters/AQuA/test.json",
    "llm_adapters/SVAMP/test.json",
]


@pytest.mark.slow
def test_the_real_rows_become_exactly_a_thousand_twice_with_equal_bytes(shared_data: Path) -> None:
    sets = [read_examples(str(shared_data / name)) for name in REAL]
    steps = parse_steps([*DEFAULT_STEPS, "scrub", {"diverse": {"n": 1000}}])
    raw = merge(sets)
    assert len(raw) == 1000 + 175 + 252 + 91 + 300 + 500 + 254 + 1000
    runs = [curate(raw, steps, seed=5) for _ in range(2)]
    first = runs[0]
    assert len(first.examples) == len(set(ids(first.examples))) == 1000
    assert first.funnel[0].rows_in == len(raw)
    for before, after in zip(first.funnel, first.funnel[1:], strict=False):
        assert before.rows_out == after.rows_in
    for line in first.funnel:
        assert line.rows_in - line.rows_out == sum(line.removed.values())
    assert first.funnel[0].removed == {"labelled bad": 150}
    assert sorted(ids(first.examples) + [one.example.record.id for one in first.removed]) == sorted(ids(raw))
    written = [json.dumps([canonical_row(one) for one in run.examples]) for run in runs]
    assert written[0] == written[1]
    other = curate(first.examples, parse_steps([{"sample": {"n": 300}}]), seed=6)
    assert len(other.examples) == 300


def test_an_edit_of_the_pipeline_that_is_wrong_is_named() -> None:
    for steps, said in (
        (["dedup"], "unknown step 'dedup'"),
        ([{"length": {"minimum": 1}}], "length has no option 'minimum'"),
        ([{"diverse": {"n": "many"}}], "diverse.n is 'many'"),
        (["diverse"], "diverse needs n"),
        ("quality", "the steps are 'quality'"),
        ([{"a": 1, "b": 2}], "is not a step"),
    ):
        with pytest.raises(UserError, match=said):
            parse_steps(steps)
    with pytest.raises(UserError, match="5 rows are wanted of 1"):
        curate([example("a", "b")], parse_steps([{"sample": {"n": 5}}]))
    with pytest.raises(UserError, match="leaves no row"):
        curate([example("a", "a")], parse_steps(["quality"]))


def test_the_best_rows_by_a_score_are_kept_in_their_own_order() -> None:
    rows = [example("a", "b", str(at), score=score) for at, score in enumerate([3, 9.5, 1, 7])]
    done = curate(rows, parse_steps([{"best": {"n": 2, "column": "score"}}]))
    assert ids(done.examples) == ["1", "3"]
    with pytest.raises(UserError, match="`length` is None, not a number"):
        curate(rows, parse_steps([{"best": {"n": 2, "column": "length"}}]))


def test_limas_rules_for_stack_exchange() -> None:
    body = "A long and helpful answer about sorting. " * 40
    cases = [
        (body, {"score": 10}, ""),
        (body, {}, ""),
        (body, {"score": 9}, "score under 10"),
        ("Short.", {}, "answer under 1200 characters"),
        (body * 3, {}, "answer over 4096 characters"),
        (body + "I think so.", {}, "written in the first person"),
        (body + "In my view.", {}, "written in the first person"),
        (body + "As mentioned before.", {}, "refers to other answers"),
        (body + "`for I in my:` is code", {}, ""),
    ]
    for at, (answer, extra, reason) in enumerate(cases):
        rows = [example("q", answer, str(at), **extra), example("q", body, "kept")]
        done = curate(rows, parse_steps(["stack_exchange"]))
        assert [one.reason for one in done.removed] == ([reason] if reason else []), answer[-40:]
    tags = '<p>See <a href="x">this page</a> <img src="y"> a &lt; b</p> <code><b>x</b></code>'
    marked = body + tags + " ![i](u) [t](http://v) <li>one</li>"
    (clean,) = curate([example("q", marked)], parse_steps(["stack_exchange"])).examples
    text = clean.record.messages[1].content  # type: ignore[union-attr]
    assert text == body + "See this page  a < b <code><b>x</b></code>  t <li>one</li>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Write to Jane.Doe+x@mail.example.org.", "Write to [EMAIL]."),
        ("Call +1 (415) 555-0132 or 415-555-0132 now", "Call [PHONE] or [PHONE] now"),
        ("Pay with 4111 1111 1111 1111.", "Pay with [CARD]."),
        ("Not a card: 4111 1111 1111 1112.", "Not a card: 4111 1111 1111 1112."),
        ("From 192.168.0.17, version 1.2.3", "From [IP], version 1.2.3"),
        ("IBAN DE89 3704 0044 0532 0130 00", "IBAN [IBAN]"),
        ("SSN 078-05-1120", "SSN [SSN]"),
        ("key sk-abcdefghijklmnopqrstuvwx", "key [KEY]"),
        ("16 - 3 = 13, 2024-01-31, 3.14, 1,000,000, 555-1234", "16 - 3 = 13, 2024-01-31, 3.14, 1,000,000, 555-1234"),
    ],
)  # fmt: skip
def test_personal_data_is_scrubbed_and_sums_are_left_alone(text: str, clean: str) -> None:
    assert scrubbed(text) == clean


def test_scrubbing_leaves_no_trace_in_the_columns_that_are_kept() -> None:
    dirty = example("Mail a@b.co", "Yes.", "1", conversations=[{"value": "Mail a@b.co"}], notes=["ask c@d.co"], n=3)
    (clean,) = curate([dirty], parse_steps(["scrub"])).examples
    assert "@" not in json.dumps(canonical_row(clean))
    assert clean.extra["notes"] == ["ask [EMAIL]"]
    untouched = example("Hello", "Yes.", "1", n=3)
    assert curate([untouched], parse_steps(["scrub"])).examples[0] is untouched
    pair = PreferencePair((Message("user", "q"),), "a@b.co", "c@d.co", "2")
    rows = [Example(pair, "preferences", "preference"), Example(PreferencePair(pair.prompt, "a", "b", "3"), "preferences", "preference")]  # fmt: skip # noqa: E501
    assert curate(rows, parse_steps(["scrub"])).removed[0].reason == "its two answers are now equal"


def test_k_center_is_the_greedy_choice_of_brute_force() -> None:
    """Against dense cosine distances and a loop over all pairs."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    draw = random.Random(0)
    texts = [" ".join(draw.choices([f"w{n}" for n in range(30)], k=draw.randrange(1, 12))) for _ in range(60)] + [
        "?",
        "",
    ]
    chosen = k_center(texts, 25, seed=3)
    dense = (
        TfidfVectorizer(analyzer=lambda text: text.split() if "w" in text else ["\x00"]).fit_transform(texts).toarray()
    )
    assert len(set(chosen)) == 25
    for at in range(1, 25):
        nearest = [max(float(np.dot(dense[row], dense[c])) for c in chosen[:at]) for row in range(len(texts))]
        rest = [row for row in range(len(texts)) if row not in chosen[:at]]
        assert nearest[chosen[at]] <= min(nearest[row] for row in rest) + 1e-9
    assert k_center(texts, 10, seed=3) == chosen[:10]
    assert sorted(k_center(texts, 99, seed=1)) == list(range(62))


def test_parts_of_a_mix_are_whole_and_as_near_to_the_weights_as_they_can_be() -> None:
    """10 rows at 1:1:1 are 4, 3 and 3; at 5:3:2 exactly that; a tiny weight may give none."""
    assert apportioned({"a": 1, "b": 1, "c": 1}, 10) == {"a": 4, "b": 3, "c": 3}
    assert apportioned({"a": 5, "b": 3, "c": 2}, 10) == {"a": 5, "b": 3, "c": 2}
    assert apportioned({"a": 1, "b": 0.001}, 10) == {"a": 10, "b": 0}
    for weights in ({}, {"a": 0.0}, {"a": -1.0}, {"a": float("nan")}):
        with pytest.raises(UserError):
            apportioned(weights, 10)


def test_a_mix_has_exactly_n_rows_goes_through_small_sources_again_and_depends_on_the_seed_alone() -> None:
    sources = {
        name: [example("q", f"{name}{at}", f"{name}{at}") for at in range(size)] for name, size in (("a", 4), ("b", 50))
    }
    rows, shares = mix(sources, {"a": 1, "b": 1}, 20, seed=0)
    assert [(share.taken, share.epochs) for share in shares] == [(10, 2.5), (10, 0.2)]
    own = [id for id in ids(rows) if id.startswith("a")]
    assert len(set(ids(rows))) == 20
    assert sorted(id for id in own if "@" not in id) == ["a0", "a1", "a2", "a3"]
    assert sum(id.endswith("@2") for id in own) == 4
    assert sum(id.endswith("@3") for id in own) == 2
    assert ids(mix(sources, {"a": 1, "b": 1}, 20, seed=0)[0]) == ids(rows)
    assert ids(mix(sources, {"a": 1, "b": 1}, 20, seed=1)[0]) != ids(rows)


def test_sets_of_other_kinds_do_not_merge_and_ids_that_two_files_share_are_told_apart(tmp_path: Path) -> None:
    sets = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.jsonl").write_text('{"prompt": "a", "completion": "b"}')
        sets.append(read_examples(str(tmp_path / folder / "t.jsonl")))
    assert ids(merge(sets)) == ["one/t.jsonl:t.jsonl:1", "two/t.jsonl:t.jsonl:1"]
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}')
    other: ExampleSet = read_examples(str(tmp_path / "p.jsonl"))
    with pytest.raises(UserError, match="different kinds"):
        merge([sets[0], other])


def test_the_card_names_restricted_licences_and_measures_style() -> None:
    rows = (example("q", "One two three four", "1"), example("q", "One two\n- item", "2"))
    card = data_card(rows, [], {"x": "CC BY-NC-SA 4.0"}, 0)
    assert card["restricted"] == ["x"]
    assert card["style"] == {
        "median_words": 3.5,
        "first_quartile_words": 3.25,
        "third_quartile_words": 3.75,
        "with_list": 0.5,
        "with_code": 0.0,
        "common_opening": 1.0,
    }
    assert data_card(rows, [], {"x": "Apache-2.0"}, 0)["restricted"] == []
