"""No import cycles, no plugin named by the engine, and nothing heavy loaded before it is needed.

Who may import whom is held by import-linter (pyproject.toml, `make lint`).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

KINDS = ("methods", "benchmarks")
HEAVY = ("torch", "transformers", "trl", "peft", "lm_eval", "datasets", "pandas", "scipy", "pyarrow")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_engine_names_no_plugin() -> None:
    plugins = {path.stem for kind in KINDS for path in (ROOT / kind).glob("*.py") if path.stem != "__init__"}
    # words of the contract itself: the role of a metric, the place of a method, a library; and words of others: a
    # rule of lm-eval's, a category of BFCL's, a part of a message of OpenAI's
    plugins -= {"base", "knowledge", "lm_eval", "peft", "perplexity", "multi_turn", "refusal"}
    for path in (ROOT / "harness").rglob("*.py"):
        if "microworld" in path.parts:
            continue
        assert not any(name.split(".")[0] in KINDS for name in imported(path)), path
        words = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
        named = plugins & {word for word in words if isinstance(word, str)}
        assert not named, f"{path} names {named}"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import harness.cli.main", HEAVY),
        ("from harness.engine import registry\n[registry.plugin_class(k, n) for k in ('methods', 'benchmarks')"
         " for n in registry.plugin_names(k)]", ("torch", "transformers", "trl", "lm_eval")),
        ("import harness.cli.verbs, harness.engine.plan, harness.engine.results.write",
         ("torch", "transformers", "lm_eval", "pandas")),
        ("import harness.stats.contrasts, harness.report, harness.report.render.html", ("torch", "transformers")),
    ],
)  # fmt: skip
def test_heavy_libraries_stay_out_until_a_cell_needs_them(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}\nimport sys\nprint(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""


def test_no_module_of_the_harness_imports_itself_by_way_of_others() -> None:
    import grimp
    import networkx

    graph = grimp.build_graph("harness", cache_dir=None)
    edges = [(name, other) for name in graph.modules for other in graph.find_modules_directly_imported_by(name)]
    assert len(edges) > 500
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph(edges))


def test_the_top_of_the_harness_is_ten_rooms_at_most_and_eight_files() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "harness"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    inside = [Path(name).relative_to("harness").parts for name in tracked]
    assert len({parts[0] for parts in inside if len(parts) > 1}) <= 10
    assert len({parts[0] for parts in inside if len(parts) == 1}) <= 8


def test_no_public_name_and_no_file_name_of_the_harness_means_two_things() -> None:
    names: dict[str, list[str]] = {}
    for path in (ROOT / "harness").rglob("*.py"):
        place = str(path.relative_to(ROOT))
        if path.stem != "__init__":
            names.setdefault(path.name, []).append(place)
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                names.setdefault(node.name, []).append(place)
    assert {name: places for name, places in names.items() if len(places) > 1} == {}
