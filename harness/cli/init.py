"""`bakeoff init`: four questions, or flags, become a commented experiment that `bakeoff plan` accepts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

import typer
from ruamel.yaml import YAML

from harness.cli.screen import printer
from harness.engine import registry
from harness.engine.config import load_experiment
from harness.engine.plan import needs_of
from harness.errors import UserError, did_you_mean
from harness.files import HARNESS
from harness.method import required_fields

PROPOSALS = HARNESS / "cli" / "templates" / "init.yaml"
EMBEDDED = "microworld/"
KINDS_OF_DATA = ("demonstrations", "preferences", "judged", "problems")
SEEDS = {"quick": 1, "standard": 3, "thorough": 5}
LEADS = {
    "quick": "one seed, a first look that says nothing about other training runs",
    "standard": "three seeds; five tell much smaller differences apart",
    "thorough": "five seeds",
}


@dataclass(frozen=True)
class Wanted:
    """The answers; `data`: kind -> name, `small_base`: "" for none."""

    base: str
    data: Mapping[str, str]
    methods: Sequence[str]
    budget: str
    small_base: str


def init_verb(file: Path, base: str, data: Sequence[str], methods: str, budget: str, small_base: str) -> None:
    """Ask for what no flag gives, write the experiment, and say what comes next.

    Raises UserError for an answer that cannot be used, and where the file exists. Without a terminal nothing is asked.
    """
    if file.exists():
        raise UserError("it exists already", where=str(file), fix="Name another file: bakeoff init other.yaml.")
    if file.suffix not in (".yaml", ".yml"):
        raise UserError("an experiment is a YAML file", where=str(file), fix="Name it, for example, mine.yaml.")
    ask = _asked if on_terminal() else _taken
    base = ask(
        "base", "Base model (a Hugging Face id, a folder, or microworld/large)", base, "microworld/large", _plain
    )
    proposed = _proposals(base)
    sets = ", ".join(f"{kind}={name}" for kind, name in proposed["data"].items() if kind == "demonstrations")
    given = ask(
        "data", "Training data (a file, a folder, a Hugging Face id; or KIND=NAME,...)", ",".join(data), sets, _plain
    )
    chosen = _methods(
        ask("methods", f"Methods ({', '.join(_names())})", methods, ",".join(proposed["methods"]), _methods_known)
    )
    budget = ask("budget", "Budget (quick, standard or thorough)", budget, "quick", _budget)
    needs = {label: _needs(label) for label in chosen}
    text = _text(file, Wanted(base, _data(given, needs, proposed), chosen, budget, _small(small_base, needs, proposed)))
    _write_checked(file, text)
    say = printer()
    say(f"wrote {file}: change it as you like; docs/running.md explains every key.")
    say(f"Next: bakeoff plan {file}, then: bakeoff run {file}")


def on_terminal() -> bool:
    """Whether questions can be answered."""
    return sys.stdin.isatty() and sys.stdout.isatty()


# ---- the questions


def _asked(flag: str, question: str, given: str, default: str, read: Callable[[str], str]) -> str:
    """The flag's value, or the answer; a wrong answer is asked again."""

    def checked(value: str) -> str:
        try:
            return read(value)
        except UserError as error:
            raise typer.BadParameter(str(error)) from None

    return read(given) if given else cast(str, typer.prompt(question, default=default or None, value_proc=checked))


def _taken(flag: str, question: str, given: str, default: str, read: Callable[[str], str]) -> str:
    """The flag's value or its default."""
    if flag == "base" and not given:
        fix = "Example: bakeoff init mine.yaml --base Qwen/Qwen3-0.6B-Base --data answers.jsonl --methods sft,lora"
        raise UserError("no base model is named, and there is no terminal to ask on", fix=fix)
    return read(given or default)


def _plain(answer: str) -> str:
    return answer.strip()


def _budget(answer: str) -> str:
    word = answer.strip().lower()
    if word not in SEEDS:
        raise UserError(f"the budget is {answer!r}", fix=did_you_mean(word, SEEDS))
    return word


def _methods_known(answer: str) -> str:
    _methods(answer)
    return answer


def _names() -> list[str]:
    return [name for name in registry.plugin_names("methods") if name != "base"]


def _methods(answer: str) -> list[str]:
    """The named methods, without the base, which is always there."""
    found = list(dict.fromkeys(word for word in answer.replace(",", " ").split() if word != "base"))
    if not found:
        raise UserError("no method is named", fix=did_you_mean("", _names()))
    for name in found:
        if name not in _names():
            raise UserError(f"no method is called {name!r}", fix=did_you_mean(name, _names()))
    return found


def _needs(name: str) -> set[str]:
    """The kinds of data, and the small base, that a method and those below it need."""
    plugin: Any = registry.plugin_class("methods", name)
    if missing := required_fields(plugin):
        fix = f"Leave {name} out here, and write it into the file afterwards: bakeoff show {name} has its fields."
        raise UserError(f"{name} has fields without a default: {', '.join(missing)}", fix=fix)
    return needs_of(plugin())


