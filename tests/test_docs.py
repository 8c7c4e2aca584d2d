"""The documents are held to what they say: commands, options, experiments, trees, tables, links, quoted numbers."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main
from conftest import ROOT

from harness.cli.main import app
from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.contract.bench import Bench, quick
from harness.engine.contract.clauses import CLAUSES, try_clause
from harness.engine.plan import make_plan
from harness.method import Method
from harness.report.render.opening_text import sentence_in
from harness.stats.cluster_totals import Scores
from harness.stats.contrasts import Scale, difference, seed_pool
from harness.stats.resolution import minimum_detectable_effect

README = (ROOT / "README.md").read_text("utf-8")
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "harness/**/*.md", "methods/*.md", "benchmarks/*.md", "results/**/README.md")
    for path in ROOT.glob(pattern)
)
GUIDES = ["README.md", "docs/running.md", "docs/data.md"]


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / document).read_text("utf-8"), flags=re.S | re.M)
    return [text for name, text in fenced if name == language]


def test_the_readme_is_short_and_starts_with_the_two_commands_that_work_from_an_empty_checkout() -> None:
    assert len(README.splitlines()) <= 150
    makefile = (ROOT / "Makefile").read_text("utf-8")
    commands = [line.split("#")[0].strip() for line in blocks("README.md", "sh")[0].splitlines()]
    assert commands == ["make demo", "make test"]
    rules = dict(re.findall(r"^([a-z-]+):(.*)$", makefile, flags=re.M))
    assert "$(READY)" in rules["demo"]
    assert "lint" in rules["test"]
    assert "$(READY)" in rules["lint"]
    assert re.search(r"bakeoff run demo\.yaml", makefile)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_verb_option_and_make_target_in_a_document_exists(document: str) -> None:
    command = typer.main.get_command(app)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    text = (ROOT / document).read_text("utf-8")
    inline = [found.replace("\n", " ") for found in re.findall(r"`((?:bakeoff|make) [^`]+)`", text)]
    for line in [*"\n".join(blocks(document, "sh")).split("\n"), *inline]:
        words = line.split("#")[0].split()
        if words[:1] == ["make"]:
            assert words[1] in targets, line
        if words[:1] != ["bakeoff"] or words[1:2] == ["--version"]:
            continue
        verb = command.commands[words[1]]  # type: ignore[attr-defined]
        if words[1] in {"microworld", "data"} and len(words) > 2 and not words[2].startswith("-"):
            verb = verb.commands[words[2]]
        options = {option for parameter in verb.params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= options, line


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_in_a_document_leads_to_a_file(document: str) -> None:
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text("utf-8")):
        if not target.startswith(("http", "#")):
            assert (folder / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_a_document_exists(document: str) -> None:
    """Paths in backticks that begin at the top of the repository, such as `harness/stats/contrasts.py`."""
    text = (ROOT / document).read_text("utf-8")
    for path in re.findall(r"`((?:harness|methods|benchmarks|results|tests|docs)/[\w/.]*)`", text):
        # the method that the README adds as an example
        assert (ROOT / path).exists() or path == "methods/norms.py", path


def test_the_guide_to_the_engine_names_files_that_exist_and_walks_of_twelve_files_at_most() -> None:
    text = (ROOT / "harness" / "README.md").read_text("utf-8")
    rooms = [path.name for path in (ROOT / "harness").iterdir() if path.is_dir()]
    for path in re.findall(rf"`((?:{'|'.join(rooms)})/[\w/.]*)`", text):
        assert (ROOT / "harness" / path).exists(), path
    walks = text[text.index("## Three walks") :].split("\n### ")[1:]
    for walk in walks:
        steps = re.findall(r"^\| `([\w/.]+)` \| (.*) \|$", walk, flags=re.M)
        assert 0 < len({file for file, _ in steps}) <= 12, walk.split("\n")[0]
        for file, step in steps:
            source = (ROOT / file).read_text("utf-8")
            assert all(name in source for name in re.findall(r"`(\w+)`", step)), f"{file}: {step}"
    assert len(walks) == 3


def test_the_experiments_of_the_guides_are_read_as_they_are(tmp_path: Path) -> None:
    found = []
    for at, text in enumerate(text for document in GUIDES for text in blocks(document, "yaml")):
        file = tmp_path / f"{at}.yaml"
        file.write_text(text)
        found.append(load_experiment(file))
    labels = [[entry.label for entry in experiment.methods] for experiment in found]
    assert labels == [
        ["base", "sft", "lora", "proxy"],
        ["base", "prompting", "sft", "lora", "lora_thin", "proxy"],
        ["base", "sft"],
        ["base", "sft", "lora"],
        ["base", "sft", "lora", "loreft"],
        ["base", "sft"],
    ]
    assert len(blocks("README.md", "yaml")[0].splitlines()) == 14
    # the third names nothing but what ships with the project
    assert len(make_plan(found[2], tmp_path / "store").cells) == 2 * 4 * 2 * 2


def test_the_tree_of_the_readme_names_every_room_and_no_file_that_is_missing() -> None:
    (tree,) = blocks("README.md", "")
    named, top = set(), ""
    for line in tree.rstrip().split("\n"):
        name, words = line.split(maxsplit=1)
        top = "" if not line.startswith(" ") else top
        folder = ROOT / top / name
        assert folder.is_dir(), folder
        named.add(f"{top}{name}")
        for file in re.findall(r"[\w/]+\.(?:py|yaml|md)\b", words):
            assert (folder / file).exists(), f"{folder}: {file}"
        for inner in re.findall(r"\b(\w+)/(?=\W|$)", words):
            assert (folder / inner).is_dir(), f"{folder}: {inner}/"
        top = name if not line.startswith(" ") else top
    rooms = {f"harness/{path.name}/" for path in (ROOT / "harness").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= named, rooms - named


@pytest.mark.parametrize(
    ("sought", "place"),
    [
        ("sampling noise", "harness/policy/noise.py"),
        ("label mask", "harness/training/labelled_rows.py"),
        ("Holm", "harness/stats/families.py"),
        ("content key", "harness/engine/store/keys.py"),
        ("first screen", "harness/report/verdict.py"),
        ("contamination rule", "harness/curation/contamination.py"),
        ("function-call matching", "harness/scoring/calls/failures.py"),
        ("three models' logits", "methods/proxy_tuning.py"),
        ("cost ledger", "harness/engine/cost.py"),
        ("lm-eval bridge", "harness/scoring/lm_eval/bridge.py"),
    ],
)
def test_the_tree_alone_says_where_a_newcomer_finds_it(sought: str, place: str) -> None:
    (tree,) = blocks("README.md", "")
    line = next(line for line in tree.splitlines() if sought in line)
    room = "/".join(place.split("/")[:2]) if place.startswith("harness") else place.split("/")[0]
    assert line.split()[0].rstrip("/") == room.split("/")[-1]
    assert place.removeprefix(f"{room}/") in line
    assert (ROOT / place).exists()


def tables() -> ModuleType:
    """docs/tables.py."""
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_readme_are_those_of_the_docstrings() -> None:
    assert tables().with_tables(README) == README, "run `make tables`"


@pytest.mark.parametrize("kind", ["methods", "benchmarks"])
def test_every_plugin_is_in_a_table_with_a_whole_sentence_and_explains_each_field(kind: str) -> None:
    for path in (ROOT / kind).glob("[!_]*.py"):
        assert f"| `{path.stem}`: " in README
        assert registry.summary(kind, path.stem).endswith((".", "?")), path.stem  # type: ignore[arg-type]
        for item in dataclasses.fields(registry.plugin_class(kind, path.stem)):  # type: ignore[arg-type]
            assert item.metadata.get("help"), f"{path.stem}.{item.name}"


@pytest.mark.parametrize("document", ["README.md", "docs/reading.md"])
def test_a_quoted_line_of_a_report_is_in_the_committed_report(document: str) -> None:
    report = (ROOT / "results" / "methods" / "report.md").read_text("utf-8")
    (quoted,) = blocks(document, "text")
    for part in quoted.strip().split("; "):
        assert part in report, part


def test_the_sections_of_a_report_are_those_that_the_guide_to_it_explains() -> None:
    guide = (ROOT / "docs" / "reading.md").read_text("utf-8")
    bold = re.findall(r"\*\*([^*]+)\*\*", guide[guide.index("## The sections") :])
    named = {" ".join(name.split()) for name in bold}
    source = (ROOT / "harness" / "report" / "compose.py").read_text("utf-8")
    titles = {title.split(" {")[0] for title in re.findall(r"Section\(f?\"([^\"]+)\"", source)}
    assert titles <= named, titles - named
    assert not [name for name in named if name not in source]


def test_the_method_of_the_readme_is_a_method_of_at_most_30_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source,) = blocks("README.md", "python")
    assert len(source.splitlines()) <= 30
    (tmp_path / "norms.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert issubclass(importlib.import_module("norms").Norms, Method)
    sys.modules.pop("norms")


@pytest.mark.slow
def test_the_method_of_the_readme_keeps_every_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = blocks("README.md", "python")
    (tmp_path / "norms.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("norms")
    bench = Bench(quick(module.Norms()), tmp_path / "bench")
    verdicts = {clause.__name__: try_clause(clause, bench, tmp_path / "norms.py") for clause in CLAUSES}
    sys.modules.pop("norms")
    assert not [f"{name}: {verdict}" for name, verdict in verdicts.items() if verdict.state == "failed"]


def test_the_worked_example_of_the_statistics_is_computed_alike() -> None:
    """Section 5 of docs/statistics.md: totals, mean squares, both halves, the reported interval."""
    text = (ROOT / "docs" / "statistics.md").read_text("utf-8")
    section = text[text.index("\n## 5.") : text.index("\n## 6.")]
    totals = re.findall(r"^([ABK])   (.*)$", section, flags=re.M)
    parts = {
        name: Scores(_array(line), _array("1 2 1 2 1 2")[0])
        for name, line in totals
    }  # fmt: skip
    a, b, k = (parts[name] for name in "ABK")
    rows = {row[0]: [float(cell) for cell in row[1:]] for row in _cells(section) if row[0] in ("mean", "M", "E")}
    for at, scores in enumerate((a, b, k)):
        between, rest = scores.seed_mean_squares
        told = [rows[name][at] for name in ("mean", "M", "E")]
        assert told == [round(value, 4) for value in (scores.mean, between, rest)]
    pool = seed_pool([a, b, k])
    found = difference(a, b, pool, Scale(binary=False))
    assert found.components is not None
    halves = {row[0]: [float(c.replace("± ", "")) for c in row[1:]] for row in _cells(section) if row[0] in HALVES}
    for half, spread in zip(HALVES, found.spreads, strict=True):
        assert halves[half][:2] == [round(spread.seeds, 4), round(spread.error, 4)]
        assert halves[half][2] == float(f"{spread.degrees:.4g}")
    assert f"`d = {found.value:.4f}`, `MS_I = {found.spreads[0].items:.4f}`" in section
    assert f"`E = {found.spreads[0].interaction:.4f}`, `r = {pool.ratio:.3f}`" in section  # type: ignore[union-attr]
    assert f"`{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]`, `p = {found.p:.4f}`" in section
    shares = found.components.shares(6, 3)
    assert "items {:.1f} %, seeds {:.1f} %, both {:.1f} %".format(*(100 * share for share in shares)) in section
    effect = minimum_detectable_effect(found.components, 6, 3, found.stochastic)
    assert f"single test: {effect:.4f}" in section


HALVES = ("own", "pooled")


def _array(line: str):  # type: ignore[no-untyped-def]
    import numpy

    return numpy.array([float(number) for number in line.split()]).reshape(-1, 6)


def _cells(section: str) -> list[list[str]]:
    """The rows of the section's tables."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_statistics_quote_the_committed_calibration() -> None:
    """Section 17 has the table of results/calibration."""
    table = (ROOT / "results" / "calibration" / "README.md").read_text("utf-8")
    quoted = (ROOT / "docs" / "statistics.md").read_text("utf-8")
    for line in re.findall(r"^\| (?:coverage|any|all) .*$", table, flags=re.M):
        assert line in quoted


