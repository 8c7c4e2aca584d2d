"""A package of somebody else: a method and a benchmark that register through entry points, in torch-free code.

`install(folder)` writes it there; put the folder on sys.path or PYTHONPATH and bakeoff finds both plugins.
The method "trains" by writing its seed; the benchmark scores each item by a hash of seed and item.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import ROOT

METHOD = '''"""A method of another package."""

import json
import time
from dataclasses import dataclass

from harness.errors import UserError
from harness.method import FitReport, Method, setting


@dataclass(frozen=True)
class Outside(Method):
    """Writes a number."""

    libraries = ()
    strength: float = setting(1.0, "added to every score", search=(0.0, 2.0))
    seconds: float = setting(0.0, "how long the fit takes")
    fails: str = setting("", "raise this instead of fitting")
    memory: int = setting(0, "run out of memory above this micro-batch")
    reads: str = setting("", "a folder that it stands on", folder=True)

    def check(self):
        if self.strength < 0:
            raise UserError("strength is negative", fix="Give 0 or more.")

    def fit(self, base, data, inputs, out, context):
        if self.fails:
            raise RuntimeError(self.fails)
        if self.memory and context.micro_batch > self.memory:
            raise MemoryError
        for step in range(5):
            time.sleep(self.seconds / 5)
            context.progress(step + 1, 5, "")
        (out / "number.json").write_text(json.dumps({"strength": self.strength, "seed": context.seed}))
        return FitReport(trained_parameters=1, notes={"micro_batch": context.micro_batch})

    def load(self, base, artifact, inputs):
        return Answers(json.loads((artifact / "number.json").read_text()))


@dataclass(frozen=True)
class Counting(Outside):
    """Its strength is the number of its demonstrations, plus a hundred where they are of the other set."""

    needs = frozenset({"demonstrations"})

    def fit(self, base, data, inputs, out, context):
        said = data.demonstrations[0].messages[-1].content
        strength = len(data.demonstrations) + 100 * said.startswith("other")
        (out / "number.json").write_text(json.dumps({"strength": strength, "seed": context.seed}))
        return FitReport(trained_parameters=1)


class Answers:
    def __init__(self, number):
        self.number = number
'''

BENCHMARK = '''"""A benchmark of another package."""

import hashlib
import time
from dataclasses import dataclass
from typing import Literal

from harness.benchmark import Benchmark, Metric, Outcome
from harness.records import TestItem, TestSet
from harness.method import setting


@dataclass(frozen=True)
class OutsideBench(Benchmark):
    """Scores a hash."""

    version = 1
    needs = frozenset({"sample"})
    divisible = True
    items: int = setting(8, "number of items")
    seconds: float = setting(0.0, "how long it takes")
    breaks_at: int = setting(-1, "raise at this item")
    split: Literal["test", "validation", "shared"] = setting("test", "whose items; `shared` are those of the test")

    def metrics(self):
        return (Metric("points", "a number", role="quality"),)

    def test_set(self):
        name = "test" if self.split == "shared" else self.split
        return TestSet("outside_bench", tuple(TestItem(f"i{at}", f"{name} {at}") for at in range(self.items)))

    def evaluate(self, policy, seed):
        for item in self.chosen(range(self.items), lambda item: f"i{item}"):
            time.sleep(self.seconds / self.items)
            if item == self.breaks_at:
                raise RuntimeError("the benchmark broke")
            noise = hashlib.sha256(f"{policy.number['seed']} {item}".encode()).digest()[0] / 255
            yield Outcome(f"i{item}", f"i{item}", {"points": policy.number["strength"] + noise}, f"prompt {item}")
'''


PATCH = """
import os, signal
import outside_method
from harness.engine import cost
from harness.engine.store.store import StoreUnusable
from harness.policy import base_model
base_model.BaseModel.policy = lambda self: None
cost.decoding_cost = lambda *policies: dict.fromkeys(("seconds_per_token", "overhead_per_token"))
fit = outside_method.Outside.fit
def patched(self, base, data, inputs, out, context):
    if self.strength == 9.0:
        os.kill(os.getpid(), signal.SIGKILL)
    if self.strength == 8.0:
        raise StoreUnusable("the store cannot be written: no space left", where="the disk", fix="Free some space.")
    (out / "gpu.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    return fit(self, base, data, inputs, out, context)
outside_method.Outside.fit = patched
"""


def show_to_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from here find the package.

    Their policies cannot be stepped, so no speed is taken. There a fit of strength 9 ends its process, and one of
    strength 8 finds the disk full.
    """
    (folder / "sitecustomize.py").write_text(PATCH)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")


def install(folder: Path) -> Path:
    """Write the package with its entry points; returns the folder."""
    (folder / "outside_method.py").write_text(METHOD)
    (folder / "outside_bench.py").write_text(BENCHMARK)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[bakeoff.methods]\noutside = outside_method:Outside\n"
        "counting = outside_method:Counting\n\n"
        "[bakeoff.benchmarks]\noutside_bench = outside_bench:OutsideBench\n"
    )
    return folder


def experiment(
    folder: Path, *, methods: str = "[outside]", benchmarks: str = "[outside_bench]", extra: str = ""
) -> Path:
    """An experiment on the outside plugins and a folder that passes for a model."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    file = folder / "experiment.yaml"
    file.write_text(f"name: outside\nbases: [./model]\nmethods: {methods}\nbenchmarks: {benchmarks}\n{extra}")
    return file
