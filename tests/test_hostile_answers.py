"""Whatever a model says is scored: every benchmark that samples, on the worst answers and on random ones.

Random answers are made of the pieces that the scorers look for, so that they reach further into them than noise would.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saying import HOSTILE, Sayer

from benchmarks.call_or_ask import CallOrAsk
from benchmarks.code_generation import CodeGeneration
from benchmarks.diversity import Diversity
from benchmarks.function_calling import FunctionCalling
from benchmarks.ifbench import IFBench
from benchmarks.instruction_following import InstructionFollowing
from benchmarks.knowledge_answers import KnowledgeAnswers
from benchmarks.math_problems import MathProblems
from benchmarks.multi_turn import MultiTurn
from benchmarks.number_variants import NumberVariants
from benchmarks.ood import Ood
from benchmarks.prompt_echo import PromptEcho
from benchmarks.refusal import Refusal
from benchmarks.stories import Stories
from harness.benchmark import Benchmark
from harness.engine import registry
from harness.engine.store.outcomes import read_outcomes, write_outcomes
from harness.policy.types import Completion, Prompt, Sampling
from harness.scoring.code.humaneval import CodeProblem, program_of
from harness.scoring.constraints.ifbench import VERIFIERS
from harness.scoring.judging import Pair, cut_alike, judge_prompt, verdict_of

PIECES = [
    *("", " ", "\n", "\n\n", "\t", "\x00", "\x1b[31m", "\ud800", "\u202e", "\ufeff", "犬", "😀", "a", "A", "7", "-3"),
    *("1,200.50", "$", "####", "\\boxed{", "answer is", "1/0", "9" * 70, "=", ".", ",", "- ", "* ", "#", "**", "```"),
    *("<script>", "</td>", "{{ 7 * 7 }}", "{% raw %}", "[[A]]", "[", "]", "{", "}", "(", ")", '"', "'", "\\", "|"),
    *("f(a=1)", "[f(", '{"name": "f"', "{ call : f", "count :", "total 5 .", "hello", "which city ?", "def f(x):"),
    *("return", "P.S.", "<<t>>", "Section 1", "******", "lambda: 0", "__import__('os')", "None", "nan", "inf", "1e999"),
]
ANSWERS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=()), max_size=8)))
TEXTS = ANSWERS.map("".join)

PROBLEM = {"question": "Ann has 30 dogs and 20 cats. How many?", "answer": "30 + 20 = 50\n#### 50"}
TEMPLATE = {
    "question": "30 dogs and 20 cats?",
    "answer": "30 + 20 = 50\n#### 50",
    "question_annotated": "{n,30} dogs and {m,20} cats?\n\n#init:\n- $n = [3, 30]\n- $m = [2, 4]\n\n#answer: n + m",
}
FUNCTION = {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}
CODE = {"task_id": "T", "prompt": "def f(x):\n", "entry_point": "f", "test": "def check(c):\n    assert c(1) == 1\n"}
NOT_HERE = {
    "divergence": "it compares distributions, and reads no answer",
    "ifeval": "its rules are lm-eval's, and tests/test_ifeval.py tries the same answers on them",
    "knowledge": "it asks for scores, not for answers",
    "layers": "it reads hidden states, and no answer",
    "lm_eval": "its rules are lm-eval's",
    "pairwise_judge": "the judge is a server: its own test below",
    "perplexity": "it asks for scores, not for answers",
    "random_choice": "it asks for scores, not for answers",
    "verification_gap": "it scores, too: tests/test_check_benchmarks.py tries such answers on it",
    "token_shift": "it compares distributions, and reads no answer",
}


class Repeater(Sayer):
    """Says one thing, as often as it is asked."""

    def __init__(self, text: str) -> None:
        super().__init__(lambda prompt, key: text)
        self.text = text

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        return [(Completion(self.text, (), "stop"),) * sampling.samples for _ in prompts]


def rows(folder: Path, name: str, *values: Any) -> str:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(map(json.dumps, values)), "utf-8")
    return str(file)


@cache
def benchmarks(folder: Path) -> dict[str, Benchmark]:
    """One of each, small."""
    question = {"id": "simple_0", "question": [[{"role": "user", "content": "f of 1?"}]], "function": [FUNCTION]}
    truth = {"id": "simple_0", "ground_truth": [{"f": {"a": [1]}}]}
    rows(folder, "bfcl/BFCL_v4_simple_python.json", question)
    rows(folder, "bfcl/possible_answer/BFCL_v4_simple_python.json", truth)
    kinds = ["words:vowel", "format:no_whitespace", "count:numbers", "format:parentheses", "sentence:increment"]
    arguments = [{}, {}, {"N": 2}, {}, {"small_n": 1}]
    assert set(kinds) <= set(VERIFIERS)
    asked = {"key": "a", "prompt": "Say it.", "instruction_id_list": kinds, "kwargs": arguments}
    rows(folder, "templates/0.json", {**TEMPLATE, "id_orig": 1})
    return {
        "call_or_ask": CallOrAsk(limit=2),
        "code_generation": CodeGeneration(execute=True, data=rows(folder, "code.jsonl", CODE), samples=1, k=(1,)),
        "diversity": Diversity(limit=1, samples=2),
        "function_calling": FunctionCalling(data=str(folder / "bfcl"), categories=("simple",)),
        "ifbench": IFBench(data=rows(folder, "ifbench.jsonl", asked)),
        "instruction_following": InstructionFollowing(limit=1),
        "prompt_echo": PromptEcho(limit=1),
        "knowledge_answers": KnowledgeAnswers(limit=5),
        "math_problems": MathProblems(data=rows(folder, "math.jsonl", PROBLEM)),
        "multi_turn": MultiTurn(limit=1),
        "number_variants": NumberVariants(templates=str(folder / "templates"), variants=1),
        "ood": Ood(stories=1, requests=1),
        "refusal": Refusal(limit=2),
        "stories": Stories(limit=2),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def scored(benchmark: Benchmark, text: str, folder: Path) -> list[dict[str, Any]]:
    """The outcomes as they come back from disk, after the checks of writing them."""
    file = folder / "outcomes.jsonl"
    write_outcomes(file, benchmark.evaluate(Repeater(text), seed=0), lambda done: None)
    found = list(read_outcomes(file))
    declared = {metric.name for metric in benchmark.metrics()}
    for outcome in found:
        assert set(outcome["metrics"]) & declared
        assert all(math.isfinite(value) for value in outcome["metrics"].values())
    return found


def test_every_benchmark_is_tried_here_or_said_not_to_be(folder: Path) -> None:
    assert set(registry.plugin_names("benchmarks")) == {*benchmarks(folder), *NOT_HERE}


@pytest.mark.parametrize("at", range(len(HOSTILE)))
def test_the_worst_answers_are_scored_by_every_benchmark_in_good_time(folder: Path, at: int) -> None:
    for name, benchmark in benchmarks(folder).items():
        start = time.process_time()
        scored(benchmark, HOSTILE[at], folder)
        spent = time.process_time() - start
        assert spent < 15, f"{name} took {spent:.1f} s of CPU for {HOSTILE[at][:20]!r}"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_random_answers_are_scored_by_every_benchmark(folder: Path, text: str) -> None:
    for name, benchmark in benchmarks(folder).items():
        if name != "code_generation":  # a process for each
            scored(benchmark, text, folder)


@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_random_answers_become_programs_and_pairs_to_judge(text: str) -> None:
    problem = CodeProblem(*(CODE[name] for name in ("task_id", "prompt", "entry_point", "test")))
    assert program_of(problem, text).tests.endswith("check(f)\n")
    pair = Pair("p", ("q",), (text,), (text[::-1],))
    for shown in (pair, cut_alike(pair)):
        for message in judge_prompt(shown, swapped=True).messages:
            message.content.encode()  # it can be sent
    assert verdict_of(text) in (None, "A", "B", "C")


def test_the_report_shows_such_answers_escaped(folder: Path) -> None:
    """What outcomes hold goes through the report's two renderers: neither leaves markup or template code alive."""
    from harness.report.render.text import clean, escape_markdown

    text = "<script>alert(1)</script> {{ 7 * 7 }} \ud800\x00"
    (found, *_) = scored(benchmarks(folder)["knowledge_answers"], text, folder)
    shown = escape_markdown(found["completions"][0])
    assert "<script" not in shown.replace("\\<", "")
    assert "{{" not in shown.replace("\\{", "")
    assert "\x00" not in clean(found["completions"][0])
