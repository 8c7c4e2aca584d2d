"""The library that scores and samples the policy of a cell: our own code, on `transformers`, or the base's backend.

A backend loads weights, so it serves the policies that are weights alone, as their methods declare, and benchmarks that
only score and sample. All other cells use this project's own code; `plan` says which do, and why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.store.keys import library_versions
from harness.method import Method, PlainWeights
from harness.policy.gguf_file import is_gguf

if TYPE_CHECKING:
    from harness.benchmark import Benchmark
    from harness.policy.base_model import BaseModel
    from harness.policy.policy import Policy

OWN = "transformers"


@dataclass(frozen=True)
class Backend:
    """The library that scores and samples the policy of a cell.

    name     the library; "" for this project's own code where the base names no other
    weights  what the library loads
    why      the reason why this project's own code is used where the base names a library
    """

    name: str = ""
    weights: PlainWeights | None = None
    why: str = ""

    @cached_property
    def document(self) -> dict[str, Any]:
        """Its part of the content key of outcomes: nothing for this project's own code."""
        return {"backend": {self.name: library_versions((self.name,))[self.name]}} if self.name else {}

    @property
    def title(self) -> str:
        """For the plan: nothing where the base names no library."""
        return self.name or (OWN if self.why else "")


def backend_of(method: Method, base: BaseModel, benchmark: Benchmark) -> Backend:
    """The base's backend where it can serve the policy and the benchmark, otherwise this project's own code."""
    asked = base.spec.backend
    if not asked:
        return Backend()
    if is_gguf(base.folder):
        return Backend(why="the base is a GGUF file")
    if benchmark.reads_logits:
        return Backend(why="the benchmark reads logits or asks the base too")
    weights = method.plain_weights(base.spec.dtype)
    return Backend(why=weights) if isinstance(weights, str) else Backend(asked, weights)


def require_libraries(backends: Iterable[Backend]) -> None:
    """Raise UserError where one of these backends is not installed."""
    from harness.policy.vllm_policy import require_vllm

    if any(backend.name for backend in backends):
        require_vllm()


def served(backend: Backend, base: BaseModel, artifact: Path) -> Policy:
    """The policy of an artifact, loaded by its backend."""
    from harness.policy.vllm_policy import VllmPolicy

    weights = backend.weights
    assert weights is not None
    if weights.kind == "adapter":
        return VllmPolicy(base, base.folder, artifact, weights.rank)
    return VllmPolicy(base, artifact if weights.kind == "artifact" else base.folder)


def backend_lines(cells: Iterable[tuple[str, Backend]]) -> Iterator[str]:
    """For the plan: the cells, by method, that each library scores, and why this project's own code scores some."""
    counted = Counter((backend.title, label, backend.why) for label, backend in cells)
    for name in sorted({title for title, _, _ in counted if title}):
        own = sorted((label, why, count) for (title, label, why), count in counted.items() if title == name)
        said = [f"{label} ({count}{f': {why}' if why else ''})" for label, why, count in own]
        yield f"scored by {name}: {', '.join(said)}"
