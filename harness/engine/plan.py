"""From an experiment to its cells, grouped by the artifact that they score, each with a content key.

Planning loads no model: a model is identified by the digest of its files, a data set by the digest of its rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.data.load import LoadedSet, load_set, set_of, subset
from harness.engine.backends import Backend, backend_of
from harness.engine.declarations import costs, depends_on_seed
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry
from harness.engine.plugin_code import sources_of, versions_of
from harness.engine.registry import place_in_plugin, source_file
from harness.engine.soundness import Unsound
from harness.engine.store.keys import SCHEMA, key_of, library_versions
from harness.errors import Unreachable, UserError, first_line
from harness.files import sha256
from harness.method import Method, fields_of, folders_of, plugin_name, processes_of
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.gguf_file import gguf_version, is_gguf
from harness.policy.sources import folder_digest, locate, model_digest
from harness.records import DataChoice, digest_of

if TYPE_CHECKING:
    from harness.benchmark import Benchmark
    from harness.engine.search import Search


Refused = Mapping[tuple[str, str], Mapping[str, str]]
"""The kind and quality of a training set -> the ids of rows that are not used -> the reason."""
NOTHING_REFUSED: Refused = {}


@dataclass(frozen=True, eq=False)
class Node:
    """One artifact: a method fitted on a base with some data and a seed, from other artifacts (`inputs`).

    label  that of the first entry that it is made for; "" where it is only what another is made from
    """

    method: Method
    base: BaseModel
    data: DataChoice
    seed: int
    inputs: Mapping[str, Node]
    document: Mapping[str, Any]
    label: str = ""

    @cached_property
    def key(self) -> str:
        """The content key."""
        return key_of(self.document)

    @cached_property
    def draws(self) -> bool:
        """Whether its policy's answers depend on the seed even where the benchmark samples nothing."""
        return self.method.draws or any(node.draws for node in self.inputs.values())

    @cached_property
    def beneath(self) -> dict[str, Node]:
        """All artifacts that it is made from, directly or not, by key."""
        found: dict[str, Node] = {}
        for node in self.inputs.values():
            found |= {node.key: node, **node.beneath}
        return found

    @property
    def title(self) -> str:
        """For progress and messages."""
        name = self.label or plugin_name(self.method)
        parts = [f"{name} on {self.base.spec.label}", self.data.title, f"seed {self.seed}"]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, eq=False)
class Cell:
    """One square of the matrix.

    node  the artifact that it scores; a method without training data has one node for all `data`
    why   the reason where the cell is not run
    state its state for that reason: "failed" where its benchmark breaks the contract, "stopped" where it is not needed
    backend  what scores and samples its policy
    part  the items that it scores, as shares from and to; None: all (see `Benchmark.within`)
    """

    entry: MethodEntry
    column: BenchmarkEntry
    node: Node
    data: DataChoice
    seed: int
    document: Mapping[str, Any]
    why: str = ""
    state: Literal["n/a", "failed", "stopped"] = "n/a"
    part: tuple[float, float] | None = None
    backend: Backend = field(default_factory=Backend)

    @cached_property
    def key(self) -> str:
        """The content key of its outcomes."""
        return key_of(self.document)

    @property
    def columns(self) -> dict[str, Any]:
        """The values of its columns in the result files."""
        return {
            "base": self.node.base.spec.label,
            "method": self.entry.label,
            "data_quality": self.data.quality,
            "data_size": self.data.size,
            "seed": self.seed,
            "benchmark": self.column.label,
        }

    @property
    def identity(self) -> str:
        """A text that no other cell of its plan has; several may share a title, or the key of one outcome."""
        return repr((*self.columns.items(), self.part))

    @property
    def name(self) -> str:
        """METHOD/BENCHMARK/SEED, as `explain` takes it; the parts of one benchmark share it."""
        return f"{self.entry.label}/{self.column.label}/{self.seed}"

    @property
    def title(self) -> str:
        """For progress and messages: its name, and the part of the items that it scores."""
        return self.name + (f", items {self.part[0]:.0%} to {self.part[1]:.0%}" if self.part else "")


