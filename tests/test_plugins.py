"""Plugins of other packages: all of their code is in the keys, and one that is broken costs its own cells only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import outside
import pytest
from command_line import Done, bakeoff
from conftest import ROOT

from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.plan import Plan, make_plan
from harness.errors import UserError
from harness.files import read_json


@pytest.fixture
def folder(outside_folder: Path) -> Iterator[Path]:
    """The folder of the outside package, in which tests write more packages; their modules are forgotten."""
    before = set(sys.modules)
    yield outside_folder
    written = [name for name in set(sys.modules) - before if _is_in(outside_folder, sys.modules[name])]
    for name in written:
        del sys.modules[name]


def _is_in(folder: Path, module: object) -> bool:
    spec = getattr(module, "__spec__", None)
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return any(str(place).startswith(str(folder)) for place in places)


def install(folder: Path, package: str, points: str, version: str = "1.0") -> None:
    """Register a distribution: its metadata and its entry points."""
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(points)
    registry._outside.cache_clear()


def planned(folder: Path, **options: str) -> Plan:
    registry._outside.cache_clear()
    return make_plan(load_experiment(outside.experiment(folder, **options)), folder / "store")


def run(folder: Path, *words: str, **options: str) -> Done:
    file = outside.experiment(folder, **options)
    return bakeoff("run", file, "--store", folder / "store", "--out", folder / "out", *words)


def a_package(folder: Path, *, init: bool = True, load: str = "from .helper import NUMBER") -> None:
    """A package `pair` of two modules and a data file, whose method and benchmark read the second module."""
    inner = folder / "pair" / "inner"
    inner.mkdir(parents=True)
    for place in (inner, inner.parent) if init else ():
        (place / "__init__.py").write_text("")
    (inner / "method.py").write_text(f"{outside.METHOD}\n{load}\n")
    (inner / "bench.py").write_text(f"{outside.BENCHMARK}\n{load}\n")
    (inner / "helper.py").write_text("NUMBER = 1\n")
    (folder / "pair" / "words.txt").write_text("one\n")
    methods = "[bakeoff.methods]\npair = pair.inner.method:Outside\n"
    install(folder, "pair", f"{methods}[bakeoff.benchmarks]\npairs = pair.inner.bench:OutsideBench\n")


def pair_keys(folder: Path) -> tuple[str, str]:
    (cell,) = planned(folder, methods="[pair]", benchmarks="[pairs]").cells
    return cell.node.key, cell.key


@pytest.mark.parametrize(
    ("init", "load"),
    [
        (True, "from .helper import NUMBER"),
        (True, "def later():\n    from pair.inner import helper\n"),
        (True, "import importlib; importlib.import_module('pair.inner.helper')"),
        (False, "from .helper import NUMBER"),
        (False, "from . import helper"),
    ],
)
def test_a_changed_helper_of_an_outside_package_gives_new_keys(folder: Path, init: bool, load: str) -> None:
    a_package(folder, init=init, load=load)
    before = pair_keys(folder)
    assert pair_keys(folder) == before
    (folder / "pair" / "inner" / "helper.py").write_text("NUMBER = 1  # one\n")
    assert pair_keys(folder) == before
    (folder / "pair" / "inner" / "helper.py").write_text("NUMBER = 22\n")
    after = pair_keys(folder)
    assert after[0] != before[0]
    assert after[1] != before[1]


def test_the_benchmark_alone_has_a_new_key_where_its_own_package_changes(folder: Path) -> None:
    a_package(folder)
    (before,) = planned(folder, benchmarks="[pairs]").cells
    (folder / "pair" / "inner" / "helper.py").write_text("NUMBER = 2\n")
    (after,) = planned(folder, benchmarks="[pairs]").cells
    assert after.node.key == before.node.key
    assert after.key != before.key


def test_data_and_version_of_an_outside_package_are_in_its_keys(folder: Path) -> None:
    a_package(folder)
    keys = [pair_keys(folder)]
    (folder / "pair" / "words.txt").write_text("two\n")
    keys.append(pair_keys(folder))
    metadata = folder / "pair-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    keys.append(pair_keys(folder))
    assert len({artifact for artifact, _ in keys}) == len({outcomes for _, outcomes in keys}) == 3


def test_a_module_next_to_an_outside_module_is_in_its_key(folder: Path) -> None:
    """`outside_method` is a module without a package; what it imports next to it decides its numbers as well."""
    method = folder / "outside_method.py"
    method.write_text(f"{method.read_text()}\nimport outside_next\n")
    found = []
    for number in (1, 2):
        (folder / "outside_next.py").write_text("from outside_third import NUMBER\n")
        (folder / "outside_third.py").write_text(f"NUMBER = {number * 100}\n" * number)
        found.append(planned(folder).cells[0].node.key)
    assert found[0] != found[1]


def test_what_looks_like_prose_counts_in_an_outside_package(folder: Path) -> None:
    """A function of its own that is called `setting` may return what our `setting` only prints."""
    a_package(folder, load="from .helper import WORD")
    helper = folder / "pair" / "inner" / "helper.py"
    found = []
    for word in ("one", "two"):
        helper.write_text(f"def setting(name, value):\n    return value\n\nWORD = setting('word', '{word}')\n")
        found.append(pair_keys(folder))
    assert found[0] != found[1]


def test_a_class_that_no_entry_point_names_is_keyed_by_its_own_package(folder: Path) -> None:
    """It derives from a registered method, whose name and source it would otherwise have in its key."""
    (folder / "standing_method.py").write_text(
        f"{outside.METHOD}\nfrom harness.method import ArtifactSpec\nfrom other_method import Other\n\n"
        "class Standing(Outside):\n    def requires(self):\n        return {'start': ArtifactSpec(Other())}\n"
    )
    install(folder, "standing", "[bakeoff.methods]\nstanding = standing_method:Standing\n")
    found = []
    for number in (1, 22):
        (folder / "other_method.py").write_text(
            f"import outside_method\n\nclass Other(outside_method.Outside):\n    NUMBER = {number}\n"
        )
        cells = planned(folder, methods="[outside, standing]").cells
        start = cells[1].node.inputs["start"]
        assert start.document["method"] == "other_method:Other"
        assert start.key != cells[0].node.key
        found.append(start.key)
    assert found[0] != found[1]


def test_an_edit_of_a_helper_is_run_again_and_explain_names_the_file(folder: Path) -> None:
    a_package(folder)
    options = {"methods": "[pair]", "benchmarks": "[pairs]"}
    assert run(folder, **options).returncode == 0
    (folder / "pair" / "inner" / "helper.py").write_text("NUMBER = 2\n")
    file = folder / "experiment.yaml"
    assert "1 to run" in bakeoff("plan", file, "--store", folder / "store").stdout
    explained = bakeoff("explain", file, "pair", "--store", folder / "store").stdout
    assert explained.count("source.pair/inner/helper.py: ") == 2
    assert "1 artifact fitted, 1 cell scored now" in run(folder, **options).stdout


def test_provenance_names_package_version_and_digest_of_an_outside_plugin(folder: Path) -> None:
    a_package(folder)
    digests = []
    for number in (1, 2):
        (folder / "pair" / "inner" / "helper.py").write_text(f"NUMBER = {number}\n")
        assert run(folder, methods="[pair, outside]", benchmarks="[pairs]").returncode == 0
        plugins = read_json(folder / "out" / "provenance.json")["plugins"]
        assert {name: (one["package"], one["version"]) for name, one in plugins.items()} == {
            "methods/pair": ("pair", "1.0"),
            "methods/outside": ("outside", "1.0"),
            "benchmarks/pairs": ("pair", "1.0"),
        }
        digests.append({name: one["digest"] for name, one in plugins.items()})
    assert digests[0]["methods/outside"] == digests[1]["methods/outside"]
    assert digests[0]["methods/pair"] != digests[1]["methods/pair"]
    assert digests[0]["benchmarks/pairs"] != digests[1]["benchmarks/pairs"]


def test_two_plugins_of_one_name_are_refused_with_both_files(folder: Path) -> None:
    a_package(folder)
    points = "[bakeoff.methods]\noutside = pair.inner.method:Outside\n"
    install(folder, "second", points)
    with pytest.raises(UserError, match="2 methods are called 'outside'") as refused:
        planned(folder)
    assert str(folder / "outside_method.py") in str(refused.value)
    assert str(folder / "pair" / "inner" / "method.py") in str(refused.value)
    assert "2 methods are called 'outside'" in bakeoff("list", "methods").stdout
    assert run(folder, methods="[pair]", benchmarks="[pairs]").returncode == 0


def test_a_plugin_that_shadows_a_built_in_one_is_refused_with_both_files(folder: Path) -> None:
    install(folder, "shade", "[bakeoff.methods]\nsft = outside_method:Outside\n")
    done = run(folder, methods="[sft, outside]")
    assert done.returncode == 2
    assert "2 methods are called 'sft'" in done.stderr
    assert str(registry.plugin_folder("methods") / "sft.py") in done.stderr
    assert str(folder / "outside_method.py") in done.stderr
    assert run(folder).returncode == 0


PLAIN = """
from dataclasses import dataclass
from harness.method import Method
@dataclass
class Broken(Method):
    def fit(self, base, data, inputs, out, context): ...
    def load(self, base, artifact, inputs): ...
