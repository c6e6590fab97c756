"""`pinxit train` as a person runs it, on one process: what a run leaves, and what it refuses in one line."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.apps.cli.main import main
from pinxit.modelfile import read
from pinxit.training import checkpoint

Arguments = Callable[..., list[str]]


def records(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr, after the log's own, with which these arguments end."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if " steps/s " not in line]
    assert len(lines) == 1, captured.err
    assert captured.out == ""
    return lines[0]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, arguments: Arguments) -> Path:
    """A run of three steps, with all a run can leave."""
    out = tmp_path_factory.mktemp("runs") / "done"
    main(arguments(out, "--steps 3 --log-every 1 --sample-every 2"))
    return out


def test_a_run_leaves_a_model_a_log_and_sheets(done: Path) -> None:
    assert sorted(p.name for p in done.iterdir()) == [
        "config.json",
        "log.jsonl",
        "model.safetensors",
        "samples",
        "state.pt",
    ]
    assert sorted(p.name for p in (done / "samples").iterdir()) == ["spade_000002.png", "spade_000003.png"]
    for sheet in (done / "samples").iterdir():
        with Image.open(sheet) as page:
            # Two validation maps; a row is map, photo, the photo's style and a random one; 64 px each, 4 px between.
            assert page.size == (4 * 64 + 3 * 4, 2 * 64 + 4)
            assert len(page.getcolors(1 << 20) or ()) > 100
    assert [r["step"] for r in records(done)] == [1, 2, 3]
    assert all(math.isfinite(v) for r in records(done) for v in r.values() if isinstance(v, float))
    assert set(records(done)[0]) >= {"GAN", "feature_matching", "KL", "D_fake", "D_real"}
    assert pinxit.load(done).paint(np.zeros((64, 64), np.int64)).size == (64, 64)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("--lr 0.001", "training.lr is 0.001, expected 0.0002"),
        ("--norm instance", "network.norm is 'instance', expected 'sync_batch'"),
        ("--seed 1", "seed is 1, expected 0"),
        ("--precision bf16", "precision is 'bf16', expected 'fp32'"),
        ("--batch 3", "training.batch is 3, expected 2"),
    ],
)
def test_resuming_with_another_option_names_it(done: Path, arguments, capsys, options: str, name: str) -> None:
    kept = (done / "state.pt").read_bytes()
    line = refusal(arguments(done, f"--steps 3 --resume {options}"), capsys)
    assert line.startswith(f"pinxit: {name} as the run '{done}' has it; resume with that, or begin another run")
    assert (done / "state.pt").read_bytes() == kept


def test_a_run_may_be_extended(done: Path, arguments: Arguments, tmp_path: Path) -> None:
    longer = tmp_path / "longer"
    shutil.copytree(done, longer)
    main(arguments(longer, "--steps 4 --log-every 1 --resume"))
    assert [r["step"] for r in records(longer)] == [1, 2, 3, 4]


@pytest.mark.parametrize("quick", [True, False])
def test_a_run_goes_on_in_the_precision_it_was_begun_in(
    quick: bool, done: Path, arguments: Arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever that is: another machine may be quick at bf16, or not."""
    longer = tmp_path / "longer"
    shutil.copytree(done, longer)  # in fp32
    monkeypatch.setattr("pinxit.training.distributed.quick_at_bf16", lambda _: quick)
    monkeypatch.setattr("pinxit.models.spade.recipe.SpadeRecipe.bf16", True)
    main(arguments(longer, "--steps 4 --log-every 1 --resume"))
    assert checkpoint.precision_of_run(longer) == "fp32"
    assert [r["step"] for r in records(longer)] == [1, 2, 3, 4]


def test_a_used_folder_and_an_empty_one_are_told_apart(done: Path, arguments, capsys, tmp_path: Path) -> None:
    assert "is a run already, expected a new folder; add --resume" in refusal(arguments(done, "--steps 3"), capsys)
    line = refusal(arguments(tmp_path / "nothing", "--steps 3 --resume"), capsys)
    assert "is without state.pt, expected a run that was begun; leave out --resume" in line
    assert not (tmp_path / "nothing").exists()


