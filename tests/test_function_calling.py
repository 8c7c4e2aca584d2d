"""The benchmark function_calling: what it asks, what it yields, and files that it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from saying import HOSTILE, Sayer

from benchmarks.function_calling import FAILURES, FunctionCalling
from harness.errors import UserError

AREA = {
    "name": "area",
    "description": "Area of a circle.",
    "parameters": {
        "type": "dict",
        "properties": {"radius": {"type": "float"}, "type": {"type": "any"}, "sizes": {"type": "tuple"}},
        "required": ["radius"],
    },
}
QUESTION = {"id": "simple_0", "question": [[{"role": "user", "content": "A circle of radius 2?"}]], "function": [AREA]}
TRUTH = {"id": "simple_0", "ground_truth": [{"area": {"radius": [2.0], "type": [""]}}]}


def written(folder: Path, question: Any = QUESTION, truth: Any = TRUTH) -> str:
    (folder / "possible_answer").mkdir(exist_ok=True)
    (folder / "BFCL_v4_simple_python.json").write_text(json.dumps(question) + "\n", "utf-8")
    (folder / "possible_answer" / "BFCL_v4_simple_python.json").write_text(json.dumps(truth) + "\n", "utf-8")
    irrelevant = {**question, "id": "irrelevance_0"}
    (folder / "BFCL_v3_irrelevance.json").write_text(json.dumps(irrelevant) + "\n", "utf-8")
    return str(folder)


def benchmark(folder: Path, **fields: Any) -> FunctionCalling:
    return FunctionCalling(data=written(folder), categories=("simple", "irrelevance"), **fields)


def test_a_wrong_answer_has_one_failure_and_a_right_one_none(tmp_path: Path) -> None:
    outcomes = list(benchmark(tmp_path).evaluate(Sayer(lambda prompt, key: "[area(radius=2)]"), seed=0))
    assert [(o.item, o.group) for o in outcomes] == [("simple_0", "simple"), ("irrelevance_0", "irrelevance")]
    assert outcomes[0].metrics == {"correct": 1.0, **dict.fromkeys(FAILURES.values(), 0.0)}
    assert outcomes[1].metrics == {"correct": 0.0, **dict.fromkeys(FAILURES.values(), 0.0), "needless_call": 1.0}
    assert set(outcomes[0].metrics) == {metric.name for metric in FunctionCalling().metrics()}
    refusals = benchmark(tmp_path).evaluate(Sayer(lambda prompt, key: "None of them fits."), seed=0)
    assert [o.metrics["correct"] for o in refusals] == [0.0, 1.0]


def test_the_functions_stand_in_the_system_turn_as_json_schema(tmp_path: Path) -> None:
    policy = Sayer(lambda prompt, key: "")
    list(benchmark(tmp_path).evaluate(policy, seed=0))
    system, user = policy.asked[0].messages
    assert (system.role, user.role, user.content) == ("system", "user", "A circle of radius 2?")
    assert "[name(argument=value, ...), ...]" in system.content
    (offered,) = json.loads(system.content.partition("You can call these functions:\n")[2])
    assert offered["parameters"] == {
        "type": "object",
        "properties": {"radius": {"type": "number"}, "type": {}, "sizes": {"type": "array"}},
        "required": ["radius"],
    }
    list(benchmark(tmp_path, notation="json").evaluate(policy, seed=0))
    assert '[{"name": "...", "arguments"' in policy.asked[0].messages[0].content


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_scored(tmp_path: Path, text: str) -> None:
    called, refused = benchmark(tmp_path).evaluate(Sayer(lambda prompt, key: text), seed=0)
    assert called.metrics["correct"] == 0.0
    assert sum(called.metrics[name] for name in FAILURES.values()) == 1.0
    assert sum(refused.metrics.values()) == 1.0


def test_the_digest_follows_questions_and_accepted_answers(tmp_path: Path) -> None:
    first = benchmark(tmp_path).data_digest()
    assert benchmark(tmp_path).data_digest() == first
    other = written(tmp_path, truth={**TRUTH, "ground_truth": [{"area": {"radius": [3.0]}}]})
    assert FunctionCalling(data=other, categories=("simple", "irrelevance")).data_digest() != first
    assert [item.text for item in benchmark(tmp_path).test_set().items] == ["A circle of radius 2?"] * 2


@pytest.mark.parametrize(
    ("question", "truth", "message"),
    [
        ({**QUESTION, "function": []}, TRUTH, "a row needs one request in `question` and a list in `function`"),
        ({**QUESTION, "question": [[], []]}, TRUTH, "a row needs one request"),
        ({**QUESTION, "function": [AREA, AREA]}, TRUTH, "two functions with one name"),
        (QUESTION, {**TRUTH, "id": "simple_1"}, "no accepted answer for 'simple_0'"),
        (QUESTION, {**TRUTH, "ground_truth": []}, "`ground_truth` is not a list of calls"),
        (QUESTION, {**TRUTH, "ground_truth": [{"perimeter": {}}]}, "is not a call of an offered function"),
        (QUESTION, {**TRUTH, "ground_truth": [{"area": {"radius": 2}}]}, "not lists of accepted values"),
    ],
)
def test_a_file_that_cannot_be_read_names_its_line(tmp_path: Path, question: Any, truth: Any, message: str) -> None:
    data = written(tmp_path, question, truth)
    with pytest.raises(UserError, match=message) as refused:
        FunctionCalling(data=data, categories=("simple",)).data_digest()
    assert "BFCL_v4_simple_python.json:1" in refused.value.where


def test_categories_that_are_not_there_or_not_read_say_so(tmp_path: Path) -> None:
    for category, message in (("parallel", "no file of the category"), ("simple_java", "is not supported")):
        with pytest.raises(UserError, match=message):
            FunctionCalling(data=written(tmp_path), categories=(category,)).data_digest()


def test_a_set_that_cannot_be_reached_is_the_users_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="'no/such' is neither a folder nor a reachable data set"):
        FunctionCalling(data="no/such").data_digest()


def test_bfcls_1240_items_are_read_under_ids_of_their_own(shared_data: Path) -> None:
    items = FunctionCalling(data=str(shared_data / "bfcl")).test_set().items
    assert len(items) == len({item.id for item in items}) == 1240
