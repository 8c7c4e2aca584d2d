"""All that the author of a method needs: `Method`, the arguments of `fit` and `load`, and the declaration of fields.

A method is one file in `methods/` with one frozen dataclass. Its fields are its hyperparameters, each with default,
search range and meaning on one line. `fit` writes files, and `load` makes a policy of them, which is all that
evaluation sees.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from harness.policy.types import Capability
from harness.records import TrainingData

if TYPE_CHECKING:
    from harness.policy.base_model import BaseModel
    from harness.policy.encoding import TextEncoder
    from harness.policy.policy import Policy


Need = Literal["demonstrations", "preferences", "problems", "judged", "small_base"]


# notes of a fit that cannot have taught anything, each with the reason in words; a run says them
UNCHANGED = "unchanged"  # every weight is as it was
NO_SIGNAL = "no_signal"  # no sampled answer was better than another


def setting(
    default: Any,
    help: str,
    *,
    search: tuple[float, float] | tuple[Any, ...] | None = None,
    log: bool = False,
    folder: bool = False,
    path: bool = False,
    least: float | None = None,
    null: Any = None,
    quick: Any = None,
) -> Any:
    """A field of a method or benchmark: its default, its meaning, and its search range.

    search  (low, high) of a number, or the choices; None: it is not tuned. log: search on a log scale
    folder  the value is a local folder, or a file, whose content affects the artifact
    path    the value may name a local file or folder, as those of `folder` do: a relative one starts at the experiment
            file. Several are a tuple
    least   the smallest value allowed; a smaller one is refused before anything is loaded
    null    the value at which the method changes nothing: `bakeoff check` compares it with the base
    quick   the value that `bakeoff check` uses, so that a fit takes seconds
    """
    declared = {"search": search, "log": log, "folder": folder, "least": least, "null": null, "quick": quick}
    declared["path"] = path or folder
    return field(default=default, metadata={"help": help, **declared})


@dataclass(frozen=True)
class ArtifactSpec:
    """An artifact that a method requires: another method's fit, on the base or on the small base."""

    method: Method
    on: Literal["base", "small_base"] = "base"


@dataclass(frozen=True)
class Input:
    """A finished required artifact: its folder, its base, and a function that makes its policy."""

    folder: Path
    base: BaseModel
    load: Callable[[], Policy]


@dataclass(frozen=True)
class FitContext:
    """The conditions of a fit that are common to all cells of one comparison.

    seed         decides everything random in training
    micro_batch  largest number of rows per forward pass; the effective batch is the method's own field
    progress     to be called with (steps done, total steps, note shown next to the bar)
    notes        what the training loop has to say for the report; it joins the notes of the FitReport
    processes    how many processes fit it together, of which this is one
    """

    seed: int
    micro_batch: int
    progress: Callable[[int, int, str], None] = lambda done, total, note: None
    notes: dict[str, Any] = field(default_factory=dict)
    processes: int = 1


