"""Fill the matrix: fit what is missing, load once, evaluate, keep, compare. A failed cell never stops the others."""

from __future__ import annotations

import gc
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from harness.data.load import set_of, training_data
from harness.engine import cost
from harness.engine.joint_cells import JointCell, joint_cells
from harness.engine.plan import Cell, Node, Plan
from harness.engine.progress import Progress
from harness.engine.store.outcomes import answered, write_joint_outcomes, write_outcomes
from harness.engine.store.store import Store, StoreUnusable
from harness.errors import UserError, first_line
from harness.lazy import LazyModule
from harness.method import FitContext, FitReport, Input
from harness.policy.stepwise import StepwisePolicy

if TYPE_CHECKING:
    import torch
    import transformers

    from harness.policy.policy import Policy
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")


class FitFailed(Exception):
    """An artifact could not be made; the cells that stand on it say why."""


@dataclass
class Tally:
    """What a run did."""

    fitted: int = 0
    evaluated: int = 0
    found: int = 0
    compared: int = 0
    failed: list[tuple[Cell | JointCell, str]] = field(default_factory=list)

    def then(self, later: Tally) -> Tally:
        """What both did together; the failures are the later one's."""
        return Tally(
            self.fitted + later.fitted,
            self.evaluated + later.evaluated,
            later.found,
            self.compared + later.compared,
            later.failed,
        )


def run_plan(
    plan: Plan, store: Store, progress: Progress, *, retry_failed: bool = False, beginning: float = 0.0
) -> Tally:
    """Do everything that is not done. Raises UserError only where no further cell could be kept.

    beginning  the part of the plan, 0 to 1, after which to begin; what stands before it comes last
    """
    _prepare(plan, store)
    return _Runner(plan, store, progress, retry_failed).run(beginning)


