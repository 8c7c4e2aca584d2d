"""What every method promises, checked for each of them on a tiny random model. A new file is checked unasked."""

from __future__ import annotations

import importlib.util

import pytest

from harness.engine import registry
from harness.engine.contract.bench import Bench, NotApplicable, quick
from harness.engine.contract.clauses import CLAUSES, Clause

# each of these trains for the better part of a minute; a method that is not named here is checked by `make test`
LONG = ("best_of_n", "distill", "grpo", "peft", "pyreft", "rft", "sdft", "selective_refinement", "sft_on_chosen")
METHODS = [
    pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in registry.plugin_names("methods")
]


@pytest.fixture(scope="module", params=METHODS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    method = registry.plugin_class("methods", request.param)
    if missing := [name for name in method.libraries if importlib.util.find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return Bench(quick(method()), tmp_path_factory.mktemp(request.param))


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_method_keeps_its_promise(bench: Bench, clause: Clause) -> None:
    try:
        clause(bench)
    except NotApplicable as why:
        pytest.skip(str(why))
