"""The bench on which clauses test one method: its fits and loads on the tiny models, each fit made once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from functools import cache, partial
from operator import eq
from pathlib import Path
from typing import Any, Literal

from harness.engine.contract.isolation import offline
from harness.engine.contract.tiny import DATA, write_model
from harness.errors import UserError
from harness.method import FitContext, FitReport, Input, Method
from harness.policy.base_model import BaseModel, BaseSpec
from harness.policy.policy import Policy


class Broken(AssertionError):
    """A promise is not kept.

    expected, found  one sentence each, without a full stop
    """

    def __init__(self, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(f"expected {expected}; found {found}")


class NotApplicable(Exception):
    """The clause does not concern this method; the message says why."""


def expect(kept: bool, expected: str, found: str) -> None:
    """Raise Broken unless the promise is kept."""
    if not kept:
        raise Broken(expected, found)


def quick(method: Method, keep: Collection[str] = ()) -> Method:
    """The method with the `quick` value of every setting that declares one, except the fields named in `keep`."""
    return with_declared(method, "quick", keep)


def with_declared(method: Method, kind: Literal["quick", "null"], keep: Collection[str] = ()) -> Method:
    """The method, and the methods inside it, with the values that their settings declare under this name."""
    changes: dict[str, Any] = {}
    plugin: Any = method
    for item in dataclasses.fields(plugin):
        value, declared = getattr(method, item.name), item.metadata.get(kind)
        if item.name in keep:
            continue
        if isinstance(value, Method):
            changes[item.name] = with_declared(value, kind)
        elif isinstance(value, tuple) and any(isinstance(part, Method) for part in value):
            changes[item.name] = tuple(with_declared(part, kind) for part in value)
        elif declared is not None:
            changes[item.name] = declared
    changed: Method = dataclasses.replace(plugin, **changes)
    return changed


class Bench:
    """One method on two tiny random bases.

    folder    where models and artifacts are written; those already there are reused
    progress  called with the progress of each fit
    attempts  the addresses that fits and loads tried to reach
    """

    def __init__(self, method: Method, folder: Path) -> None:
        self.method, self.folder, self.progress = method, folder, FitContext.progress
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
            # half an artifact would be reused as a whole one
            shutil.rmtree(out)
            raise

    def fit_again(self, seed: int, micro_batch: int = 4) -> Path:
        """A new artifact of the seed, which no later clause reuses; its inputs are those that it was made from."""
        made = sum(path.name.startswith("again-") for path in self.folder.iterdir())
        own = self._inputs(self.method, self.base, seed, self.fit(seed)[0])
        out = self.folder / f"again-{made}"
        out.mkdir()
        with offline(self.attempts):
            self.method.fit(self.base, DATA, own, out, FitContext(seed, micro_batch, self.progress))
        return out

    def load_at(self, folder: Path, seed: int = 0) -> Policy:
        """The policy of an artifact that `fit_again` made."""
        own = self._inputs(self.method, self.base, seed, self.fit(seed)[0])
        with offline(self.attempts):
            return self.method.load(self.base, folder, own)

    def without_network(self, attempts: list[str]) -> AbstractContextManager[None]:
        """A block in which connections fail and are noted."""
        return offline(attempts)

    def fit_on_inputs_of(self, inputs: int, seed: int) -> Path:
        """The artifact of another seed, made from the inputs of the first one."""
        out = self.folder / f"{seed}-on-{inputs}"
        out.mkdir()
        with offline(self.attempts):
            own = self._inputs(self.method, self.base, inputs, self.fit(inputs)[0])
            self.method.fit(self.base, DATA, own, out, FitContext(seed, 4, self.progress))
        return out

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

    def policy(self) -> Policy:
        """The policy of the artifact of seed 0, loaded again at each call."""
        return self._load(self.method, self.base, self.fit(0)[0], 0)

    def reopened(self) -> Policy:
        """The policy of the artifact of seed 0 that another bench wrote into the folder."""
        return self._load(self.method, self.base, self.folder / "0-0", 0)

    def start(self) -> Policy:
        """The policy that training begins with: the required artifact called start, or else the base."""
        inputs = self._inputs(self.method, self.base, 0, self.fit(0)[0])
        return inputs["start"].load() if "start" in inputs else self.base.policy()

    def idle(self) -> tuple[Method, Path]:
        """The method with settings that change nothing, and its artifact. Raises NotApplicable where there is none."""
        method = with_declared(self.method, "null")
        if method == self.method:
            raise NotApplicable("no setting declares a `null`, the value at which it changes nothing")
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
        if "score" not in self.method.gives:
            raise NotApplicable("it only samples")
        return self.policy()


def differing(one: Mapping[str, Any], other: Mapping[str, Any], same: Callable[[Any, Any], bool] = eq) -> list[str]:
    """The names under which two mappings differ, or that only one of them has."""
    both = one.keys() & other.keys()
    return sorted(name for name in one.keys() | other.keys() if name not in both or not same(one[name], other[name]))