def _prepare(plan: Plan, store: Store) -> None:
    """Fixed threads (their number changes bytes), no telemetry, and no leftovers of killed runs."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for leftover in (store.root / "temporary").glob("*.*"):
        if store.holder(leftover.name.split(".")[0]) is None:
            shutil.rmtree(leftover, ignore_errors=True)
    torch.set_num_threads(plan.experiment.threads)
    # a bar for each load of a model would drown the run's own lines
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    # what libraries tell each other's authors
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # the libraries stay: `_free` need not look through them after every artifact
    gc.freeze()
    on_gpu = [base for base in plan.bases if base.spec.device.startswith("cuda")]
    if on_gpu and torch.cuda.is_available():
        # not on CPU, where the same threads give the same bytes anyway: the call imports a compiler
        torch.use_deterministic_algorithms(True, warn_only=True)
    for base in on_gpu:
        if not torch.cuda.is_available():
            raise UserError(
                f"{base.spec.name} is to run on {base.spec.device}, and torch finds no GPU",
                fix="Install a CUDA build of torch, or set `device: cpu` for the model.",
            )


class _Runner:
    def __init__(self, plan: Plan, store: Store, progress: Progress, retry_failed: bool) -> None:
        self.plan, self.store, self.progress, self.retry_failed = plan, store, progress, retry_failed
        self.tally, self.missing, self.forgiven = Tally(), set[str](), set[str]()

    def run(self, beginning: float) -> Tally:
        cells = [cell for cell in self.plan.cells if not cell.why]
        self.missing = {cell.key for cell in cells if not self.store.done("outcomes", cell.key)}
        self.tally.found = sum(cell.key not in self.missing for cell in cells)
        self.progress.start(len(cells), self.tally.found)
        groups = list(self.plan.groups())
        first = round(beginning * len(groups))
        waiting = groups[first:] + groups[:first]
        while waiting:
            at = next((at for at, (node, group) in enumerate(waiting) if not self._busy(node, group)), 0)
            self._rest_of(*waiting.pop(at))
        for joint in joint_cells(self.plan, self.store):
            self._compare(joint)
        return self.tally

    def _busy(self, node: Node, group: list[Cell]) -> bool:
        """Whether another process works on it right now: then do something else first, so that two share the work."""
        return self._held_elsewhere(node) or any(self.store.holder(cell.key) for cell in group)

    def _held_elsewhere(self, node: Node) -> bool:
        """Whether another process makes the artifact, or one that it stands on."""
        if self.store.done("artifacts", node.key):
            return False
        return bool(self.store.holder(node.key)) or any(map(self._held_elsewhere, node.inputs.values()))

    def _rest_of(self, node: Node, group: list[Cell]) -> None:
        """What is missing of a group by now; what others did since the start is shown."""
        missing = [cell for cell in group if not cell.why and cell.key in self.missing]
        todo = []
        for cell in missing:
            if self.store.done("outcomes", cell.key):
                self.progress.finished(cell.title)
            else:
                todo.append(cell)
        if todo:
            self._group(node, todo)

    def _group(self, node: Node, cells: list[Cell]) -> None:
        """Fit (or find) one artifact and score it. Cells of several seeds may share one outcome."""
        try:
            self._ensure(node)
            policy = self._load(node)
        except StoreUnusable:
            raise
        except FitFailed as error:
            for cell in cells:
                self._failed(cell, str(error))
            return
        except Exception as error:
            why = failure_reason(error)
            for cell in cells:
                self.store.fail(cell.key, why, traceback.format_exc())
                self._failed(cell, why)
            return
        self._evaluate_all(node, cells, policy)
        del policy
        self._free()

    # ---- fitting

    def _ensure(self, node: Node) -> None:
        """Make the artifact and those it stands on. Raises FitFailed with the reason."""
        for role, needed in node.inputs.items():
            try:
                self._ensure(needed)
            except FitFailed as error:
                raise FitFailed(f"its {role} failed: {error}") from error
        if self.store.done("artifacts", node.key):
            return
        if why := self._failure(node.key):
            raise FitFailed(why)
        with self.store.lock(node.key, lambda who: self.progress.waiting(node.title, who)):
            # whoever held the lock may have tried it
            if why := self.store.failure(node.key):
                raise FitFailed(why)
            if not self.store.done("artifacts", node.key):
                self._fit_or_record(node)

    def _failure(self, key: str) -> str | None:
        """Why it failed when it was last tried; asked to retry, that is forgotten once."""
        if self.retry_failed and key not in self.forgiven:
            self.forgiven.add(key)
            self.store.forgive(key)
        return self.store.failure(key)

    def _fit_or_record(self, node: Node) -> None:
        try:
            self._fit(node)
        except StoreUnusable:
            raise
        except Exception as error:
            why = failure_reason(error)
            self.store.fail(node.key, why, traceback.format_exc())
            raise FitFailed(why) from error
        self.tally.fitted += 1

    def _fit(self, node: Node) -> None:
        """Fit with the planned micro-batch, halved for as long as memory runs out."""
        for base in self.plan.bases:
            base.release()
        micro_batch = self.plan.experiment.micro_batch
        kinds = sorted(node.method.needs & self.plan.experiment.data.keys())
        sets = [set_of(self.plan.sets, kind, node.data.quality) for kind in kinds]
        data = training_data(sets, node.data.size, node.seed)
        while True:
            try:
                with self.store.writing("artifacts", node.key, node.document) as (out, ledger):
                    context = FitContext(node.seed, micro_batch, self.progress.fitting(node.title))
                    with cost.Stopwatch() as watch, cost.PeakMemory(node.base.spec.device) as memory:
                        report = node.method.fit(node.base, data, self._inputs(node), out, context)
                    ledger.update(_fit_cost(report, watch.seconds, memory.mb, micro_batch))
                    ledger["stored_bytes"] = cost.stored_bytes(out)
                return
            except (MemoryError, torch.OutOfMemoryError):
                if micro_batch == 1:
                    raise
            # not in the except block, where the traceback still holds what the failed attempt had allocated
            micro_batch //= 2
            self.progress.say(f"{node.title}: out of memory, trying again with {micro_batch} rows at once")
            self._free()

    def _inputs(self, node: Node) -> Mapping[str, Input]:
        return {role: self._input(needed) for role, needed in node.inputs.items()}

    def _input(self, node: Node) -> Input:
        return Input(self.store.folder("artifacts", node.key), node.base, lambda: self._load(node))

    def _load(self, node: Node) -> Policy:
        folder = self.store.folder("artifacts", node.key)
        policy = node.method.load(node.base, folder, self._inputs(node))
        policy.digest, policy.base = node.key, node.base.policy
        return policy

    # ---- evaluation

    def _evaluate_all(self, node: Node, cells: list[Cell], policy: Policy) -> None:
        # measured once, however many cells score the policy
        speed = cache(lambda: cost.decoding_cost(policy, node.base.policy()))
        for cell in cells:
            self._evaluate(cell, policy, speed)

    def _evaluate(self, cell: Cell, policy: Policy, speed: Callable[[], dict[str, float | None]]) -> None:
        if why := self._failure(cell.key):
            return self._failed(cell, why)
        try:
            with self.store.lock(cell.key, lambda who: self.progress.waiting(cell.title, who)):
                if why := self.store.failure(cell.key):
                    return self._failed(cell, why)
                if not self.store.done("outcomes", cell.key):
                    self._score_in_memory(cell, policy, speed)
                    self.tally.evaluated += 1
        except StoreUnusable:
            raise
        except Exception as error:
            self.store.fail(cell.key, failure_reason(error), traceback.format_exc())
            return self._failed(cell, failure_reason(error))
        return self.progress.finished(cell.title)

    def _score_in_memory(self, cell: Cell, policy: Policy, speed: Callable[[], dict[str, float | None]]) -> None:
        """Score with half as many rows at once for as long as memory runs out: texts do not depend on the batch."""
        while True:
            try:
                return self._score(cell, policy, speed)
            except (MemoryError, torch.OutOfMemoryError):
                decoder = policy.decoded_by()[0]
                if not isinstance(decoder, StepwisePolicy) or decoder.max_rows == 1:
                    raise
            decoder.max_rows //= 2
            self.progress.say(f"{cell.title}: out of memory, trying again with {decoder.max_rows} rows at once")
            self._free()

    def _score(self, cell: Cell, policy: Policy, speed: Callable[[], dict[str, float | None]]) -> None:
        with self.store.writing("outcomes", cell.key, cell.document) as (out, ledger):
            with cost.Stopwatch() as watch, cost.PeakMemory(cell.node.base.spec.device) as memory:
                items = cell.column.benchmark.evaluate(policy, cell.seed)
                ledger["items"] = write_outcomes(out / "outcomes.jsonl", items, self.progress.evaluating(cell.title))
            ledger["seconds"] = watch.seconds
            ledger["peak_memory_mb"] = memory.mb
            ledger.update(speed())

    # ---- policies with one another

    def _compare(self, joint: JointCell) -> None:
        """Once everybody has answered. What nobody has answered, or is done, is left alone."""
        if not joint.meetings or self.store.done("joint", joint.key):
            return None
        if self.retry_failed:
            self.store.forgive(joint.key)
        if why := self.store.failure(joint.key):
            self.tally.failed.append((joint, why))
            return self.progress.say(f"failed  {joint.title}: {why}")
        try:
            with self.store.lock(joint.key, lambda who: self.progress.waiting(joint.title, who)):
                if not self.store.done("joint", joint.key):
                    self._meet(joint)
                    self.tally.compared += 1
        except StoreUnusable:
            raise
        except Exception as error:
            self.store.fail(joint.key, failure_reason(error), traceback.format_exc())
            self.tally.failed.append((joint, failure_reason(error)))
            return self.progress.say(f"failed  {joint.title}: {failure_reason(error)}")
        return self.progress.say(f"done    {joint.title}")

    def _meet(self, joint: JointCell) -> None:
        files = {key: self.store.folder("outcomes", key) / "outcomes.jsonl" for key in joint.document["outcomes"]}
        with self.store.writing("joint", joint.key, joint.document) as (out, ledger):
            with cost.Stopwatch() as watch:
                met = joint.column.benchmark.compare(
                    {key: partial(answered, file) for key, file in files.items()},
                    [tuple(names) for names in joint.document["sets"]],
                )
                ledger["items"] = write_joint_outcomes(out / "joint.jsonl", met, self.progress.evaluating(joint.title))
            ledger["seconds"] = watch.seconds

    def _failed(self, cell: Cell, why: str) -> None:
        self.tally.failed.append((cell, why))
        self.progress.failed(cell.title, why)

    def _free(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _fit_cost(report: FitReport, seconds: float, peak_memory_mb: float, micro_batch: int) -> dict[str, Any]:
    return {
        "trained_parameters": report.trained_parameters,
        "training_tokens": report.training_tokens,
        "generated_tokens": report.generated_tokens,
        "notes": dict(report.notes),
        "fit_seconds": seconds,
        "micro_batch": micro_batch,
        "peak_memory_mb": peak_memory_mb,
    }


def failure_reason(error: BaseException) -> str:
    """Why a cell failed, in one line."""
    if isinstance(error, UserError):
        return str(error).replace("\n  ", ". ")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory even with one row at a time"
    return f"{type(error).__name__}: {first_line(error)}"
