"""What every method promises, checked for each of them on a tiny random model. A new file is checked unasked."""

from __future__ import annotations

import importlib.util

import pytest

from harness import registry
from harness.contract.bench import Bench, quick
from harness.contract.clauses import CLAUSES, Clause
from harness.contract.promise import NotApplicable


@pytest.fixture(scope="module", params=registry.names("methods"))
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
