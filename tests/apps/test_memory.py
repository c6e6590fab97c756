"""What is freed is kept, for those that train and for nobody else."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import pinxit
from pinxit.apps import memory
from pinxit.apps.cli.main import main

GLIBC = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
PAGES = (64 << 20) // mmap.PAGESIZE

MADE_AGAIN = """
import resource
{before}
faults = []
for _ in range(2):
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    block[:: 1 << 12] = b"1" * len(block[:: 1 << 12])
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
    del block
print(*faults)
"""


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What malloc is told, in place of telling it."""
    told: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda name, value: told.append((name, value)))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_"))]:
        monkeypatch.delenv(name)
    return told


def test_blocks_come_from_the_pool_that_is_never_trimmed(settings: list[tuple[int, int]]) -> None:
    memory.keep_freed_memory()
    assert settings == [(-4, 0), (-1, -1)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "1000000"), ("MALLOC_ARENA_MAX", "2"), ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=9")],
)
def test_who_sets_the_environment_decides(
    settings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    memory.keep_freed_memory()
    assert settings == []


def test_tunables_of_something_else_change_nothing(
    settings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    memory.keep_freed_memory()
    assert len(settings) == 2


@pytest.mark.parametrize("change", [memory.keep_freed_memory, memory.hold_memory_together])
def test_other_systems_and_libraries_are_left_alone(
    settings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, change: Callable[[], None]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        change()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())  # musl has no mallopt
    change()
    assert settings == []


def test_training_keeps_what_is_freed(settings: list[tuple[int, int]], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["train", "pix2pix", "--preset", "tiny", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    assert settings == [(-4, 0), (-1, -1)]


def test_other_commands_do_not(settings: list[tuple[int, int]]) -> None:
    main(["info", "demo"])
    assert settings == []


@pytest.mark.skipif(not GLIBC, reason="glibc's malloc")
@pytest.mark.parametrize(
    ("before", "cleared"),
    [
        ("from pinxit.apps.memory import keep_freed_memory; keep_freed_memory()", [True, False]),
        ("import pinxit, pinxit.apps.cli.train, pinxit.apps.cli.studio", [True, True]),
    ],
)
def test_a_block_made_again_is_not_cleared_again(before: str, cleared: list[bool]) -> None:
    sources = str(Path(pinxit.__file__).parents[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", MADE_AGAIN.format(before=before)],
        env={**environment, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [int(faults) > PAGES // 2 for faults in done.stdout.split()] == cleared, done.stdout
