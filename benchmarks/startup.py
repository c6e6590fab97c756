"""How long it takes until anything happens: what not importing torch saves."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks.measure import ROOT, Pair, Row, Setting, Work, measured

HELP = """
import contextlib, io, runpy, sys
sys.argv = ["pinxit", "--help"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    runpy.run_module("pinxit", run_name="__main__")
"""
CODES = {"import pinxit": "import pinxit", "pinxit --help": HELP}
MOST = {"import pinxit": 0.2}
"""Seconds aimed at."""


def startup(setting: Setting) -> list[Row]:
    """`import pinxit` and `pinxit --help`, against the same with torch imported."""
    rows = []
    for case, code in CODES.items():
        pair = Pair(process(f"import torch\n{code}"), {"as it is": process(code)})
        found = measured("startup", case, [pair] * (2 * setting.rounds), setting, compare=False)
        row = found["as it is"]
        bare = timed_bare(setting)
        seconds = statistics.median(row.fast)
        row.note = f"{seconds:.2f} s, {bare:.2f} s of it Python itself"
        if case in MOST:
            row.note += f" (aimed at: {MOST[case]:g} s)"
        row.note += f"; torch {'is' if imports_torch(code) else 'is not'} imported"
        rows.append(row)
    return rows


def process(code: str) -> Work:
    return lambda: told_by(code)


def told_by(code: str) -> str:
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT).stdout


def timed_bare(setting: Setting) -> float:
    times = []
    for _ in range(setting.rounds):
        begun = setting.clock()
        told_by("pass")
        times.append(setting.clock() - begun)
    return statistics.median(times)


def imports_torch(code: str) -> bool:
    return told_by(f"{code}\nimport sys\nprint('torch' in sys.modules)").split()[-1] == "True"


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {"startup": startup}
