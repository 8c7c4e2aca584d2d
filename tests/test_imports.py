"""Who may import whom, and what must not be loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# fmt: off
MAY_IMPORT = {
    "methods": {"method", "policy", "causal_policy", "hidden_states", "encoding", "training", "base_model", "data",
                "trainers", "trained_model", "adapters", "checkpoints", "copies", "residual_dropout", "reward_model",
                "errors", "lazy"},
    "benchmarks": {"benchmark", "method", "policy", "data", "microworld", "diversity", "divergence", "constraints",
                   "functions", "symbolic", "sandbox", "conversations", "judging", "reward_model", "lm_eval_bridge",
                   "lm_eval_documents", "lm_eval_instructions", "errors", "lazy"},
}
# fmt: on
HEAVY = ("torch", "transformers", "trl", "peft", "lm_eval", "datasets", "pandas", "scipy", "pyarrow")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("kind", ["methods", "benchmarks"])
def test_plugins_import_only_what_their_guide_names(kind: str) -> None:
    other = "benchmarks" if kind == "methods" else "methods"
    for path in (ROOT / kind).glob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            assert parts[0] != other, f"{path.name} imports {name}"
            assert parts[0] != "lm_eval", f"{path.name} imports {name}"
            if parts[0] == "harness" and len(parts) > 1:
                assert parts[1] in MAY_IMPORT[kind], f"{path.name} imports {name}"


def test_the_engine_names_no_plugin() -> None:
    plugins = {path.stem for kind in MAY_IMPORT for path in (ROOT / kind).glob("*.py") if path.stem != "__init__"}
    # words of the contract itself: the role of a metric, the place of a method, a library; and words of others: a
    # rule of lm-eval's, a category of BFCL's
    plugins -= {"base", "knowledge", "lm_eval", "peft", "perplexity", "multi_turn"}
    for path in (ROOT / "harness").rglob("*.py"):
        if "microworld" in path.parts:
            continue
        assert not any(name.split(".")[0] in MAY_IMPORT for name in imported(path)), path
        words = {n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant)}
        named = plugins & {word for word in words if isinstance(word, str)}
        assert not named, f"{path} names {named}"


def test_only_the_files_of_the_bridge_import_lm_eval() -> None:
    users = [p.name for p in (ROOT / "harness").rglob("*.py") if any(n.split(".")[0] == "lm_eval" for n in imported(p))]
    assert sorted(users) == ["lm_eval_bridge.py", "lm_eval_documents.py", "lm_eval_instructions.py"]


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import harness.cli", HEAVY),
        ("from harness import registry\n[registry.plugin_class(k, n) for k in ('methods', 'benchmarks')"
         " for n in registry.names(k)]", ("torch", "transformers", "trl", "lm_eval")),
        ("import harness.verbs, harness.plan, harness.collect", ("torch", "transformers", "lm_eval", "pandas")),
        ("import harness.statistics, harness.report, harness.report.html", ("torch", "transformers")),
    ],
)  # fmt: skip
def test_heavy_libraries_stay_out_until_a_cell_needs_them(code: str, absent: tuple[str, ...]) -> None:
    check = f"{code}\nimport sys\nprint(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == ""