@dataclass(eq=False)
class Plan:
    """The cells of an experiment in the order in which they run: those of one artifact together.

    searches  the searches for settings, with all trials; empty without `tune`
    tuned_on  the labels of the benchmarks that decided them
    unreachable  benchmarks whose items could not be read, by label, with the reason: their cells are n/a
    lost      training sets of the hub that could not be reached, by kind and quality, likewise
    compares  whether policies are compared with one another once their cells are done
    """

    experiment: Experiment
    cells: list[Cell]
    bases: list[BaseModel]
    sets: list[LoadedSet]
    by_node: dict[str, list[Cell]] = field(default_factory=dict)
    searches: tuple[Search, ...] = ()
    tuned_on: tuple[str, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)
    compares: bool = True

    def groups(self) -> Iterator[tuple[Node, list[Cell]]]:
        """Artifacts with the cells that score them."""
        for cells in self.by_node.values():
            yield cells[0].node, cells


def make_plan(
    experiment: Experiment,
    store: Path,
    *,
    download: bool = False,
    weights: bool = True,
    without: Refused = NOTHING_REFUSED,
) -> Plan:
    """Plan every cell. Raises UserError for a missing model or small base, and where no cell can be run.

    weights  False: a base may be without its weights, for an estimate
    without  rows of the training sets that are left out
    """
    return _Planner(experiment, store, download, weights, without).plan()


