"""Fits and loads one method on the tiny models, with whatever it stands on, each artifact once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness.engine.contract.network import offline
from harness.engine.contract.promise import NotApplicable
from harness.engine.contract.tiny import DATA, write_model
from harness.errors import UserError
from harness.method import FitContext, FitReport, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.policy import Policy

QUICK: Mapping[str, Any] = {
    "learning_rate": 1e-2,
    "epochs": 3,
    "batch_size": 8,
    "warmup_ratio": 0.0,
    "demonstrations": 2,
    "samples": 4,
    "max_new_tokens": 4,
    # what a random base would select is too little to learn from
    "rewritten_only": False,
    "below": None,
}
"""Settings of these names are made small, wherever a method has them."""

ZERO: Mapping[str, Any] = {"learning_rate": 0.0, "identity": True, "alpha": 0.0, "demonstrations": 0}
"""Settings under which a method changes nothing, wherever it has them."""


def quick(method: Method, settings: Mapping[str, Any] = QUICK, keep: Collection[str] = ()) -> Method:
    """The method with these settings, inner methods included; its fields named in `keep` stay as they are."""
    changes: dict[str, Any] = {}
    plugin: Any = method
    for item in dataclasses.fields(plugin):
        value = getattr(method, item.name)
        if item.name in keep:
            continue
        if isinstance(value, Method):
            changes[item.name] = quick(value, settings)
        elif isinstance(value, tuple) and any(isinstance(part, Method) for part in value):
            changes[item.name] = tuple(quick(part, settings) for part in value)
        elif item.name in settings:
            changes[item.name] = settings[item.name]
    changed: Method = dataclasses.replace(plugin, **changes)
    return changed


def silent(done: int, total: int, note: str) -> None:
    """Shows nothing of a fit's progress."""


class Bench:
    """One method on two tiny random bases.

    folder    where models and artifacts are written; what lies there already is used again
    progress  hears how each fit goes on
    attempts  the addresses that fits and loads tried to reach
    """

    def __init__(self, method: Method, folder: Path, progress: Callable[[int, int, str], None] = silent) -> None:
        self.method, self.folder, self.progress = method, folder, progress
        small = BaseModel(BaseSpec("small"), self._model("small", 8, 1))
        self.base = BaseModel(BaseSpec("base"), self._model("base", 16, 0), small=small)
        self.small = small
        self.attempts: list[str] = []
        self.fit = cache(self._fit)

    def _model(self, name: str, hidden: int, seed: int) -> Path:
        folder = self.folder / name
        return folder if folder.exists() else write_model(folder, hidden, seed)

    def _fit(self, seed: int, repetition: int = 0) -> tuple[Path, FitReport]:
        return self._fit_of(self.method, self.base, seed, self.folder / f"{seed}-{repetition}")

    def _fit_of(self, method: Method, base: BaseModel, seed: int, out: Path) -> tuple[Path, FitReport]:
        inputs = self._inputs(method, base, seed, out)
        out.mkdir()
        try:
            with offline(self.attempts):
                return out, method.fit(base, DATA, inputs, out, FitContext(seed, 4, self.progress))
        except BaseException:
            # half an artifact would be taken for one
            shutil.rmtree(out)
            raise

    def _inputs(self, method: Method, base: BaseModel, seed: int, out: Path) -> dict[str, Input]:
        inputs = {}
        for role, spec in method.requires().items():
            under = base if spec.on == "base" else self.small
            folder = out.with_name(f"{out.name}-{role}")
            if not folder.exists():
                self._fit_of(spec.method, under, seed, folder)
            inputs[role] = Input(folder, under, partial(self._load, spec.method, under, folder, seed))
        return inputs

    def _load(self, method: Method, base: BaseModel, folder: Path, seed: int) -> Policy:
        inputs = self._inputs(method, base, seed, folder)
        with offline(self.attempts):
            return method.load(base, folder, inputs)

    def policy(self, seed: int = 0) -> Policy:
        """What the method makes of its artifact, loaded anew."""
        return self._load(self.method, self.base, self.fit(seed)[0], seed)

    def reopened(self, seed: int = 0) -> Policy:
        """The policy of an artifact that another bench left in the folder."""
        return self._load(self.method, self.base, self.folder / f"{seed}-0", seed)

    def start(self, seed: int = 0) -> Policy:
        """What training begins with: the artifact called start, or the base."""
        spec = self.method.requires().get("start")
        if spec is None:
            return self.base.policy()
        folder = self.fit(seed)[0]
        return self._load(spec.method, self.base, folder.with_name(f"{folder.name}-start"), seed)

    def idle(self) -> tuple[Method, Path]:
        """The method with settings that change nothing, and its artifact. Raises NotApplicable where it has none."""
        method = quick(self.method, ZERO)
        if method == self.method:
            raise NotApplicable(f"it has no field called {', '.join(ZERO)}")
        method = quick(method, {"epochs": 1})
        try:
            method.check()
        except UserError as error:
            raise NotApplicable(f"it refuses settings that change nothing: {error.what}") from error
        folder = self.folder / "zero"
        if not folder.exists():
            self._fit_of(method, self.base, 0, folder)
        return method, folder

    def zero(self) -> Policy:
        """The policy of the method with settings that change nothing."""
        method, folder = self.idle()
        return self._load(method, self.base, folder, 0)

    def scoring(self) -> Policy:
        """The policy. Raises NotApplicable where it only samples."""
        self.must_score()
        return self.policy()

    def must_score(self) -> None:
        """Raise NotApplicable where the method's policies only sample."""
        if "score" not in self.method.gives:
            raise NotApplicable("it only samples")
