"""What every test shares: no network, one thread, and where the real data lies."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# two threads that wait for each other on a busy machine cost more than they bring to tiny models
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


def pytest_runtest_setup() -> None:
    """Take back the terminal's size that readline writes into the environment, past os.environ.

    Processes inherit it, those that run tests in parallel too, and would fold the lines of commands at 80 columns.
    """
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
        os.unsetenv(name)


def pytest_collection_finish() -> None:
    """What is imported by now lives as long as the process: looking through it for garbage takes seconds each time."""
    gc.freeze()


@pytest.fixture
def shared_data() -> Path:
    """The folder of real benchmark data; the test is skipped, saying so, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the real data of {SHARED} is not here")
    return SHARED


@pytest.fixture
def outside_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the outside package on the path. Its policies cannot be stepped, so no speed is taken."""
    import outside

    from harness.engine import registry, run

    monkeypatch.syspath_prepend(str(outside.install(tmp_path)))
    unknown = {"seconds_per_token": None, "overhead_per_token": None}
    monkeypatch.setattr(run.cost, "decoding_cost", lambda *given: unknown)
    monkeypatch.setattr("harness.policy.base_model.BaseModel.policy", lambda self: None)
    registry._outside.cache_clear()
    yield tmp_path
    registry._outside.cache_clear()
    for name in ("outside_method", "outside_bench"):
        sys.modules.pop(name, None)
