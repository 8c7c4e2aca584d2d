"""From the YAML file that a user writes to a checked experiment; every mistake is reported with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from harness.data.load import KINDS, SHIPPED, DataSpec
from harness.data.readers import is_local
from harness.engine.claims_file import ClaimsFile, read_claims
from harness.engine.experiment import BenchmarkEntry, Experiment, MethodEntry, On, Stop, Tune
from harness.engine.plugin_fields import build_plugin, checked, entry_parts, field_types, require_local_files, typed
from harness.engine.registry import source_file
from harness.engine.search import TUNED, searchable
from harness.engine.showable import is_plain
from harness.engine.soundness import sound
from harness.engine.yaml_lines import Located, parse_yaml, read_small_text, short
from harness.errors import UserError, did_you_mean
from harness.method import Method
from harness.policy.base_model import BaseSpec

LONGEST_QUESTION = 160
LABEL = re.compile(r"\w(?:[^/:]{,98}[^/:\s])?")
# what a prompt is rendered with, which no argument of a template may replace
RENDERED_WITH = {
    "messages",
    "conversation",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template",
    "tokenize",
}
NAME = re.compile(r"\w(?:.{,198}\S)?")  # also of a base, which may be a path


def load_experiment(file: Path, settings: Sequence[str] = (), text: str | None = None) -> Experiment:
    """Read and check an experiment; `settings` are the --set arguments KEY=VALUE or LABEL.FIELD=VALUE.

    text  of the experiment, on a machine that need not have the file; its relative paths begin at the file's place
    """
    if text is None:
        if not _is_file(file):
            raise UserError("no such experiment file", where=str(file), fix="Give the path of a YAML experiment.")
        text = read_small_text(file)
    root = parse_yaml(text, file)
    if not isinstance(root.value, dict):
        raise UserError("an experiment is a mapping of keys", where=str(file), fix="Example: bases: [microworld/small]")
    for setting in settings:
        _apply(root, setting)
        text += f"# --set {setting}\n"
    return replace(_Reader(root, file).experiment(text), settings=tuple(settings))


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False


def _apply(root: Located, setting: str) -> None:
    """Change one top-level key, or one field of the method or benchmark with that label."""
    target, separator, text = setting.partition("=")
    place = f"--set {setting}"
    if not separator:
        raise UserError(
            f"--set {setting!r} has no value",
            fix="Write --set LABEL.FIELD=VALUE or --set KEY=VALUE. Example: --set 'sft.epochs=3'",
        )
    if not setting.isprintable():  # it is recorded as a line of the experiment
        raise UserError(f"--set {setting!r} is not one line of text", fix="Write --set LABEL.FIELD=VALUE.")
    value = parse_yaml(text, place).value
    label, dot, name = target.partition(".")
    if not dot:
        return root.put(value, place, target)
    lists = [root[kind] for kind in ("methods", "benchmarks") if isinstance(root.value.get(kind), list)]
    entries = {label: (fields, options) for given in lists for label, _, fields, options in _entries(given)}
    if label not in entries:
        raise UserError(f"--set {setting!r}: no entry has the label {label!r}", fix=did_you_mean(label, entries))
    fields, options = entries[label]
    kind, at, plugin = fields.path
    # also where the entry was a bare name, or had no fields
    root.value[kind][at] = {key: option.value for key, option in options.items()} | {plugin: dict(fields.value)}
    return root.put(value, place, *fields.path, name)


def _entries(given: Located) -> Iterator[tuple[str, str, Located, dict[str, Located]]]:
    """(label, plugin, fields, options) of every entry of `methods` or `benchmarks`."""
    seen: set[str] = set()
    for _, item in given.parts():
        plugin, fields, options = entry_parts(item, ("as", "on" if given.path == ("methods",) else "on_error"))
        label, below = (options["as"].value, "as") if "as" in options else (plugin, plugin)
        if not isinstance(label, str) or not LABEL.fullmatch(label) or not is_plain(label):
            what = f"a label must begin with a letter or digit and have no / and : in it, got {short(label)}"
            raise item.error(what, below, fix="Example: as: hot")
        if label in seen:
            fix = "Tell them apart: {name: {...}, as: label}."
            raise item.error(f"two entries are labelled {label!r}", below, fix=fix)
        seen.add(label)
        yield label, plugin, fields, options


class _MethodsByLabel(Mapping[str, Method]):
    """The methods of an experiment by label, each built when it is first asked for: their order decides nothing.

    entries  label -> (plugin, fields)
    """

    def __init__(self, entries: Mapping[str, tuple[str, Located]], folder: Path) -> None:
        self.entries, self.folder = entries, folder
        self.built: dict[str, Method] = {}
        self.underway: list[str] = []

    def __getitem__(self, label: str) -> Method:
        if label not in self.built:
            plugin, fields = self.entries[label]
            if label in self.underway:
                what = f"{label} and {self.underway[-1]} are made of each other"
                raise fields.error(what, fix="Give one of them a method under another label.")
            self.underway.append(label)
            self.built[label] = build_plugin("methods", plugin, fields, self, self.folder)
            self.underway.pop()
        return self.built[label]

    def __contains__(self, label: object) -> bool:
        # within its own entry a label is not yet a method, so the word means the plugin of that name
        return label in self.entries and label not in self.underway[-1:]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class _Reader:
    """Turns the parsed file into an Experiment."""

    def __init__(self, root: Located, file: Path) -> None:
        self.root, self.file = root, file

    def experiment(self, text: str) -> Experiment:
        types = field_types(Experiment)
        for ours in ("file", "text", "settings", "quality_order"):
            del types[ours]
        self.root.check_keys(types)
        for key in ("bases", "methods", "benchmarks"):
            if not self.root.value.get(key):
                what = f"`{key}` is missing or empty"
                raise UserError(what, where=str(self.file), fix=f"List at least one of `{key}`.")
            if not isinstance(self.root.value[key], list):
                raise self.root.error(f"`{key}` must be a list", key, fix=f"Example: {key}: [NAME, ...]")
        build: dict[str, Callable[[Located], Any]] = {
            "name": self._name,
            "question": self._question,
            "bases": self._bases,
            "small_base": lambda given: self._base(given) if given.value else None,
            "methods": self._methods,
            "benchmarks": self._benchmarks,
            "data": self._data,
            "data_quality": lambda _: self._qualities[0],
            "claims": self._claims,
            "contrasts": self._contrasts,
            "tuned_in": self._tuned_in,
            "stop": lambda given: Stop(**checked(Stop, given)) if given.value else Stop(),
            "tune": lambda given: Tune(**checked(Tune, given)) if given.value else Tune(),
        }
        values = {
            key: build[key](given) if key in build else typed(types[key], given) for key, given in self.root.parts()
        }
        named = {"name": self.file.stem, **values}
        experiment = Experiment(file=self.file, text=text, quality_order=self._qualities[1], **named)
        self._check(experiment)
        return experiment

    @cached_property
    def _qualities(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """The names of the training sets, and which of them is declared better than which; empty without the key."""
        if "data_quality" not in self.root.value:
            return (), {}
        given = self.root["data_quality"]
        if not isinstance(given.value, Mapping):
            return typed(field_types(Experiment)["data_quality"], given), {}
        fix = "Example: data_quality: {better: curated, worse: unfiltered, others: [shuffled]}, or a list without order"
        given.check_keys(("better", "worse", "others"))
        if not {"better", "worse"} <= set(given.value):
            raise given.error("an order of quality names a better and a worse set", fix=fix)
        order = {name: typed(str, given[name]) for name in ("better", "worse")}
        others = typed(tuple[str, ...], given["others"]) if "others" in given.value else ()
        return (*order.values(), *others), order

    def _claims(self, given: Located) -> ClaimsFile | None:
        if given.value is None:
            return None
        if not isinstance(given.value, str) or not given.value:
            fix = "Example: claims: my-claims.yaml"
            raise given.error(f"`claims` must be the path of a file, got {short(given.value)}", fix=fix)
        path = self._path(given.value, given, "claims")
        if not _is_file(path):
            fix = f"Paths start at {self.file.parent.resolve()}."
            raise given.error(f"no such claims file: {given.value!r}", fix=fix)
        return read_claims(path)

    def _contrasts(self, given: Located) -> tuple[tuple[str, str], ...]:
        """The pairs (A, B) of `A - B`; a label may have a hyphen in it, so that every way to split is tried."""
        labels = [label for label, *_ in _entries(self.root["methods"])]
        labels += [label + TUNED for label in labels] if self.root.value.get("tune") else []
        if not isinstance(given.value, list):
            fix = "Example: contrasts: [rft - sft, dpo - sft]"
            raise given.error(f"`contrasts` must be a list of differences, got {short(given.value)}", fix=fix)
        found: list[tuple[str, str]] = []
        for _, item in given.parts():
            pair = _contrast(item, labels)
            if pair in found or pair[::-1] in found:
                raise item.error(f"the contrast {item.value!r} is given twice", fix="Keep one of the two.")
            found.append(pair)
        return tuple(found)

    def _name(self, given: Located) -> str:
        name = str(given.value) if isinstance(given.value, (int, float)) else given.value or self.file.stem
        return _plain(name, given, "name")

    def _question(self, given: Located) -> str:
        asked = given.value.strip() if isinstance(given.value, str) else given.value or ""
        if not isinstance(asked, str) or len(asked) > LONGEST_QUESTION or (asked and not is_plain(asked)):
            what = f"`question` must be a line of text of {LONGEST_QUESTION} characters or fewer, got {short(asked)}"
            fix = "Example: question: Does LoRA forget less than full fine-tuning?"
            raise self.root.error(what, "question", fix=fix)
        return asked

    def _tuned_in(self, given: Located) -> str | None:
        if given.value is None:
            return None
        folder = self._path(typed(str, given), given, "tuned_in")
        if not (folder / "matrix.json").is_file():
            what = f"`tuned_in` is {short(given.value)}, which has no matrix.json"
            fix = (
                f"Name a results folder; paths start at {self.file.parent.resolve()}. Example: tuned_in: results/sweep"
            )
            raise self.root.error(what, "tuned_in", fix=fix)
        return str(folder)

    def _methods(self, given: Located) -> tuple[MethodEntry, ...]:
        entries = list(_entries(given))
        of_labels = {label: (plugin, fields) for label, plugin, fields, _ in entries}
        built = _MethodsByLabel(of_labels, self.file.parent)
        found = []
        for label, plugin, _, options in entries:
            on: On = typed(On, options["on"]) if "on" in options else "base"
            if on == "small_base" and not self.root.value.get("small_base"):
                what = f"{label} runs on the small base, and none is named"
                raise options["on"].error(what, fix="Add `small_base: NAME`.")
            found.append(MethodEntry(label, plugin, built[label], on))
        return tuple(found)

    def _benchmarks(self, given: Located) -> tuple[BenchmarkEntry, ...]:
        found = []
        for label, plugin, fields, options in _entries(given):
            built = build_plugin("benchmarks", plugin, fields, {}, self.file.parent)
            # a file that is missing is the user's mistake; what cannot be reached today is not
            if "on_error" not in options or typed(Literal["stop", "skip"], options["on_error"]) == "stop":
                require_local_files(built, fields)
            found.append(BenchmarkEntry(label, plugin, sound(built, source_file("benchmarks", plugin))))
        return tuple(found)

    def _bases(self, given: Located) -> tuple[BaseSpec, ...]:
        found: dict[str, BaseSpec] = {}
        for _, item in given.parts():
            spec = self._base(item)
            if spec.label in found:
                fix = "Tell them apart: {name: NAME, dtype: bfloat16, as: LABEL}."
                raise item.error(f"two bases are called {spec.label!r}", fix=fix)
            found[spec.label] = spec
        return tuple(found.values())

    def _base(self, given: Located) -> BaseSpec:
        if isinstance(given.value, str):
            given = replace(given, value={"name": given.value})
        if not isinstance(given.value, Mapping) or not isinstance(given.value.get("name"), str):
            fix = "Write a name, or {name: NAME, dtype: bfloat16}."
            raise given.error(f"expected a base model, got {short(given.value)}", fix=fix)
        values = {"device": "auto", **checked(BaseSpec, given, {"as": "called"})}
        if "called" in values:
            _plain(values["called"], given, "as")
        if "date" in values and not _is_date(values["date"]):
            raise given.error(f"the date is {short(values['date'])}", "date", fix="Write it as 2025-01-31.")
        for argument in sorted(RENDERED_WITH & {*values.get("template_arguments", {})}):
            fix = "Leave it out: arguments are the template's own, such as enable_thinking."
            raise given.error(
                f"`{argument}` is set for every prompt by itself", "template_arguments", argument, fix=fix
            )
        values["device"] = _device(given, values["device"])
        values.setdefault("dtype", "bfloat16" if values["device"].startswith("cuda") else "float32")
        for key in ("name", "chat_template"):
            if name := values.get(key):
                path = self._path(name, given, key)
                # a name is a path only where it begins with a dot; a template always is one
                if key == "chat_template" or name.startswith("."):
                    if not path.exists():
                        fix = f"Paths start at {self.file.parent.resolve()}."
                        raise given.error(f"{name!r} does not exist", key, fix=fix)
                    values[key] = str(path)
                    if key == "chat_template":
                        _check_template(read_small_text(path), given)
        return BaseSpec(**values)

    def _data(self, given: Located) -> dict[str, dict[str, DataSpec]]:
        if given.value is None:
            return {}
        given.check_keys(KINDS)
        qualities, _ = self._qualities
        found = {}
        for kind, item in given.parts():
            if qualities and isinstance(item.value, Mapping) and "name" not in item.value:
                item.check_keys(qualities)
                if missing := [name for name in qualities if name not in item.value]:
                    fix = f"Add `{missing[0]}: NAME`, or take {missing[0]} out of `data_quality`."
                    raise item.error(f"the {kind} have no set for the quality {missing[0]!r}", fix=fix)
                found[kind] = {name: self._set(value) for name, value in item.parts()}
            else:
                found[kind] = {"": self._set(item)}
        if qualities and all("" in sets for sets in found.values()):
            sets = ", ".join(f"{name}: NAME" for name in qualities)
            fix = f"Write data: {{demonstrations: {{{sets}}}}}."
            raise self.root.error("no kind of data has a set for each quality", "data_quality", fix=fix)
        return found

    def _set(self, given: Located) -> DataSpec:
        if isinstance(given.value, str):
            given = replace(given, value={"name": given.value})
        if not isinstance(given.value, Mapping) or "name" not in given.value:
            fix = "Write a name, or {name: NAME, split: SPLIT}. A set per quality also needs `data_quality: [...]`."
            raise given.error(f"expected a data set, got {short(given.value)}", fix=fix)
        spec = DataSpec(**checked(DataSpec, given))
        path = self._path(spec.name, given, "name")
        # a local folder's path, too, starts at the experiment file
        local = not spec.name.startswith(SHIPPED) and is_local(str(path))
        return replace(spec, name=str(path)) if local else spec

    def _path(self, name: str, given: Located, key: str) -> Path:
        """The path that a name would be; relative ones start at the experiment file."""
        try:
            # unlike Path.expanduser, this keeps the name of an unknown user
            path = (self.file.parent / os.path.expanduser(name)).resolve()
            path.exists()
        except OSError as error:
            raise given.error(f"{name[:80]!r} cannot be a path: {error.strerror}", key) from None
        return path

    def _check(self, experiment: Experiment) -> None:
        """Check what several keys say together."""
        error = self.root.error
        labels = [entry.label for entry in experiment.methods]
        for role in ("baseline", "reference"):
            name = getattr(experiment, role)
            if name is not None and name not in labels:
                raise error(f"`{role}` is {name!r}, which no method is labelled", role, fix=did_you_mean(name, labels))
        for key in ("seeds", "data_sizes", "data_quality", "report_to"):
            values = list(getattr(experiment, key))
            if len(set(values)) != len(values):
                raise error(f"`{key}` is {short(values)}, with a value twice", key, fix="Give distinct values.")
        for name in experiment.data_quality if "data_quality" in self.root.value else ():
            _plain(name, self.root, "data_quality")
        columns = [entry.label for entry in experiment.benchmarks]
        for name in (one for pair in experiment.out_of_distribution.items() for one in pair):
            if name.partition("/")[0] not in columns:
                fix = f"Write OUTSIDE: INSIDE, each a benchmark or BENCHMARK/GROUP. {did_you_mean(name, columns)}"
                raise error(f"`out_of_distribution` names {name!r}", "out_of_distribution", name, fix=fix)
        if missing := [name for name in experiment.report_to if find_spec(name) is None]:
            fix = f"Install it: pip install {missing[0]}. Or leave it out of `report_to`."
            raise error(f"`report_to` names {missing[0]}, which is not installed", "report_to", fix=fix)
        if experiment.tune:
            _check_tune(experiment, experiment.tune, self.root)
        if experiment.stop:
            _check_stop(experiment, experiment.stop, self.root)


def _contrast(given: Located, labels: Sequence[str]) -> tuple[str, str]:
    """(A, B) of the text `A - B`, two labels of methods."""
    fix = f"Write A - B. Known: {', '.join(labels)}."
    if not isinstance(given.value, str) or " - " not in given.value:
        raise given.error(f"a contrast is a difference of two methods, got {short(given.value)}", fix=fix)
    cuts = [at.start() for at in re.finditer(" - ", given.value)]
    pairs = [(given.value[:cut].strip(), given.value[cut + 3 :].strip()) for cut in cuts]
    known = [pair for pair in pairs if pair[0] in labels and pair[1] in labels]
    if len(known) > 1:
        raise given.error(f"{given.value!r} can be read in two ways", fix="Give a method another label.")
    if not known:
        wrong = next(name for name in pairs[0] if name not in labels)
        raise given.error(f"the contrast {given.value!r} names {wrong!r}", fix=did_you_mean(wrong, labels))
    if known[0][0] == known[0][1]:
        raise given.error(f"the contrast {given.value!r} compares a method with itself", fix=fix)
    return known[0]


def _plain(name: Any, given: Located, key: str) -> str:
    """A name for tables and headings. Raises UserError where it cannot be one."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or not is_plain(name):
        what = f"`{key}` must be a line of text that begins with a letter or digit, got {short(name)}"
        raise given.error(what, key, fix=f"Example: {key}: my-comparison")
    return name


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(date.fromisoformat(text))
    except ValueError:
        return False


