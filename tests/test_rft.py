"""Rejection sampling keeps what verifies, one of each path, and fine-tunes the base on it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from last_word import last_word_judge

from harness.engine.config import load_experiment
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.method import ArtifactSpec, FitContext, FitReport, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.policy import Policy
from harness.policy.reward_model import RewardModel
from harness.policy.types import Completion, Prompt, Sampling, Score
from harness.records import Demonstration, Message, Problem, TrainingData
from harness.scoring.answers.verifiers import missed
from harness.scoring.code.kernel import lacking
from methods._pool import Pool, edit_distance
from methods.lora import Lora
from methods.proxy_tuning import ProxyTuning
from methods.rft import Rft
from methods.sft import Sft

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ASKED = Problem((Message("user", "1 and 2 and 4"),), "7", "number", "p1")
OTHER = Problem((Message("user", "5 and 5"),), "10", "number", "p2")
ORIGINAL = Demonstration((Message("user", "2 and 2"), Message("assistant", "2 + 2 = 4")), "d1")
DATA = TrainingData(demonstrations=(ORIGINAL,), problems=(ASKED, OTHER))
BASE = BaseModel(BaseSpec("x"), Path("nowhere"))


def kept(pool: Pool) -> list[str]:
    return [row.messages[-1].content for row in pool.demonstrations()]


def test_wrong_answers_false_equations_and_empty_texts_are_dropped() -> None:
    pool = Pool()
    for text in ("1 + 2 = 3 , 3 + 4 = 8", "1 + 2 = 4 , 4 + 4 = 7", "", "no number", "3 + 4 = 7"):
        pool.offer(ASKED, text)
    assert kept(pool) == ["3 + 4 = 7"]


def test_one_answer_of_each_path_is_kept_and_another_order_is_another_path() -> None:
    pool = Pool()
    texts = ["1 + 2 = 3 , 3 + 4 = 7", "1 +  2 = 3 , 3 + 4 = 7", "2 + 1 = 3 , 3 + 4 = 7", "it is 7", "I say 7"]
    for text in texts:
        pool.offer(ASKED, text)
    assert kept(pool) == [texts[0], texts[2], "it is 7"]


def test_of_one_path_the_answer_stays_that_is_farther_from_the_other_representatives() -> None:
    """Against `4 + 3 = 7` (5 words): `3 + 4 = 7` differs in 2; `so we have 3 + 4 = 7` in 3 more."""
    pool = Pool()
    for text in ("4 + 3 = 7", "3 + 4 = 7", "so we have 3 + 4 = 7", "3 + 4 = 7"):
        pool.offer(ASKED, text)
    assert kept(pool) == ["4 + 3 = 7", "so we have 3 + 4 = 7"]


def test_problems_share_no_paths() -> None:
    pool = Pool()
    pool.offer(ASKED, "it is 7")
    pool.offer(OTHER, "it is 10")
    assert [row.id for row in pool.demonstrations()] == ["p1, path 1", "p2, path 1"]
    assert [row.messages[0] for row in pool.demonstrations()] == [ASKED.prompt[0], OTHER.prompt[0]]


@pytest.mark.parametrize(
    ("one", "other", "expected"), [("", "", 0), ("a b", "", 2), ("k i t t e n", "s i t t i n g", 3), ("a b", "b a", 2)]
)
def test_the_edit_distance_of_words(one: str, other: str, expected: int) -> None:
    assert edit_distance(one.split(), other.split()) == edit_distance(other.split(), one.split()) == expected


class Saying(Policy):
    """Gives the same texts for every prompt, and remembers how it was asked."""

    encoder: Any = None

    def __init__(self, *texts: str, finish: str = "stop") -> None:
        self.texts, self.finish, self.asked = texts, finish, []

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        self.asked.append(sampling)
        said = [self.texts[at % len(self.texts)] for at in range(sampling.samples)]
        return [tuple(Completion(text, (1, 2, 3), self.finish) for text in said) for _ in prompts]


class Remembering(Sft):
    """Fine-tuning that only notes what it was given, and whose model says one thing more each time."""

    def fit(self, base, data, inputs, out, context):  # type: ignore[no-untyped-def]
        (out / "model.json").write_text(json.dumps([row.messages[-1].content for row in data.demonstrations]))
        SEEN.append([row.messages[-1].content for row in data.demonstrations])
        return FitReport(trained_parameters=5, training_tokens=100, notes={"loss": []})

    def load(self, base, artifact, inputs):  # type: ignore[no-untyped-def]
        assert (artifact / "model.json").exists()
        return Saying("6 + 1 = 7", "it is 99")


SEEN: list[list[str]] = []


def fitted(method: Rft, out: Path, *policies: Policy, data: TrainingData = DATA) -> FitReport:
    SEEN.clear()
    inputs = {f"sampler-{at}": Input(out, BASE, lambda p=policy: p) for at, policy in enumerate(policies)}
    return method.fit(BASE, data, inputs, out, FitContext(3, 4))


METHOD = Rft(tune=Remembering(), samples=4)


def test_the_base_is_tuned_on_demonstrations_and_kept_answers_of_all_samplers(tmp_path: Path) -> None:
    first, second = Saying("3 + 4 = 7", "it is 10"), Saying("4 + 3 = 7", "it is 8")
    report = fitted(METHOD, tmp_path, first, second)
    assert SEEN == [["2 + 2 = 4", "3 + 4 = 7", "4 + 3 = 7", "it is 10"]]
    # two policies, two problems, four samples of three tokens
    assert report.generated_tokens == 2 * 2 * 4 * 3
    assert (report.trained_parameters, report.training_tokens, report.notes["kept"]) == (5, 100, 3)
    (asked,), (other,) = first.asked, second.asked
    assert (asked.samples, asked.temperature, asked.max_new_tokens, asked.seed) == (4, 0.7, 256, 3)
    assert asked.salt != other.salt
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == SEEN[0][1:]


def test_later_rounds_draw_from_the_tuned_model_and_tune_the_base_on_the_whole_pool(tmp_path: Path) -> None:
    first = Saying("3 + 4 = 7", "it is 10")
    report = fitted(replace(METHOD, rounds=3), tmp_path, first)
    assert len(first.asked) == 1
    assert SEEN[0] == ["2 + 2 = 4", "3 + 4 = 7", "it is 10"]
    assert SEEN[1] == SEEN[2] == ["2 + 2 = 4", "3 + 4 = 7", "6 + 1 = 7", "it is 10"]
    assert report.training_tokens == 300
    assert report.generated_tokens == 3 * 2 * 4 * 3
    assert [(entry["round"], entry["by"], entry["kept"]) for entry in report.notes["drawing"]] == [
        (1, "sampler-0", 2),
        (2, "tuned", 3),
        (3, "tuned", 3),
    ]


class Preferring(Saying):
    """Finds one of its texts likelier per token than the others, at ten times as many tokens."""

    def __init__(self, preferred: str, *others: str) -> None:
        super().__init__(*others, preferred)
        self.preferred = preferred

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        # ln p per token: -1 for the preferred text, -2 for the others; in all, the others are likelier
        return [Score(-30.0, 30, False) if text == self.preferred else Score(-6.0, 3, False) for text in completions]


def test_with_own_verification_the_likeliest_answer_per_token_is_taken_for_right(tmp_path: Path) -> None:
    wrong, right = "3 + 4 = 9", "3 + 4 = 7"
    report = fitted(replace(METHOD, verified_by="own"), tmp_path, Preferring(wrong, right))
    assert [["2 + 2 = 4", wrong, wrong]] == SEEN  # once for each problem, although neither equation holds
    assert report.notes["drawing"] == [{"round": 1, "by": "sampler-0", "drawn": 8, "verified": 2, "kept": 2}]
    fitted(METHOD, tmp_path, Preferring(wrong, right))
    assert [["2 + 2 = 4", right]] == SEEN


def test_an_answer_without_a_token_is_not_a_likely_one(tmp_path: Path) -> None:
    class Silent(Saying):
        def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
            return [Score(-6.0, 3, False) if text else Score(0.0, 0, False) for text in completions]

    fitted(replace(METHOD, verified_by="own"), tmp_path, Silent("", "3 + 4 = 9"))
    assert SEEN == [["2 + 2 = 4", "3 + 4 = 9", "3 + 4 = 9"]]


def test_own_verification_leaves_out_problems_whose_answers_were_all_cut_short(tmp_path: Path) -> None:
    cut = Preferring("3 + 4 = 9")
    cut.finish = "length"
    with pytest.raises(UserError, match="problems verified"):
        fitted(replace(METHOD, verified_by="own"), tmp_path, cut)


def test_nothing_kept_is_an_error_and_so_are_answers_cut_short(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of 4 samples for each of 2 problems verified"):
        fitted(METHOD, tmp_path, Saying("it is 99"))
    with pytest.raises(UserError, match="problems verified"):
        fitted(METHOD, tmp_path, Saying("3 + 4 = 7", finish="length"))


def test_no_problems_and_unknown_verifiers_are_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    silent = Saying("x")
    with pytest.raises(UserError, match="no problems to sample answers for"):
        fitted(METHOD, tmp_path, silent, data=TrainingData(demonstrations=(ORIGINAL,)))
    with pytest.raises(UserError, match="unknown verifier 'magic'"):
        fitted(METHOD, tmp_path, silent, data=replace(DATA, problems=(replace(ASKED, verifier="magic"),)))
    assert not silent.asked


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"samplers": ()}, "no samplers"),
        ({"tune": ProxyTuning()}, "tune is ProxyTuning"),
        ({"samples": 0}, "samples 0"),
        ({"temperature": 0.0}, "temperature 0.0"),
    ],
)
def test_settings_that_draw_nothing_are_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        replace(Rft(), **change).check()


def test_samplers_are_artifacts_and_an_experiment_names_them_as_a_list(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    text = "name: x\nbases: [microworld/small]\nmethods: [sft, {rft: {samplers: [sft, {lora: {rank: 2}}]}}]\n"
    file.write_text(text + "benchmarks: [knowledge]\nseeds: [0]\nbaseline: sft\n")
    method: Method = load_experiment(file).methods[1].method
    assert method.requires() == {"sampler-0": ArtifactSpec(Sft()), "sampler-1": ArtifactSpec(Lora(rank=2))}
    file.write_text(file.read_text().replace("samplers: [sft, {lora: {rank: 2}}]", "samplers: sft"))
    with pytest.raises(UserError, match="expected a list of methods, got 'sft'"):
        load_experiment(file)


class Solving(Policy):
    """Gives the worked answer, the worked answer with a slip, and the worked answer in other words."""

    encoder: Any = None

    def __init__(self, solutions: dict[str, str]) -> None:
        self.solutions = solutions

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        variants = [(s, s + "1", "So. " + s) for s in (self.solutions[key] for key in keys)]
        return [tuple(Completion(text, (1,), "stop") for text in texts) for texts in variants]


@pytest.mark.slow
def test_gsm8k_rows_are_sampled_verified_and_trained_on_with_a_real_model(shared_data: Path, tmp_path: Path) -> None:
    """A few steps of a real checkpoint; it solves nothing itself, so the sampler is given the solutions."""
    from stories260k import convert

    lines = (shared_data / "gsm8k" / "train.jsonl").read_text("utf-8").splitlines()[:8]
    rows = {f"row {at}": json.loads(line) for at, line in enumerate(lines)}
    file = tmp_path / "template.jinja"
    file.write_text(TEMPLATE)
    folder = convert(shared_data / "stories260k", tmp_path / "model")
    base = BaseModel(BaseSpec(str(folder), chat_template=str(file)), folder)
    problems = tuple(
        Problem((Message("user", row["question"]),), row["answer"], "number", name) for name, row in rows.items()
    )
    solver = Solving({name: row["answer"] for name, row in rows.items()})
    out = tmp_path / "artifact"
    out.mkdir()
    method = Rft(samples=3, tune=Sft(epochs=1, batch_size=4, learning_rate=1e-3))
    inputs = {"sampler-0": Input(out, base, lambda: solver)}
    data = TrainingData(demonstrations=(ORIGINAL,), problems=problems)
    report = method.fit(base, data, inputs, out, FitContext(0, 4))
    assert report.notes["kept"] == 8
    assert len(report.notes["loss"]) == 3
    prompt, answer = Prompt(messages=problems[0].prompt), rows["row 0"]["answer"]
    tuned, untuned = (policy.score([prompt], [answer])[0] for policy in (method.load(base, out, inputs), base.policy()))
    assert tuned.logprob > untuned.logprob


def test_answers_with_an_item_of_a_test_set_are_dropped_in_every_round_and_each_round_has_its_figures(
    tmp_path: Path,
) -> None:
    """One answer holds a test item of 9 words, of which all are in its 8-grams."""
    item = "we add one and two and four and have"
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": item, "answer": "7"}) + "\n")
    method = replace(METHOD, rounds=2, decontaminate=(str(tmp_path / "test.jsonl"),))
    report = fitted(method, tmp_path, Saying(f"{item} 3 + 4 = 7", "it is 10"))
    assert SEEN == [["2 + 2 = 4", "it is 10"], ["2 + 2 = 4", "6 + 1 = 7", "it is 10"]]
    assert report.notes["kept"] == 2
    figures = [(one["round"], one["trained_on"], one["contaminated"]) for one in report.notes["rounds"]]
    assert figures == [(1, 1, 1), (2, 2, 1)]
    assert [one["generated_tokens"] for one in report.notes["rounds"]] == [24, 48]
    # four samples of each of two problems; each of two texts is right for one problem, then one text for the first
    assert [(one["drawn"], one["verified"]) for one in report.notes["rounds"]] == [(8, 4), (8, 2)]
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [row["messages"][-1]["content"] for row in rows] == SEEN[1][1:]
    assert "rounds" not in fitted(METHOD, tmp_path, Saying("3 + 4 = 7", "it is 10")).notes


def test_the_key_follows_the_items_of_the_test_sets_and_not_their_place(tmp_path: Path) -> None:
    keys = []
    for folder, asked in (("one", "what is it"), ("moved", "what is it"), ("changed", "who is it")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(json.dumps({"question": asked, "answer": "7"}) + "\n")
        (tmp_path / folder / "e.yaml").write_text(
            "name: x\nbases: [microworld/small]\nbenchmarks: [knowledge]\nbaseline: rft\n"
            "data: {demonstrations: microworld/curated-1k, problems: microworld/stories}\n"
            "methods: [{rft: {decontaminate: [test.jsonl]}}]\n"
        )
        experiment = load_experiment(tmp_path / folder / "e.yaml")
        keys.append(make_plan(experiment, tmp_path / "store").cells[0].node.key)
    assert keys[0] == keys[1] != keys[2]


CODE = Problem((Message("user", "double a number"),), "assert double(2) == 4", "unit_tests", "c1")


def test_programs_are_run_against_their_tests_only_where_the_user_agreed(tmp_path: Path) -> None:
    right, wrong = "```python\ndef double(x): return 2 * x\n```", "def double(x): return x + 3"
    data = TrainingData(demonstrations=(ORIGINAL,), problems=(CODE,))
    with pytest.raises(UserError, match="set execute to true"):
        fitted(METHOD, tmp_path, Saying(right, wrong), data=data)
    assert METHOD.refused(data, Measuring()) == {
        "c1": "unit_tests runs programs written by the model: set execute to true to run them in a sandbox"
    }
    if why := lacking():
        pytest.skip(why)
    fitted(replace(METHOD, execute=True), tmp_path, Saying(right, wrong, "no code", ""), data=data)
    assert [["2 + 2 = 4", right]] == SEEN
    broken = TrainingData(demonstrations=(ORIGINAL,), problems=(replace(CODE, reference="assert ("),))
    with pytest.raises(UserError, match="are not Python"):
        fitted(replace(METHOD, execute=True), tmp_path, Saying(right), data=broken)
    with pytest.raises(UserError, match="runs programs"):
        missed("unit_tests", right, CODE.reference)


class Measuring:
    """An encoder for which every prompt is short."""

    max_length = 1000

    def encode(self, prompt: Prompt) -> Any:
        return type("Encoded", (), {"prompt": (1,), "prefix": ()})()


def test_a_reward_model_judges_by_a_threshold(tmp_path: Path) -> None:
    """It rates `bad` below 0 and `fine` and `good` above."""
    judge = last_word_judge(tmp_path)
    rated = Problem((Message("user", "question"),), "none", "reward", "r1")
    data = TrainingData(demonstrations=(ORIGINAL,), problems=(rated,))
    values = [RewardModel.named(str(judge)).of(Prompt(messages=rated.prompt), word) for word in ("fine", "good")]
    for threshold, kept_now in ((0.0, 1), (sum(values) / 2, 1), (values[1] + 1, 0)):
        method = replace(METHOD, reward_model=str(judge), threshold=threshold)
        if not kept_now:
            with pytest.raises(UserError, match="verified"):
                fitted(method, tmp_path, Saying("bad", "good"), data=data)
            continue
        fitted(method, tmp_path, Saying("bad", "good"), data=data)
        assert SEEN == [["2 + 2 = 4", "good"]]
    with pytest.raises(UserError, match="needs reward_model and threshold"):
        fitted(METHOD, tmp_path, Saying("good"), data=data)
    with pytest.raises(UserError, match="threshold"):
        replace(METHOD, threshold=0.5).check()
