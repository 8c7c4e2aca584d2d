"""The memory that workers of one machine share: GPUs, or the machine's own, and whether a further portion fits."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.engine.plan import Plan

WORKER_BYTES = 0.8e9
"""An interpreter with its libraries, on a GPU a context: no estimate of a fit or cell counts them."""


@dataclass(frozen=True)
class Device:
    """A GPU by the name that CUDA_VISIBLE_DEVICES has for it, or "" for the machine; its memory in bytes."""

    name: str
    bytes: float

    def seen(self) -> dict[str, str]:
        """The environment of a worker that has this device: libraries use the first GPU that they see."""
        return {"CUDA_VISIBLE_DEVICES": self.name} if self.name else {}


def devices_of(plan: Plan) -> list[Device]:
    """The GPUs that this process may use, the largest first, if a base is on one; otherwise the machine."""
    on_gpu = any(base.spec.device.startswith("cuda") for base in plan.bases)
    gpus = visible_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"), Path("/dev")) if on_gpu else []
    return sorted(gpus, key=lambda device: -device.bytes) or [Device("", available_memory())]


def visible_gpus(visible: str | None, devices: Path) -> list[Device]:
    """The GPUs among `visible`, the value of CUDA_VISIBLE_DEVICES, if it is set; all that `devices` lists otherwise.

    Memory that nvidia-smi does not tell is taken as unlimited.
    """
    told = _told_by_driver()
    if visible is not None:
        names = [name.strip() for name in visible.split(",") if name.strip()]
    else:
        names = sorted((path.name[6:] for path in devices.glob("nvidia[0-9]*")), key=int)
    return [Device(name, told.get(name, math.inf)) for name in names]


def _told_by_driver() -> dict[str, float]:
    """GPU by number and by identifier -> its memory in bytes; empty where the driver's tool is not there."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    found: dict[str, float] = {}
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        for line in subprocess.run(query, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines():
            number, identifier, mebibytes = (part.strip() for part in line.split(","))
            found |= dict.fromkeys((number, identifier), float(mebibytes) * 2**20)
    return found


def available_memory() -> float:
    """The bytes of this machine that are free, or can be freed, now; unlimited where the system does not say."""
    free = math.inf
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024.0
    with suppress(OSError, ValueError):  # of a container
        most, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, float(most - used))
    return free


class Room:
    """How much of each device is left for a portion, next to those in hand."""

    def __init__(self, devices: Sequence[Device], workers: int) -> None:
        self.devices = [devices[number % len(devices)] for number in range(workers)]
        shares = {device: self.devices.count(device) for device in self.devices}
        self.whole = {device: device.bytes - count * WORKER_BYTES for device, count in shares.items()}
        self.share = {device: self.whole[device] / count for device, count in shares.items()}

    def largest(self) -> float:
        """The most bytes that one portion can have."""
        return max(self.whole.values())

    def fits(self, memory: float | None, device: Device, in_hand: Iterable[float | None]) -> bool:
        """Whether a portion of so many bytes fits next to those that the device has.

        One of unknown memory is counted as a worker's share. One that is too large for every device has the largest
        alone, since it may run with a smaller micro-batch.
        """
        held = [self._counted(one, device) for one in in_hand]
        if not held:
            return self.whole[device] >= min(memory or 0.0, self.largest())
        return sum(held) + self._counted(memory, device) <= self.whole[device]

    def _counted(self, memory: float | None, device: Device) -> float:
        return self.share[device] if memory is None else memory
