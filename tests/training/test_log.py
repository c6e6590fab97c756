from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import pinxit.training.log
from pinxit.training.log import Log


class Clock:
    """In place of `time.perf_counter`: stands still until it is set."""

    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pinxit.training.log, "time", clock)
    return clock


def log(folder: Path, *, quiet: bool = False, terminal: bool = False, width: int = 200) -> tuple[Log, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width)
    return Log(folder, quiet=quiet, tensorboard=False, console=console), screen


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_lines_where_there_is_no_terminal(tmp_path: Path, clock: Clock) -> None:
    made, screen = log(tmp_path)
    with made:
        made.begin("spade", 1000, 0, 0)
        for _ in range(2):
            with made.loading():
                clock.now += 0.125
        clock.now += 4.75
        made.losses(20, {"GAN": 0.25, "KL": 1.5})
    assert screen.getvalue() == "spade 20/1000  4.00 steps/s  245s left  GAN 0.250  KL 1.500  loading 5.0%\n"
    assert records(tmp_path) == [
        {"stage": "spade", "stage_number": 0, "step": 20, "steps_per_second": 4.0}
        | {"loading": 0.05, "GAN": 0.25, "KL": 1.5}
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59s"), (3599, "3599s"), (3600, "1h00"), (5760, "1h36"), (7199, "1h59"), (36_060, "10h01")],
)
def test_time_left(seconds: int, text: str, tmp_path: Path, clock: Clock) -> None:
    made, screen = log(tmp_path)
    made.begin("spade", 1 + seconds, 0, 0)
    clock.now += 1
    made.losses(1, {})
    assert f"  {text} left" in screen.getvalue()


def test_a_terminal_has_a_bar_with_rate_and_losses(tmp_path: Path) -> None:
    made, screen = log(tmp_path, terminal=True)
    with made:
        made.begin("spade", 4, 0, 0)
        for step in range(1, 5):
            made.step(step)
            made.losses(step, {"GAN": 0.25})
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert re.search(r"spade .* 4/4 .*(steps/s|s/step).*GAN 0\.250", plain)
    assert len(records(tmp_path)) == 4


def test_a_narrow_terminal_cuts_off_the_losses_first(tmp_path: Path) -> None:
    """A line a stage, of SinGAN's longest, with count, rate and time left whole."""
    made, screen = log(tmp_path, terminal=True, width=80)
    with made:
        for number, name in enumerate(("scale8_187x140", "scale9_250x188")):
            made.begin(name, 2000, 0, number)
            for step in range(1001):
                made.step(step)
            made.losses(1000, {"D": -0.335, "G": 0.374, "reconstruction": 0.064})
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", plain)[-3:] if line.strip()]
    assert len(lines) == 2
    for line, name in zip(lines, ("scale8_187x140", "scale9_250x188"), strict=True):
        assert re.fullmatch(rf"{name} \S+ 1000/2000 +[\d.]+ (steps/s|s/step) +\d:\d\d:\d\d D -0\.335.*…", line), line


def test_the_rate_is_that_since_the_last_line_also_after_a_resume(tmp_path: Path, clock: Clock) -> None:
    made, _ = log(tmp_path)
    made.begin("spade", 1000, 400, 0)
    for seconds, step in [(10, 420), (40, 440)]:
        clock.now += seconds
        made.losses(step, {})
    assert [r["steps_per_second"] for r in records(tmp_path)] == [2.0, 0.5]


def test_other_ranks_are_silent(tmp_path: Path) -> None:
    made, screen = log(tmp_path, quiet=True)
    with made:
        made.begin("spade", 4, 0, 0)
        made.step(1)
        made.losses(1, {"GAN": 0.25})
        made.say("done")
    assert screen.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


def test_lines_of_lost_steps_and_half_a_line_are_dropped(tmp_path: Path) -> None:
    lines = [json.dumps({"stage_number": s, "step": i, "GAN": 0.1}) for s in (0, 1) for i in (1, 2, 3)]
    for half in ("", '{"stage_number": 1, "st', "\n", "{"):
        (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n" + half)
        log(tmp_path)[0].begin("second", 4, 2, 1)
        assert [(r["stage_number"], r["step"]) for r in records(tmp_path)] == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]
        assert (tmp_path / "log.jsonl").read_text().endswith("}\n")
    log(tmp_path)[0].begin("first", 4, 0, 0)  # a fresh start
    assert records(tmp_path) == []


def test_tensorboard_events_where_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with Log(tmp_path, quiet=False, tensorboard=True, console=Console(file=io.StringIO())) as made:
        made.begin("spade", 1, 0, 0)
        made.losses(1, {"GAN": 0.25})
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"spade/GAN" in events.read_bytes()