@pytest.mark.parametrize("room", ["data", "microworld"])
def test_the_guide_to_a_room_names_every_file_of_it(room: str) -> None:
    guide = (ROOT / "harness" / room / "README.md").read_text("utf-8")
    files = {path.name for path in (ROOT / "harness" / room).glob("[!_]*.py")}
    assert files - set(re.findall(r"`(\w+\.py)`", guide)) == set()


def test_licence_citation_and_hooks_agree_with_the_project() -> None:
    import hashlib
    import tomllib

    import yaml

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    # the text at apache.org/licenses/LICENSE-2.0.txt
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), flags=re.M)
    assert lint is not None
    run_by_make = {line.split("$(BIN)/")[1].split()[0] for line in lint[1].splitlines()}
    assert run_by_make == {hook["entry"].split("/bin/")[1].split()[0] for hook in local["hooks"]}


def test_the_answer_that_the_readme_quotes_is_that_of_the_committed_report() -> None:
    quoted = " ".join(line.removeprefix("> ") for line in README.splitlines() if line.startswith("> "))
    report = (ROOT / "results" / "microworld" / "report.md").read_text("utf-8")
    assert quoted.split(" ([results/")[0] == sentence_in(report)


def test_the_experiment_of_mixtures_plans_a_cell_for_each_mixture_and_skill(tmp_path: Path) -> None:
    (text,) = [one for one in blocks("docs/data.md", "yaml") if "mix_20" in one]
    for name in ("mix_5", "mix_20", "mix_40"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "completion": "fine"}) + "\n")
    (tmp_path / "mixture.yaml").write_text(text)
    plan = make_plan(load_experiment(tmp_path / "mixture.yaml"), tmp_path / "store")
    of_sft = [cell for cell in plan.cells if cell.entry.label == "sft"]
    assert len({(cell.data, cell.column.label) for cell in of_sft}) == 3 * 3
