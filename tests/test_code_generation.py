"""Functions run against tests: off until asked for, pass@k by hand, and what of an answer is the program."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from saying import Sayer

from benchmarks.code_generation import FAILURES, CodeGeneration
from harness.errors import UserError
from harness.policy.types import Completion, Prompt
from harness.scoring.code.humaneval import CodeProblem, code_problems, pass_at, program_of
from harness.scoring.code.sandbox import Limits, run_programs

ROWS = [
    {
        "task_id": f"T/{at}",
        "prompt": f'import math\n\ndef helper(x):\n    return x\n\n\ndef add_{at}(a, b):\n    """Add."""\n',
        "entry_point": f"add_{at}",
        "test": f"def check(candidate):\n    assert candidate(2, 3) == {5 + at}\n",
    }
    for at in range(2)
]


def written(folder: Path, rows: list[dict[str, Any]] = ROWS) -> str:
    file = folder / "problems.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return str(file)


class Several(Sayer):
    """Says these answers to every prompt, as many as are asked for."""

    def __init__(self, *answers: str) -> None:
        super().__init__(lambda prompt, key: "")
        self.answers = answers

    def sample(self, prompts: Any, sampling: Any, keys: Any) -> Any:
        self.asked, self.sampling = list(prompts), sampling
        drawn = tuple(Completion(text, (), "stop") for text in self.answers[: sampling.samples])
        return [drawn for _ in prompts]


def test_nothing_is_run_or_read_until_execute_is_true(tmp_path: Path) -> None:
    off = CodeGeneration(data=str(tmp_path / "not-there.jsonl"))
    assert "set execute to true" in off.unavailable()
    assert (off.data_digest(), off.test_set()) == ("", None)
    with pytest.raises(UserError, match="set execute to true"):
        next(off.evaluate(Several("x"), seed=0))
    assert CodeGeneration(execute=True).unavailable() == ""


def test_where_the_kernel_cannot_confine_a_program_it_is_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.code_generation.lacking", lambda: "the sandbox needs Landlock")
    assert CodeGeneration(execute=True).unavailable() == "the sandbox needs Landlock"
    assert "set execute to true" in CodeGeneration().unavailable()


def test_the_plan_shows_it_as_not_applicable_and_says_how_to_switch_it_on(tmp_path: Path) -> None:
    from harness.engine.config import load_experiment
    from harness.engine.plan import make_plan

    file = tmp_path / "experiment.yaml"
    file.write_text("name: n\nbases: [microworld/small]\nmethods: [base]\nbenchmarks: [code_generation, stories]\n")
    cells = make_plan(load_experiment(file), tmp_path / "store").cells
    assert [(cell.column.label, bool(cell.why)) for cell in cells] == [("code_generation", True), ("stories", False)]
    assert "set execute to true" in cells[0].why


@pytest.mark.parametrize(
    ("samples", "passed", "k", "chance"),
    [
        (5, 0, 1, 0.0),
        (5, 5, 3, 1.0),
        (5, 2, 1, 2 / 5),
        # of the 10 pairs of 5 answers, the 3 pairs of wrong ones fail
        (5, 2, 2, 7 / 10),
        (5, 2, 4, 1.0),
        (20, 1, 10, 1 / 2),
    ],
)
def test_pass_at_k_by_hand(samples: int, passed: int, k: int, chance: float) -> None:
    assert pass_at(samples, passed, k) == pytest.approx(chance)
    drawn = list(itertools.combinations(range(samples), k)) if samples < 10 else []
    if drawn:
        assert pass_at(samples, passed, k) == pytest.approx(sum(min(one) < passed for one in drawn) / len(drawn))


def test_pass_at_k_is_unbiased() -> None:
    """Answers that pass with chance p: the mean of the estimate over all outcomes of 6 draws is 1 - (1 - p)^k."""
    from math import comb

    for p, k in ((0.1, 3), (0.5, 2), (0.9, 6)):
        mean = sum(comb(6, c) * p**c * (1 - p) ** (6 - c) * pass_at(6, c, k) for c in range(7))
        assert mean == pytest.approx(1 - (1 - p) ** k)


def test_k_beyond_the_samples_is_refused() -> None:
    for fields in ({"samples": 5}, {"k": ()}, {"k": (0,)}, {"workers": 0}):
        with pytest.raises(UserError):
            CodeGeneration(**fields)
    with pytest.raises(ValueError, match="k is 3"):
        pass_at(2, 1, 3)


def test_right_and_wrong_answers_are_told_apart_problem_by_problem(tmp_path: Path) -> None:
    """Four answers: one adds (right for T/0), one adds one more (right for T/1), one is no Python, one is an error."""
    answers = ("    return a + b", "    return helper(a) + b + 1", "    return a +", "    return nothing")
    policy = Several(*answers)
    benchmark = CodeGeneration(execute=True, data=written(tmp_path), samples=4, k=(1, 2), seconds=2)
    found = list(benchmark.evaluate(policy, seed=0))
    assert [one.item for one in found] == ["T/0", "T/1"]
    for one in found:
        assert one.metrics["pass_at_1"] == pytest.approx(1 / 4)
        assert one.metrics["pass_at_2"] == pytest.approx(1 / 2)
        assert (one.metrics["wrong"], one.metrics["no_python"], one.metrics["error"]) == (0.25, 0.25, 0.25)
        assert one.completions == answers
    assert {metric.name for metric in benchmark.metrics()} == {"pass_at_1", "pass_at_2", *FAILURES}
    assert (policy.sampling.temperature, policy.sampling.top_p, policy.sampling.stop) == (0.8, 0.95, ())


@pytest.mark.parametrize(
    "answer",
    [
        "    return a + b",
        "def add_0(a, b):\n    return helper(a) + math.floor(b)\n",
        "Here it is:\n```python\ndef add_0(a, b):\n    return a + b\n```\nUse it so:\n```\nadd_0(1, 2)\n```",
        "```python\n    return a + b\n```",
        "```py\r\ndef add_0(a: int, b: int) -> int:\r\n    return a + b",
    ],
)
def test_what_of_an_answer_is_the_program(answer: str) -> None:
    problem = CodeProblem(*(ROWS[0][name] for name in ("task_id", "prompt", "entry_point", "test")))
    (ended,) = run_programs([program_of(problem, answer)], Limits(seconds=2))
    assert ended.how == "passed"


def test_bare_text_is_the_prompt_itself_and_stops_at_the_next_statement(tmp_path: Path) -> None:
    policy = Several("    return a + b")
    fields: dict[str, Any] = {"samples": 1, "k": (1,), "limit": 1, "seconds": 2}
    list(CodeGeneration(execute=True, data=written(tmp_path), chat=False, **fields).evaluate(policy, seed=0))
    assert policy.asked == [Prompt(text=ROWS[0]["prompt"])]
    assert "\ndef " in policy.sampling.stop
    list(CodeGeneration(execute=True, data=written(tmp_path), **fields).evaluate(policy, seed=0))
    assert ROWS[0]["prompt"].rstrip() in policy.asked[0].messages[0].content


def test_rows_that_lack_a_column_name_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="HumanEval's columns"):
        code_problems(written(tmp_path, [{"task_id": "x"}]), "test")
    with pytest.raises(UserError, match="not the name of a function"):
        code_problems(written(tmp_path, [{**ROWS[0], "entry_point": "f(); g"}]), "test")


@pytest.mark.slow
def test_every_published_solution_of_humaneval_passes_and_an_empty_one_does_not(
    tmp_path: Path, shared_data: Path
) -> None:
    text = gzip.decompress((shared_data / "humaneval" / "HumanEval.jsonl.gz").read_bytes()).decode()
    rows = [json.loads(line) for line in text.splitlines()]
    problems = code_problems(written(tmp_path, rows), "test")
    assert len(problems) == 164
    for solutions, passed in (([row["canonical_solution"] for row in rows], 164), (["    pass\n"] * 164, 0)):
        programs = [program_of(problem, text) for problem, text in zip(problems, solutions, strict=True)]
        assert sum(one.how == "passed" for one in run_programs(programs, Limits())) == passed


SETUP = "class Pair:\n  def __init__(self, left): self.left = left"
MBPP = {
    "task_id": 11, "text": "Write a function to take the first of a pair.",
    "code": "def first_of(pair):\r\n  return pair.left", "test_setup_code": SETUP,
    "test_list": ["assert first_of(Pair(3)) == 3", "assert first_of(Pair('\\n')) == '\\n'"], "challenge_test_list": [],
}  # fmt: skip
SANITISED = {
    "task_id": 12, "prompt": "Write a function to add roots.", "code": "import math\ndef roots(a, b):\n    return 0",
    "test_imports": ["import math"], "test_list": ["assert math.isclose(roots(4, 9), 5, rel_tol=0.001)"],
}  # fmt: skip


def test_rows_in_mbpp_columns_are_asked_with_their_tests_and_run(tmp_path: Path) -> None:
    """The right solution of each passes, the other's does not; the tests know the class of the setup."""
    data = written(tmp_path, [MBPP, SANITISED])
    benchmark = CodeGeneration(execute=True, data=data, samples=2, k=(1,))
    first, second = code_problems(data, "test")
    assert (first.id, first.entry_point, second.entry_point) == ("MBPP/11", "first_of", "roots")
    answers = ("def first_of(pair):\n    return pair.left\n", "def roots(a, b):\n    return math.sqrt(a) + b ** 0.5\n")
    sayer = Several(*answers)
    outcomes = list(benchmark.evaluate(sayer, seed=0))
    assert [outcome.metrics["pass_at_1"] for outcome in outcomes] == [0.5, 0.5]
    assert "assert first_of(Pair(3)) == 3" in sayer.asked[0].messages[0].content
    for problem, answer in zip((first, second), answers, strict=True):
        passed, failed = run_programs(
            [program_of(problem, answer), program_of(problem, "    return None")], Limits(), 1
        )
        assert (passed.how, failed.how != "passed") == ("passed", True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_list": []}, "lacks a text or its tests"),
        ({"code": "def other(): pass"}, "no test calls a function that the solution defines"),
        ({"test_list": ["assert first_of("]}, "not Python"),
    ],
)
def test_a_row_of_mbpp_that_cannot_be_tested_stops_with_its_place(tmp_path: Path, change: Any, said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        code_problems(written(tmp_path, [{**MBPP, **change}]), "test")
    assert "problems.jsonl" in raised.value.where


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is also at"):
        code_problems(written(tmp_path, [ROWS[0], ROWS[0]]), "test")
