"""`bakeoff new`: what it writes works as it is, in a package outside the repository, and says what comes next."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from command_line import bakeoff
from conftest import ROOT

from harness.benchmark import Benchmark
from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.benchmarks import BENCHMARK_CLAUSES, BenchmarkBench
from harness.engine.contract.clauses import CLAUSES, try_clause
from harness.engine.plan import make_plan
from harness.errors import UserError
from harness.method import Method

Patch = pytest.MonkeyPatch


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, outside any checkout."""
    registry._outside.cache_clear()
    yield tmp_path
    registry._outside.cache_clear()
    for name in ("a_method", "a_benchmark", "one", "two", "three"):
        sys.modules.pop(name, None)


def written(kind: str, name: str, here: Path, monkeypatch: Patch) -> Path:
    """The package, as `pip install -e` would register it; its module's file."""
    done = bakeoff("new", kind, name, "--package", folder=here)
    assert done.returncode == 0, done.stderr
    folder = here / f"bakeoff-{name}"
    assert f"pip install -e ./{folder.name}, then: bakeoff check {name}" in done.stdout
    assert f"python -m pytest {folder.name}/tests/test_{name}.py" in done.stdout
    install(folder)
    monkeypatch.syspath_prepend(folder)
    registry._outside.cache_clear()
    return folder / f"{name}.py"


def install(folder: Path) -> None:
    """Register the package as `pip install -e` would."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    info = folder / "mine-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 0.1.0\n")
    tables = project["project"]["entry-points"].items()
    lines = [f"[{group}]\n{name} = {target}\n" for group, points in tables for name, target in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))


def test_a_new_benchmark_is_short_is_found_and_passes_its_check(here: Path, monkeypatch: Patch) -> None:
    file = written("benchmark", "a_benchmark", here, monkeypatch)
    assert len(file.read_text().splitlines()) <= 40
    done = bakeoff("check", "a_benchmark")
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert "bakeoff plan" in done.stdout


def test_a_new_method_is_short_is_found_and_fits(here: Path, monkeypatch: Patch) -> None:
    file = written("method", "a_method", here, monkeypatch)
    assert len(file.read_text().splitlines()) <= 40
    assert "learning_rate" in bakeoff("show", "a_method").stdout
    bench = Bench(quick(registry.plugin_class("methods", "a_method")()), here / "bench")
    assert try_clause(CLAUSES[0], bench, file).state == "passed"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["method", "benchmark"])
def test_the_test_that_comes_with_it_passes(kind: str, here: Path, monkeypatch: Patch) -> None:
    file = written(kind, f"a_{kind}", here, monkeypatch)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    path = f"{file.parent}:{ROOT}"
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(here)}
    done = subprocess.run(words, cwd=file.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["method", "sft", "--package"], "a method is called 'sft' already"),
        (["benchmark", "knowledge", "--package"], "a benchmark is called 'knowledge' already"),
        (["method", "my-method", "--package"], "'my-method' is not a name for a plugin"),
        (["method", "class", "--package"], "a name begins with a letter and is not a Python keyword"),
        (["method", "1x", "--package"], "a name begins with a letter and is not a Python keyword"),
        (["methd", "mine"], "KIND is 'methd', which is not method, benchmark or ledger\n  Did you mean 'method'?"),
        (["method", "json", "--package"], "a module is called 'json' already"),
        (["method", "mine"], "Use --package"),
    ],
)
def test_a_name_that_cannot_be_used_writes_nothing(words: list[str], said: str, here: Path) -> None:
    done = bakeoff("new", *words, folder=here)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(here.iterdir()) == []


def test_what_is_there_is_not_overwritten(here: Path) -> None:
    assert bakeoff("new", "method", "mine", "--package", folder=here).returncode == 0
    (here / "bakeoff-mine" / "mine.py").write_text("changed")
    done = bakeoff("new", "method", "mine", "--package", folder=here)
    assert done.returncode == 2
    assert "it exists already" in done.stderr
    assert (here / "bakeoff-mine" / "mine.py").read_text() == "changed"


def test_one_package_takes_several_plugins(here: Path, monkeypatch: Patch) -> None:
    """A method, then a second one, then a benchmark: three names in two tables, all of them found."""
    for words in (["method", "one", "--package"], ["method", "two"], ["benchmark", "three"]):
        further = [] if "--package" in words else ["--into", "bakeoff-one"]
        done = bakeoff("new", *words, *further, folder=here)
        assert done.returncode == 0, done.stderr
    project = tomllib.loads((here / "bakeoff-one" / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["py-modules"] == ["one", "two", "three"]
    assert project["project"]["entry-points"] == {
        "bakeoff.methods": {"one": "one:One", "two": "two:Two"},
        "bakeoff.benchmarks": {"three": "three:Three"},
    }
    install(here / "bakeoff-one")
    monkeypatch.syspath_prepend(here / "bakeoff-one")
    registry._outside.cache_clear()
    assert registry.plugin_class("methods", "two").__name__ == "Two"
    assert registry.plugin_class("benchmarks", "three").__name__ == "Three"


@pytest.mark.parametrize("text", [None, "[project]\nname = 'x'\n", "no toml"])
def test_a_package_of_another_form_is_left_as_it_is(text: str | None, here: Path) -> None:
    folder = here / "other"
    folder.mkdir()
    if text is not None:
        (folder / "pyproject.toml").write_text(text)
    before = sorted(folder.iterdir())
    done = bakeoff("new", "method", "mine", "--into", folder, folder=here)
    assert done.returncode == 2
    assert str(folder / "pyproject.toml") in done.stderr
    assert sorted(folder.iterdir()) == before
    assert text is None or before[0].read_text() == text


def test_a_folder_that_hides_a_module_is_named(here: Path, monkeypatch: Patch) -> None:
    """A folder of that name without `__init__.py`, found on the path, and the module nowhere."""
    (here / "hiding").mkdir()
    monkeypatch.syspath_prepend(here)
    point = registry.EntryPoint("hiding", "hiding:Hiding", "mine", "0.1.0")
    with pytest.raises(UserError, match=r"names the module hiding, which the folder .*/hiding hides") as refused:
        point.file()
    assert f"Rename {here / 'hiding'}" in refused.value.fix
    with pytest.raises(UserError, match="which does not exist"):
        registry.EntryPoint("nowhere", "nowhere_at_all:It", "mine", "0.1.0").file()


def whole_files(document: str) -> list[str]:
    """The fenced Python blocks of a guide that begin with a docstring: files as an author would write them."""
    fenced = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text("utf-8"), flags=re.S | re.M)
    return [text for text in fenced if text.startswith('"""')]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.slow
