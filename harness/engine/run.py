"""Fill the matrix: fit what is missing, load once, score, compare. A failed cell never stops the others."""

from __future__ import annotations

import gc
import os
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from harness.data.load import set_of, training_data
from harness.engine import cost
from harness.engine.backends import Backend, require_libraries, served
from harness.engine.joint_cells import JointCell, joint_cells
from harness.engine.limits import failure_reason, time_limit
from harness.engine.plan import Cell, Node, Plan
from harness.engine.progress import Progress, seconds_between
from harness.engine.store.kept import EVERY, Blocks, blocks_of
from harness.engine.store.outcomes import answered, write_joint_outcomes, write_outcomes
from harness.engine.store.store import Area, Store, StoreBroken, StoreUnusable
from harness.engine.together import fit_together, require_gpus
from harness.engine.tracking import tracked
from harness.errors import UserError
from harness.lazy import torch, transformers
from harness.method import NO_SIGNAL, UNCHANGED, FitContext, FitReport, Input, plugin_name, processes_of
from harness.policy.batching import free_memory, out_of_memory
from harness.policy.policy import Policy
from harness.policy.sources import require_device
from harness.policy.stepwise import StepwisePolicy

OURS = Backend()


@dataclass
class Tally:
    """Summary of a run: how much was made now, how many cells were found done, and what failed and why."""

    fitted: int = 0
    evaluated: int = 0
    found: int = 0
    compared: int = 0
    failed: list[tuple[Cell | JointCell, str]] = field(default_factory=list)

    def then(self, later: Tally) -> Tally:
        """The sum of two runs; cells found and failures are the later one's."""
        sums = (self.fitted + later.fitted, self.evaluated + later.evaluated)
        return Tally(*sums, later.found, self.compared + later.compared, later.failed)


def run_plan(
    plan: Plan,
    store: Store,
    progress: Progress,
    *,
    retry_failed: bool = False,
    order: Sequence[str] = (),
    turn: int = 0,
) -> Tally:
    """Do everything that is not done. Raises UserError only where no further cell could be kept.

    order  the keys of the artifacts that are done first, in that order
    turn   of several processes that go through one plan: which artifact this one begins with
    """
    store.tell = progress.say
    prepare(plan, store)
    tally = _Runner(plan, store, progress, retry_failed).run(order, turn)
    store.settle()
    return tally


def portion_runner(plan: Plan, store: Store, progress: Progress) -> Callable[[str, bool], None]:
    """Prepare this process; returns a function of the key of an artifact, and of whether it helps another process.

    It fits the artifact, if that is not done, and scores those of its cells that are not done. A process that helps
    begins with the last cell, and leaves those that others have in hand.
    """
    store.tell = progress.say
    prepare(plan, store)
    runner = _Runner(plan, store, progress, False)

    return lambda key, helps: runner.do(plan.by_node.get(key, []), helps)


def forgive(plan: Plan, store: Store) -> None:
    """Forget the failures of a plan's cells, artifacts and comparisons, so that each is tried again once."""
    for cell in plan.cells:
        for key in (cell.key, cell.node.key, *cell.node.beneath):
            store.forgive(key)
    for joint in joint_cells(plan, store) if plan.compares else ():
        if joint.groups:
            store.forgive(joint.key)


def fit_artifact(plan: Plan, store: Store, node: Node, progress: Progress) -> int:
    """Make one artifact, and those that it is built on, without scoring a cell; how many were fitted.

    A failure is recorded in the store. Raises UserError as `run_plan` does.
    """
    prepare(plan, store)
    runner = _Runner(plan, store, progress, False)
    runner.ensure(node)
    return runner.tally.fitted


def compare_policies(plan: Plan, store: Store, progress: Progress) -> Tally:
    """Compare the policies of cells that other machines have scored: no model is loaded, and no GPU needed."""
    _prepare_libraries(plan)
    return _Runner(plan, store, progress, False).compare_all()


def fit_as_one_of_several(plan: Plan, store: Store, node: Node, out: Path, context: FitContext) -> FitReport:
    """The part that this process has in a fit by several."""
    _prepare_process(plan)
    return _Runner(plan, store, Progress(Console(quiet=True)), False).fit_here(node, out, context)


def prepare(plan: Plan, store: Store) -> None:
    """Prepare this process, and remove leftovers of killed runs."""
    for leftover in (store.root / "temporary").glob("*.*"):
        if store.holder(leftover.name.split(".")[0]) is None:
            shutil.rmtree(leftover, ignore_errors=True)
    for key, folder in blocks_of(store):
        if store.done("outcomes", key):
            shutil.rmtree(folder, ignore_errors=True)
    _prepare_process(plan)
    missing = [cell for cell in plan.cells if not cell.why and not store.done("outcomes", cell.key)]
    require_libraries(cell.backend for cell in missing)
    require_gpus(one for cell in missing for one in (cell.node, *cell.node.beneath.values()))


