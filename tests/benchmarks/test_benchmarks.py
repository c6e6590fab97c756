"""The benchmarks at a tiny size: that they run, compare the right things and can be read. How fast is no test."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import maps, measure, report, spade, startup, training, translators

ROOT = Path(__file__).parents[2]
TINY = measure.Setting(rounds=2, size=64, width=2, most=64, most_maps=2, threads=1, quick=True)


def test_ways_are_measured_in_turn() -> None:
    called = []

    def work(name: str) -> measure.Work:
        def note() -> torch.Tensor:
            called.append(name)
            return torch.tensor([1.0, 2.0 if name == "plain" else 2.5])

        return note

    pair = measure.Pair(work("plain"), {"a": work("a"), "b": work("b")})
    rows = measure.measured("x", "y", [pair, pair], TINY, warm="fast")
    assert called == ["a", "b", *["plain", "a", "b"] * 2]
    assert [(row.largest, row.mean) for row in rows.values()] == [(0.5, 0.25)] * 2
    assert all(len(row.ratios) == 2 and all(ratio > 0 for ratio in row.ratios) for row in rows.values())


def test_the_table_has_median_range_and_target() -> None:
    row = measure.Row("x", "a case", "fp32", [4.0, 4.0, 6.0], [1.0, 2.0, 1.0], target=8, largest=1e-6, mean=1e-7)
    head, _, line = report.table([row]).splitlines()
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        *("a case", "fp32", "4 s", "1 s", "4.00", "2.00 to 6.00", "8: 50%", "1.0e-06", "1.0e-07")
    ]
    assert len(head) == len(line)


def test_painting_is_measured_against_the_same_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spade, "spade_memory", lambda _: [])  # which starts processes
    folder = tmp_path / "val_label"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 12), np.uint8)).save(folder / f"{i}.png")
    setting = measure.Setting(rounds=1, size=32, width=2, most=32, most_maps=2, threads=1, maps=folder)
    rows = spade.spade_inference(setting)
    assert {row.case for row in rows} == {"maps of val_label, 32 px", "painted maps, 32 px"}
    ways = {f"{dtype}{what}" for dtype in ("fp32", "bf16") for what in ("", ", stroke", ", style alone")}
    assert {row.way for row in rows} == ways
    for row in rows:
        assert row.largest is not None
        assert row.largest <= (1e-5 if row.way.startswith("fp32") else 0.1)


def test_growth_is_written_and_plotted(tmp_path: Path) -> None:
    rows = spade.spade_growth(TINY)
    assert {row.axis for row in rows} == {"side of the picture", "pictures in a batch", "classes", "regions of the map"}
    told, plotted = report.write(tmp_path, rows, {"machine": measure.machine(TINY)})
    assert len(json.loads(told.read_text())["rows"]) == len(rows)
    with Image.open(plotted) as picture:
        assert picture.size[0] > 800


@pytest.mark.parametrize("name", translators.NETWORKS)
def test_translators_are_what_they_are(name: str) -> None:
    network, x = translators.made(translators.NETWORKS[name], 2, 64)
    network, x = network.double(), x.double()
    plain = translators.forward(network, x)()
    largest, _ = measure.difference(plain, translators.forward(translators.fast_form(network, torch.float64), x)())
    assert largest <= 1e-9


def test_training_steps_have_the_same_losses() -> None:
    times, peaks = training.steps_measured("spade_training", "a step", ["SPADE", 2, 32, None], TINY)
    assert [row.way for row in times] == [row.way for row in peaks] == ["fp32", "bf16"]
    assert times[0].largest is not None
    assert times[0].largest <= 1e-5
    assert all(len(row.ratios) == 4 and min(row.plain + row.fast) > 0 for row in times)
    assert all(0.05 < peak < 1 for row in peaks for peak in (*row.plain, *row.fast))


def test_what_fails_in_a_process_of_its_own_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(RuntimeError, match="failed in its process, status 1"),
        measure.stepping(["benchmarks.maps", "painted", "no number"], TINY) as step,
    ):
        step(0)
    assert "TypeError" in capfd.readouterr().err


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """However that one ends."""
    script = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nfrom benchmarks.measure import Setting, stepping\n"
        "with stepping(['benchmarks.training', 'step_of', 'fp32', 'pix2pix', 2, 32], Setting()) as step:\n"
        "    step(0)\n"
        "    os.kill(os.getpid(), 9)"
    )
    # The process has this one's stderr too, whose end is reached when both have ended.
    killed = subprocess.run([sys.executable, "-c", script, str(ROOT)], stderr=subprocess.PIPE, text=True, timeout=120)
    assert (killed.returncode, killed.stderr) == (-9, "")


@pytest.mark.parametrize("name", training.OTHERS)
def test_steps_of_the_other_methods(name: str) -> None:
    losses = training.of_other(name, "plain", 2, 64)(0)
    assert all(math.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("count", [1, 7, 32 * 32])
def test_drawn_maps_have_as_many_regions_as_asked(count: int) -> None:
    map = maps.regions(count, 32, 5)
    assert map.labels.shape == map.instances.shape == (1, 32, 32)
    assert len(map.instances.unique()) <= count
    assert int(map.labels.max()) < 5


def test_a_stroke_changes_a_part() -> None:
    before = maps.painted(3, 64, 20)
    after = maps.with_stroke(before, 19, 0)
    changed = (before.labels != after.labels).float().mean()
    assert 0 < changed < 0.3


def test_start_up_tells_what_is_imported() -> None:
    assert not startup.imports_torch("import pinxit")
    assert startup.imports_torch("import torch")


@pytest.mark.slow
def test_memory_is_that_of_the_way_alone() -> None:
    held = bytearray(300 << 20)
    held[:: 1 << 12] = b"1" * len(held[:: 1 << 12])
    rows = spade.spade_memory(measure.Setting(size=32, width=2, most=32, threads=1))
    assert [row.way for row in rows] == ["fp32", "bf16"] * 2
    assert all(0.05 < peak < 1 for row in rows for peak in (*row.plain, *row.fast))
    del held


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "startup", "--maps", str(tmp_path / "none")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(r"--maps is .* expected a folder", done.stderr)
