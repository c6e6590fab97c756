"""Runs of SinGAN on one photo, side by side: time as a ratio to the first, and the measures that need no other network.

    python benchmarks/singan.py runs/paper runs/fast runs/draft

The time is that of the steps, from each run's log.jsonl; run them on the same quiet machine, with as many threads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import pinxit
from pinxit.data.images import to_tensor
from pinxit.evaluation.patches import rmse, scores

SAMPLES = 8


def seconds(run: Path) -> float:
    """What the steps took."""
    records = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    total, last = 0.0, {}
    for r in records:
        total += (r["step"] - last.get(r["stage"], 0)) / r["steps_per_second"]
        last[r["stage"]] = r["step"]
    return total


def row(run: Path) -> dict[str, float]:
    model = pinxit.load(run)
    samples = torch.stack([to_tensor(picture) for picture in model.sample(SAMPLES)])
    photo = model.photo[0]
    return {**scores(samples, photo), "reconstruction": rmse(to_tensor(model.reconstruct()), photo)}


def main(runs: list[Path]) -> None:
    torch.set_num_threads(1)
    first = seconds(runs[0])
    rows = {run.name: {"time": seconds(run) / first, **row(run)} for run in runs}
    names = list(next(iter(rows.values())))
    print("| run | " + " | ".join(names) + " |\n|---" * (len(names) > 0) + "|---" * len(names) + "|")
    for run, values in rows.items():
        print(f"| {run} | " + " | ".join(f"{values[name]:.3g}" for name in names) + " |")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
