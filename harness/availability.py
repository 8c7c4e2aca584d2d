"""Benchmarks that are off until the user says how to run them: a judge to ask, leave to execute programs.

Such a benchmark has a method `unavailable() -> str`: why its cells are n/a, in words that say how to change that, or
"" where it can run. It stands apart from `Benchmark` because most have no need of it.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Conditional(Protocol):
    """A benchmark that may be off."""

    def unavailable(self) -> str:
        """Why it cannot run with these settings, or nothing."""


def why_unavailable(benchmark: Any) -> str:
    """Why no method can be scored on it; "" where it runs."""
    return benchmark.unavailable() if isinstance(benchmark, Conditional) else ""
