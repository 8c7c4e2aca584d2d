"""Memory that the C library keeps after torch has freed it, on a CPU.

glibc puts blocks of up to 32 MiB on its heap. There an aligned block, which is what torch asks for, does not take the
place of a freed one of the same size (version 2.36), so the heap grows by a part of all that is computed and freed. A
block with a memory mapping of its own goes back to the system at once, and costs time: its pages are new.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

KEPT_SHARE = 0.45
"""Of the bytes that a forward pass makes and frees again; measured in tests/performance/test_estimated_memory.py."""

MAPPED_FROM, MOST = 1 << 21, 1 << 25
_MMAP_THRESHOLD = -3  # of `mallopt`, by malloc.h


def keeps_freed_blocks(device: str) -> bool:
    """Whether tensors of a device are on the heap of glibc, and the user has not said from which size they are not."""
    return device == "cpu" and platform.libc_ver()[0] == "glibc" and "MALLOC_MMAP_THRESHOLD_" not in os.environ


def give_back() -> None:
    """Give what is freed on the heap of glibc back to the system, once: pages that are used again are new then."""
    if keeps_freed_blocks("cpu"):
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def freed_at_once(wanted: bool) -> Iterator[None]:
    """Within this context a block of 2 MiB or more is given back as soon as it is freed, if that is wanted.

    The threshold is then 32 MiB, which is where glibc's own ends after large blocks were freed.
    """
    if not wanted:
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_MMAP_THRESHOLD, MAPPED_FROM)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, MOST)
        library.malloc_trim(0)