def by_artifact(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Artifact -> the cells that score it."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.node.key, []).append(cell)
    return found


class _Planner:
    def __init__(self, experiment: Experiment, store: Path, download: bool, weights: bool, without: Refused) -> None:
        self.experiment, self.store, self.download, self.weights = experiment, store, download, weights
        self.lost: dict[tuple[str, str], UserError] = {}
        self.sets = [one.without(without.get((one.kind, one.quality), {})) for one in self._loaded()]
        self.models: dict[BaseSpec, BaseModel] = {}
        self.nodes: dict[str, Node] = {}
        self.columns: dict[str, dict[str, Any]] = {}
        self.unreachable: dict[str, UserError] = {}
        self.drawn: dict[tuple[str, str, int, int], str] = {}
        self.sources: dict[type[Method], dict[str, str]] = {}

    def plan(self) -> Plan:
        self._check_sizes()
        cells = list(self._cells())
        errors = [*self.unreachable.values(), *self.lost.values()]
        if errors and all(cell.why for cell in cells):
            raise errors[0]
        why = {label: _line(error) for label, error in self.unreachable.items()}
        lost = {" ".join(filter(None, place)): _line(error) for place, error in self.lost.items()}
        models = list(self.models.values())
        return Plan(self.experiment, cells, models, self.sets, by_artifact(cells), unreachable=why, lost=lost)

    def _loaded(self) -> Iterator[LoadedSet]:
        """The training sets that can be had; why those of the hub that cannot are missing goes into `lost`."""
        for kind, sets in self.experiment.data.items():
            for quality, spec in sets.items():
                try:
                    yield load_set(kind, spec, quality)
                except Unreachable as error:
                    self.lost[kind, quality] = error

    def _check_sizes(self) -> None:
        most = max((len(one.records) for one in self.sets), default=0)
        if self.sets and max(self.experiment.data_sizes) > most:
            what = f"`data_sizes` names {max(self.experiment.data_sizes):,} rows, and the largest set has {most:,}"
            fix = f"Name sizes up to {most:,}, or 0 for all rows."
            raise UserError(what, where=str(self.experiment.file), fix=fix)

    def _cells(self) -> Iterator[Cell]:
        asked = self.experiment
        choices = [DataChoice(quality, size) for quality in asked.data_quality for size in asked.data_sizes]
        seen: set[tuple[str, str]] = set()
        for spec, data, entry, seed in product(asked.bases, choices, asked.methods, asked.seeds):
            for cell in self._row(spec, data, entry, seed):
                place = repr(cell.columns)
                # a method on the small base has one row, whatever the number of bases
                if (place, cell.key) not in seen:
                    seen.add((place, cell.key))
                    yield cell

    def _row(self, spec: BaseSpec, data: DataChoice, entry: MethodEntry, seed: int) -> Iterator[Cell]:
        chosen = self._small_spec(entry.method) if entry.on == "small_base" else spec
        try:
            node = self._node(entry.method, self._model(chosen), data, seed, entry.label)
        except UserError as error:
            where = error.where or str(self.experiment.file)
            raise UserError(f"{entry.label}: {error.what}", where=where, fix=error.fix) from None
        except Exception as error:  # of the method's `requires`, say
            what = f"{entry.label} cannot be planned: {type(error).__name__}: {first_line(error)}"
            raise UserError(what, where=place_in_plugin(error, source_file("methods", entry.plugin))) from error
        for column in self.experiment.benchmarks:
            document = self._outcome_document(node, column, seed)
            if isinstance(column.benchmark, Unsound):
                yield Cell(entry, column, node, data, seed, document, column.benchmark.why, "failed")
                continue
            why = column.benchmark.unavailable() or _lacking(entry, column)
            if not why and (missing := self.unreachable.get(column.label) or self._lost_of(node)):
                why = _line(missing)
            backend = backend_of(entry.method, node.base, column.benchmark)
            for part in self._parts(column):
                own = {**document, "part": list(part)} if part else document
                yield Cell(entry, column, node, data, seed, own | backend.document, why, part=part, backend=backend)

    def _parts(self, column: BenchmarkEntry) -> Sequence[tuple[float, float] | None]:
        """The parts of a benchmark under `stop`; one that compares policies is scored whole."""
        stop = self.experiment.stop
        divided = stop and column.benchmark.divisible and not column.benchmark.joint_metrics()
        return list(pairwise((0.0, *stop.items))) if stop and divided else [None]

    def _lost_of(self, node: Node) -> UserError | None:
        """Why a training set of the artifact, or of one that it is made from, cannot be read."""
        needed = [
            (kind, quality)
            for one in (node, *node.beneath.values())
            for kind in sorted(one.method.needs)
            for quality in (one.data.quality, "")
        ]
        return next((self.lost[place] for place in needed if place in self.lost), None)

    def _node(self, method: Method, base: BaseModel, data: DataChoice, seed: int, label: str = "") -> Node:
        inputs = {}
        _require_own_fits(method)
        for role, needed in sorted(method.requires().items()):
            on = base if needed.on == "base" else self._model(self._small_spec(method))
            inputs[role] = self._node(needed.method, on, data, seed)
        if "small_base" in method.needs:
            self._small_spec(method)
        document = self._document(method, base, data, seed, inputs)
        # without data the artifact is the same for every choice of data
        reached = method.needs - {"small_base"} or any(node.data != DataChoice() for node in inputs.values())
        node = Node(method, base, data if reached else DataChoice(), seed, inputs, document, label)
        return self.nodes.setdefault(node.key, node)

    def _document(
        self, method: Method, base: BaseModel, data: DataChoice, seed: int, inputs: Mapping[str, Node]
    ) -> dict[str, Any]:
        name = plugin_name(method)
        small = base.small if "small_base" in method.needs else None
        return {
            "keys": SCHEMA,
            "method": name,
            "fields": fields_of(method),
            **self._folders(method),
            "source": self._sources(method),
            "base": base_document(base),
            "small_base": base_document(small) if small else None,
            "inputs": {role: node.key for role, node in inputs.items()},
            "data": {kind: self._data_key(kind, method, data, seed) for kind in sorted(method.needs - {"small_base"})},
            "seed": seed if depends_on_seed(method) else None,
            "threads": self.experiment.threads,
            "micro_batch": self.experiment.micro_batch if costs(method) else None,
            "libraries": library_versions(tuple(name for one in (method, *inside(method)) for name in one.libraries)),
            **versions_of(method, *inside(method)),
        }

    def _sources(self, method: Method) -> dict[str, str]:
        """The digests of its code and of that of the methods among its fields."""
        found: dict[str, str] = {}
        for one in (method, *inside(method)):
            if type(one) not in self.sources:
                self.sources[type(one)] = sources_of(one)
            found |= self.sources[type(one)]
        return found

    def _data_key(self, kind: str, method: Method, data: DataChoice, seed: int) -> str:
        if kind not in self.experiment.data:
            what = f"{plugin_name(method)} needs {kind}, and the experiment names none"
            raise UserError(what, fix=f"Add `data: {{{kind}: NAME}}`.")
        if error := self.lost.get((kind, data.quality)) or self.lost.get((kind, "")):
            return f"not read: {_line(error)}"
        chosen = set_of(self.sets, kind, data.quality)
        if data.size == 0 or data.size >= len(chosen.records):
            return str(chosen.manifest["digest"])
        place = (kind, data.quality, data.size, seed)
        if place not in self.drawn:
            self.drawn[place] = digest_of(subset(chosen.records, data.size, seed))
        return self.drawn[place]

    def _outcome_document(self, node: Node, column: BenchmarkEntry, seed: int) -> dict[str, Any]:
        if column.label not in self.columns:
            self.columns[column.label] = {"benchmark": column.plugin, "fields": fields_of(column.benchmark)}
            try:
                if not isinstance(column.benchmark, Unsound):
                    document = {**_column_document(column), **self._folders(column.benchmark)}
                    key_of(document)  # what is not plain data has no key
                    self.columns[column.label] = document
            except UserError as error:
                self.unreachable[column.label] = error
            except (Exception, SystemExit) as error:
                what = f"its items cannot be read: {type(error).__name__}: {first_line(error)}"
                where = place_in_plugin(error, source_file("benchmarks", column.plugin))
                self.unreachable[column.label] = UserError(what, where=where)
        asked = self.columns[column.label]
        return {"artifact": node.key, "seed": seed if column.benchmark.stochastic or node.draws else None, **asked}

    def _folders(self, plugin: Method | Benchmark) -> dict[str, Any]:
        """The digests of the folders and files that a plugin's settings name."""
        known = self.store / "digests.json"
        paths = folders_of(plugin).items()
        found = {field: sha256(path) if path.is_file() else folder_digest(path, known) for field, path in paths}
        return {"folders": found} if found else {}

    def _small_spec(self, method: Method) -> BaseSpec:
        if self.experiment.small_base is None:
            what = f"{plugin_name(method)} needs a small base, and the experiment names none"
            raise UserError(what, fix="Add `small_base: NAME`.")
        return self.experiment.small_base

    def _model(self, spec: BaseSpec) -> BaseModel:
        if spec not in self.models:
            folder = locate(spec, download=self.download, weights=self.weights)
            digest = model_digest(folder, self.store / "digests.json")
            small = self.experiment.small_base
            self.models[spec] = BaseModel(spec, folder, digest)
            # a model may be its own small base, so it is in the table before its small base is looked up
            self.models[spec].small = self._model(small) if small else None
        return self.models[spec]


def _line(error: UserError) -> str:
    return " ".join(str(error).split())


def _lacking(entry: MethodEntry, column: BenchmarkEntry) -> str:
    """The capabilities that the benchmark needs and the method lacks, in words; "" where there are none."""
    missing = column.benchmark.needs - entry.method.gives
    said = [f"{entry.label} gives no {name}" for name in sorted(missing - {"text"})]
    if "text" in missing:
        said.append(f"{entry.label} acts on conversations alone, and the benchmark asks in bare text")
    return "; ".join(said)


def inside(method: Method) -> list[Method]:
    """The methods among its fields, at any depth: their code is part of its own."""
    found: list[Method] = []
    for item in dataclasses.fields(method):  # type: ignore[arg-type]
        value = getattr(method, item.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Method):
                found += [one, *inside(one)]
    return found


def needs_of(method: Method) -> set[str]:
    """The kinds of data, and the small base, that a method and those inside it need."""
    return {kind for one in (method, *inside(method)) for kind in one.needs}


def _require_own_fits(method: Method) -> None:
    """Raise UserError where several processes are to fit a method that another one fits within its own fit."""
    apart = [needed.method for needed in method.requires().values()]
    for one in inside(method):
        if processes_of(one) > 1 and not any(one == other or one in inside(other) for other in apart):
            raise UserError(
                f"{plugin_name(method)} trains {plugin_name(one)} itself, in one process, and that has `parallel`",
                fix=f"Leave parallel out of {plugin_name(one)}.",
            )


def _column_document(column: BenchmarkEntry) -> dict[str, Any]:
    """All that decides the outcomes on the benchmark's side; its items are made once for all cells."""
    benchmark = column.benchmark
    return {
        "keys": SCHEMA,
        "benchmark": column.plugin,
        "fields": fields_of(benchmark),
        "version": benchmark.version,
        "source": sources_of(benchmark),
        "data": benchmark.data_digest(),
        "scorer": dict(benchmark.scorer_facts()),
        "libraries": library_versions(("torch", "transformers", "lm-eval")),
        **versions_of(benchmark),
    }


def base_document(base: BaseModel) -> dict[str, Any]:
    """All that identifies a base: its bytes, and how it is loaded and rendered; not its path."""
    template = Path(base.spec.chat_template).read_text("utf-8") if base.spec.chat_template else ""
    return {
        "name": base.spec.label,
        "digest": base.digest,
        "dtype": base.spec.dtype,
        "device": base.spec.device.split(":")[0],
        "chat_template": key_of({"template": template}) if template else "",
        "template_arguments": dict(base.spec.template_arguments),
        "date": base.spec.date,
        **({"gguf": gguf_version()} if is_gguf(base.folder) else {}),
        **({"attention": base.spec.attention} if base.spec.attention else {}),
    }