# ---- what follows from the answers


def _proposals(base: str) -> dict[str, Any]:
    whole: dict[str, dict[str, Any]] = YAML(typ="safe").load(PROPOSALS.read_text("utf-8"))
    return whole["microworld" if base.startswith(EMBEDDED) else "other"]


def _data(answer: str, needs: Mapping[str, set[str]], proposed: Mapping[str, Any]) -> dict[str, str]:
    """Kind -> name for every kind that a method needs; a bare name is the only kind needed, or demonstrations."""
    wanted = [kind for kind in KINDS_OF_DATA if any(kind in own for own in needs.values())]
    given: dict[str, str] = {}
    for part in filter(None, (one.strip() for one in answer.split(","))):
        kind, parted, name = part.partition("=")
        if not parted:
            kind, name = wanted[0] if len(wanted) == 1 else "demonstrations", part
        if kind not in KINDS_OF_DATA:
            raise UserError(f"{kind!r} is not a kind of training data", fix=did_you_mean(kind, KINDS_OF_DATA))
        given[kind] = name
    found = {**proposed["data"], **given}
    for kind in wanted:
        if kind not in found:
            users = ", ".join(label for label, own in needs.items() if kind in own)
            raise UserError(f"{users} needs {kind}, and none are named", fix=f"Example: --data {kind}=FILE.jsonl")
    return {kind: found[kind] for kind in wanted}


def _small(given: str, needs: Mapping[str, set[str]], proposed: Mapping[str, Any]) -> str:
    users = [label for label, own in needs.items() if "small_base" in own]
    name = given or (str(proposed["small_base"]) if users else "")
    if users and not name:
        fix = "Name one with the same tokenizer: --small-base Qwen/Qwen3-0.6B-Base"
        raise UserError(f"{', '.join(users)} needs a small base model", fix=fix)
    return name


# ---- the file


def _text(file: Path, wanted: Wanted) -> str:
    proposed, seeds = _proposals(wanted.base), list(range(SEEDS[wanted.budget]))
    settings = proposed["settings"]
    lines = [
        "# Written by `bakeoff init`. Every line may be changed; docs/running.md explains each key.",
        f"name: {_yaml(file.stem)}",
        "",
        "# a Hugging Face id, a folder, a GGUF file, or microworld/large",
        f"bases: [{_model(wanted.base, file)}]",
    ]
    if wanted.small_base:
        lines += ["# a smaller model with the same tokenizer", f"small_base: {_model(wanted.small_base, file)}"]
    if wanted.data:
        lines += ["", "# files, folders, Hugging Face ids, or those of `bakeoff list data`", "data:"]
        lines += [f"  {kind}: {_yaml(_placed(name, file))}" for kind, name in wanted.data.items()]
    entries = [{name: settings[name]} if name in settings else name for name in wanted.methods]
    benches = proposed["quick" if wanted.budget == "quick" else "full"]
    return "\n".join(
        [
            *lines,
            "",
            f"# base is the untuned model; `bakeoff show {wanted.methods[0]}` lists the fields of a method",
            "methods:",
            "  - base",
            *(f"  - {_yaml(entry)}" for entry in entries),
            "",
            "# `bakeoff list benchmarks` has the others",
            "benchmarks:",
            *(f"  - {_yaml(entry)}" for entry in benches),
            "",
            f"# {wanted.budget}: {LEADS[wanted.budget]}",
            f"seeds: {seeds}",
            "",
            "# every method is compared with it; the loss of knowledge that still counts as kept (0.02: 2 points)",
            "baseline: base",
            "margin: 0.02",
            *(f"{key}: {_yaml(value)}" for key, value in proposed["machine"].items()),
            "",
        ]
    )


def _yaml(value: Any) -> str:
    """A value on one line."""
    writer, text = YAML(typ="safe", pure=True), StringIO()
    writer.default_flow_style, writer.width = True, 10_000
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(value, text)
    return text.getvalue().removesuffix("\n...\n").strip()


def _model(name: str, file: Path) -> str:
    """A base as the file names it: a folder is a path only where it begins with a dot or is absolute."""
    placed = _placed(name, file)
    folder = placed != name or (not name.startswith(EMBEDDED) and Path(name).exists())
    return _yaml(placed if not folder or placed.startswith((".", "/", "~")) else f"./{placed}")


def _placed(name: str, file: Path) -> str:
    """A path as seen from the experiment file; a name that is not a path here is left alone."""
    if name.startswith((EMBEDDED, "~")) or os.path.isabs(name) or not Path(name).exists():
        return name
    return os.path.relpath(name, file.parent)


def _write_checked(file: Path, text: str) -> None:
    """Write the experiment; it is left there only if it can be read as one."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"it cannot be written: {error.strerror}", where=str(file), fix="Name another file.") from None
    try:
        load_experiment(file, [])
    except BaseException:
        file.unlink()
        raise
