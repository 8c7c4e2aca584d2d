"""Python functions written from docstrings and run against tests: HumanEval (Chen et al., 2021, 2107.03374), or others.

Other data sets need HumanEval's columns (task_id, prompt, entry_point, test) or MBPP's (task_id, text or prompt, code,
test_list), of which the model is shown the task with its tests (harness/scoring/code/mbpp.py). MBPP's authors use the
tasks 11 to 510 as the test set, after three worked examples; here none is shown.

    pass@k = 1 - C(n - c, k) / C(n, k)        c of n samples passed; unbiased for every k up to n

The benchmark runs programs written by a model, so it is off (its cells are n/a) until `execute: true`. Each program
runs in its own process, and its tests in another one, where the program reaches neither them nor the verdict; the
kernel confines both (harness/scoring/code/sandbox.py). A test compares what a function returns as plain data: an object
of the program's own class equals only itself. Where the kernel cannot confine a program, the cells are n/a.

Defaults: 20 samples at temperature 0.8 and top-p 0.95, as in open-instruct and proxy-tuning (pass@10). A chat model is
asked for the whole function; with `chat: false` the prompt is bare text to continue, and the answer ends where the next
top-level statement would begin.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.benchmark import Benchmark, Metric, Outcome
from harness.data.readers import label_of
from harness.errors import UserError
from harness.method import setting
from harness.policy.types import Completion, Prompt, Sampling, flags_of
from harness.records import Message, TestItem, TestSet
from harness.scoring.code.humaneval import CodeProblem, code_problems, pass_at, program_of
from harness.scoring.code.kernel import lacking
from harness.scoring.code.sandbox import Ended, Limits, run_programs

if TYPE_CHECKING:
    from harness.policy.policy import Policy

REQUEST = "Complete this Python function. Answer with the whole function in one block of code and nothing else."
TASK = "Write a Python function for this task. Answer with the whole function in one block of code and nothing else."
STOPS = ("\nclass ", "\ndef ", "\n#", "\nif ", "\nprint(", "\nassert ", "\n```")
OFF = "it runs programs written by the model, so it is off: set execute to true to run them in a sandbox"
FAILURES = ("wrong", "error", "no_python", "timeout", "memory", "killed")


@dataclass(frozen=True)
class CodeGeneration(Benchmark):
    """Every function written `samples` times and tested."""

    version = 2
    needs = frozenset({"sample"})
    divisible = True

    execute: bool = setting(False, "run the model's programs in a sandbox; false: n/a")
    data: str = setting(
        "openai/openai_humaneval", "file, folder or hub id with HumanEval's or MBPP's columns", path=True
    )
    split: str = setting("test", "split of a folder or hub id")
    limit: int | None = setting(None, "number of problems; none: all", least=1)
    samples: int = setting(20, "answers per problem")
    k: tuple[int, ...] = setting((1, 10), "values of k for pass@k, at most the samples; the first is the score")
    temperature: float = setting(0.8, "sampling temperature; 0 with one sample takes the likeliest token")
    top_p: float = setting(0.95, "samples from the likeliest tokens that reach this probability mass")
    chat: bool = setting(True, "ask in a conversation; false: bare text to continue")
    seconds: int = setting(5, "CPU seconds per program")
    megabytes: int = setting(512, "memory per program")
    workers: int = setting(2, "programs that run at the same time")
    max_new_tokens: int = setting(512, "longest answer in tokens")

    def __post_init__(self) -> None:
        if not self.k or min(self.k) < 1 or max(self.k) > self.samples:
            raise UserError(
                f"k is {list(self.k)} and samples is {self.samples}", fix="Give values of k from 1 to samples."
            )
        if min(self.seconds, self.megabytes, self.workers) < 1:
            raise UserError("seconds, megabytes and workers must be at least 1", fix="Leave them at their defaults.")

    def unavailable(self) -> str:
        """The reason why its cells are n/a, or ""."""
        return lacking() if self.execute else OFF

    def metrics(self) -> tuple[Metric, ...]:
        """pass@k, then how programs fail."""
        passes = [
            Metric(f"pass_at_{k}", f"probability that one of {k} answers passes its tests", "quality", primary=at == 0)
            for at, k in enumerate(self.k)
        ]
        failures = [
            Metric(name, f"share of answers with the result: {name}", primary=False, higher_is_better=False)
            for name in FAILURES
        ]
        return (*passes, *failures)

    def evaluate(self, policy: Policy, seed: int) -> Iterator[Outcome]:
        """One outcome per problem."""
        if not self.execute:
            raise UserError(f"code_generation: {OFF}", fix="Read benchmarks/code_generation.py first.")
        items = self.chosen(self._items(), lambda item: item.id)
        prompts = [self._prompt(item) for item in items]
        stop = () if self.chat else STOPS
        sampling = Sampling(self.max_new_tokens, self.temperature, self.top_p, stop, self.samples, seed)
        drawn = policy.sample(prompts, sampling, [item.id for item in items])
        programs = [program_of(item, answer.text) for item, own in zip(items, drawn, strict=True) for answer in own]
        ended = run_programs(programs, Limits(self.seconds, self.megabytes), self.workers)
        for at, (item, prompt, own) in enumerate(zip(items, prompts, drawn, strict=True)):
            results = ended[at * self.samples : (at + 1) * self.samples]
            yield self._outcome(item, policy.encoder.prompt_text(prompt), own, results)

    def _outcome(self, item: CodeProblem, prompt: str, answers: tuple[Completion, ...], ended: list[Ended]) -> Outcome:
        counts = Counter(one.how for one in ended)
        passes = {f"pass_at_{k}": pass_at(len(ended), counts["passed"], k) for k in self.k}
        return Outcome(
            item=item.id,
            cluster=item.id,
            metrics={**passes, **{name: counts[name] / len(ended) for name in FAILURES}},
            prompt=prompt,
            completions=tuple(answer.whole for answer in answers),
            flags=flags_of(answers),
        )

    def data_digest(self) -> str:
        """Digest of the problems with their tests, which are not read while it is off."""
        if not self.execute:
            return ""
        text = "\1".join(repr(item) for item in self._items())
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def test_set(self) -> TestSet | None:
        """The prompts."""
        if not self.execute:
            return None
        return TestSet(label_of(self.data), tuple(TestItem(item.id, item.prompt) for item in self._items()))

    def _items(self) -> list[CodeProblem]:
        return code_problems(self.data, self.split)[: self.limit]

    def _prompt(self, item: CodeProblem) -> Prompt:
        if not self.chat:
            return Prompt(text=item.prompt)
        if item.asked:
            return Prompt(messages=(Message("user", f"{TASK}\n\n{item.asked}"),))
        return Prompt(messages=(Message("user", f"{REQUEST}\n\n```python\n{item.prompt.rstrip()}\n```"),))
