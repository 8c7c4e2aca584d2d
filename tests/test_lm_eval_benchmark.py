"""lm-eval's tasks as a benchmark: one score per document, whatever the task, with stable ids and digests."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import transformers
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers

from benchmarks.lm_eval import LmEval
from harness.errors import UserError
from harness.policy.encoding import TextEncoder
from harness.policy.policy import Policy
from harness.policy.types import Completion, Prompt, Sampling, Score

ROWS = [
    {"question": f"q{row}", "choices": ["yes", "no", "maybe"], "answer": row % 3, "passage": row // 2}
    for row in range(6)
]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "num_fewshot": 0,
    "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc_norm", "acc")],
}
WRITTEN = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}",
    "doc_to_target": "yes",
    "num_fewshot": 0,
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
}


def yaml_task(folder: Path, name: str, config: dict[str, Any], rows: Sequence[Any] = ROWS) -> str:
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    where = {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")}
    whole = {"task": name, "dataset_path": "json", "dataset_kwargs": where, "test_split": "test", **config}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(whole))
    return str(path)


class Oracle(Policy):
    """Likes one word, and says it."""

    gives = frozenset({"score", "sample"})

    def __init__(self, word: str = "yes", answer: Callable[[str], str] | None = None) -> None:
        core = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1}, unk_token="<unk>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", unk_token="<unk>")
        self.encoder = TextEncoder(tokenizer, max_length=4096)
        self.word, self.answer = word, answer or (lambda prompt: word)
        self.calls = 0

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        self.calls += 1
        return [Score(-1.0 if text.strip() == self.word else -9.0, 1, False, truncated=True) for text in completions]

    def sample(self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]) -> Any:
        self.sampling = sampling
        return [(Completion(self.answer(self.encoder.prompt_text(prompt)), (1,), "stop"),) for prompt in prompts]


def test_choices_and_written_answers_become_one_score_grouped_by_task(tmp_path: Path) -> None:
    tasks = (yaml_task(tmp_path, "choice", CHOICE), yaml_task(tmp_path, "written", WRITTEN))
    outcomes = list(LmEval(tasks).evaluate(Oracle("no"), seed=0))
    assert [outcome.group for outcome in outcomes] == ["choice"] * 6 + ["written"] * 6
    assert [outcome.metrics["score"] for outcome in outcomes] == [0, 1, 0, 0, 1, 0] + [0.0] * 6
    first = outcomes[0]
    # three choices; where an answer is written there is no level of chance
    assert first.metrics == {"score": 0.0, "acc": 0.0, "acc_norm": 0.0, "chance": 1 / 3}
    assert (first.prompt, first.completions, first.reference) == ("q0", ("no",), "yes")
    assert first.flags == ("truncated",)
    assert outcomes[6].metrics == {"score": 0.0, "exact_match": 0.0}


def test_accuracy_stands_for_a_task_even_where_another_metric_comes_first(tmp_path: Path) -> None:
    """Normalised by length, `maybe` (5 letters) beats `yes`; the score must be the plain accuracy."""

    class Even(Oracle):
        def score(self, prompts: Any, completions: Any) -> Any:
            return [Score(-1.5 if "yes" in text else -2.0, 1, False) for text in completions]

    outcomes = list(LmEval((yaml_task(tmp_path, "choice", CHOICE),)).evaluate(Even(), seed=0))
    assert [outcome.metrics["acc"] for outcome in outcomes] == [1, 0, 0, 1, 0, 0]
    assert [outcome.metrics["acc_norm"] for outcome in outcomes] == [0, 0, 1, 0, 0, 1]
    assert all(outcome.metrics["score"] == outcome.metrics["acc"] for outcome in outcomes)


def test_ids_are_stable_under_a_limit_and_unique_over_tasks(tmp_path: Path) -> None:
    tasks = (yaml_task(tmp_path, "one", CHOICE), yaml_task(tmp_path, "two", CHOICE))
    whole = [outcome.item for outcome in LmEval(tasks).evaluate(Oracle(), seed=0)]
    short = [outcome.item for outcome in LmEval(tasks, limit=2).evaluate(Oracle(), seed=1)]
    assert len(set(whole)) == 12
    assert short == [*whole[:2], *whole[6:8]]


def test_documents_with_one_source_can_share_a_cluster(tmp_path: Path) -> None:
    task = yaml_task(tmp_path, "choice", CHOICE)
    outcomes = list(LmEval((task,), cluster_by="passage").evaluate(Oracle(), seed=0))
    assert [outcome.cluster for outcome in outcomes] == [f"choice/{row // 2}" for row in range(6)]
    with pytest.raises(UserError, match="no column 'page'"):
        list(LmEval((task,), cluster_by="page").evaluate(Oracle(), seed=0))


def test_seed_and_cap_reach_the_samples(tmp_path: Path) -> None:
    oracle = Oracle()
    config = {**WRITTEN, "generation_kwargs": {**WRITTEN["generation_kwargs"], "do_sample": True, "temperature": 0.5}}
    list(LmEval((yaml_task(tmp_path, "written", config),), max_new_tokens=3).evaluate(oracle, seed=11))
    assert oracle.sampling == Sampling(3, temperature=0.5, stop=("\n",), seed=11)


def test_a_changed_data_file_changes_the_digest_and_is_read_anew(tmp_path: Path) -> None:
    benchmark = LmEval((yaml_task(tmp_path, "choice", CHOICE),))
    before, first = benchmark.data_digest(), list(benchmark.evaluate(Oracle(), seed=0))
    yaml_task(tmp_path, "choice", CHOICE, [{**ROWS[0], "question": "other", "answer": 1}])
    os.utime(tmp_path / "choice.jsonl", (1, 1))
    assert benchmark.data_digest() != before
    (second,) = benchmark.evaluate(Oracle(), seed=0)
    assert second.prompt == "other" != first[0].prompt


def test_the_digest_covers_included_files_and_code_beside_them(tmp_path: Path) -> None:
    yaml_task(tmp_path, "choice", CHOICE)
    child = tmp_path / "child.yaml"
    child.write_text("include: choice.yaml\ntask: child\nprocess_docs: !function utils.same\n")
    (tmp_path / "utils.py").write_text("def same(rows):\n    return rows\n")
    digests = [LmEval((str(child),)).data_digest()]
    for path in (tmp_path / "utils.py", tmp_path / "choice.yaml", tmp_path / "choice.jsonl"):
        path.write_text(path.read_text() + "\n")
        digests.append(LmEval((str(child),)).data_digest())
    assert len(set(digests)) == 4
    by_name = LmEval(("child",), include_path=str(tmp_path)).data_digest()
    (tmp_path / "choice.jsonl").write_text("{}\n")
    assert LmEval(("child",), include_path=str(tmp_path)).data_digest() != by_name


def test_planning_reads_no_task_of_lm_eval_and_names_its_version() -> None:
    benchmark = LmEval(("arc_easy",))
    assert benchmark.data_digest() == LmEval(("mmlu",)).data_digest()
    assert set(benchmark.scorer_facts()) == {"lm_eval"}
    assert [metric.name for metric in benchmark.metrics()] == ["score"]


def test_what_is_asked_of_a_policy_and_whether_seeds_matter_follow_the_fields() -> None:
    assert (LmEval(("a",)).needs, LmEval(("a",)).stochastic) == (frozenset({"score", "text"}), False)
    written = LmEval(("a",), asks="sample", draws=True, role="quality", chat_template=True)
    assert (written.needs, written.stochastic) == (frozenset({"sample"}), True)
    assert written.metrics()[0].role == "quality"
    assert LmEval.needs == frozenset({"score"}), "the class must stay as it was"


def test_a_prompt_is_no_score_where_it_is_never_shown(tmp_path: Path) -> None:
    """Bare text has no turns to put examples before: the base's own score would look like knowledge kept."""
    from harness.engine.config import load_experiment
    from harness.engine.plan import make_plan

    task = yaml_task(tmp_path, "bare", CHOICE)
    experiment = {
        "name": "bare", "bases": ["microworld/small"], "data": {"demonstrations": "microworld/curated-1k"},
        "methods": ["base", "prompting", "sft"], "seeds": [0],
        "benchmarks": [
            {"lm_eval": {"tasks": [task]}, "as": "bare"},
            {"lm_eval": {"tasks": [task], "chat_template": True}, "as": "chat"},
        ],
    }  # fmt: skip
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(experiment))
    plan = make_plan(load_experiment(tmp_path / "bare.yaml"), tmp_path / "store")
    why = {(cell.entry.label, cell.column.label): cell.why for cell in plan.cells}
    assert "acts on conversations alone" in why.pop(("prompting", "bare"))
    assert set(why.values()) == {""}


