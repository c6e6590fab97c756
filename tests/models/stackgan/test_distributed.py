"""Two processes on gloo train StackGAN as one does with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TRAIN = "-m pinxit train stackgan --preset tiny --device cpu --precision fp32 --no-tensorboard --sample-every 0 \
--log-every 1 --text-batch 8 --stage1-batch 8 --stage2-batch 8 --seed 3 \
--text-steps 1 --stage1-steps 1 --stage2-steps 1"


def check(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def records(out: Path) -> dict[str, dict[str, float]]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    other = ("stage", "stage_number", "step", "steps_per_second", "loading")
    return {f"{r['stage']} {r['step']}": {k: v for k, v in r.items() if k not in other} for r in lines}


def compare(one: Path, two: Path, steps: list[str], tolerance: float) -> None:
    alone, shared = records(one), records(two)
    assert list(alone) == list(shared) == steps
    for step, losses in alone.items():
        assert shared[step] == pytest.approx(losses, rel=tolerance, abs=tolerance), step


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The losses and gradients of each stage's first step, text stage included, and the losses of some more.

    They differ in the order of sums alone. Batch norm is over all, wrong pairs too: the last row of one process has the
    first text of the other. Adam turns what is left of a gradient of 0 into whole steps, so that what comes after an
    update is held less tightly.
    """
    data = tmp_path / "data"
    data.mkdir()
    for i, (name, colour) in enumerate({"red": (220, 40, 30), "green": (30, 200, 60), "blue": (20, 50, 220)}.items()):
        for j in range(4):
            picture = Image.new("RGB", (80, 80), colour)
            picture.paste((60 * j, 255 - 50 * j, 80 * i), (10 * j, 10, 50 + 7 * j, 60))
            picture.save(data / f"{name}{j}.png")
            (data / f"{name}{j}.txt").write_text(f"a {name} wall with picture {j}\n", encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    train = [*TRAIN.split(), "--data", str(data), "--out"]
    check([sys.executable, *train, str(one)])
    check([*TORCHRUN, *train, str(two)])
    compare(one, two, ["text 1", "stage1 1", "stage2 1"], 1e-3)
    states = [torch.load(out / "state.pt", weights_only=True) for out in (one, two)]
    compared = 0
    for optimizer in ("text", "G1", "D1", "G2", "D2"):
        moments = [state["optimizers"][optimizer]["state"] for state in states]
        assert moments[0].keys() == moments[1].keys()
        largest = max(moment["exp_avg"].abs().max().item() for moment in moments[0].values())
        for number, moment in moments[0].items():
            a, b = moment["exp_avg"], moments[1][number]["exp_avg"]
            if a.abs().max() > 1e-3 * largest:
                assert (a - b).abs().max() <= 0.05 * a.abs().max(), f"{optimizer} {number}"
                compared += 1
    assert compared > 60

    more = ["--resume", "--stage2-steps", "3"]
    check([sys.executable, *train, str(one), *more])
    check([*TORCHRUN, *train, str(two), *more])
    compare(one, two, ["text 1", "stage1 1", "stage2 1", "stage2 2", "stage2 3"], 1e-2)