def _check_template(text: str, given: Located) -> None:
    """Raise UserError now, and not when the model is loaded, for a text that is not a chat template."""
    if "{" not in text or "messages" not in text:
        fix = "Name a Jinja file that writes `messages`."
        raise given.error("the file is not a chat template: it never uses `messages`", "chat_template", fix=fix)


def _device(given: Located, name: str) -> str:
    """`auto` is the GPU where the machine has one. The system is asked, since torch takes seconds to answer."""
    if name.startswith("cuda:") and name != "cuda:0":
        what = f"the device is {name!r}, and training libraries take the first GPU that they see"
        fix = "Write cuda, and choose with the environment: CUDA_VISIBLE_DEVICES=1 bakeoff run ..."
        raise given.error(what, "device", fix=fix)
    if not re.fullmatch(r"(auto|cpu|cuda|mps|xpu)(:0)?", name):
        raise given.error(f"the device is {name!r}", "device", fix="Write cpu, cuda or auto.")
    if name != "auto":
        return name
    return "cuda" if Path("/dev/nvidiactl").exists() else "cpu"


def _check_stop(experiment: Experiment, stop: Stop, root: Located) -> None:
    """Raises UserError for looks that do not rise to the whole, and for questions that stopping does not decide."""
    if experiment.baseline is None:
        what = "`stop` decides comparisons with the baseline, and none is named"
        raise root.error(what, "stop", fix="Add `baseline: LABEL`, or leave out `stop`.")
    if experiment.contrasts:
        what = "`stop` decides comparisons with the baseline, and `contrasts` declares others"
        raise root.error(what, "stop", fix="Leave out one of the two.")
    runs = len(experiment.seeds)
    for name, values, whole in (("items", stop.items, 1.0), ("seeds", stop.seeds or (runs,), runs)):
        if not values or [*values] != sorted(set(values)) or values[-1] != whole:
            said = "1, all items" if name == "items" else f"{runs}, all seeds of the experiment"
            example = "[0.1, 0.3, 1]" if name == "items" else f"[{max(1, runs - 2)}, {runs}]"
            what = f"`stop`: {name} must rise to {said}, got {short([*values])}"
            raise root.error(what, "stop", name, fix=f"Example: {name}: {example}")
    if stop.seeds and runs > 1 and stop.seeds[0] == 1:
        what = "`stop`: a look at one seed would decide about these trained runs, and not about the methods"
        raise root.error(what, "stop", "seeds", fix="Begin with 2 seeds or more.")