def test_a_method_of_the_guide_keeps_every_promise(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = whole_files("methods/README.md")
    assert len(texts) == 6
    module = loaded(texts[number], f"guide_method_{number}", tmp_path, monkeypatch)
    kinds = [it for it in vars(module).values() if isinstance(it, type) and issubclass(it, Method)]
    (found,) = (it for it in kinds if it.__module__ == module.__name__)
    bench = Bench(quick(found()), tmp_path / "bench")
    verdicts = {clause.__name__: try_clause(clause, bench, tmp_path / "x.py") for clause in CLAUSES}
    assert not [f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict.state == "failed"]


@pytest.mark.parametrize("number", range(3))
def test_a_benchmark_of_the_guide_keeps_every_promise(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = whole_files("benchmarks/README.md")
    assert len(texts) == 3
    write_pairs(tmp_path / "pairs.jsonl", PAIR, PAIR | {"id": "b", "right": "no", "wrong": "yes"})
    monkeypatch.chdir(tmp_path)
    module = loaded(texts[number], f"guide_benchmark_{number}", tmp_path, monkeypatch)
    kinds = [it for it in vars(module).values() if isinstance(it, type) and issubclass(it, Benchmark)]
    (found,) = (it for it in kinds if it is not Benchmark)
    bench = BenchmarkBench(found())
    verdicts = {clause.__name__: try_clause(clause, bench, tmp_path / "x.py") for clause in BENCHMARK_CLAUSES}
    assert not [f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict.state == "failed"]


PAIR = {"id": "a", "kind": "verbs", "request": "say yes", "right": "yes", "wrong": "no"}


def write_pairs(file: Path, *rows: dict[str, str]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_guides_benchmark_of_a_file_names_the_row_that_it_cannot_use(tmp_path: Path, monkeypatch: Patch) -> None:
    module = loaded(whole_files("benchmarks/README.md")[2], "guide_benchmark_of_a_file", tmp_path, monkeypatch)
    file = tmp_path / "mine.jsonl"
    write_pairs(file, PAIR, {key: text for key, text in PAIR.items() if key != "wrong"})
    with pytest.raises(UserError, match="wrong is missing or is not text") as refused:
        module.MinimalPairs(str(file)).check_items()
    assert refused.value.where == f"{file}:2"


def loaded(text: str, name: str, folder: Path, monkeypatch: Patch) -> ModuleType:
    """The text as a module that other processes find too."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name)


def test_a_new_entry_of_the_ledger_gets_the_next_number_and_plans_as_it_is(tmp_path: Path) -> None:
    entries = tmp_path / "results" / "ledger"
    (entries / "001-first").mkdir(parents=True)
    done = bakeoff("new", "ledger", "who-forgets-least", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = entries / "002-who-forgets-least"
    assert {path.name for path in folder.iterdir()} == {"experiment.yaml", "claims.yaml", "README.md"}
    assert not any("NUMBER" in path.read_text() for path in folder.iterdir())
    experiment = load_experiment(folder / "experiment.yaml")
    assert experiment.claims
    assert [len(experiment.seeds), len(experiment.claims.claims)] == [3, 1]
    plan = make_plan(experiment, tmp_path / "store")
    assert {cell.why for cell in plan.cells} == {""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Who Forgets",), "is not a name for an entry of the ledger"),
        (("../up",), "is not a name for an entry of the ledger"),
        (("fine",), "the current folder has no results/ledger"),
        (("fine", "--package"), "an entry of the ledger is not a package"),
    ],
)
def test_an_entry_of_the_ledger_without_a_place_or_a_name_is_refused(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    done = bakeoff("new", "ledger", *words, folder=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []
