"""Runs that are killed with SIGKILL, again and again, and go on: they end bit-equal to one that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.modelfile import read

STEPS = 12
OPTIONS = f"--steps {STEPS} --log-every 1 --checkpoint-every 2 --seed 5"
ONE = [sys.executable, "-m", "pinxit"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pinxit"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in /proc")


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, env=ENVIRONMENT)


def family(pid: int) -> list[int]:
    """A process and all that it has started; torchrun gives each worker a session of its own."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(int(child)))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill_when(command: list[str], moment: Callable[[], bool]) -> str:
    """Start `command` and kill it and its family at `moment`; -> whether that came before its end."""
    deadline = time.monotonic() + 100
    with start(command) as process:
        while process.poll() is None and not moment():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        pids = family(process.pid) if process.poll() is None else []
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    while any(alive(pid) for pid in pids):
        time.sleep(0.01)
    return "killed" if pids else "ended"


def steps_done(out: Path) -> int:
    log = out / "log.jsonl"
    return log.read_text().count("\n") if log.is_file() else 0


def moments(out: Path, dice: random.Random) -> dict[str, Callable[[], bool]]:
    """When to kill: at a step, amid the writing of a checkpoint, and a while after the run has gone on."""
    at = dice.randrange(2, STEPS // 2)
    wait = dice.uniform(0, 0.8)
    changes: set[int] = set()
    begun: list[float] = []

    def a_while_later() -> bool:
        changes.add((out / "log.jsonl").stat().st_mtime_ns)
        if len(changes) == 3 and not begun:  # as it was, without the steps that were lost, with one more
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() > begun[0] + wait

    return {
        f"step {at}": lambda: steps_done(out) >= at,
        "a checkpoint half written": lambda: any(out.glob(".state.pt.*.part")),
        f"{wait:.2f} s later": a_while_later,
    }


def assert_same(a: Any, b: Any, name: str = "") -> None:
    assert type(a) is type(b), name
    if isinstance(a, Tensor):
        assert torch.equal(a, b), name
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_same(a[key], b[key], f"{name}/{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), name
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{name}/{i}")
    else:
        assert a == b, name


def losses(out: Path) -> list[dict]:
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in r.items() if k not in ("steps_per_second", "loading")} for r in records]


@pytest.mark.parametrize("launch", [pytest.param(ONE, id="one"), pytest.param(TWO, id="two", marks=pytest.mark.slow)])
def test_killed_and_resumed_ends_bit_equal(launch: list[str], arguments: Callable, tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"KILL_SEED={seed} repeats the moments of this test")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start([*launch, *arguments(whole, OPTIONS)]).wait() == 0

    def go_on() -> list[str]:
        resume = " --resume" if (cut / "state.pt").is_file() else ""
        return [*launch, *arguments(cut, OPTIONS + resume)]

    for name, moment in moments(cut, random.Random(seed)).items():
        before = steps_done(cut)
        print(f"{name}: {kill_when(go_on(), moment)} between steps {before} and {steps_done(cut)}")
    assert start(go_on()).wait() == 0

    ends = [torch.load(out / "state.pt", weights_only=True) for out in (whole, cut)]
    assert ends[0]["step"] == STEPS
    assert ends[0]["optimizers"]["G"]["state"]
    assert_same(ends[0], ends[1])
    assert_same(dict(read(whole).tensors), dict(read(cut).tensors))
    assert [r["step"] for r in losses(cut)] == list(range(1, STEPS + 1))
    assert losses(cut) == losses(whole)
    assert sorted(p.name for p in cut.rglob("*")) == sorted(p.name for p in whole.rglob("*"))


SCALES, A_SCALE = 4, 10
"""Of the preset `tiny` on this photo, and the steps of each."""
WINDOWS = "--crop 20 --crops 3 --batch 2 --pool 3 --d-steps 1 --g-steps 1 --penalty-every 2"


def reached(out: Path, step: int, wait: float = 0.0) -> Callable[[], bool]:
    """`wait` seconds after the run that has just been started has logged `step`, or is beyond it."""
    log = out / "log.jsonl"
    found = log.stat().st_mtime_ns if log.is_file() else 0
    begun: list[float] = []

    def moment() -> bool:
        if not begun and steps_done(out) >= step and log.stat().st_mtime_ns != found:
            begun.append(time.monotonic())
        return bool(begun) and time.monotonic() >= begun[0] + wait

    return moment


def half_written(out: Path, name: str) -> Callable[[], bool]:
    """While a file is written; what an earlier kill has left does not count."""
    left = set(out.glob(f".{name}.*.part"))
    return lambda: bool(set(out.glob(f".{name}.*.part")) - left)


