"""Heavy modules that load on first use, so that listing plugins and planning stay fast.

from harness.lazy import torch
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any


class LazyModule:
    """A placeholder that imports its module when an attribute is first read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            _pass_over_malformed_backends()
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)


@cache
def _pass_over_malformed_backends() -> None:
    """Keep torch from looking for device backends where an entry point of any package is malformed.

    It reads those of all packages, and would stop its own import over one bad line of a package that no run uses.
    """
    try:
        entry_points(group="torch.backends")
    except Exception:
        os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")


if TYPE_CHECKING:
    import torch as torch
    import transformers as transformers
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")
