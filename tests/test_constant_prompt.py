"""A constant prompt: shipped or a file, in plain text with its own turn marker, where an answer ends."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.files import HARNESS
from harness.method import FitContext, LocalPath, fields_of
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.sampling import completion_of
from harness.policy.types import Completion, Prompt, Sampling
from harness.records import Message, TrainingData
from methods._constant_prompt import PROMPTS, read_prompt
from methods.prompting import PromptedPolicy, Prompting

GEMMA = Path("/tmp/models/gemma-3-270m")
FILE = """question: "Q: "
answer: " A: "
end: "\\n"
system: Answers.
examples:
  - {question: where ?, answer: here}
  - {question: when ?, answer: now}
"""


def prompted(name: str, base: BaseModel, folder: Path) -> PromptedPolicy:
    method = Prompting(examples=name)
    method.check()
    folder.mkdir(exist_ok=True)
    method.fit(base, TrainingData(), {}, folder, FitContext(0, 4))
    policy = method.load(base, folder, {})
    assert isinstance(policy, PromptedPolicy)
    return policy


def ask(*texts: str) -> list[Prompt]:
    return [Prompt(messages=(Message("user", text),)) for text in texts]


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return BaseModel(BaseSpec("microworld/large"), HARNESS / "microworld" / "models" / "large")


def test_the_prompt_is_the_file_and_then_the_question(base: BaseModel, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    policy = prompted(str(file), base, tmp_path / "artifact")
    prompt = ask("why ?")[0]
    shown = policy.encoder.prompt_text(Prompt(messages=policy._shown(prompt.messages, 0)))
    assert shown == "Answers.\nQ: where ? A: here\nQ: when ? A: now\nQ: why ? A: "
    shorter = policy.encoder.prompt_text(Prompt(messages=policy._shown(prompt.messages, 1)))
    assert shorter == "Answers.\nQ: when ? A: now\nQ: why ? A: "
    asked = Prompt(messages=(*prompt.messages, Message("assistant", "so"), *ask("and ?")[0].messages))
    assert policy.encoder.prompt_text(asked) == "Q: why ? A: so\nQ: and ? A: "


@pytest.mark.parametrize(
    ("drawn", "answer"), [("BUTOS . question : what", "BUTOS . "), ("no marker", "no marker"), ("question : now", "")]
)
def test_an_answer_ends_where_the_next_question_opens(drawn: str, answer: str, base: BaseModel, tmp_path: Path) -> None:
    policy = prompted("microworld", base, tmp_path / "artifact")
    ids = policy.encoder.tokens(drawn, bare=True)
    encoded = policy.encode(ask("why ?")[0])
    found = completion_of(policy.encoder, encoded, Sampling(8), ids, "stop_string", None)
    assert found.text == (answer if drawn != "no marker" else policy.encoder.text(ids))


def test_a_base_that_knows_the_form_follows_it_and_stops(base: BaseModel, tmp_path: Path) -> None:
    policy = prompted("microworld", base, tmp_path / "artifact")
    answers = texts(policy.sample(ask("where does riras live ?", "what does butos wear ? please reply in upper case"),
                                  Sampling(24), ["a", "b"]))  # fmt: skip
    assert answers[0].text == "riras lives in arvo ."
    assert answers[1].text == answers[1].text.upper()
    assert {answer.finish for answer in answers} == {"stop"}


def texts(drawn: Sequence[tuple[Completion, ...]]) -> list[Completion]:
    return [one for (one,) in drawn]


@pytest.mark.skipif(not GEMMA.is_dir(), reason=f"no model in {GEMMA}")
@pytest.mark.slow
def test_a_real_base_without_a_template_answers_and_stops_at_the_marker(tmp_path: Path) -> None:
    base = BaseModel(BaseSpec(str(GEMMA)), GEMMA)
    policy = prompted("general", base, tmp_path / "artifact")
    prompts = ask("What is the capital of France? Answer in one short sentence.", "How do I boil an egg?")
    answers = texts(policy.sample(prompts, Sampling(80), ["a", "b"]))
    assert "Paris" in answers[0].text
    assert {answer.finish for answer in answers} <= {"stop", "stop_string"}
    assert not any("#" in answer.text for answer in answers)


@pytest.mark.parametrize("name", PROMPTS.names())
def test_every_shipped_prompt_is_usable_and_fits_its_artifact_without_data(
    name: str, base: BaseModel, tmp_path: Path
) -> None:
    prompt = read_prompt(name)
    assert len(prompt.examples) == 3
    policy = prompted(name, base, tmp_path / "artifact")
    content = json.loads((tmp_path / "artifact" / "prompt.json").read_text())
    assert content["markers"][0] == prompt.question
    assert policy.encoder.turn_openers == (prompt.question.strip(),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('question: "Q: "\n', ""), "no turn marker"),
        (('question: "Q: "', 'question: " "'), "no turn marker"),
        (('answer: " A: "\n', ""), "the text before an answer"),
        (('end: "\\n"', "end: 3"), "end is not text"),
        (("system:", "sytem:"), "Did you mean 'system'?"),
        (("answer: here", "answr: here"), "example 1 has not exactly the keys question and answer"),
        (("answer: now", "answer: ''"), "example 2 has an empty question or answer"),
        (("answer: now", "answer: 'Q: what'"), "example 2 holds the turn marker 'Q:'"),
        (("examples:\n", "examples: [\n"), "broken YAML"),
    ],
)
def test_a_prompt_that_is_not_usable_is_an_error_with_its_file(
    change: tuple[str, str], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    assert change[0] in FILE
    file.write_text(FILE.replace(*change))
    with pytest.raises(UserError, match="constant prompt") as found:
        Prompting(examples=str(file)).check()
    assert said in str(found.value)
    assert found.value.where == str(file)
    assert "\n" not in found.value.what
    experiment = tmp_path / "e.yaml"
    experiment.write_text(
        "name: x\nbases: [microworld/small]\nbenchmarks: [knowledge]\nbaseline: prompting\n"
        "methods: [{prompting: {examples: mine.yaml}}]\n"
    )
    with pytest.raises(UserError) as told:
        load_experiment(experiment)
    assert str(file) in told.value.what
    assert told.value.where == f"{experiment}:5"


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (Prompting(examples="generall"), "Did you mean 'general'?"),
        (Prompting(examples="nothing.yaml"), "neither a shipped prompt nor a file"),
        (Prompting(examples="general", instruction="Be kind."), "instruction next to examples"),
        (Prompting(examples="general", demonstrations=2), "demonstrations next to examples"),
    ],
)
def test_a_name_that_is_unknown_and_settings_that_have_no_effect_are_errors(method: Prompting, said: str) -> None:
    with pytest.raises(UserError) as found:
        method.check()
    assert said in str(found.value)


def test_the_content_of_the_file_is_in_the_key_and_its_place_is_not(tmp_path: Path) -> None:
    keys = []
    for folder, text in (("one", FILE), ("two", FILE), ("three", FILE.replace("here", "there"))):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text(text)
        file = tmp_path / folder / "experiment.yaml"
        methods = "[base, {prompting: {examples: mine.yaml}}, {prompting: {examples: general}, as: constant}]"
        file.write_text(
            f"name: x\nbases: [microworld/small]\nmethods: {methods}\nbenchmarks: [knowledge]\nbaseline: base\n"
        )
        plan = make_plan(load_experiment(file), tmp_path / "store")
        keys.append([cell.node.key for cell in plan.cells])
        documents = [cell.node.document for cell in plan.cells]
        assert documents[1]["data"] == {}
        assert [one["fields"].get("examples") for one in documents] == [None, "mine.yaml", "general"]
    assert keys[0] == keys[1]
    assert keys[0][1] != keys[2][1]
    assert keys[0][2] == keys[2][2]


def test_a_method_with_a_file_goes_to_another_process_as_it_is(tmp_path: Path) -> None:
    method = Prompting(examples="general")
    again = pickle.loads(pickle.dumps(method))
    assert again == method
    assert isinstance(again.examples, LocalPath)
    assert fields_of(again) == fields_of(method)


def test_without_examples_the_method_is_as_it_was() -> None:
    assert Prompting().needs == {"demonstrations"}
    assert "examples" in fields_of(Prompting())
    assert Prompting(examples="general").needs == frozenset()