def moments_of_singan(out: Path, dice: random.Random) -> dict[str, Callable[[], Callable[[], bool]]]:
    """When to kill, in the order of the run: amid a scale, amid the growth of two others, amid writing, anywhere.

    Growth: from a scale's last line in the log on come its state, the new networks, the photo at their scale, the pool.
    """
    at = dice.randrange(1, A_SCALE)
    ends = sorted(dice.sample(range(1, SCALES), 2))
    waits = [dice.uniform(0, 0.05) for _ in ends]
    anywhere = dice.randrange(ends[-1] * A_SCALE + 1, SCALES * A_SCALE)
    return {
        f"step {at}": lambda: reached(out, at),
        **{
            f"{wait:.3f} s after scale {end - 1}": lambda end=end, wait=wait: reached(out, end * A_SCALE, wait)
            for end, wait in zip(ends, waits, strict=True)
        },
        "a checkpoint half written": lambda: half_written(out, "state.pt"),
        "a model half written": lambda: half_written(out, "model.safetensors"),
        f"step {anywhere}": lambda: reached(out, anywhere),
    }


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", WINDOWS], ids=["whole", "windows"])
def test_singan_killed_at_any_scale_and_resumed_ends_bit_equal(options: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"KILL_SEED={seed} repeats the moments of this test")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    y, x = np.mgrid[:48, :64]
    Image.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(tmp_path / "photo.png")
    common = (
        f"train singan --preset tiny --data {tmp_path / 'photo.png'} --steps {A_SCALE} --decay-from 8 --seed 5 "
        f"--log-every 1 --checkpoint-every 3 --no-tensorboard {options} --out"
    ).split()
    assert start([*ONE, *common, str(whole)]).wait() == 0

    def go_on() -> list[str]:
        return [*ONE, *common, str(cut), *(["--resume"] if (cut / "state.pt").is_file() else [])]

    killed = 0
    for name, moment in moments_of_singan(cut, random.Random(seed)).items():
        before = steps_done(cut)
        how = kill_when(go_on(), moment())
        killed += how == "killed"
        print(f"{name}: {how} between steps {before} and {steps_done(cut)}")
    assert killed >= 3
    assert start(go_on()).wait() == 0

    ends = [torch.load(out / "state.pt", weights_only=True) for out in (whole, cut)]
    assert (ends[0]["stage"], ends[0]["step"]) == (SCALES - 1, A_SCALE)
    assert_same(ends[0], ends[1])
    assert_same(dict(read(whole).tensors), dict(read(cut).tensors))
    assert losses(cut) == losses(whole)
    assert len(losses(whole)) == SCALES * A_SCALE
    assert sorted(p.name for p in cut.rglob("*")) == sorted(p.name for p in whole.rglob("*"))
    for sheet in (whole / "samples").iterdir():
        assert sheet.read_bytes() == (cut / "samples" / sheet.name).read_bytes()


SIDES_STEPS = 40
"""Enough for kills to come amid them: a step of these takes some 20 ms."""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures on either side."""
    root = tmp_path_factory.mktemp("sides")
    random = np.random.default_rng(0)
    for side in ("trainA", "trainB"):
        (root / side).mkdir()
        for i in range(4):
            coarse = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(coarse).resize((72, 80)).save(root / side / f"{i}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "launch"),
    [("pix2pix", ONE), ("cyclegan", ONE), ("cyclegan", TWO)],
    ids=["pix2pix", "cyclegan", "cyclegan, two"],
)
def test_translators_killed_and_resumed_end_bit_equal(
    method: str, launch: list[str], sides: Path, tmp_path: Path
) -> None:
    """With dropout, whose masks a step must draw anew as they were, and with CycleGAN's pool of earlier fakes."""
    seed = int(os.environ.get("KILL_SEED", random.randrange(2**32)))
    print(f"KILL_SEED={seed} repeats the moments of this test")
    dice = random.Random(seed)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    common = (
        f"train {method} --preset tiny --data {sides} --steps {SIDES_STEPS} --decay-from 20 --batch 2 --seed 5 "
        f"--log-every 1 --checkpoint-every 3 --sample-every 10 --no-tensorboard --out"
    ).split()
    dropout = ["--dropout"] if method == "cyclegan" else ["--depth", "6"]  # less deep U-Nets have none
    assert start([*launch, *common, str(whole), *dropout]).wait() == 0

    def go_on() -> list[str]:
        resume = ["--resume"] if (cut / "state.pt").is_file() else []
        return [*launch, *common, str(cut), *dropout, *resume]

    early, late = dice.randrange(1, 12), dice.randrange(16, SIDES_STEPS - 6)
    moments = {
        f"step {early}": lambda: reached(cut, early),
        "a checkpoint half written": lambda: half_written(cut, "state.pt"),
        f"step {late}": lambda: reached(cut, late),
    }
    killed = 0
    for name, moment in moments.items():
        before = steps_done(cut)
        how = kill_when(go_on(), moment())
        killed += how == "killed"
        print(f"{name}: {how} between steps {before} and {steps_done(cut)}")
    assert killed >= 2
    assert start(go_on()).wait() == 0

    ends = [torch.load(out / "state.pt", weights_only=True) for out in (whole, cut)]
    assert ends[0]["step"] == SIDES_STEPS
    if method == "cyclegan":
        assert {f"pool_{side}.{i}" for side in "AB" for i in range(3)} <= names_in(ends[0])
    assert_same(ends[0], ends[1])
    assert_same(dict(read(whole).tensors), dict(read(cut).tensors))
    assert losses(cut) == losses(whole)
    assert [r["step"] for r in losses(cut)] == list(range(1, SIDES_STEPS + 1))
    assert sorted(p.name for p in cut.rglob("*")) == sorted(p.name for p in whole.rglob("*"))
    for sheet in (whole / "samples").iterdir():
        assert sheet.read_bytes() == (cut / "samples" / sheet.name).read_bytes()


def names_in(state: Any) -> set[str]:
    """The names of all tensors, wherever in the state they are."""
    if not isinstance(state, dict):
        return set()
    return {k for k, v in state.items() if isinstance(v, Tensor)}.union(*(names_in(v) for v in state.values()))
