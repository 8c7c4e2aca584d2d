"""The cost of a plan before it runs: memory, tokens, floating-point operations, and seconds where it can.

Rows are tokenised, and a benchmark's prompts are counted by a policy that notes what it is asked and answers nothing.
Models are known by their configuration; only `Speed` loads weights, to time a few passes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.data.load import set_of, training_data
from harness.engine.cost import wait_for
from harness.engine.declarations import declared_footprint, rows_shown, trains_on_prompts
from harness.engine.plan import Cell, Node, Plan
from harness.engine.soundness import Unsound
from harness.errors import UserError, first_line
from harness.lazy import torch
from harness.method import Footprint
from harness.policy.base_model import BaseModel
from harness.policy.batching import CPU_CACHE, padded
from harness.policy.causal import CausalPolicy, cached_bytes
from harness.policy.policy import Policy, Steps
from harness.policy.types import Completion, Prompt, Sampling, Score
from harness.records import TrainingData
from harness.training.footprint import (
    ModelShape,
    TrainingMemory,
    reading_bytes,
    saved_by_nf4,
    shape_of,
    training_memory,
    training_operations,
)
from harness.training.labelled_rows import answer_row, training_rows
from harness.training.loop import Optimisation, rows_at_once, sorted_within_batches
from harness.training.objectives import plain_labels
from harness.training.pieces import runs, tokens_at_once

CALIBRATION_TOKENS = 256
DECODED_ROWS, DECODED_TOKENS = 64, 4
LOGIT_COPIES = 2
"""Logits of scoring and what their normaliser needs."""


@dataclass(frozen=True)
class Work:
    """The work of a fit or a cell.

    read        tokens that are read; drawn: tokens that are sampled, at most
    peak        bytes held at once, and with activation_checkpointing
    parts       bytes by purpose, for the tables
    at_once     (rows, tokens of the longest) of a fit that are read at once, where that takes the most
    seconds     by the calibration; None where there is none
    why         the reason of a blank
    """

    read: int = 0
    drawn: int = 0
    operations: float = 0.0
    peak: float | None = None
    checkpointed: float | None = None
    parameters: int = 0
    trained: int = 0
    parts: dict[str, float | None] = field(default_factory=dict)
    at_once: tuple[int, int] = (0, 0)
    seconds: float | None = None
    why: str = ""


class Questioned(Policy):
    """Notes what a benchmark asks, and gives empty answers."""

    gives = frozenset({"score", "sample", "text"})

    def __init__(self, base: BaseModel) -> None:
        self.encoder, self.base = base.encoder, lambda: self
        self.read = self.drawn = self.longest = self.rows = self.scored = 0

    def score(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Score]:
        """Log-probabilities of -1 for each token."""
        found, seen = [], set()
        for prompt, completion in zip(prompts, completions, strict=True):
            encoded = self.encoder.encode(prompt, completion)
            following = len(encoded.prefix) + len(encoded.completion)
            self.read += following + (len(encoded.prompt) if encoded.prompt not in seen else 0)
            seen.add(encoded.prompt)
            self.longest = max(self.longest, len(encoded.prompt) + following)
            self.scored += following
            tokens = len(encoded.completion)
            found.append(Score(-1.0 * tokens, tokens, False, (-1.0,) * tokens))
        self.rows = max(self.rows, len(prompts))
        return found

    def sample(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str]
    ) -> list[tuple[Completion, ...]]:
        """Empty answers; each is counted as long as it may become."""
        for prompt in prompts:
            encoded = self.encoder.encode(prompt)
            read = len(encoded.prompt) + len(encoded.prefix)
            self.read += read
            self.drawn += sampling.samples * sampling.max_new_tokens
            self.longest = max(self.longest, min(read + sampling.max_new_tokens, self.encoder.max_length))
        self.rows = max(self.rows, len(prompts) * sampling.samples)
        return [(Completion("", (), "stop"),) * sampling.samples for _ in prompts]


class Speed:
    """Floating-point operations per second of training and reading, and tokens drawn per second, of one base.

    Measured with its weights on its device, without gradients of weights: a pass over CALIBRATION_TOKENS tokens, and
    a few steps of DECODED_ROWS rows.
    """

    def __init__(self, base: BaseModel, shape: ModelShape) -> None:
        self.base, self.shape, self.why = base, shape, ""
        self.training = self.reading = self.drawing = 0.0
        if not any(base.folder.glob("*.safetensors")) and base.folder.is_dir():
            self.why = "the weights are not here"
            return
        try:
            self._measure()
        except (UserError, RuntimeError, MemoryError) as error:
            self.why = f"no pass could be timed: {first_line(error)}"

    def _measure(self) -> None:
        policy = CausalPolicy(self.base.load().requires_grad_(False), self.base.encoder)
        model = policy.model
        tokens = min(CALIBRATION_TOKENS, self.base.max_length)
        ids = torch.ones(1, tokens, dtype=torch.long, device=policy.device)
        inputs = model.get_input_embeddings()(ids).detach().requires_grad_()
        operations = self.shape.forward(tokens)

        def train() -> None:
            model.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state.float().sum().backward()

        self.training = 2 * operations / _seconds(train, policy.device)
        with torch.inference_mode():
            self.reading = operations / _seconds(lambda: model.base_model(input_ids=ids), policy.device)
            _, state = policy.read(*padded([[1] * 16] * DECODED_ROWS, policy.device))
            one = torch.ones(DECODED_ROWS, 1, dtype=torch.bool, device=policy.device)

            def draw() -> None:
                nonlocal state
                for _ in range(DECODED_TOKENS):
                    state = policy.extend(state, one.long(), one)[1]

            self.drawing = DECODED_ROWS * DECODED_TOKENS / _seconds(draw, policy.device)


def _seconds(do: Callable[[], object], device: Any) -> float:
    """The least seconds of three calls, after one that is not counted."""
    found = []
    for _ in range(4):
        started = time.perf_counter()
        do()
        wait_for(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


class Estimator:
    """Estimates the fits and cells of a plan; what several share is computed once.

    A work that is not `weighed` has no memory, whose estimate takes the longest.
    """

    def __init__(self, plan: Plan, *, timed: bool = True) -> None:
        self.plan, self.timed = plan, timed
        self._shapes: dict[str, ModelShape] = {}
        self._speeds: dict[str, Speed] = {}
        self._asked: dict[tuple[str, str, int], Questioned | str] = {}
        self._works: dict[tuple[str, bool], Work] = {}
        self._units: dict[str, tuple[list[list[tuple[int, int]]], list[int]]] = {}
        self._readings: dict[tuple[str, int, int], float] = {}
        self._kinds: dict[str, Footprint | None] = {}

    @cached_property
    def nodes(self) -> list[Node]:
        """The distinct artifacts, those that others are made from first."""
        found: dict[str, Node] = {}
        for node, _ in self.plan.groups():
            found |= {key: one for key, one in node.beneath.items() if key not in found}
            found.setdefault(node.key, node)
        return list(found.values())

    def shape(self, base: BaseModel) -> ModelShape:
        """The sizes of a base."""
        label = base.spec.label
        if label not in self._shapes:
            self._shapes[label] = shape_of(base.config)
        return self._shapes[label]

    def speed(self, base: BaseModel) -> Speed:
        """The speed of a base on this machine."""
        label = base.spec.label
        if label not in self._speeds:
            torch.set_num_threads(self.plan.experiment.threads)
            self._speeds[label] = Speed(base, self.shape(base))
        return self._speeds[label]

    # ---- fits

    def fit(self, node: Node, *, weighed: bool = True) -> Work:
        """The work of a fit; blank, with the reason, where a method or a model does not say enough."""
        place = (node.key, weighed)
        if place not in self._works:
            try:
                self._works[place] = self._fit(node, weighed=weighed)
            except UserError as error:
                self._works[place] = Work(why=" ".join(str(error).split()))
            except Exception as error:  # a method or a model that cannot be known by its shapes alone
                self._works[place] = Work(why=f"not known: {first_line(error)}")
        return self._works[place]

    def _footprint(self, node: Node, model: Any) -> Footprint | None:
        self._kinds[node.key] = found = declared_footprint(node.method, model)
        return found

    def _fit(self, node: Node, *, weighed: bool) -> Work:
        with torch.device("meta"):
            declared = self._footprint(node, _empty_model(node.base))
        if declared is None:
            return Work(parameters=self.shape(node.base).parameters, peak=0.0)
        method = declared.by or node.method
        optimisation = Optimisation.of(method)
        if node.key not in self._units:
            longest = getattr(method, "max_length", None)
            self._units[node.key] = self._rows(node, declared, optimisation, longest)
        rows, order = self._units[node.key]
        read = [row for unit in order for row in rows[unit]]
        in_pieces = declared.pieces and optimisation.parallel is None and node.base.spec.device == "cpu"
        most = tokens_at_once(node.base.config) if in_pieces else math.inf
        batches = self._batches(rows, order, optimisation, grouped=bool(declared.sampled[0] and not declared.by))
        pieces = [piece for batch in batches for piece in _pieces(batch, most, packed=optimisation.packing)]
        worst = max(pieces, key=lambda piece: len(piece) * max(length for length, _ in piece))
        memory = training_memory(
            node.base.config,
            node.base.spec.dtype,
            lambda model: node.method.footprint(model) or Footprint(model),
            optimisation,
            rows=len(worst),
            tokens=max(length for length, _ in worst),
            logits=sum(labelled for _, labelled in worst),
            attention=node.base.spec.attention,
            device=node.base.spec.device,
            divided=len(pieces) > len(batches),
            counted=weighed,
        )
        accumulates = len(worst) < optimisation.batch_size * len(rows[0])
        work = self._trained(node, declared, optimisation, memory, read, len(rows[0]), accumulates=accumulates)
        at_once = (len(worst), max(length for length, _ in worst))
        return replace(work, at_once=at_once) if weighed else replace(work, peak=None, checkpointed=None, parts={})

    def _batches(
        self,
        rows: Sequence[Sequence[tuple[int, int]]],
        order: Sequence[int],
        optimisation: Optimisation,
        *,
        grouped: bool,
    ) -> list[list[tuple[int, int]]]:
        """The micro-batches, or the largest of them; a group of sampled answers may be divided, a pair may not."""
        limit = self.plan.experiment.micro_batch
        if grouped:
            longest = max(row for unit in rows for row in unit)
            return [[longest] * rows_at_once(optimisation.batch_size * len(rows[0]), limit)]
        at_once = rows_at_once(optimisation.batch_size, limit)
        starts = range(0, len(order), at_once)
        return [[row for unit in order[at : at + at_once] for row in rows[unit]] for at in starts]

    def _trained(
        self,
        node: Node,
        declared: Footprint,
        optimisation: Optimisation,
        memory: TrainingMemory,
        read: Sequence[tuple[int, int]],
        per_unit: int,
        *,
        accumulates: bool,
    ) -> Work:
        shape = self.shape(node.base)
        checkpointing = optimisation.activation_checkpointing
        training = training_operations(shape, memory, iter(read), checkpointing=checkpointing)
        tokens = sum(length for length, _ in read)
        reading = declared.forwards * sum(shape.forward(length, logits=labelled) for length, labelled in read)
        answers, longest = declared.sampled
        drawn = answers * longest * len(self._problems(node)) if declared.by else longest * len(read) * bool(answers)
        units = optimisation.batch_size * per_unit
        held = {"accumulates": accumulates, "first": len(read) <= units, "paged": optimisation.optimizer == "paged"}
        seconds, why = None, ""
        if self.timed:
            speed = self.speed(node.base)
            why = speed.why
            if not why:
                seconds = training / speed.training + reading / speed.reading + drawn / speed.drawing
        drawing = drawn * 2.0 * (shape.matrices + shape.head)
        return Work(
            read=tokens,
            drawn=drawn,
            operations=training + reading + drawing,
            peak=memory.peak(**held, checkpointed=checkpointing),
            checkpointed=memory.peak(**held, checkpointed=True),
            parameters=memory.parameters,
            trained=memory.trained,
            parts={
                "weights": memory.weights,
                "gradients": memory.gradients,
                "optimizer": memory.optimizer,
                "activations": memory.activations,
                "checkpointed": memory.checkpointed,
                "loss": memory.loss,
                "retained": memory.retained,
            },
            seconds=seconds,
            why=why,
        )

    def _problems(self, node: Node) -> Sequence[Any]:
        return self._data(node).problems if "problems" in node.method.needs else ()

    def _data(self, node: Node) -> TrainingData:
        kinds = sorted(node.method.needs & self.plan.experiment.data.keys())
        sets = [set_of(self.plan.sets, kind, node.data.quality) for kind in kinds]
        return training_data(sets, node.data.size, node.seed)

    def _rows(
        self, node: Node, declared: Footprint, optimisation: Optimisation, longest: int | None
    ) -> tuple[list[list[tuple[int, int]]], list[int]]:
        """(tokens, labelled) of the rows of each unit of a batch, and the units in the order of the training."""
        data, encoder = self._data(node), node.base.encoder
        units: list[list[tuple[int, int]]] = []
        if data.demonstrations:
            method = declared.by or node.method
            shown = rows_shown(method, data.demonstrations)
            prompts = plain_labels if trains_on_prompts(method) else None
            rows = training_rows(shown, encoder, longest, prompts=prompts).rows
            units += [[(len(row.input_ids), row.labelled)] for row in rows]
        for pair in data.preferences:
            answers = (pair.chosen, pair.rejected)[: declared.per_pair]
            both = [answer_row(pair.prompt, answer, encoder, longest) for answer in answers]
            units.append([(len(row.input_ids), row.labelled) for row in both])
        for one in data.judged:
            judged = answer_row(one.messages[:-1], one.messages[-1].content, encoder, longest)
            units.append([(len(judged.input_ids), judged.labelled)])
        answers_each, new = declared.sampled
        for problem in data.problems:
            read = len(encoder.encode(Prompt(messages=problem.prompt)).prompt)
            row = (min(read + new, encoder.max_length), new)
            units += [[row]] * answers_each if declared.by else [[row] * answers_each]
        order = optimisation.order(len(units), node.seed)
        lengths = [sum(length for length, _ in unit) for unit in units]
        return units, sorted_within_batches(order, lengths, optimisation.batch_size)

    # ---- cells

    def cell(self, cell: Cell, *, weighed: bool = True) -> Work:
        """The work of scoring a cell."""
        if cell.why or isinstance(cell.column.benchmark, Unsound):
            return Work(why=cell.why)
        base, shape = cell.node.base, self.shape(cell.node.base)
        asked = self._ask(cell)
        if isinstance(asked, str):
            held = self._policy_bytes(cell.node) + self._base_bytes(base) if weighed else None
            return Work(peak=None, parts={"weights": held}, why=asked)
        operations = asked.read * shape.forward(asked.longest) / max(asked.longest, 1)
        operations += 2.0 * shape.head * asked.scored
        drawing = asked.drawn * 2.0 * (shape.matrices + shape.head)
        seconds, why = None, ""
        if self.timed:
            speed = self.speed(base)
            why = speed.why
            seconds = None if why else operations / speed.reading + asked.drawn / speed.drawing
        parts = self._held(cell.node, asked) if weighed else {}
        return Work(
            read=asked.read,
            drawn=asked.drawn,
            operations=operations + drawing,
            peak=parts["weights"] + parts["cache"] + max(parts["logits"], parts["reading"]) if weighed else None,
            parts={**parts},
            seconds=seconds,
            why=why,
        )

    def _held(self, node: Node, asked: Questioned) -> dict[str, float]:
        """The bytes that scoring holds, by purpose."""
        base = node.base
        size = 4 if base.spec.dtype == "float32" else 2
        row = cached_bytes(base.config.get_text_config(), asked.longest, size)
        most = min(asked.rows, Steps.max_rows)
        rows = max(1, min(most, CPU_CACHE // row if row else most))
        place = (base.spec.label, rows, asked.longest)
        if place not in self._readings:
            self._readings[place] = reading_bytes(base.config, base.spec.dtype, rows, asked.longest)
        return {
            "weights": self._policy_bytes(node) + self._base_bytes(base),
            "cache": float(rows * row),
            "logits": min(Steps.budget, asked.rows * asked.longest * _vocabulary(base)) * 4.0 * LOGIT_COPIES,
            "reading": self._readings[place],
        }

    def _ask(self, cell: Cell) -> Questioned | str:
        place = (cell.column.label, cell.node.base.spec.label, cell.seed if cell.column.benchmark.stochastic else 0)
        if place not in self._asked:
            asked = Questioned(cell.node.base)
            try:
                for _ in cell.column.benchmark.evaluate(asked, cell.seed):
                    pass
                self._asked[place] = asked
            except (Exception, SystemExit) as error:
                self._asked[place] = f"its prompts are not known without a model: {first_line(error)}"
        return self._asked[place]

    def _base_bytes(self, base: BaseModel) -> float:
        return self.shape(base).parameters * (4.0 if base.spec.dtype == "float32" else 2.0)

    def _policy_bytes(self, node: Node) -> float:
        """The bytes of a policy's own weights, without those of the shared base."""
        self.fit(node, weighed=False)
        declared = self._kinds.get(node.key)
        if declared is None:
            others = [self._policy_bytes(one) for one in node.inputs.values()]
            small = node.base.small if "small_base" in node.method.needs else None
            return sum(others) + (self._base_bytes(small) if small else 0.0)
        whole = self._base_bytes(node.base)
        if declared.policy == "nf4":
            with torch.device("meta"):
                return whole - saved_by_nf4(_empty_model(node.base).requires_grad_(False))
        sizes = {"nothing": 0.0, "base": whole, "float32": 4.0 * self.shape(node.base).parameters}
        return sizes[declared.policy]


def _pieces(batch: list[tuple[int, int]], most: float, *, packed: bool) -> Iterator[list[tuple[int, int]]]:
    for first, end in runs([length for length, _ in batch], most, packed=packed):
        yield batch[first:end]


def _empty_model(base: BaseModel) -> Any:
    from harness.training.footprint import new_model_of

    return new_model_of(base.config, base.spec.dtype, base.spec.attention)


def _vocabulary(base: BaseModel) -> int:
    return int(base.config.get_text_config().vocab_size)