def test_no_tasks_and_a_missing_file_are_the_users_errors() -> None:
    with pytest.raises(UserError, match="needs tasks"):
        LmEval().data_digest()
    with pytest.raises(UserError, match=r"missing.yaml.*the task file does not exist"):
        LmEval(("missing.yaml",)).data_digest()


def test_this_plugin_does_not_shadow_the_library_of_its_name() -> None:
    import lm_eval

    assert sys.modules["benchmarks.lm_eval"] is not lm_eval
    assert hasattr(lm_eval, "evaluator") or "site-packages" in str(lm_eval.__file__)


def test_real_ifeval_prompts_are_scored_by_ifevals_own_rules(shared_data: Path, tmp_path: Path) -> None:
    """An answer without commas follows `no_comma`, and a lower-case one `english_lowercase`; a plain one does not."""
    pytest.importorskip("immutabledict")
    source = next((shared_data / "ifeval").glob("*.jsonl"))
    wanted = ({"punctuation:no_comma"}, {"change_case:english_lowercase"})
    rows = [json.loads(line) for line in source.read_text("utf-8").splitlines()]
    rows = [row for row in rows if set(row["instruction_id_list"]) in wanted][:20]
    assert len(rows) == 20
    import lm_eval

    builtin = Path(str(lm_eval.__file__)).parent / "tasks" / "ifeval" / "ifeval.yaml"
    task = yaml_task(tmp_path, "real", {"include": str(builtin), "dataset_path": "json"}, rows)
    prose = "this is the answer that was asked for and it is written in plain words"
    outcomes = list(LmEval((task,), role="quality", asks="sample").evaluate(Oracle(answer=lambda _: prose), seed=0))
    assert [outcome.metrics["score"] for outcome in outcomes] == [1.0] * 20
    assert all(outcome.metrics["inst_level_strict_acc"] == 1.0 for outcome in outcomes)
    shouted = list(LmEval((task,), asks="sample").evaluate(Oracle(answer=lambda _: prose.upper() + ","), seed=0))
    assert [outcome.metrics["score"] for outcome in shouted] == [0.0] * 20