"""
BROKEN = {
    "raise RuntimeError('no luck')": "RuntimeError: no luck",
    "import nothing_there": "ModuleNotFoundError: No module named 'nothing_there'",
    "x = 3 +": "SyntaxError: invalid syntax",
    "raise SystemExit(3)": "SystemExit: 3",
    "raise RuntimeError('x' * 100_000)": "xxx... (100,000 characters)",
    "x = 1": "AttributeError: module 'broken_plugin' has no attribute 'Broken'",
    "Broken = 5": "int is not a method",
    PLAIN: "Broken is a dataclass that is not frozen",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_plugin_that_does_not_load_is_listed_as_such_and_stops_nothing_else(folder: Path, text: str) -> None:
    (folder / "broken_plugin.py").write_text(f'"""A plugin."""\n{text}\n')
    install(folder, "broken", "[bakeoff.methods]\nbroken = broken_plugin:Broken\n")
    listed = bakeoff("list")
    assert listed.returncode == 0
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith("  broken ")]
    assert " ".join(line.split()).startswith(f"broken not usable: {folder / 'broken_plugin.py'}")
    assert BROKEN[text] in line
    assert len(line) < 1000
    assert run(folder).returncode == 0
    asked = run(folder, methods="[outside, broken]")
    assert asked.returncode == 2
    assert BROKEN[text] in asked.stderr
    assert "Traceback" not in asked.stderr


@pytest.mark.parametrize("point", ["lost = nowhere.at_all:Lost", "lost = not a module", "lost"])
def test_a_malformed_entry_point_is_listed_as_such_and_stops_nothing_else(folder: Path, point: str) -> None:
    install(folder, "lost", f"[bakeoff.methods]\n{point}\n")
    (line,) = [line for line in bakeoff("list").stdout.splitlines() if line.startswith("  lost ")]
    assert "not usable: " in line
    assert run(folder).returncode == 0
    assert run(folder, methods="[lost]").returncode == 2


def test_a_fresh_process_reads_an_experiment_in_spite_of_a_malformed_entry_point(folder: Path) -> None:
    # pydantic would read the entry points of all packages; where torch is imported after that, its own search fails
    install(folder, "lost", "[bakeoff.methods]\nlost\n")
    code = "import sys; from pathlib import Path; from harness.engine.config import load_experiment; "
    code += (
        f"sys.path.insert(0, {str(folder)!r}); print(load_experiment(Path({str(outside.experiment(folder))!r})).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.returncode) == ("outside\n", 0), done.stderr


def test_a_plugin_whose_check_breaks_is_told_with_its_line_and_without_a_traceback(folder: Path) -> None:
    method = folder / "outside_method.py"
    text = method.read_text().replace(
        "        if self.strength < 0:", "        self.nothing()\n        if self.strength < 0:"
    )
    method.write_text(text)
    line = text.splitlines().index("        self.nothing()") + 1
    done = run(folder)
    assert done.returncode == 2
    assert f"AttributeError: 'Outside' object has no attribute 'nothing' ({method}:{line})" in done.stderr


BENCH_FAULTS = {
    ("    version = 1\n", ""): "it has no `version`; write version = 1 (FILE)",
    ("version = 1", "version = '1'"): "it has version = '1'; write version = 1 (FILE)",
    ('frozenset({"sample"})', 'frozenset({"smaple"})'): "it has needs = frozenset({'smaple'})",
    ('role="quality"', 'role="good"'): "the metric 'points' has the role 'good'; it is one of",
    ('(Metric("points", "a number", role="quality"),)', "5"): "`metrics` gives 5, which is not a tuple of Metric",
    ('return (Metric("points"', 'return (None.x, Metric("points"'): "AttributeError: 'NoneType' object has no",
    ('f"i{item}", f"i{item}"', 'item, f"i{item}"'): "the item 0 has item = 0, which is not a text (FILE:LINE)",
    ('{"points": policy', '{"pints": 1.0, "points": policy'): "the item 'i0' has the metric 'pints'",
    ('noise}, f"prompt', 'noise} if item < 3 else {}, f"prompt'): "the item 'i3' has no points; give None",
    ('yield Outcome(f"i', 'yield 5, (f"i'): "the benchmark yielded a tuple, not an Outcome",
}


@pytest.mark.parametrize("change", BENCH_FAULTS)
def test_a_benchmark_that_breaks_its_contract_fails_its_own_cells_with_the_place(
    folder: Path, change: tuple[str, str]
) -> None:
    text = outside.BENCHMARK.replace(*change)
    assert text != outside.BENCHMARK
    file = folder / "bad_bench.py"
    file.write_text(text)
    install(folder, "bad", "[bakeoff.benchmarks]\nbad = bad_bench:OutsideBench\n")
    done = run(folder, benchmarks="[outside_bench, bad]")
    said = BENCH_FAULTS[change]
    line = 1 + next(at for at, row in enumerate(text.splitlines()) if "yield" in row)
    said = said.replace("FILE", str(file)).replace("LINE", str(line))
    (failed,) = [row for row in done.stdout.splitlines() if row.startswith("failed ")]
    assert said in failed
    assert f"{file}" in failed
    assert "done    outside/outside_bench/0" in done.stdout
    assert "1 done, 1 failed" in done.stdout
    assert done.returncode == 1
    assert bakeoff("verify", folder / "out").returncode == 0
    again = run(folder, benchmarks="[outside_bench, bad]")
    assert "Nothing to do" in again.stdout
    assert again.returncode == 1


@pytest.mark.parametrize("raised", ["OSError('gone')", "SystemExit(1)", "KeyError('id')"])
def test_a_benchmark_whose_items_raise_an_error_is_not_applicable_with_the_place(folder: Path, raised: str) -> None:
    file = folder / "bad_bench.py"
    file.write_text(f"{outside.BENCHMARK}\n    def data_digest(self):\n        raise {raised}\n")
    install(folder, "bad", "[bakeoff.benchmarks]\nbad = bad_bench:OutsideBench\n")
    done = run(folder, benchmarks="[outside_bench, bad]")
    line = len(file.read_text().splitlines())
    assert f"n/a     bad: {file}:{line}: its items cannot be read: {raised.split('(')[0]}" in done.stdout
    assert "1 done, 1 n/a" in done.stdout
    assert done.returncode == 1


FIT_FAULTS = {
    "return None": "`fit` gave a NoneType in place of a FitReport",
    "return FitReport(trained_parameters=None)": "trained_parameters = None, which is not a whole number",
    "return FitReport(training_tokens=float('nan'))": "training_tokens = nan, which is not a whole number",
    "return FitReport(generated_tokens=-1)": "generated_tokens = -1, which is not a whole number of 0 or more",
    "return FitReport(notes=['loss'])": "notes = ['loss'], which is not a mapping",
}


@pytest.mark.parametrize("ends", FIT_FAULTS)
def test_a_fit_that_reports_what_the_ledger_cannot_hold_fails_its_own_cells(folder: Path, ends: str) -> None:
    text = outside.METHOD.replace(
        'return FitReport(trained_parameters=1, notes={"micro_batch"', f"{ends}\n        ({{0", 1
    )
    text = text.replace("({0: context.micro_batch})", "")
    (folder / "bad_method.py").write_text(text)
    install(folder, "bad", "[bakeoff.methods]\nbad = bad_method:Outside\n")
    done = run(folder, methods="[outside, bad]")
    (failed,) = [row for row in done.stdout.splitlines() if row.startswith("failed ")]
    assert FIT_FAULTS[ends] in failed
    assert "1 done, 1 failed" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("raised", ["raise ValueError('gone')", "raise SystemExit(3)", "return ['i0']"])
def test_a_benchmark_whose_test_set_raises_an_error_is_not_checked_and_runs(folder: Path, raised: str) -> None:
    file = folder / "bad_bench.py"
    file.write_text(f"{outside.BENCHMARK}\n    def test_set(self):\n        {raised}\n")
    install(folder, "bad", "[bakeoff.benchmarks]\nbad = bad_bench:OutsideBench\n")
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    extra = f"data: {{demonstrations: {folder / 'rows.jsonl'}}}\n"
    digest = "\n    def data_digest(self):\n        return '1'\n"
    file.write_text(file.read_text() + digest)
    done = run(folder, methods="[counting]", benchmarks="[outside_bench, bad]", extra=extra)
    kind = {"raise V": "ValueError: gone", "raise S": "SystemExit: 3", "return ": "AttributeError: "}[raised[:7]]
    (said,) = [row for row in done.stdout.splitlines() if "could not be compared" in row]
    assert said.startswith("bad: its items could not be compared with ")
    assert kind in said
    assert "2 done" in done.stdout
    assert done.returncode == 0
    entries = json.loads((folder / "out" / "contamination.json").read_text())["checked"]
    assert [entry["items"] for entry in entries] == [8, None]
    assert kind in (folder / "out" / "report.md").read_text()


def test_a_benchmark_without_a_version_can_be_shown(folder: Path) -> None:
    (folder / "bad_bench.py").write_text(outside.BENCHMARK.replace("    version = 1\n", ""))
    install(folder, "bad", "[bakeoff.benchmarks]\nbad = bad_bench:OutsideBench\n")
    shown = bakeoff("show", "bad")
    assert shown.returncode == 0, shown.stderr
    assert "version not stated" in shown.stdout


def test_a_hub_set_that_cannot_be_reached_costs_the_cells_that_need_it(folder: Path) -> None:
    extra = "data: {demonstrations: nowhere/rows}\n"
    done = run(folder, methods="[outside, counting]", extra=extra)
    assert "done    outside/outside_bench/0" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("n/a     demonstrations: ")]
    assert "nowhere/rows" in line
    assert "1 done, 1 n/a" in done.stdout
    assert done.returncode == 1
    assert "nowhere/rows" in bakeoff("plan", folder / "experiment.yaml", "--store", folder / "store").stdout
    assert bakeoff("verify", folder / "out").returncode == 0
    alone = run(folder, methods="[counting]", extra=extra)
    assert alone.returncode == 2
    assert "nowhere/rows" in alone.stderr


def test_a_hub_set_that_cannot_be_reached_for_one_quality_leaves_the_other(folder: Path) -> None:
    (folder / "good.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    data = f"{{good: {folder / 'good.jsonl'}, lost: nowhere/rows}}"
    extra = f"data: {{demonstrations: {data}}}\ndata_quality: [good, lost]\n"
    done = run(folder, methods="[counting]", extra=extra)
    assert "1 done, 1 n/a" in done.stdout
    assert "n/a     demonstrations lost: " in done.stdout


@pytest.mark.parametrize("rows", [None, '{"prompt": "a", "completion": "b"}\n{"prompt": 5}\n', "not json\n"])
@pytest.mark.parametrize("methods", ["[outside]", "[outside, counting]"])
def test_a_data_set_of_this_machine_that_cannot_be_read_is_a_users_mistake(
    folder: Path, rows: str | None, methods: str
) -> None:
    file = folder / "rows.jsonl"
    if rows is not None:
        file.write_text(rows)
    for name in ("microworld/nothing", file) if rows is None else (file,):
        done = run(folder, methods=methods, extra=f"data: {{demonstrations: {name}}}\n")
        assert done.returncode == 2
        row = "" if rows is None else f":{rows.count(chr(10))}"
        assert f"{name}{row}" in done.stderr
        assert "done " not in done.stdout


def test_a_method_whose_requirements_raise_an_error_is_told_with_the_line(folder: Path) -> None:
    method = folder / "outside_method.py"
    requires = "    def requires(self):\n        return 1 / 0\n\n"
    method.write_text(outside.METHOD.replace("    def check(", f"{requires}    def check(", 1))
    done = run(folder)
    assert done.returncode == 2
    assert "outside cannot be planned: ZeroDivisionError: division by zero" in done.stderr
    assert f"{method}:" in done.stderr


def test_a_field_for_a_method_without_a_default_must_be_given(folder: Path) -> None:
    method = folder / "outside_method.py"
    field = '    of: Method = setting(None, "the method that it follows")\n'
    method.write_text(outside.METHOD.replace("    strength: float", f"{field}    strength: float", 1))
    done = run(folder)
    assert done.returncode == 2
    assert "outside needs of\n  Give of." in done.stderr
    assert run(folder, methods="[{outside: {of: base}}]").returncode == 0


@pytest.mark.parametrize("size", [100_000, 900_000])
def test_a_text_of_any_length_in_a_message_is_cut_and_its_length_said(folder: Path, size: int) -> None:
    method = folder / "outside_method.py"
    method.write_text(outside.METHOD.replace("RuntimeError(self.fails)", f"RuntimeError(self.fails * {size})"))
    done = run(folder, methods="[{outside: {fails: x}}]")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("failed ")]
    assert f"xxx... ({size:,} characters)" in line
    assert len(line) < 500
    assert len(str(UserError("x" * size, where="y" * size, fix="z" * size))) < 5_000
