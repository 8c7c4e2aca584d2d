"""From the YAML that a user writes to a checked experiment. An unknown key is an error that names its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from harness.data.load import KINDS, SHIPPED, DataSpec
from harness.data.readers import is_local
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry, On, Tune
from harness.engine.plugin_fields import build_plugin, typed
from harness.engine.search import TUNED, searchable
from harness.engine.yaml_lines import Located, load_yaml, parse_yaml
from harness.errors import UserError, did_you_mean
from harness.policy.base_model import BaseSpec

if TYPE_CHECKING:
    from harness.engine.experiment import Experiment


def load_experiment(file: Path, settings: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment; `settings` are the --set arguments KEY=VALUE or LABEL.FIELD=VALUE."""
    if not file.is_file():
        raise UserError("no such experiment file", where=str(file), fix="Give the path of a YAML experiment.")
    root = load_yaml(file)
    if not isinstance(root.value, dict):
        raise UserError("an experiment is a mapping of keys", where=str(file))
    text = file.read_text("utf-8")
    for setting in settings:
        _apply(root, setting)
        text += f"# --set {setting}\n"
    return _Reader(root, file).experiment(text)


def _apply(root: Located, setting: str) -> None:
    """Change one top-level key, or one field of the method or benchmark with that label."""
    path, separator, value = setting.partition("=")
    if not separator:
        raise UserError(f"--set {setting!r} has no value", fix="Write --set LABEL.FIELD=VALUE or --set KEY=VALUE.")
    parsed = parse_yaml(value)
    label, dot, name = path.partition(".")
    if not dot:
        root.value[path] = parsed
        return
    entries = [(kind, at) for kind in ("methods", "benchmarks") for at in range(len(root.value.get(kind) or []))]
    labels = {_label_of(root.value[kind][at]): (kind, at) for kind, at in entries}
    if label not in labels:
        raise UserError(f"--set {setting!r}: nothing is labelled {label!r}", fix=did_you_mean(label, labels))
    kind, at = labels[label]
    plugin, given, options = _entry_parts(root.value[kind][at])
    root.value[kind][at] = {plugin: {**given, name: parsed}, **options}


