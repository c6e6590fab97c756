"""The loop on a recipe of two numbers: what it keeps, when it stops, and that a resumed run is the same run."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.data.stream import ahead
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.recipe import Forecast, Recipe, Stage, step_noise, update
from pinxit.training import checkpoint
from pinxit.training.checkpoint import Position
from pinxit.training.config import Run
from pinxit.training.loop import train

CPU = torch.device("cpu")


class Growing(Recipe):
    """Fits a line, then grows a second layer, drawn from the global generator, and fits both.

    `at` are calls to make at a step of a stage, before it is done.
    """

    def __init__(self, at: dict[tuple[int, int], Callable[[], Any]] | None = None, loss: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(2, 2)])
        self.optimizers = {"G": torch.optim.Adam(self.layers.parameters(), lr=0.01)}
        self.at, self.loss, self.previews = at or {}, loss, 0

    def stages(self) -> Iterator[Stage]:
        yield Stage("first", 5, self.batches, lambda batch, i: self.step(batch, 0, i))
        self.layers.append(nn.Linear(2, 2))
        self.optimizers["late"] = torch.optim.Adam(self.layers[1].parameters(), lr=0.02)
        yield Stage("second", 4, self.batches, lambda batch, i: self.step(batch, 1, i))

    def batches(self, start: int) -> Iterator[tuple[Tensor]]:
        while True:
            yield (step_noise(0, start, 0, 3, 2, device="cpu"),)
            start += 1

    def step(self, batch: tuple[Tensor], stage: int, i: int) -> dict[str, Tensor]:
        assert self.training
        self.at.get((stage, i), lambda: None)()
        loss = torch.zeros(())
        for optimizer in self.optimizers.values():
            x = batch[0] + 0.01 * torch.randn(3, 2)  # what draws from the global generator must survive a cut, too
            for layer in self.layers:
                x = layer(x)
            loss = (x - 1).square().mean()
            update(optimizer, loss)
        return {"distance": loss.detach(), "extra": torch.tensor(self.loss)}

    def preview(self) -> Tensor | None:
        self.previews += 1
        return torch.linspace(-1, 1, 2 * 3 * 3 * 8 * 10).reshape(2, 3, 3, 8, 10)

    def model_file(self) -> ModelFile:
        return ModelFile("growing", {"layers": len(self.layers)}, dict(self.layers.state_dict()))


def run(out: Path, **options: Any) -> Run:
    return Run(out, **{"tensorboard": False, "sample_every": 0, "log_every": 1, **options})


def go(out: Path, recipe: Recipe | None = None, **options: Any) -> Position:
    return train(recipe or Growing(), run(out, **options), CPU, {"method": "growing"})


def log(out: Path) -> list[tuple[str, int]]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [(r["stage"], r["step"]) for r in map(json.loads, lines)]


def assert_same(a: Any, b: Any) -> None:
    """Bit for bit, however nested."""
    assert type(a) is type(b)
    if isinstance(a, Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def assert_same_end(a: Path, b: Path) -> None:
    states = [torch.load(out / "state.pt", weights_only=True) for out in (a, b)]
    assert_same(*states)
    # Not byte for byte: safetensors writes its metadata in any order.
    assert_same(*(dataclasses.asdict(read(out)) for out in (a, b)))


class Killed(BaseException):
    """Nobody catches this, as nobody does a power cut."""


def killed() -> None:
    raise Killed


ALL_STEPS = [*(("first", i + 1) for i in range(5)), *(("second", i + 1) for i in range(4))]


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("every", [1, 2, 100])
def test_cut_at_each_step_and_resumed_ends_as_uncut(stage: int, every: int, tmp_path: Path) -> None:
    assert go(tmp_path / "whole") == Position(1, 4)
    assert log(tmp_path / "whole") == ALL_STEPS
    for i in range(5 - stage):
        cut = tmp_path / f"cut {i}"
        with pytest.raises(Killed):
            go(cut, Growing({(stage, i): killed}), checkpoint_every=every)
        begun = (cut / "state.pt").is_file()
        assert begun or (stage, every > i) == (0, True)
        torch.manual_seed(1234 + i)  # another process has another state
        assert go(cut, resume=begun, checkpoint_every=every) == Position(1, 4)
        assert_same_end(tmp_path / "whole", cut)
        assert log(cut) == ALL_STEPS
        assert not list(cut.rglob("*.part"))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "state.pt"])
@pytest.mark.parametrize("save", [1, 2, 3, 4])
def test_cut_amid_any_save_and_resumed_ends_as_uncut(
    file: str, save: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each stage saves at its step 3 and at its end; the temporary file stays behind."""
    go(tmp_path / "whole", checkpoint_every=3)
    saves = []
    rename = Path.replace

    def cut_before_renaming(self: Path, target: Path) -> Path:
        saves.append(target.name)
        if saves.count(file) == save:
            (target.parent / f".{target.name}.1.part").write_text("half")
            raise Killed
        return rename(self, target)

    cut = tmp_path / "cut"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "replace", cut_before_renaming)
        go(cut, checkpoint_every=3)
    go(cut, resume=(cut / "state.pt").is_file(), checkpoint_every=3)
    assert_same_end(tmp_path / "whole", cut)
    assert not list(cut.rglob("*.part"))


