"""The origin of a result: versions, commit, machine, models and data. No times and no paths."""

from __future__ import annotations

import platform
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.engine.gate import base_checks
from harness.engine.plan import Plan, inside
from harness.engine.plugin_code import package_of
from harness.engine.results.schema import TUNING_FILE
from harness.engine.store.keys import library_versions
from harness.files import HARNESS, read_json, without_folder
from harness.method import plugin_name
from harness.policy.base_model import BaseModel
from harness.policy.chat_template import DEFAULT_DATE
from harness.records import Record

_KIND = re.compile(r"/\d+-([\w-]+)$")
_MOST_KINDS = 12
LIBRARIES = ("bakeoff", "torch", "transformers", "trl", "peft", "lm-eval", "datasets", "pandas", "numpy", "scipy",
             "safetensors", "tokenizers", "accelerate")  # fmt: skip


def provenance(plan: Plan, store: Path) -> dict[str, Any]:
    """Everything that a reader needs to repeat the run, as a nested dictionary."""
    experiment = plan.experiment
    return {
        "code": commit(),
        "libraries": library_versions((*LIBRARIES, *_backends(plan))),
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "processor": _processor(),
            "gpus": gpus(Path("/proc/driver/nvidia/gpus")),
        },
        "settings": {"threads": experiment.threads, "micro_batch": experiment.micro_batch},
        "models": {
            base.spec.label: {
                "digest": base.digest,
                "revision": base.spec.revision or _revision(base.folder),
                "dtype": base.spec.dtype,
                "device": base.spec.device,
                **({"backend": base.spec.backend} if base.spec.backend else {}),
                "chat_template": _template(base, base_checks(base, store)),
                "checks": base_checks(base, store),
            }
            for base in plan.bases
        },
        "data": {
            f"{loaded.kind} {loaded.quality}".strip(): {
                **loaded.manifest,
                "name": without_folder(loaded.manifest["name"]),
                "composition": composition(loaded.records),
            }
            for loaded in plan.sets
        },
        **_packages(plan),
        **({"tuned_in": tuned_in(Path(experiment.tuned_in))} if experiment.tuned_in else {}),
        "command": f"bakeoff run {experiment.file.name}",
        "experiment": experiment.text,
    }


def _backends(plan: Plan) -> set[str]:
    """The libraries that score cells in place of this project's own code."""
    return {cell.backend.name for cell in plan.cells if cell.backend.name}


def composition(records: Sequence[Record]) -> dict[str, int]:
    """How many rows come from each source or, where there is one source, are of each kind, as their ids say: 0012-KIND.

    The commonest first; the rest together as "others".
    """
    counts = Counter(record.source or "not stated" for record in records)
    kinds = [found[1] if (found := _KIND.search(record.id)) else "" for record in records]
    if len(counts) == 1 and all(kinds):
        counts = Counter(kinds)
    first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MOST_KINDS]
    rest = counts.total() - sum(count for _, count in first)
    return dict(first) | ({"others": rest} if rest else {})


def tuned_in(folder: Path) -> dict[str, Any]:
    """The results folder in which settings were tuned: its name, its digest, and the trials of each method."""
    found = read_json(folder / "matrix.json")
    searches = read_json(folder / TUNING_FILE)["searches"] if (folder / TUNING_FILE).exists() else []
    return {
        "folder": folder.name,
        "name": found.get("name", ""),
        "digest": found.get("digest", ""),
        "trials": {search["method"]: len(search["trials"]) for search in searches},
    }


def _packages(plan: Plan) -> dict[str, dict[str, dict[str, str]]]:
    """The entry `plugins`: by plugin, the package that brings it; no entry where all plugins are built in."""
    nodes = [part for node, _ in plan.groups() for part in (node, *node.beneath.values())]
    methods = {f"methods/{plugin_name(one)}": one for node in nodes for one in (node.method, *inside(node.method))}
    benchmarks = {f"benchmarks/{column.plugin}": column.benchmark for column in plan.experiment.benchmarks}
    used = sorted({**methods, **benchmarks}.items())
    found = {name: package for name, one in used if (package := package_of(one))}
    return {"plugins": found} if found else {}


def _template(base: BaseModel, checks: Sequence[Mapping[str, Any]]) -> str:
    """The template that the base is asked in, with the arguments and the date that decide its text.

    The plain template is named with the text of a conversation in it.
    """
    found = next((check for check in checks if check["name"] == "template"), None)
    own = "unknown" if found is None else f"plain: {found['remedy']}" if found["remedy"] else "the tokenizer's"
    source = Path(base.spec.chat_template).name or own
    arguments = [f"{name}={value}" for name, value in sorted(base.spec.template_arguments.items())]
    return ", ".join([source, *arguments, *([base.spec.date] if base.spec.date != DEFAULT_DATE else [])])


def commit() -> dict[str, str]:
    """The commit of this checkout, its day, and whether files differ from it; outside a checkout, that there is none.

    The day is that of the code: the day of the run would make equal runs differ.
    """
    root = HARNESS.resolve().parent
    if not (root / ".git").exists():
        return {"commit": "not a git checkout"}
    dirty = bool(_git(root, "status", "--porcelain", "-uno"))
    found = _git(root, "rev-parse", "HEAD")
    return {"commit": found, "committed": day_of(found), "dirty": str(dirty)}


def day_of(commit: str) -> str:
    """The day of a commit that this checkout has, as 2026-11-28; otherwise ""."""
    root = HARNESS.resolve().parent
    known = re.fullmatch("[0-9a-f]{7,40}", commit) and (root / ".git").exists()
    return _git(root, "show", "-s", "--format=%cs", commit) if known else ""


def _git(root: Path, *arguments: str) -> str:
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = _values(info, "model name") if info.exists() else []
    return names[0] if names else platform.processor()


def gpus(folder: Path) -> list[str]:
    """The models of the GPUs, as the driver reports them: times on one model do not apply to another."""
    return [name for path in sorted(folder.glob("*/information")) for name in _values(path, "Model")]


def _values(path: Path, name: str) -> list[str]:
    """The values of the lines `NAME : VALUE` of a file."""
    pairs = (line.partition(":") for line in path.read_text("utf-8").splitlines())
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def _revision(folder: Path) -> str:
    """The commit of a model in the hub cache, which is the name of its snapshot folder."""
    return folder.name if folder.parent.name == "snapshots" else ""
