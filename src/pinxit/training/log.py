"""What a run tells: a progress bar, `log.jsonl`, TensorBoard events."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from pinxit.modelfile import replacing

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class _Rate(ProgressColumn):
    """Steps a second, or seconds a step where that reads better."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if not speed else f"{speed:.2f} steps/s" if speed >= 1 else f"{1 / speed:.2f} s/step")


class _Losses(ProgressColumn):
    """Cut off on a narrow terminal, before rate and time left are."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["losses"], no_wrap=True, overflow="ellipsis")


class Log:
    """The log of one run; on ranks other than the first it is silent (`quiet`)."""

    def __init__(self, folder: Path, *, quiet: bool, tensorboard: bool, console: Console | None = None) -> None:
        self.path = folder / "log.jsonl"
        self.quiet = quiet
        self.console = console or Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Rate(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _Losses(),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.events: SummaryWriter | None = _events(folder) if tensorboard and not quiet else None
        self._marked = (time.perf_counter(), 0)
        self.rate, self.waited = 0.0, 0.0

    def __enter__(self) -> Log:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.progress.stop()
        if self.events is not None:
            self.events.close()

    def begin(self, name: str, steps: int, start: int, stage: int) -> None:
        """A stage begins, or goes on, at step `start`. Lines of steps that a cut run lost again are dropped."""
        self.stage, self.steps = name, steps
        self.task = self.progress.add_task(name, total=steps, completed=start, losses="")
        self._marked, self.waited = (time.perf_counter(), start), 0.0
        if not self.quiet and self.path.is_file():
            kept = records(self.path, (stage, start)) if start or stage else []
            with replacing(self.path) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        self.number = stage

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Within the block the run waits for pictures; `losses` tells what share of the time that took."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.waited += time.perf_counter() - begun

    def step(self, done: int) -> None:
        if not self.quiet:
            self.progress.update(self.task, completed=done)

    def losses(self, done: int, losses: dict[str, float]) -> None:
        """After `done` steps of the stage."""
        now = time.perf_counter()
        seconds = max(now - self._marked[0], 1e-9)
        self.rate, loading = (done - self._marked[1]) / seconds, round(min(self.waited / seconds, 1.0), 4)
        self._marked, self.waited = (now, done), 0.0
        if self.quiet:
            return
        record = {"stage": self.stage, "stage_number": self.number, "step": done}
        record |= {"steps_per_second": self.rate, "loading": loading}
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps({**record, **losses}) + "\n")
        text = "  ".join(f"{name} {value:.3f}" for name, value in losses.items())
        text += f"  loading {loading:.1%}"
        self.progress.update(self.task, losses=text)
        if not self.console.is_terminal:
            left = (self.steps - done) / max(self.rate, 1e-9)
            clock = f"{left // 3600:.0f}h{left % 3600 // 60:02.0f}" if left >= 3600 else f"{left:.0f}s"
            self.console.print(
                f"{self.stage} {done}/{self.steps}  {self.rate:.2f} steps/s  {clock} left  {text}",
                soft_wrap=True,
                highlight=False,
            )
        if self.events is not None:
            for name, value in losses.items():
                self.events.add_scalar(f"{self.stage}/{name}", value, done)

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """What happens within the block is no part of the training: the rates do not count its time."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._marked = (self._marked[0] + time.perf_counter() - begun, self._marked[1])

    def score(self, done: int, name: str, value: float, best: bool) -> None:
        """A score on held-out pictures after `done` steps of the stage, and whether it is the run's best so far."""
        if self.quiet:
            return
        record = {"stage": self.stage, "stage_number": self.number, "step": done}
        # JSON has no numbers that are not finite.
        record |= {"score": {name: value if math.isfinite(value) else None}, "best": best}
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(record) + "\n")
        self.say(f"{self.stage} {done}/{self.steps}  {name} {value:.4g} on held-out pictures" + ", the best" * best)
        if self.events is not None:
            self.events.add_scalar(f"{self.stage}/{name}", value, done)

    def say(self, text: str) -> None:
        if not self.quiet:
            self.console.print(text, soft_wrap=True, highlight=False, markup=False)


def records(log: Path, until: tuple[int, int]) -> list[dict[str, Any]]:
    """The lines of a `log.jsonl` up to a stage's number and a step of it."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if _whole(line)]
    return [r for r in lines if (r["stage_number"], r["step"]) <= until]


def _whole(line: str) -> bool:
    # A run that was killed may have left half a line.
    return line.startswith("{") and line.endswith("}")


def _events(folder: Path) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))
