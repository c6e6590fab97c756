"""Two ways to the same thing, measured in alternation: what a benchmark is made of."""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pinxit.training.distributed import precision_on

ROOT = Path(__file__).parents[1]
STATUS = Path("/proc/self/status")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")
"""What of a processor's abilities decides how fast fp32 and bf16 are computed."""

Clock = Callable[[], float]
Work = Callable[[], Any]
"""Computes something once, and gives it."""


@dataclass(frozen=True)
class Setting:
    """How large and how long everything is."""

    rounds: int = 5
    """Pairs measured where they are not told by the label maps."""
    size: int = 256
    """Side of pictures."""
    width: int = 64
    """Channels that SPADE's generator ends with; the other networks are scaled alike."""
    most: int = 1024
    """Side of the largest pictures that the growth over size is measured to."""
    maps: Path | None = None
    """Folder of label maps."""
    most_maps: int = 8
    threads: int = 2
    cpu_time: bool = False
    """Whether to count the processors' time in place of the clock's, which other work on the machine would disturb."""
    quick: bool = False
    """Whether to leave out what takes long: memory of painting with all but SPADE."""

    def clock(self) -> float:
        return cpu_time() if self.cpu_time else time.perf_counter()


@dataclass(frozen=True)
class Pair:
    """One thing to compute: the plain way, and fast ones by name."""

    plain: Work
    fast: Mapping[str, Work]