def test_looking_on_changes_nothing(tmp_path: Path) -> None:
    go(tmp_path / "blind", log_every=100)
    go(tmp_path / "seen", sample_every=1, checkpoint_every=1)
    assert_same_end(tmp_path / "blind", tmp_path / "seen")


def test_losses_sheets_and_models_appear_when_they_are_asked_for(tmp_path: Path) -> None:
    recipe = Growing()
    go(tmp_path, recipe, log_every=2, sample_every=3, checkpoint_every=100)
    assert log(tmp_path) == [("first", 2), ("first", 4), ("first", 5), ("second", 2), ("second", 4)]
    sheets = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert sheets == ["first_000003.png", "first_000005.png", "second_000003.png", "second_000004.png"]
    with Image.open(tmp_path / "samples" / sheets[0]) as sheet:
        assert sheet.size == (3 * 10 + 2 * 4, 2 * 8 + 4)  # columns and rows of 10x8, four pixels between
        pixels = np.asarray(sheet)
    assert pixels[0, 0].tolist() == [0, 14, 28]  # the first pixel of each plane of a ramp from -1 to 1 over all
    assert pixels[:, 10:14].min() == 255
    assert read(tmp_path).config == {"layers": 2}
    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert set(record) == {"stage", "stage_number", "step", "steps_per_second", "loading", "distance", "extra"}


def test_no_sheets_where_there_is_nothing_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(tmp_path / "off", recipe := Growing(), sample_every=0)
    assert recipe.previews == 0
    monkeypatch.setattr(Growing, "preview", lambda self: None)
    go(tmp_path / "none", sample_every=1)
    assert not (tmp_path / "none" / "samples").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_the_step_with_a_checkpoint(number: int, tmp_path: Path, capsys) -> None:
    ask = {(0, 2): lambda: signal.raise_signal(number)}
    before = signal.getsignal(number)
    assert go(tmp_path, Growing(ask), log_every=100, sample_every=100) == Position(0, 3)
    assert signal.getsignal(number) is before
    assert "stopped after step 3 of first; go on with --resume" in capsys.readouterr().err
    assert checkpoint.read(tmp_path, {"method": "growing"})["step"] == 3
    assert log(tmp_path) == [("first", 3)]
    assert (tmp_path / "samples" / "first_000003.png").is_file()

    go(tmp_path, resume=True, log_every=100)
    go(tmp_path / "whole", log_every=100)
    assert_same_end(tmp_path / "whole", tmp_path)