def _entry_parts(entry: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(plugin, fields, options such as `as`) of `- sft` or `- {sft: {...}, as: hot}`."""
    if isinstance(entry, str):
        return entry, {}, {}
    if not isinstance(entry, Mapping):
        raise UserError(f"{entry!r} is no plugin", fix="Write a name, or {name: {field: value}, as: label}.")
    plugins = [key for key in entry if key not in {"as", "on"}]
    if len(plugins) != 1:
        raise UserError(
            f"it names {len(plugins)} plugins: {', '.join(map(str, plugins))}",
            fix="Write one entry per plugin: - {name: {field: value}, as: label}.",
        )
    given = entry[plugins[0]] or {}
    if not isinstance(given, Mapping):
        raise UserError(f"the fields of {plugins[0]} are {given!r}", fix="Write {field: value}.")
    return str(plugins[0]), dict(given), {key: entry[key] for key in ("as", "on") if key in entry}


def _label_of(entry: Any) -> str:
    plugin, _, options = _entry_parts(entry)
    return str(options.get("as", plugin))


class _Reader:
    """Turns the parsed file into an Experiment, naming the line of whatever is wrong."""

    def __init__(self, root: Located, file: Path) -> None:
        self.root, self.file = root, file
        self.entries: dict[str, Any] = {}

    def experiment(self, text: str) -> Experiment:
        known = {item.name for item in fields(Experiment)} - {"file", "text"}
        self._check_keys(self.root.value, known, ())
        for key in ("bases", "methods", "benchmarks"):
            if not self.root.value.get(key):
                raise UserError(
                    f"`{key}` is missing or empty", where=str(self.file), fix=f"List at least one of `{key}`."
                )
            if not isinstance(self.root.value[key], list):
                raise UserError(f"`{key}` is no list", where=self._where(key), fix=f"Write {key}: [NAME, ...].")
        methods = self._methods()
        simple = {
            key: typed(hint, self.root.value[key], self._where(key))
            for key, hint in {
                "data_quality": tuple[str, ...],
                "data_sizes": tuple[int, ...],
                "seeds": tuple[int, ...],
                "strict": bool,
                "margin": float,
                "out_of_distribution": dict[str, str],
                "threads": int,
                "micro_batch": int,
                "baseline": str | None,
                "reference": str | None,
            }.items()
            if key in self.root.value
        }
        small = self.root.value.get("small_base")
        experiment = Experiment(
            file=self.file,
            text=text,
            name=str(self.root.value.get("name") or self.file.stem),
            bases=self._bases(),
            small_base=self._base(small, ("small_base",)) if small else None,
            methods=methods,
            benchmarks=self._benchmarks(),
            data=self._data(),
            tune=self._tune(),
            **simple,
        )
        self._check(experiment)
        return experiment

    def _check(self, experiment: Experiment) -> None:
        labels = [entry.label for entry in experiment.methods]
        for role in ("baseline", "reference"):
            name = getattr(experiment, role)
            if name is not None and name not in labels:
                raise UserError(f"`{role}` is {name!r}", where=self._where(role), fix=did_you_mean(name, labels))
        for key, low in (("seeds", 0), ("data_sizes", 0), ("threads", 1), ("micro_batch", 1)):
            value = getattr(experiment, key)
            values = value if isinstance(value, tuple) else (value,)
            if not values or min(values) < low or len(set(values)) != len(values):
                raise UserError(
                    f"`{key}` is {list(values)}",
                    where=self._where(key),
                    fix=f"Give distinct numbers from {low}.",
                )
        columns = [entry.label for entry in experiment.benchmarks]
        for name in (one for pair in experiment.out_of_distribution.items() for one in pair):
            if name.partition("/")[0] not in columns:
                raise UserError(
                    f"`out_of_distribution` names {name!r}",
                    where=self._where("out_of_distribution"),
                    fix=f"Write OUTSIDE: INSIDE, each a benchmark or BENCHMARK/GROUP. {did_you_mean(name, columns)}",
                )
        if experiment.tune:
            check_tune(experiment, experiment.tune, self._where("tune"))
        names = experiment.data_quality
        if not names or len(set(names)) != len(names):
            raise UserError(
                f"`data_quality` is {list(names)}", where=self._where("data_quality"), fix="Give distinct names."
            )
        for entry in experiment.methods:
            if entry.on == "small_base" and experiment.small_base is None:
                raise UserError(
                    f"{entry.label} runs on the small base, and none is named",
                    where=self._where("methods"),
                    fix="Add `small_base: NAME`.",
                )

    def _methods(self) -> tuple[MethodEntry, ...]:
        found: list[MethodEntry] = []
        for at, item in enumerate(self.root.value["methods"]):
            where = self._where("methods", at)
            plugin, given, options = _located(item, where)
            earlier = {entry.label: entry.method for entry in found}
            method = build_plugin("methods", plugin, given, where, earlier)
            on = typed(On, options.get("on", "base"), where)
            found.append(MethodEntry(_unique(options.get("as", plugin), found, where), plugin, method, on))
        return tuple(found)

    def _benchmarks(self) -> tuple[BenchmarkEntry, ...]:
        found: list[BenchmarkEntry] = []
        for at, item in enumerate(self.root.value["benchmarks"]):
            where = self._where("benchmarks", at)
            plugin, given, options = _located(item, where)
            benchmark = build_plugin("benchmarks", plugin, given, where, {})
            found.append(BenchmarkEntry(_unique(options.get("as", plugin), found, where), plugin, benchmark))
        return tuple(found)

    def _bases(self) -> tuple[BaseSpec, ...]:
        found: list[BaseSpec] = []
        for at, item in enumerate(self.root.value["bases"]):
            spec = self._base(item, ("bases", at))
            if spec.label in [other.label for other in found]:
                raise UserError(
                    f"two bases are called {spec.label!r}",
                    where=self._where("bases", at),
                    fix="Tell them apart: {name: NAME, dtype: bfloat16, as: LABEL}.",
                )
            found.append(spec)
        return tuple(found)

    def _base(self, item: Any, path: tuple[str | int, ...]) -> BaseSpec:
        where = self._where(*path)
        given = {"name": item} if isinstance(item, str) else item
        if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
            raise UserError(f"{item!r} names no model", where=where, fix="Write a name, or {name: ..., dtype: ...}.")
        hints = {
            "name": str,
            "revision": str,
            "dtype": Literal["float32", "bfloat16", "float16"],
            "device": str,
            "chat_template": str,
            "trust_remote_code": bool,
            "as": str,
        }
        self._check_keys(given, set(hints), path)
        values = {key: typed(hints[key], value, f"{where}, {key}") for key, value in given.items()}
        values["called"] = values.pop("as", "")
        device = _device(values.get("device", "auto"), where)
        values.setdefault("dtype", "bfloat16" if device.startswith("cuda") else "float32")
        if values.get("chat_template"):
            values["chat_template"] = self._path(values["chat_template"], where)
        name = values["name"]
        values["name"] = self._path(name, where) if name.startswith(".") else name
        return BaseSpec(**{**values, "device": device})

    def _tune(self) -> Tune | None:
        if "tune" not in self.root.value:
            return None
        given = self.root.value["tune"] or {}
        hints = get_type_hints(Tune)
        self._check_keys(given, set(hints), ("tune",))
        return Tune(**{key: typed(hints[key], value, self._where("tune", key)) for key, value in given.items()})

    def _data(self) -> dict[str, dict[str, DataSpec]]:
        given = self.root.value.get("data") or {}
        self._check_keys(given, set(KINDS), ("data",))
        qualities = self.root.value.get("data_quality") or []
        found = {}
        for kind, item in given.items():
            if qualities and isinstance(item, Mapping) and "name" not in item:
                self._check_keys(item, set(qualities), ("data", kind))
                self._check_named(item, qualities, kind)
                found[kind] = {name: self._set(value, ("data", kind, name)) for name, value in item.items()}
            else:
                found[kind] = {"": self._set(item, ("data", kind))}
        if qualities and all("" in sets for sets in found.values()):
            raise UserError(
                "no kind of data has a set for each quality",
                where=self._where("data_quality"),
                fix=f"Write data: {{demonstrations: {{{', '.join(f'{name}: NAME' for name in qualities)}}}}}.",
            )
        return found

    def _check_named(self, sets: Mapping[str, Any], qualities: Sequence[str], kind: str) -> None:
        for name in qualities:
            if name not in sets:
                raise UserError(
                    f"the {kind} have no set for the quality {name!r}",
                    where=self._where("data", kind),
                    fix=f"Add `{name}: NAME`, or take {name} out of `data_quality`.",
                )

    def _set(self, item: Any, path: tuple[str, ...]) -> DataSpec:
        where = self._where(*path)
        values = {"name": item} if isinstance(item, str) else item
        if not isinstance(values, Mapping) or "name" not in values:
            raise UserError(
                f"{item!r} names no data set",
                where=where,
                fix="Write a name, or {name: ..., split: ...}; one set per quality needs `data_quality: [...]`, too.",
            )
        self._check_keys(values, {item.name for item in fields(DataSpec)}, path)
        spec = DataSpec(**{key: typed(str, value, where) for key, value in values.items()})
        # a folder stands beside the experiment file, too
        local = not spec.name.startswith(SHIPPED) and is_local(str(self._beside(spec.name)))
        return replace(spec, name=str(self._beside(spec.name))) if local else spec

    def _path(self, name: str, where: str) -> str:
        path = self._beside(name)
        if not path.exists():
            raise UserError(f"{name!r} is not there", where=where, fix=f"Paths start at {self.file.parent.resolve()}.")
        return str(path)

    def _beside(self, name: str) -> Path:
        return (self.file.parent / Path(name).expanduser()).resolve()

    def _where(self, *path: str | int) -> str:
        return f"{self.file}:{self.root.line(path)}"

    def _check_keys(self, given: Any, known: set[str], path: tuple[str | int, ...]) -> None:
        if not isinstance(given, Mapping):
            raise UserError(f"{given!r} is no mapping", where=self._where(*path), fix="Write key: value.")
        for key in given:
            if key not in known:
                raise UserError(
                    f"unknown key {key!r}", where=self._where(*path, key), fix=did_you_mean(str(key), known)
                )


def _located(item: Any, where: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    try:
        return _entry_parts(item)
    except UserError as error:
        raise UserError(error.what, where=where, fix=error.fix) from None


def _unique(label: Any, found: Sequence[MethodEntry | BenchmarkEntry], where: str) -> str:
    if any(entry.label == label for entry in found):
        raise UserError(
            f"two entries are labelled {label!r}",
            where=where,
            fix="Tell them apart: {name: {...}, as: label}.",
        )
    if not isinstance(label, str) or not label or set(label) & set("/:\n"):
        raise UserError(f"the label {label!r} will not do", where=where, fix="A label is a word without / and : in it.")
    return label


def _device(name: str, where: str) -> str:
    """`auto` is the GPU where the machine has one. Asked of the system, since torch takes seconds to ask."""
    if name.startswith("cuda:") and name != "cuda:0":
        raise UserError(
            f"the device is {name!r}, and training libraries take the first GPU that they see",
            where=where,
            fix="Write cuda, and choose with the environment: CUDA_VISIBLE_DEVICES=1 bakeoff run ...",
        )
    if name != "auto":
        return name
    return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"


def check_tune(experiment: Experiment, tune: Tune, where: str) -> None:
    """Raises UserError for labels and fields that are not there, and for numbers that will not do."""
    if tune.trials < 2:
        raise UserError(f"`trials` is {tune.trials}", where=where, fix="Give 2 or more: the first is as written.")
    if tune.seed in experiment.seeds or tune.seed < 0:
        raise UserError(
            f"`tune` has the seed {tune.seed}",
            where=where,
            fix="Give one from 0 that is not among `seeds`: trials are reported nowhere else.",
        )
    columns = [entry.label for entry in experiment.benchmarks]
    for label in tune.benchmarks:
        if label not in columns:
            raise UserError(f"`tune` names the benchmark {label!r}", where=where, fix=did_you_mean(label, columns))
    methods = {entry.label: entry.method for entry in experiment.methods}
    for label, names in tune.fields.items():
        if label not in methods:
            raise UserError(f"`tune` names the method {label!r}", where=where, fix=did_you_mean(label, methods))
        known = searchable(methods[label])
        for name in names:
            if name not in known:
                raise UserError(
                    f"`tune`: {label} has no field {name!r} with a search range",
                    where=where,
                    fix=did_you_mean(name, known) if known else "Leave the method out.",
                )
    for label in (entry.label for entry in experiment.methods if entry.label + TUNED in methods):
        raise UserError(f"{label + TUNED} is a row that `tune` adds", where=where, fix="Give that entry another label.")
