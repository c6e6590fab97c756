"""`python -m benchmarks`: how many times faster the fast ways are than the plain ones, on this machine.

The two are computed in turn in one run, plain, fast, plain, fast …, and what is printed is the median of the ratios of
such pairs, and their range: times alone say little on a machine that does other things too. Targets stand beside the
figures; none is asserted. The tables go to the screen, all figures and the machine into benchmarks.json, and the
growth of the cost into growth.png.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import time
from itertools import groupby
from pathlib import Path

import torch

from benchmarks import loader, report, spade, startup, stylegan2, training, translators
from benchmarks.measure import Setting, load, machine

BENCHMARKS = {
    **spade.BENCHMARKS,
    **training.BENCHMARKS,
    **translators.BENCHMARKS,
    **stylegan2.BENCHMARKS,
    **startup.BENCHMARKS,
    **loader.BENCHMARKS,
}
QUICK = Setting(rounds=2, width=32, most=128, most_maps=2, quick=True)


def setting_of(o: argparse.Namespace) -> Setting:
    if o.maps is not None and not o.maps.is_dir():
        raise SystemExit(f"--maps is '{o.maps}', expected a folder of label maps; check the path")
    base = QUICK if o.quick else Setting()
    return dataclasses.replace(base, maps=o.maps, threads=o.threads, cpu_time=o.cpu_time)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.epilog = "names:\n" + "\n".join(f"  {name:17}{first_line(f.__doc__)}" for name, f in BENCHMARKS.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all without any")
    parser.add_argument("--quick", action="store_true", help="narrower networks, which gain less, and fewer rounds")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of each computation")
    parser.add_argument("--maps", type=Path, help="folder of label maps, in place of those of COCO-Stuff or drawn ones")
    parser.add_argument("--cpu-time", action="store_true", help="count processors' time: for a machine that is busy")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder of JSON and plot")
    o = parser.parse_args()
    if unknown := [name for name in o.names if name not in BENCHMARKS]:
        parser.error(f"{unknown[0]!r} is none of {', '.join(BENCHMARKS)}")
    if o.threads < 1:
        parser.error(f"--threads is {o.threads}, expected 1 or more")

    setting = setting_of(o)
    torch.set_num_threads(setting.threads)
    os.environ["OMP_NUM_THREADS"] = str(setting.threads)  # of processes that are started
    here = machine(setting)
    print("  ".join(f"{name}: {' '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in here.items()))
    rows, seconds = [], {}
    for name in o.names or BENCHMARKS:
        gc.collect()  # of what the one before has left
        begun = time.perf_counter()
        found = BENCHMARKS[name](setting)
        for row in found:
            # Targets are for networks of full size.
            row.target = None if o.quick else row.target
        seconds[name] = time.perf_counter() - begun
        rows += found
        print(f"\n{name} ({seconds[name]:.0f} s)", flush=True)
        for _, alike in groupby(found, lambda row: row.unit):
            print(f"\n{report.table(list(alike))}", flush=True)
    about = {"machine": {**here, "load_at_end": load()}, "quick": o.quick, "seconds": seconds}
    written = report.write(o.out, rows, about)
    print(f"\nload at the end: {load()}; written: {', '.join(map(str, written))}")


def first_line(text: str | None) -> str:
    return (text or "").splitlines()[0].rstrip(".")


if __name__ == "__main__":
    main()