def test_the_test_set_names_the_documents_as_the_outcomes_do_with_question_choices_and_answer(tmp_path: Path) -> None:
    benchmark = LmEval((yaml_task(tmp_path, "choice", CHOICE), yaml_task(tmp_path, "written", WRITTEN)), limit=2)
    told = benchmark.test_set().items
    outcomes = list(benchmark.evaluate(Oracle(), seed=0))
    assert [item.id for item in told] == [outcome.item for outcome in outcomes]
    assert all(outcome.reference == item.answer for item, outcome in zip(told, outcomes, strict=True))
    assert all(item.text for item in told)


def test_a_task_file_that_is_not_yaml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("task: [a\n")
    with pytest.raises(UserError, match="is not YAML") as raised:
        LmEval((str(file),)).data_digest()
    assert raised.value.where == str(file)


def test_the_data_of_a_task_start_at_its_own_file_unless_they_are_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    (there / "data").mkdir(parents=True)
    (there / "data/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    where = {"data_files": {"test": "data/rows.jsonl"}, "cache_dir": str(tmp_path / "cache")}
    whole = {"task": "near", "dataset_path": "json", "dataset_kwargs": where, "test_split": "test", **CHOICE}
    (there / "near.yaml").write_text(yaml.safe_dump(whole))
    monkeypatch.chdir(here)
    benchmark = LmEval(tasks=(str(there / "near.yaml"),))
    assert len(list(benchmark.evaluate(Oracle(), 0))) == len(ROWS)
    digest = benchmark.data_digest()
    (there / "data/rows.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    assert benchmark.data_digest() != digest
    (here / "data").mkdir()
    (here / "data/rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:2]))
    assert len(list(benchmark.evaluate(Oracle(), 0))) == 2
