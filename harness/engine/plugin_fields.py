"""From values of the YAML file to typed fields: pydantic checks each, and its error becomes one with a line."""

from __future__ import annotations

import copyreg
import dataclasses
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from harness.data.folders import READABLE
from harness.engine.registry import Kind, place_in_plugin, plugin_class, plugin_names, source_file
from harness.engine.yaml_lines import Located, foreign, short
from harness.errors import UserError, did_you_mean, first_line, shortened
from harness.method import LocalPath, Method, plugin_name, required_fields

# pydantic reads the entry points of all installed packages; a malformed line of any of them would end every run
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# methods go to other processes; told here, since what harness.method runs is part of every content key
copyreg.pickle(LocalPath, lambda path: (LocalPath, (str(path), path.written)))

CONFIG = ConfigDict(arbitrary_types_allowed=True, allow_inf_nan=False)
# the first word of pydantic's error type -> what is right, and an example
EXPECTED = {
    "int": ("a whole number", "3"),
    "float": ("a number", "0.5"),
    "finite": ("a finite number", "0.5"),
    "bool": ("true or false", "true"),
    "string": ("text", "'some text'"),
    "tuple": ("a list", "[{}]"),
    "list": ("a list", "[{}]"),
    "mapping": ("a mapping", "{{key: {}}}"),
    "dict": ("a mapping", "{{key: {}}}"),
    "too": ("a list with at least one entry", "[...]"),
}


def field_types(shape: type[Any]) -> dict[str, Any]:
    """The type of every field of a dataclass, with the lower bound that its `setting` declares."""
    hints = get_type_hints(shape, include_extras=True)
    found = {}
    for item in dataclasses.fields(shape):
        least = item.metadata.get("least")
        found[item.name] = hints[item.name] if least is None else Annotated[hints[item.name], Ge(least)]
    return found