def test_a_loss_that_is_not_a_number_ends_in_one_line(arguments, capsys, tmp_path: Path) -> None:
    line = refusal(arguments(tmp_path / "run", "--steps 6 --lr 1e25 --no-ttur --log-every 1"), capsys)
    assert line.startswith("pinxit: loss ")
    assert "expected a finite number; lower --lr" in line
    assert not (tmp_path / "run" / "state.pt").exists()


def test_sizes_and_batches_that_cannot_be_are_refused(arguments, capsys, tmp_path: Path) -> None:
    for options, line in [
        ("--size 100 64", "pinxit: --size is 100 64, expected multiples of 32; "),
        ("--upsamplings most", "pinxit: --size is 64 64, expected multiples of 128; "),
        ("--batch 0", "pinxit: --batch is 0, expected 1 or more; "),
        ("--perceptual 10", "pinxit: --vgg is missing, expected VGG-19 weights; "),
    ]:
        assert refusal(arguments(tmp_path / "run", options), capsys).startswith(line)
    assert not (tmp_path / "run").exists()


def test_bfloat16_gives_finite_losses_near_those_of_fp32(done: Path, arguments, tmp_path: Path) -> None:
    main(arguments(tmp_path / "run", "--steps 3 --log-every 1 --precision bf16"))
    # The first step is of the same weights. Then hinge, L1 and Adam's first steps, which are signs, enlarge rounding:
    # by the third step losses were seen 10 % apart, on one processor more than on another.
    for half, whole, near in zip(records(tmp_path / "run"), records(done), (0.005, 0.1, 0.2), strict=True):
        for name in ("GAN", "feature_matching", "D_fake", "D_real"):
            assert half[name] == pytest.approx(whole[name], rel=near, abs=min(near / 2, 0.05))
    first = records(done)[0]["feature_matching"]
    assert records(tmp_path / "run")[0]["feature_matching"] != pytest.approx(first, rel=1e-6)
    assert {str(t.dtype) for t in read(tmp_path / "run").tensors.values()} == {"torch.float32"}


def test_a_disk_that_fills_up_ends_in_one_line_and_the_run_goes_on_when_there_is_room(
    arguments: Arguments, tmp_path: Path
) -> None:
    """Twelve MB hold one checkpoint of 8 MB and no second beside it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        command = [sys.executable, "-m", "pinxit", *arguments(disk / "run", "--steps 4 --checkpoint-every 2")]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert ended.returncode == 2
        (line,) = [line for line in ended.stderr.splitlines() if "steps/s" not in line]
        assert line.startswith(f"pinxit: '{disk}/run/state.pt' is not saved (No space left on device), expected room")
        shutil.copytree(disk / "run", tmp_path / "run")
    finally:
        subprocess.run(["umount", disk], check=True)
    assert [r["step"] for r in records(tmp_path / "run")] == [2, 4]
    assert read(tmp_path / "run").method == "spade"
    main(arguments(tmp_path / "run", "--steps 4 --checkpoint-every 2 --resume"))
    assert [r["step"] for r in records(tmp_path / "run")] == [2, 4]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no process groups there")
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_at_the_terminal_keeps_the_last_step(workers: int, arguments: Arguments, tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the terminal, those that read pictures too."""
    command = [sys.executable, "-m", "pinxit"]
    command += arguments(tmp_path / "run", f"--steps 100000 --log-every 1 --workers {workers}")
    log = tmp_path / "run" / "log.jsonl"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as p:
        while p.poll() is None and not (log.is_file() and log.read_text().count("\n") >= 2):
            time.sleep(0.05)
        os.killpg(p.pid, signal.SIGINT)
        out, err = p.communicate(timeout=100)
    assert p.returncode == 0, err
    assert "Traceback" not in err
    step = records(tmp_path / "run")[-1]["step"]
    assert f"stopped after step {step} of spade; go on with --resume" in err.splitlines()
    assert out.startswith(f"{step} steps done; ")
    assert (tmp_path / "run" / "state.pt").is_file()