@dataclass
class Row:
    """What was found for one fast way: amounts in the plain and the fast way, pair by pair."""

    benchmark: str
    case: str
    way: str
    plain: list[float] = field(default_factory=list)
    fast: list[float] = field(default_factory=list)
    unit: str = "s"
    largest: float | None = None
    """The largest difference of the results, and the mean of all."""
    mean: float | None = None
    target: float | None = None
    """The ratio that was aimed at."""
    axis: str | None = None
    """What it is one point of the growth over, with `at`: how much of that."""
    at: float | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        return [p / f for p, f in zip(self.plain, self.fast, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratios": self.ratios, "ratio": self.ratio}


def measured(
    benchmark: str,
    case: str,
    pairs: Iterable[Pair],
    setting: Setting,
    *,
    warm: Literal["all", "fast", "nothing"] = "all",
    compare: bool = True,
) -> dict[str, Row]:
    """Each pair in turn: the plain way, then each fast one, then the next pair. -> a row for each fast way.

    `warm`: what of the first pair is computed once before, unmeasured, as fast ways prepare some things when they first
    see a size. With `compare` results, tensors, are held against the plain way's.
    """
    rows: dict[str, Row] = {}
    differences: dict[str, list[tuple[float, float]]] = {}
    for number, pair in enumerate(pairs):
        if number == 0:
            for work in {"all": [pair.plain, *pair.fast.values()], "fast": pair.fast.values(), "nothing": []}[warm]:
                work()
        plain, expected = timed(pair.plain, setting)
        for way, work in pair.fast.items():
            row = rows.setdefault(way, Row(benchmark, case, way))
            fast, found = timed(work, setting)
            row.plain.append(plain)
            row.fast.append(fast)
            if compare:
                differences.setdefault(way, []).append(difference(expected, found))
    for way, found in differences.items():
        rows[way].largest = max(largest for largest, _ in found)
        rows[way].mean = statistics.mean(mean for _, mean in found)
    return rows


def timed(work: Work, setting: Setting) -> tuple[float, Any]:
    begun = setting.clock()
    result = work()
    return setting.clock() - begun, result


def difference(a: Tensor, b: Tensor) -> tuple[float, float]:
    """The largest and the mean."""
    off = (a.double() - b.double()).abs()
    return float(off.max()), float(off.mean())


def cpu_time() -> float:
    """Seconds that processors worked for this process and, where the system tells, for children that have ended."""
    if os.name == "nt":
        return time.process_time()
    import resource

    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + of.ru_utime + of.ru_stime


def memory(benchmark: str, case: str, calls: Mapping[str, list[Any]], setting: Setting) -> list[Row]:
    """The most memory that processes of their own take for each way; of one that was measured in this process, what
    the others had taken would hide it.

    Each way is [module, function, *arguments]: called in the process, the function prepares, and gives the work.
    The first is the plain way.
    """
    plain, *peaks = ((way, peak(call, setting)) for way, call in calls.items())
    return [Row(benchmark, case, way, [plain[1]], [found], "GiB") for way, found in peaks]


def peak(call: list[Any], setting: Setting) -> float:
    """GiB at most, from when all is prepared."""
    told = command("in_child", [setting.threads, *call])
    done = subprocess.run(told, capture_output=True, text=True, env=environment())
    if done.returncode:
        raise RuntimeError(f"{call} failed in its process:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def command(function: str, told: list[Any]) -> list[str]:
    """What calls one of the functions below in a process of its own."""
    code = f"import sys; from benchmarks.measure import {function}; {function}(sys.argv[1])"
    return [sys.executable, "-c", code, json.dumps(told)]


def environment() -> dict[str, str]:
    """Ours, with what is measured to be found."""
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


def in_child(told: str) -> None:
    threads, module, function, *arguments = json.loads(told)
    torch.set_num_threads(threads)
    work = getattr(importlib.import_module(module), function)(*arguments)
    gc.collect()
    forget_peak()
    work()
    print(peak_of_this_process())


@dataclass(frozen=True)
class Done:
    """A step, of what was computed in a process of its own."""

    seconds: float
    peak: float
    """GiB at most of the process, from the first step's end."""
    losses: dict[str, float]


@contextmanager
def stepping(call: list[Any], setting: Setting) -> Iterator[Callable[[int], Done]]:
    """A process of its own for the steps of a training, which waits while others compute. -> performs step i there.

    `call` is [module, function, *arguments]: called in the process, the function prepares, and gives what performs a
    step. What the process has to say against it goes to our stderr.
    """
    told = command("step_by_step", [setting.threads, setting.cpu_time, *call])
    with subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, answers = process.stdin, process.stdout

        def perform(i: int) -> Done:
            print(i, file=to, flush=True)
            if not (answer := answers.readline()):
                raise RuntimeError(f"{call} failed in its process, status {process.wait()}: see above")
            return Done(**json.loads(answer))

        try:
            yield perform
        finally:
            process.kill()  # it has nothing to finish


def step_by_step(told: str) -> None:
    """Until the other process closes our stdin, or is no more."""
    threads, cpu_time, module, function, *arguments = json.loads(told)
    setting = Setting(threads=threads, cpu_time=cpu_time)
    torch.set_num_threads(threads)
    step = getattr(importlib.import_module(module), function)(*arguments)
    for line in sys.stdin:
        i = int(line)
        seconds, losses = timed(lambda i=i: step(i), setting)
        if i == 0:
            gc.collect()
            forget_peak()
        done = Done(seconds, peak_of_this_process(), {name: float(loss) for name, loss in losses.items()})
        print(json.dumps(asdict(done)), flush=True)


def forget_peak() -> None:
    """So that what was needed to prepare is not counted; only Linux can."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def peak_of_this_process() -> float:
    """GiB."""
    if STATUS.exists():
        # Not ru_maxrss, which on Linux begins at that of the process that started this one.
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / (1 << 20)
    if os.name == "nt":
        return math.nan
    import resource

    unit = 1 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 30)


def machine(setting: Setting) -> dict[str, Any]:
    """What a figure must have beside it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines) if value}
    flags = (told.get("flags") or told.get("Features") or "").split()
    return {
        "processor": told.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in flags],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1)
        if hasattr(os, "sysconf")
        else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "mkldnn": torch.backends.mkldnn.is_available(),
        "threads": setting.threads,
        **{f"{name}_convolutions_g_per_s": speed for name, speed in speeds().items()},
        "precision_auto": precision_on(torch.device("cpu"), "auto"),
        "clock": "processors' time" if setting.cpu_time else "wall clock",
        "load": load(),
    }


def speeds() -> dict[str, int]:
    """G multiplications a second of PyTorch's own convolution, 256 channels, 3x3, 64 x 64 pixels, channels last.

    How far bf16 is ahead of fp32, or behind it, is the processor's: it bounds what a way in bf16 can reach.
    """
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        x, weight = (
            torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)
            for shape in ((1, 256, 64, 64), (256, 256, 3, 3))
        )
        seconds = []
        for _ in range(12):
            begun = time.perf_counter()
            torch.nn.functional.conv2d(x, weight, padding=1)
            seconds.append(time.perf_counter() - begun)
        found[name] = round(256 * 256 * 9 * 64 * 64 / statistics.median(seconds) / 1e9)
    return found


def load() -> list[float] | None:
    """Processes that wanted to run, over the last 1, 5 and 15 minutes."""
    return [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None