def checked(shape: type[Any], given: Located, renamed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The fields of a dataclass that a mapping sets. `renamed`: key in the file -> field, where they differ."""
    types = field_types(shape)
    types |= {key: types.pop(field) for key, field in (renamed or {}).items()}
    given.check_keys(types)
    return {(renamed or {}).get(key, key): typed(types[key], value) for key, value in given.parts()}


def typed(hint: Any, given: Located) -> Any:
    """The value as that type. Raises UserError at the line of what does not fit."""
    try:
        value = TypeAdapter(hint, config=CONFIG).validate_python(given.value)
    except ValidationError as error:
        raise _located(error, given) from None
    _check_truths(value, given)
    return value


def _check_truths(value: Any, given: Located) -> None:
    """Raise UserError where `true` or `false` was read as the number 1 or 0."""
    if isinstance(given.value, bool) and isinstance(value, (int, float)) and not isinstance(value, bool):
        raise given.error(f"{_name_of(given)} must be a number, got {str(given.value).lower()}")
    if isinstance(given.value, list) and isinstance(value, (list, tuple)):
        for inner, (_, item) in zip(value, given.parts(), strict=False):
            _check_truths(inner, item)
    if isinstance(given.value, Mapping) and isinstance(value, Mapping):
        for key, item in given.parts():
            _check_truths(value.get(key), item)


def _located(error: ValidationError, given: Located) -> UserError:
    """The innermost fault that pydantic found: where it is written, what would be right, and an example."""
    faults = error.errors(include_url=False)
    fault = max(faults, key=lambda one: len(one["loc"]))
    name, value = _name_of(given), fault["input"]
    # a field of several types has a fault for each
    wanted = dict(_expected(one) for one in faults if one["input"] is value and len(one["loc"]) == len(fault["loc"]))
    example = next(iter(wanted.values())).format(value)
    fix = f"Example: {name.split('.')[-1]}: {example}" if example and name else ""
    return given.error(f"{name or 'it'} must be {' or '.join(wanted)}, got {short(value)}", *fault["loc"], fix=fix)


def _expected(fault: ErrorDetails) -> tuple[str, str]:
    """(what is right, an example) for a fault."""
    kind, limits = fault["type"].split("_")[0], fault.get("ctx", {})
    if kind == "literal":
        return f"one of {limits['expected']}", limits["expected"].split("'")[1]
    if kind in ("greater", "less"):
        bound = limits["ge" if kind == "greater" else "le"]
        bound = int(bound) if bound == int(bound) else bound
        return f"{bound} or {'more' if kind == 'greater' else 'less'}", str(bound)
    return EXPECTED.get(kind, (f"something else ({fault['msg']})", ""))


def _name_of(given: Located) -> str:
    """sft.epochs for ("methods", 1, "sft", "epochs"): the keys after the last number."""
    path = list(given.path)
    while path and isinstance(path[-1], int):
        path.pop()
    start = max((at + 1 for at, key in enumerate(path) if isinstance(key, int)), default=0)
    return ".".join(map(str, path[start:]))


def _unnamed_methods(plugin: type[Any], types: Mapping[str, Any]) -> list[str]:
    """The fields that hold a method and whose default is none."""
    return [item.name for item in dataclasses.fields(plugin) if types[item.name] is Method and item.default is None]


def _labelled_defaults(plugin: type[Any], labels: Mapping[str, Method]) -> dict[str, Any]:
    """The fields whose default is a method, or several, without settings of its own and whose name is a label."""

    def entry(default: Any) -> Any:
        plain = isinstance(default, Method) and not required_fields(type(default)) and default == type(default)()
        return labels[name] if plain and (name := plugin_name(default)) in labels else default

    found = {}
    for item in dataclasses.fields(plugin):
        default: Any = item.default
        own = tuple(entry(one) for one in default) if isinstance(default, tuple) else entry(default)
        if own != default:
            found[item.name] = own
    return found


def _with_field(kind: Kind, key: str) -> str:
    """A sentence that names the plugins which do have a field of that name; "" where none has."""
    having = []
    for name in plugin_names(kind):
        with suppress(UserError):  # one that does not load has no fields
            having += [name] if key in field_types(plugin_class(kind, name)) else []
    return f" {key} is a field of {', '.join(having)}." if having else ""


def build_plugin(kind: Kind, name: str, given: Located, labels: Mapping[str, Method], folder: Path) -> Any:
    """The plugin with these fields. A field that holds a method takes a label, a name or {name: fields}, and one
    that holds several a list of them. One that is left out is read as if the name of its default were written: where
    the experiment has an entry of that label, the default is that entry and its settings.

    labels  the methods of the experiment by label
    folder  where relative paths of its fields start: the folder of the experiment file
    """
    try:
        found = plugin_class(kind, name)
    except UserError as error:
        raise UserError(f"{error.what}{foreign(name)}", where=error.where or given.place(), fix=error.fix) from None
    types, values = field_types(found), dict[str, Any]()
    paths = {item.name: item.metadata.get("path", False) for item in dataclasses.fields(found)}
    for key, value in given.parts():
        if key not in types:
            fix = f"{did_you_mean(str(key), types)}{_with_field(kind, str(key))}"
            raise given.error(f"{name} has no field {short(key)}{foreign(key)}", key, fix=fix)
        values[key] = _field(types[key], value, labels, folder)
        if paths[key]:
            values[key] = _located_paths(values[key], folder)
    if lacking := [
        field for field in (*required_fields(found), *_unnamed_methods(found, types)) if field not in values
    ]:
        raise given.error(f"{name} needs {', '.join(lacking)}", fix=f"Give {lacking[0]}.")
    try:
        plugin = found(**{**_labelled_defaults(found, labels), **values})
        if isinstance(plugin, Method):
            plugin.check()
    except UserError as error:
        named = [key for key in values if re.search(rf"\b{key}\b", error.what)]
        what = f"{error.what} ({error.where})" if error.where else error.what  # the place in a file that a field names
        raise given.error(what, *named[:1], fix=error.fix) from None
    except (Exception, SystemExit) as error:  # the author's mistake, told like the user's
        where = f" ({place_in_plugin(error, source_file(kind, name))})"
        what = f"{name} fails to check its fields: {type(error).__name__}: {first_line(error)}{where}"
        raise given.error(what, fix="Correct the plugin's file.") from error
    return plugin


def _located_paths(value: Any, folder: Path) -> Any:
    """A name, or a tuple or mapping of them: whichever is that of a file or folder below `folder` becomes its path.

    A bare word stays a name (of a task, a method, an embedded set); `./word` is a path.
    """
    if isinstance(value, tuple):
        return tuple(_located_paths(item, folder) for item in value)
    if isinstance(value, dict):
        return {key: _located_paths(item, folder) for key, item in value.items()}
    if not isinstance(value, str) or not re.search(r"[/\\.]", value) or os.path.isabs(os.path.expanduser(value)):
        return value
    name, colon, configuration = value.rpartition(":")
    for written, rest in ((value, ""), (name, colon + configuration)):
        try:
            if written and (folder / written).exists():
                return LocalPath(f"{(folder / written).resolve()}{rest}", value)
        except (OSError, ValueError):  # too long for a path, or not one at all
            continue
    return value


def require_local_files(plugin: Any, given: Located) -> None:
    """Raise UserError at the line of a field that names a local file or folder which does not exist."""
    for item in dataclasses.fields(plugin):
        value = getattr(plugin, item.name)
        for name in value if isinstance(value, tuple) else (value,):
            if item.metadata.get("path") and item.name in given.value and _is_missing(name):
                raise given.error(
                    f"{item.name} is {shortened(repr(name))}, and there is no such file or folder",
                    item.name,
                    fix="Paths start at the experiment file. `on_error: skip` in the entry leaves its cells out (n/a).",
                )


def _is_missing(name: Any) -> bool:
    """Whether a name can only be that of a file or folder, and there is none: hub ids have neither form."""
    if not isinstance(name, str) or not name:
        return False
    written = name.startswith((".", "/", "~")) or name.lower().endswith((*READABLE, ".txt", ".yaml", ".yml"))
    places = (Path(one).expanduser() for one in (name, name.rpartition(":")[0]) if one)
    return written and not any(map(os.path.exists, places))


def _field(hint: Any, given: Located, labels: Mapping[str, Method], folder: Path) -> Any:
    if hint is Method:
        return build_method(given, labels, folder)
    if hint == tuple[Method, ...]:
        if not isinstance(given.value, list):
            raise given.error(f"expected a list of methods, got {short(given.value)}", fix="Example: [sft, lora]")
        return tuple(build_method(item, labels, folder) for _, item in given.parts())
    return typed(hint, given)


def build_method(given: Located, labels: Mapping[str, Method], folder: Path) -> Method:
    """The method of a label, a name or {name: {field: value}}. Raises UserError for anything else."""
    if isinstance(given.value, str) and given.value in labels:
        return labels[given.value]
    # iteration also gives the labels that are being built, which `in` leaves out
    if isinstance(given.value, str) and given.value in [*labels] and given.value not in plugin_names("methods"):
        raise given.error(f"{given.value} is made of itself", fix="Name another method, such as base.")
    plugin, fields, options = entry_parts(given, options=())
    assert not options
    found = build_plugin("methods", plugin, fields, labels, folder)
    assert isinstance(found, Method)
    return found


def entry_parts(entry: Located, options: tuple[str, ...] = ("as", "on")) -> tuple[str, Located, dict[str, Located]]:
    """(plugin, fields, options such as `as`) of `sft` or `{sft: {...}, as: hot}`."""
    if isinstance(entry.value, str):
        return entry.value, Located({}, entry.places, (*entry.path, entry.value)), {}
    fix = "Write a name, or {name: {field: value}" + (", as: label}." if options else "}.")
    if not isinstance(entry.value, Mapping):
        raise entry.error(f"expected a plugin, got {short(entry.value)}", fix=fix)
    plugins = [key for key in entry.value if key not in options]
    if len(plugins) != 1:
        names = ", ".join(map(str, plugins))
        if len(plugins) > 1:
            own = entry.value[plugins[0]]
            inside = {**(own if isinstance(own, Mapping) else {}), **{key: entry.value[key] for key in plugins[1:]}}
            inner = ", ".join(f"{key}: {short(value)}" for key, value in inside.items())
            fix = f"Fields are one level further in than the name. Example: {{{plugins[0]}: {{{inner}}}}}"
        raise entry.error(f"an entry must name one plugin, got {len(plugins)}: {names}", fix=fix)
    plugin = str(plugins[0])
    fields = entry[plugins[0]]
    if fields.value is None:
        fields = dataclasses.replace(fields, value={})
    if not isinstance(fields.value, Mapping):
        raise fields.error(f"the fields of {plugin} must be a mapping, got {short(fields.value)}", fix=fix)
    return plugin, fields, {key: entry[key] for key in options if key in entry.value}
