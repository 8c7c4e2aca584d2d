"""`bakeoff check` and `bakeoff check-model`: a line for each clause of a plugin's contract, or check of a base."""

from __future__ import annotations

import importlib.util
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.benchmark import Benchmark
from harness.cli.screen import line_console, printer
from harness.engine import registry
from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.benchmarks import BENCHMARK_CLAUSES, BenchmarkBench
from harness.engine.contract.clauses import CLAUSES, Verdict, sentence, try_clause
from harness.engine.contract.isolation import quiet
from harness.engine.gate import checked_model
from harness.engine.plugin_fields import build_method, build_plugin, entry_parts
from harness.engine.progress import Progress, print_line
from harness.engine.registry import Kind
from harness.engine.showable import counted
from harness.engine.yaml_lines import Located, parse_yaml
from harness.errors import UserError
from harness.method import Method, plugin_name
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.chat_template import DEFAULT_DATE
from harness.policy.sources import locate


def check_verb(text: str) -> int:
    """Check the method or benchmark that a YAML text names; return 0 where no clause failed, else 1."""
    located = parse_yaml(text, "bakeoff check")
    named, fields = _named(located)
    if named in registry.plugin_names("benchmarks") and named not in registry.plugin_names("methods"):
        return _check_benchmark(text, build_plugin("benchmarks", named, fields, {}, Path.cwd()))
    method, given = asked(text)
    name = plugin_name(method)
    console = line_console()
    say = partial(print_line, console)
    started = time.monotonic()
    say(f"{name} on two tiny random models:")
    with TemporaryDirectory() as folder, Progress(console, "clauses") as progress:
        verdicts = list(verdicts_of(method, given, Path(folder), progress))
    return _summed_up(say, "methods", name, text, verdicts, len(CLAUSES), time.monotonic() - started)


def _check_benchmark(text: str, benchmark: Benchmark) -> int:
    name = plugin_name(benchmark)
    if why := benchmark.unavailable():
        raise UserError(f"{name} cannot be checked with these settings: {why}")
    say, started = printer(), time.monotonic()
    quiet()
    say(f"{name} with policies that answer at random:")
    bench, source = BenchmarkBench(benchmark), registry.source_file("benchmarks", name)
    verdicts: list[Verdict] = []
    for clause in BENCHMARK_CLAUSES:
        verdicts.append(try_clause(clause, bench, source, through=(UserError,)))
        say(result_lines(verdicts[-1]))
        if clause is BENCHMARK_CLAUSES[0] and verdicts[-1].state == "failed":
            say("The other clauses depend on that one.")
            break
    seconds = time.monotonic() - started
    return _summed_up(say, "benchmarks", name, text, verdicts, len(BENCHMARK_CLAUSES), seconds)


def _summed_up(
    say: Callable[[str], None],
    kind: Kind,
    name: str,
    text: str,
    verdicts: Sequence[Verdict],
    clauses: int,
    seconds: float,
) -> int:
    """Say how many clauses passed and what comes next; 1 where one failed."""
    counts = Counter(verdict.state for verdict in verdicts)
    parts = [f"{counts[state]} {state}" for state in ("passed", "skipped", "failed") if counts[state]]
    say(f"\n{len(verdicts)} of {clauses} clauses: {', '.join(parts)}, in {seconds:.0f} s.")
    if counts["failed"]:
        say(f"Next: fix {registry.source_file(kind, name)}, then: bakeoff check {shlex.quote(text)}")
        return 1
    say(f"Next: list {text} under `{kind}:` of an experiment, then: bakeoff plan EXPERIMENT")
    return 0


def _named(located: Located) -> tuple[str, Located]:
    """The plugin that a text names, and its fields; nothing where the text names none, which `asked` then says."""
    try:
        name, fields, _ = entry_parts(located, options=())
    except UserError:
        return "", located
    return name, fields


def check_model_verb(name: str, template: str, date: str) -> int:
    """Check a base model's tokenizer and template; return 0 where every check passed, else 1."""
    say = printer()
    spec = BaseSpec(name, chat_template=template, date=date or DEFAULT_DATE)
    checks = checked_model(BaseModel(spec, locate(spec)))
    for check in checks:
        state = ("remedy" if check.remedy else "ok") if check.passed else "failed"
        say(f"{state:8}{check.name:16}{check.found}{f'; {check.remedy}' if check.remedy else ''}")
    failed = sum(not check.passed for check in checks)
    remedies = sum(bool(check.remedy) and check.passed for check in checks)
    say(f"\n{counted(len(checks), 'check')} of {name}: {failed} failed, {remedies} with a remedy.")
    say("Next: " + ("follow the remedy of what failed." if failed else f"list {name} under `bases:` of an experiment."))
    return int(failed > 0)


def asked(text: str) -> tuple[Method, Sequence[str]]:
    """The method that a YAML text names, and which of its fields the text sets.

    Raises UserError for an unknown name or field, and where a library is missing.
    """
    given = parse_yaml(text, "bakeoff check")
    method = build_method(given, {}, Path.cwd())
    missing = [name for name in method.libraries if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"{plugin_name(method)} needs {', '.join(missing)}, not installed here", fix="Install it first."
        )
    fields = next(iter(given.value.values())) if isinstance(given.value, dict) else None
    return method, list(fields or ())


def verdicts_of(method: Method, given: Sequence[str], folder: Path, progress: Progress) -> Iterator[Verdict]:
    """The verdict on each clause, printed as soon as it is known."""
    quiet()
    source = registry.source_file("methods", plugin_name(method))
    progress.start(len(CLAUSES), 0)
    bench = Bench(quick(method, keep=given), folder)
    for clause in CLAUSES:
        bench.progress = progress.working(sentence(clause))
        verdict = try_clause(clause, bench, source)
        progress.say(result_lines(verdict))
        progress.advance()
        yield verdict
        if clause is CLAUSES[0] and verdict.state == "failed":
            progress.say("The other clauses depend on that one.")
            return


def result_lines(verdict: Verdict) -> str:
    """A verdict as it is printed."""
    if verdict.state == "skipped":
        return f"skipped  {verdict.sentence}: {verdict.reason}"
    if verdict.state == "passed":
        return f"passed   {verdict.sentence}"
    return f"FAILED   {verdict.sentence}\n         expected {verdict.expected}\n         found {verdict.found}"