def test_ctrl_c_between_the_step_and_its_checkpoint_waits_for_the_next_step(tmp_path: Path) -> None:
    class Asked(Growing):
        def preview(self) -> Tensor | None:
            signal.raise_signal(signal.SIGINT)
            return super().preview()

    assert go(tmp_path, Asked(), sample_every=2) == Position(0, 3)
    assert checkpoint.read(tmp_path, {"method": "growing"})["step"] == 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_in_one_line_before_anything_is_saved(bad: float, tmp_path: Path) -> None:
    go(tmp_path, Growing({(0, 3): lambda: signal.raise_signal(signal.SIGINT)}))
    kept = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(PinxitError, match=rf"^loss extra is {bad} at step 5, expected a finite number; .*--resume .*$"):
        go(tmp_path, Growing(loss=bad), resume=True, log_every=100)
    assert (tmp_path / "state.pt").read_bytes() == kept


def test_a_fresh_start_into_a_used_folder_is_refused(tmp_path: Path) -> None:
    go(tmp_path)
    kept = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(PinxitError, match=r"^folder '.*' is a run already, expected a new folder; add --resume"):
        go(tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == kept


def test_resuming_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^run '.*' is without state.pt, expected a run that was begun; leave out"):
        go(tmp_path / "nothing", resume=True)
    assert not (tmp_path / "nothing").exists()


def test_resuming_a_complete_run_does_nothing(tmp_path: Path) -> None:
    go(tmp_path)
    files = {p: p.read_bytes() for p in tmp_path.iterdir()}
    assert go(tmp_path, resume=True) == Position(1, 4)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == files


def test_half_a_line_in_the_log_is_survived(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        go(tmp_path, Growing({(1, 3): killed}), checkpoint_every=2)
    with (tmp_path / "log.jsonl").open("a") as f:
        f.write('{"stage": "second", "stage_number": 1, "st')
    go(tmp_path, resume=True, checkpoint_every=2)
    assert log(tmp_path) == ALL_STEPS


@pytest.mark.parametrize("option", ["log_every", "checkpoint_every"])
def test_intervals_are_at_least_one(option: str, tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=f"^--{option.replace('_', '-')} is 0, expected 1 or more"):
        run(tmp_path, **{option: 0})


def test_the_end_tells_the_memory_beside_the_forecast(tmp_path: Path, capsys) -> None:
    go(tmp_path / "asked", recipe := Growing())
    told = capsys.readouterr().err
    assert re.search(r"^memory: \d+\.\d\d GiB at most, \d+\.\d\d of it for the training$", told, re.MULTILINE)
    assert recipe.foretold is None
    recipe = Growing()
    recipe.foretold = Forecast(1.0, 3 << 29)
    go(tmp_path / "foretold", recipe)
    assert re.search(r"of it for the training; foretold 1\.50$", capsys.readouterr().err, re.MULTILINE)


def test_a_slow_loader_is_told(tmp_path: Path) -> None:
    class Slow(Growing):
        def stages(self) -> Iterator[Stage]:
            for stage in super().stages():
                yield dataclasses.replace(stage, batches=lambda start, stage=stage: slowly(stage.batches(start)))

    def slowly(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            time.sleep(0.05)
            yield batch

    go(tmp_path, Slow())
    shares = [json.loads(line)["loading"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) > 0.3


@pytest.mark.parametrize("depth", [0, 1, 2, 9])
def test_reading_ahead_gives_the_same_batches_and_ends_with_its_reader(depth: int) -> None:
    read: list[int] = []

    def batches() -> Iterator[int]:
        for i in range(100):
            read.append(i)
            yield i

    assert list(ahead(batches(), 7, depth)) == list(range(7))
    assert read == list(range(7))
    read.clear()
    reader = ahead(batches(), 50, depth)
    assert [next(reader), next(reader)] == [0, 1]
    reader.close()
    assert len(read) <= 2 + depth
    assert not [t for t in threading.enumerate() if t.name.startswith("loader")]


def test_what_is_wrong_with_a_batch_is_raised_at_its_step() -> None:
    def batches() -> Iterator[int]:
        yield 0
        raise PinxitError("bad file")

    reader = ahead(batches(), 5)
    assert next(reader) == 0
    with pytest.raises(PinxitError, match="bad file"):
        next(reader)