def _prepare_process(plan: Plan) -> None:
    """Prepare the libraries and the device of this process."""
    _prepare_libraries(plan)
    on_gpu = [base for base in plan.bases if base.spec.device.startswith("cuda")]
    for base in on_gpu:
        require_device(base.spec.name, base.spec.device)
    if on_gpu:
        # not on CPU, where equal threads give equal bytes anyway: the call imports a compiler
        torch.use_deterministic_algorithms(True, warn_only=True)


def _prepare_libraries(plan: Plan) -> None:
    """Fix the number of threads (it changes bytes), and turn off telemetry."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(plan.experiment.threads)
    # one progress bar per loaded model would hide the run's own lines
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    # the libraries' objects stay: `free_memory` need not search them after every artifact
    gc.freeze()


class _Runner:
    def __init__(self, plan: Plan, store: Store, progress: Progress, retry_failed: bool) -> None:
        self.plan, self.store, self.progress, self.retry_failed = plan, store, progress, retry_failed
        self.tally, self.missing, self.forgiven = Tally(), set[str](), set[str]()
        self.block_seconds = seconds_between("BAKEOFF_BLOCK_SECONDS", EVERY)
        self.spoiled = False  # whether something shared was changed, and a loaded policy may hold it
        self.helps = False  # whether another process has the same portion

    def run(self, order: Sequence[str], turn: int) -> Tally:
        cells = [cell for cell in self.plan.cells if not cell.why]
        self.missing = {cell.key for cell in cells if not self.store.done("outcomes", cell.key)}
        self.tally.found = sum(cell.key not in self.missing for cell in cells)
        self.progress.start(len(cells), self.tally.found)
        place = {key: at for at, key in enumerate(order)}
        waiting = sorted(self.plan.groups(), key=lambda group: place.get(group[0].key, len(place)))
        if waiting:
            waiting.insert(0, waiting.pop(turn % len(waiting)))
        while waiting:
            # what another process is working on comes last, so that the two share the work
            at = next((at for at, (node, group) in enumerate(waiting) if not self._busy(node, group)), 0)
            self._group(*waiting.pop(at))
        return self.compare_all()

    def compare_all(self) -> Tally:
        """Compare policies, where the plan does; what was done so far."""
        for joint in joint_cells(self.plan, self.store) if self.plan.compares else ():
            self._compare(joint)
        return self.tally

    def do(self, group: list[Cell], helps: bool) -> None:
        """One portion: the cells of one artifact."""
        self.helps = helps
        self.missing = {cell.key for cell in group if not self.store.done("outcomes", cell.key)}
        if group:
            self._group(group[0].node, group[::-1] if helps else group)
        # memory that this process holds while it waits is no other's
        for base in self.plan.bases:
            base.release()

    def _busy(self, node: Node, group: list[Cell]) -> bool:
        """Whether another process is working on the group right now."""
        return self._held_elsewhere(node) or any(self.store.holder(cell.key) for cell in group)

    def _held_elsewhere(self, node: Node) -> bool:
        """Whether another process is making the artifact or one that it is made from."""
        if self.store.done("artifacts", node.key):
            return False
        return bool(self.store.holder(node.key)) or any(map(self._held_elsewhere, node.inputs.values()))

    def _group(self, node: Node, group: list[Cell]) -> None:
        """Fit (or find) one artifact and score its missing cells. Cells of several seeds may share one outcome."""
        todo = []
        for cell in group:
            if not cell.why and cell.key in self.missing:
                if self.store.done("outcomes", cell.key):  # by another process since the start
                    self.progress.finished(cell.title, cell.identity)
                else:
                    todo.append(cell)
        for name in dict.fromkeys(cell.backend.name for cell in todo):
            left = [cell for cell in todo if cell.backend.name == name]
            while left:
                left = self._load_and_score(node, left)

    def _load_and_score(self, node: Node, todo: list[Cell]) -> list[Cell]:
        """Score the cells; those that are left need the policy loaded again, since one changed what it shares."""
        why, policy = self.ensure(node), None
        if not why:
            try:
                policy = self._load(node, todo[0].backend)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a plugin may call `exit`
                why = failure_reason(error)
                for cell in todo:
                    self.store.fail(cell.key, why, traceback.format_exc())
        if policy is None:
            for cell in todo:
                self._failed(cell, why)
            return []
        left = self._score_all(node, todo, policy)
        del policy  # before memory is freed
        free_memory()
        return left

    def _score_all(self, node: Node, cells: list[Cell], policy: Policy) -> list[Cell]:
        # measured at most once, however many cells score the policy
        served = bool(cells[0].backend.name)
        known: dict[str, float | None] = {}

        def speed(scoring: float) -> dict[str, float | None]:
            if not known:
                known.update(cost.UNKNOWN_SPEED if served else cost.decoding_cost(policy, node.base.policy(), scoring))
            return known

        self.spoiled, left = False, list(cells)
        while left and not self.spoiled:
            at = next((at for at, cell in enumerate(left) if not self.store.holder(cell.key)), None)
            if at is None and self.helps:
                return []
            cell = left.pop(at or 0)
            if why := self._once("outcomes", cell, partial(self._score, cell, policy, speed)):
                self._failed(cell, why)
            else:
                self.progress.finished(cell.title, cell.identity)
        return left

    def _once(self, area: Area, what: Node | Cell | JointCell, make: Callable[[], None]) -> str:
        """Make it, unless it is done or has failed, holding its lock; why it failed, or "". Failures are recorded."""
        try:
            return self._made(area, what, make)
        except StoreBroken as error:  # says nothing about the cell: the next run tries it again
            return failure_reason(error)

    def _made(self, area: Area, what: Node | Cell | JointCell, make: Callable[[], None]) -> str:
        key = what.key
        if self.store.intact(area, key):
            return ""
        if self.retry_failed and key not in self.forgiven:
            self.forgiven.add(key)
            self.store.forgive(key)
        if why := self.store.failure(key):
            return why
        with self.store.lock(key, lambda process: self.progress.waiting(what.title, process)):
            # the process that held the lock may have tried it
            if why := self.store.failure(key):
                return why
            if self.store.intact(area, key):
                return ""
            if damage := self.store.damage(area, key):
                self.progress.say(f"damaged {what.title}: {damage}; it is made again")
            self.progress.making(key)
            try:
                make()
            except (StoreUnusable, StoreBroken, KeyboardInterrupt):
                raise
            except BaseException as error:  # a plugin may call `exit`
                why = failure_reason(error)
                self.store.fail(key, why, traceback.format_exc())
                return why
        return ""

    # ---- fitting

    def ensure(self, node: Node) -> str:
        """Make the artifact and those that it is made from; why that failed, or ""."""
        for role, needed in node.inputs.items():
            if why := self.ensure(needed):
                return f"its {role} failed: {why}"
        return self._once("artifacts", node, partial(self._fit, node))

    def _fit(self, node: Node) -> None:
        """Fit with the planned micro-batch, halved for as long as memory runs out."""
        for base in self.plan.bases:
            base.release()
        micro_batch = self.plan.experiment.micro_batch
        while True:
            try:
                with self.store.writing("artifacts", node.key, node.document) as (out, ledger):
                    context = FitContext(node.seed, micro_batch, self.progress.fitting(node.title))
                    measured = cost.Stopwatch(), cost.PeakMemory(node.base.spec.device)
                    with self._sharing(plugin_name(node.method)), measured[0] as watch, measured[1] as memory:
                        report, mb = self._fitted(node, out, context)
                    notes = {**context.notes, **report.notes}
                    ledger.update({**vars(report), "notes": notes})
                    for name in (one for one in (UNCHANGED, NO_SIGNAL) if one in notes):
                        self.progress.say(f"{node.title}: {notes[name]}")
                    ledger.update(fit_seconds=watch.seconds, peak_memory_mb=mb or memory.mb)
                    ledger.update(micro_batch=micro_batch, stored_bytes=cost.stored_bytes(out))
                self.tally.fitted += 1
                return
            except Exception as error:
                if micro_batch == 1 or not out_of_memory(error):
                    raise
            # not in the except block, where the traceback still holds what the failed attempt had allocated
            micro_batch //= 2
            self.progress.say(f"{node.title}: out of memory, trying again with {micro_batch} rows at once")
            free_memory()

    def _fitted(self, node: Node, out: Path, context: FitContext) -> tuple[FitReport, float]:
        """The report of the fit, and the peak memory in MB of its processes, if there were several."""
        if (count := processes_of(node.method)) > 1:
            return fit_together(self.plan.experiment, self.store.root, node, out, replace(context, processes=count))
        return self.fit_here(node, out, context), 0.0

    def fit_here(self, node: Node, out: Path, context: FitContext) -> FitReport:
        """Fit in this process, which may be one of several."""
        kinds = sorted(node.method.needs & self.plan.experiment.data.keys())
        sets = [set_of(self.plan.sets, kind, node.data.quality) for kind in kinds]
        data = training_data(sets, node.data.size, node.seed)
        with tracked(self.plan, node, self.store.root, self.progress.say):
            report = node.method.fit(node.base, data, self._inputs(node), out, context)
        if not isinstance(report, FitReport):
            raise TypeError(f"`fit` gave a {type(report).__name__} in place of a FitReport")
        return report

    def _inputs(self, node: Node) -> Mapping[str, Input]:
        return {
            role: Input(self.store.folder("artifacts", needed.key), needed.base, partial(self._load, needed))
            for role, needed in node.inputs.items()
        }

    def _load(self, node: Node, backend: Backend = OURS) -> Policy:
        folder = self.store.folder("artifacts", node.key)
        if backend.name:  # it takes most of the memory
            for base in self.plan.bases:
                base.release()
        with self._sharing(plugin_name(node.method)):
            if backend.name:
                policy = served(backend, node.base, folder)
            else:
                policy = node.method.load(node.base, folder, self._inputs(node))
        policy.digest, policy.base = node.key, node.base.policy
        return policy

    @contextmanager
    def _sharing(self, who: str) -> Iterator[None]:
        """The block must leave what the bases share as it was, whether or not it succeeds, within the time limit."""
        try:
            with time_limit(self.plan.experiment.time_limit):
                yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._require_unchanged(who)
            raise
        self._require_unchanged(who)

    def _require_unchanged(self, who: str) -> None:
        """Raise UserError where a base's shared tokenizer, encoder or model was changed; later cells get new ones."""
        changed = [(base.spec.label, name) for base in self.plan.bases for name in base.make_unchanged()]
        if changed:
            self.spoiled = True
            base, name = changed[0]
            what = f"{who} changed the {name} of {base}, which all cells share"
            raise UserError(what, fix=f"Change a copy of it: copy.deepcopy(base.{name}).")

    # ---- evaluation

    def _score(self, cell: Cell, policy: Policy, speed: Callable[[float], dict[str, float | None]]) -> None:
        with self.store.writing("outcomes", cell.key, cell.document) as (out, ledger):
            decoder = policy.decoded_by()[0] if isinstance(policy, Policy) else None
            rows = decoder.max_rows if isinstance(decoder, StepwisePolicy) else 0
            benchmark = cell.column.benchmark.within(*cell.part) if cell.part else cell.column.benchmark
            measured = cost.Stopwatch(), cost.PeakMemory(cell.node.base.spec.device)
            each = self.progress.evaluating(cell.title)
            blocks = Blocks(self.store, cell.key, self.progress.answering(cell.title), every=self.block_seconds)
            with self._sharing(cell.title), measured[0] as watch, measured[1] as memory, blocks.following():
                items = benchmark.evaluate(policy, cell.seed)
                declared = () if benchmark.open_metrics else [metric.name for metric in benchmark.metrics()]
                file, sparse = out / "outcomes.jsonl", benchmark.sparse
                ledger["items"] = write_outcomes(
                    file, items, each, declared, sparse=sparse, may_be_empty=cell.part is not None
                )
            if isinstance(decoder, StepwisePolicy) and decoder.max_rows < rows:
                self.progress.say(f"{cell.title}: out of memory, went on with {decoder.max_rows} rows at once")
            if blocks.found:
                self.progress.say(f"{cell.title}: {blocks.found:,} results of a run that was stopped were kept")
            ledger.update(seconds=watch.seconds + blocks.seconds, peak_memory_mb=memory.mb, **speed(watch.seconds))
            # the results need the cost of the fits even when the artifacts have been deleted
            keys = (cell.node.key, *cell.node.beneath)
            ledger["fits"] = {key: self.store.cost("artifacts", key) for key in keys}
        blocks.remove()
        self.tally.evaluated += 1

    def _compare(self, joint: JointCell) -> None:
        """Compare the policies of a joint cell that is not done."""
        if not joint.groups or self.store.done("joint", joint.key):
            return
        if why := self._once("joint", joint, partial(self._score_joint, joint)):
            self.tally.failed.append((joint, why))
            self.progress.say(f"failed  {joint.title}: {why}")
        else:
            self.progress.say(f"done    {joint.title}")

    def _score_joint(self, joint: JointCell) -> None:
        files = {key: self.store.folder("outcomes", key) / "outcomes.jsonl" for key in joint.document["outcomes"]}
        with self.store.writing("joint", joint.key, joint.document) as (out, ledger):
            with time_limit(self.plan.experiment.time_limit), cost.Stopwatch() as watch:
                sets = [tuple(names) for names in joint.document["sets"]]
                compared = joint.column.benchmark.compare(
                    {key: partial(answered, file) for key, file in files.items()}, sets
                )
                each = self.progress.evaluating(joint.title)
                declared = [metric.name for metric in joint.column.benchmark.joint_metrics()]
                ledger["items"] = write_joint_outcomes(out / "joint.jsonl", compared, each, declared, sets)
            ledger["seconds"] = watch.seconds
        self.tally.compared += 1

    def _failed(self, cell: Cell, why: str) -> None:
        self.tally.failed.append((cell, why))
        self.progress.failed(cell.title, why, cell.identity)
