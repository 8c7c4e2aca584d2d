"""The cost of keeping results in blocks: at most 3 % on the microworld, where a batch takes well under a second.

    pytest -m slow -s tests/performance/test_block_overhead.py

The seconds spent in telling and keeping, as a share of the whole: with a block every 10 s, as in a run, and with one
after every batch. They are measured within one run: two runs on a busy machine differ by more than 3 %.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.console import Console

from benchmarks.knowledge import Knowledge
from benchmarks.knowledge_answers import KnowledgeAnswers
from harness.engine.progress import Progress
from harness.engine.store.kept import EVERY, Blocks
from harness.engine.store.store import Store
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.finished import PolicyRequest, Result, watched_by
from harness.policy.sources import locate

Found = TypeVar("Found")


class Timed(Blocks):
    """Adds up the seconds that it takes."""

    spent = 0.0

    def _timed(self, do: Callable[[], Found]) -> Found:
        start = time.perf_counter()
        found = do()
        self.spent += time.perf_counter() - start
        return found

    def begin(self, asked: PolicyRequest) -> Mapping[int, Any]:
        return self._timed(lambda: Blocks.begin(self, asked))

    def reached(self, rows: int) -> None:
        self._timed(lambda: Blocks.reached(self, rows))

    def finished(self, results: Sequence[Result]) -> None:
        self._timed(lambda: Blocks.finished(self, results))


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", [KnowledgeAnswers(), Knowledge()], ids=["sampling", "scoring"])
def test_keeping_results_costs_at_most_3_percent(benchmark: KnowledgeAnswers | Knowledge, tmp_path: Path) -> None:
    spec = BaseSpec("microworld/large")
    policy = BaseModel(spec, locate(spec)).policy()
    progress = Progress(Console(file=(tmp_path / "log").open("w")))
    shares = []
    for every in (EVERY, 0.0):
        blocks = Timed(Store(tmp_path), f"cell-{every:g}", progress.answering("cell"), every=every)
        start = time.perf_counter()
        with watched_by(blocks):
            items = len(list(benchmark.evaluate(policy, 0)))
        whole = time.perf_counter() - start
        shares.append(blocks.spent / whole)
        files = len(list(blocks.folder.glob("*.json")))
        print(f"\n{items} items in {whole:.2f} s, {files} blocks: {blocks.spent:.3f} s for them, {shares[-1]:.2%}")
    assert shares[0] <= 0.03