def _check_tune(experiment: Experiment, tune: Tune, root: Located) -> None:
    """Raises UserError for labels and fields that do not exist, and for a seed that results use."""
    if tune.seed in experiment.seeds:
        fix = "Give one that is not among `seeds`, since trials are not part of the results."
        raise root.error(f"`tune` has the seed {tune.seed}", "tune", "seed", fix=fix)
    columns = [entry.label for entry in experiment.benchmarks]
    for label in tune.benchmarks:
        if label not in columns:
            fix = did_you_mean(label, columns)
            raise root.error(f"`tune` names the benchmark {label!r}", "tune", "benchmarks", fix=fix)
    methods = {entry.label: entry.method for entry in experiment.methods}
    for label, names in tune.fields.items():
        below = ("tune", "fields", label)
        if label not in methods:
            raise root.error(f"`tune` names the method {label!r}", *below, fix=did_you_mean(label, methods))
        known = searchable(methods[label])
        for name in names:
            if name not in known:
                fix = did_you_mean(name, known) if known else "Leave the method out."
                raise root.error(f"`tune`: {label} has no field {name!r} with a search range", *below, fix=fix)
    for label in (entry.label for entry in experiment.methods if entry.label + TUNED in methods):
        fix = "Give that entry another label."
        raise root.error(f"`tune` adds a row {label + TUNED}, and an entry has that label", "tune", fix=fix)
