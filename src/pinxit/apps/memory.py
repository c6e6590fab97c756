"""How malloc takes memory from the system and gives it back: settings of a whole process, for commands that have one to
themselves. They are glibc's; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
"""Names of malloc.h, without M_."""


def hold_memory_together() -> None:
    """Have malloc keep one pool of memory for all threads, not one for each.

    Large arrays are made by the painting thread, by torch's and by those that answer, and freed by others; with a pool
    for each thread a server that is painted with by many grows for minutes (`benchmarks/studio_load.py`).
    """
    mallopt(ARENA_MAX, 1)


def keep_freed_memory() -> None:
    """Have malloc keep what is freed, for what is made next; nothing is done where the environment tunes malloc itself.

    Else blocks of 33 MB and more, as large gradients are, go back to the system each time, and the system clears
    every page of a new one: ten times what writing it takes. The process stays as large as it once was.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if "glibc.malloc." in tunables or any(name.startswith("MALLOC_") for name in os.environ):
        return
    # No block is mapped by itself. Not a threshold for that: older versions refuse one above 32 MB.
    mallopt(MMAP_MAX, 0)
    mallopt(TRIM_THRESHOLD, -1)  # never


def mallopt(name: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(name, value)