@dataclass(frozen=True)
class FitReport:
    """Cost and course of a fit, for the cost ledger and the report.

    notes  facts for the reader: rows truncated, the loss curve, the rule that chose a checkpoint
    """

    trained_parameters: int = 0
    training_tokens: int = 0
    generated_tokens: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises TypeError for what the cost ledger cannot hold."""
        for name in ("trained_parameters", "training_tokens", "generated_tokens"):
            value: Any = getattr(self, name)
            if not isinstance(value, Integral) or value < 0:
                raise TypeError(f"the FitReport has {name} = {value!r:.80}, which is not a whole number of 0 or more")
            object.__setattr__(self, name, int(value))
        if not isinstance(self.notes, Mapping):
            raise TypeError(f"the FitReport has notes = {self.notes!r:.80}, which is not a mapping")


@dataclass(frozen=True)
class Footprint:
    """The model that a fit trains and the one that its policy holds, for `plan --estimate`, which loads no weights.

    trainee  the model as the fit trains it: a weight that requires a gradient is trained
    further  whole models in float32 that the fit holds in addition, such as a reference model
    forwards further forward passes over each row, without gradients
    per_pair answers of a preference pair that are read
    sampled  answers sampled for each problem, and the longest in tokens
    by       the method whose settings the training follows, where it is another one
    policy   what a loaded policy adds to the shared base: nothing, or a copy, in the base's dtype, in float32 or in nf4
    frozen   nf4: the frozen linear layers but the head are held in 4 bits
    pieces   the fit trains with `harness.training.loop.train`, which on a CPU reads a micro-batch in pieces
    """

    trainee: Any
    further: int = 0
    forwards: int = 0
    per_pair: int = 2
    sampled: tuple[int, int] = (0, 0)
    by: Method | None = None
    policy: Literal["nothing", "base", "float32", "nf4"] = "base"
    frozen: Literal["base", "nf4"] = "base"
    pieces: bool = False


@dataclass(frozen=True)
class PlainWeights:
    """A policy that is weights alone, which other software can load from files.

    kind  base: the base's own; artifact: the artifact is a model folder; adapter: it is a LoRA adapter on the base
    rank  of the adapter
    """

    kind: Literal["base", "artifact", "adapter"]
    rank: int = 0


class Method(ABC):
    """One way of aligning a base model.

    needs      the kinds of data it trains on, and small_base if it needs one
    gives      the capabilities of its policies; a benchmark that needs others is n/a
    trains     False: its artifact does not depend on the seed and is made once
    depends_on_seed, costs  two attributes that a method may define where `trains` says too much: whether another seed
               gives another artifact, and whether a fit reads tokens and makes parameters; both are as `trains`
               otherwise. A mean of activations costs something and is the same for every seed
    trains_on_prompts  another such attribute, False if it is left out: whether the words of prompts are trained on
    draws      True: its policies sample at their own temperature, so the seed changes even greedy answers
    libraries  the packages whose versions affect its artifact
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    gives: ClassVar[frozenset[Capability]] = frozenset({"score", "sample", "text"})
    trains: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def requires(self) -> dict[str, ArtifactSpec]:
        """The required artifacts by role; the engine makes, keys and shares them."""
        return {}

    def check(self) -> None:
        """Raise UserError where the fields contradict one another. Called before anything is planned."""

    def refused(self, data: TrainingData, encoder: TextEncoder) -> Mapping[str, str]:
        """The ids of the records that `fit` could not use, each with the reason; called before any model is loaded.

        By default none is known to be. Called with the whole sets, of which a fit may get a part.
        """
        return {}

    @abstractmethod
    def fit(
        self, base: BaseModel, data: TrainingData, inputs: Mapping[str, Input], out: Path, context: FitContext
    ) -> FitReport:
        """Write the artifact into the folder `out`: safetensors and configurations, without absolute paths."""

    def footprint(self, model: Any) -> Footprint | None:
        """The effect of the fit on `model`, which has the base's shapes and no numbers; None: it trains no weights.

        Raises NotImplementedError where a method does not say, and its estimate is blank.
        """
        if self.needs - {"small_base"}:
            raise NotImplementedError("it does not say what it trains (`Method.footprint`)")
        return None

    @abstractmethod
    def load(self, base: BaseModel, artifact: Path, inputs: Mapping[str, Input]) -> Policy:
        """The policy of a fitted artifact. The shared base must stay unchanged."""

    def plain_weights(self, dtype: str) -> PlainWeights | str:
        """The files that a backend loads to be its policy on a base of that dtype, or why none can."""
        return "its policy is more than weights"


def processes_of(method: Method) -> int:
    """How many processes fit the method together: its field `processes`, where it has `parallel` and that is set."""
    return int(getattr(method, "processes", 1)) if getattr(method, "parallel", None) else 1


def fields_of(plugin: Any) -> dict[str, Any]:
    """The settings of a method or benchmark as plain values; a method inside becomes {plugin: fields}."""
    return {item.name: _plain(getattr(plugin, item.name)) for item in dataclasses.fields(plugin)}


def required_fields(plugin: type[Any]) -> list[str]:
    """The settings that have no default."""
    none = dataclasses.MISSING
    return [item.name for item in dataclasses.fields(plugin) if item.default is none and item.default_factory is none]


def folders_of(plugin: Any) -> dict[str, Path]:
    """The local folders that its fields name, by field; those of a method inside as `field.field`."""
    found: dict[str, Path] = {}
    for item in dataclasses.fields(plugin):
        value = getattr(plugin, item.name)
        if isinstance(value, Method):
            found |= {f"{item.name}.{name}": folder for name, folder in folders_of(value).items()}
        elif item.metadata.get("folder") and value:
            found[item.name] = Path(value).expanduser()
    return found


class LocalPath(str):
    """The absolute path that a field names, and how the experiment writes it, which is what a content key holds.

    So a key is the same on another machine, and after its folder moved; the content of the file is in it by digest.
    """

    written: str

    def __new__(cls, path: str, written: str) -> Self:
        found = super().__new__(cls, path)
        found.written = written
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """Both, for a copy in another process."""
        return LocalPath, (str(self), self.written)


def _plain(value: Any) -> Any:
    if isinstance(value, LocalPath):
        return value.written
    if isinstance(value, Method):
        return {plugin_name(value): fields_of(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def plugin_name(plugin: Any) -> str:
    """The name a plugin was registered under: its file's name, unless an entry point gave another.

    A class of another package that no entry point names has MODULE:CLASS.
    """
    own, module = type(plugin), type(plugin).__module__
    if "plugin" in vars(own):  # not that of a class from which it derives
        return str(vars(own)["plugin"])
    folder, _, file = module.rpartition(".")
    return file if folder in ("methods", "benchmarks") else f"{module}:{own.__qualname__}"
