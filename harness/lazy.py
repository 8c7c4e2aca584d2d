"""Heavy modules that load on first use, so that listing plugins and planning stay fast.

from harness.lazy import torch
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any


class LazyModule:
    """A placeholder that imports its module when an attribute is first read."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)


if TYPE_CHECKING:
    import torch as torch
    import transformers as transformers
else:
    torch = LazyModule("torch")
    transformers = LazyModule("transformers")
