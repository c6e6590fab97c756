"""The best model of a run: chosen, kept, and the same one however often the run was cut."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.recipe import Recipe, Stage, step_noise, update
from pinxit.training.best import NAME, Best, Evaluation
from pinxit.training.checkpoint import Position
from pinxit.training.config import Run
from pinxit.training.log import records
from pinxit.training.loop import train

CPU = torch.device("cpu")


class Wanderer(Recipe):
    """Two stages whose weight is drawn about by a rate too high to settle, so that the last is not the best."""

    def __init__(self, kill_at: tuple[int, int] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 1)
        self.optimizers = {"G": torch.optim.Adam(self.layer.parameters(), lr=1.0)}
        self.kill_at = kill_at

    def stages(self) -> Iterator[Stage]:
        yield Stage("first", 5, self.batches, lambda batch, i: self.step(batch, 0, i))
        yield Stage("second", 4, self.batches, lambda batch, i: self.step(batch, 1, i))

    def batches(self, start: int) -> Iterator[tuple[Tensor]]:
        while True:
            yield (step_noise(0, start, 0, 3, 2, device="cpu"),)
            start += 1

    def step(self, batch: tuple[Tensor], stage: int, i: int) -> dict[str, Tensor]:
        if (stage, i) == self.kill_at:
            raise Killed
        loss = (self.layer(batch[0] + 0.1 * torch.randn(3, 2)) - 1).square().mean()
        update(self.optimizers["G"], loss)
        return {"distance": loss.detach()}

    def preview(self) -> Tensor | None:
        return None

    def model_file(self) -> ModelFile:
        state = {name: value.detach().clone() for name, value in self.layer.state_dict().items()}
        return ModelFile("wanderer", {}, state, card={"source": "a test"})


class Killed(BaseException):
    """Nobody catches this, as nobody does a power cut."""


def distance(file: ModelFile) -> float:
    """Of the weights from where they should be; it draws numbers, as one that paints with noise may."""
    torch.randn(7)
    return float((file.tensors["weight"] - 0.2).square().sum() + (file.tensors["bias"] - 1).square().sum())


def evaluation(
    score: Callable[[ModelFile], float] = distance, better: Literal["higher", "lower"] = "lower", every: int = 1
) -> Evaluation:
    return Evaluation(every, "distance", better, "from where it should be", score)


def go(out: Path, recipe: Recipe | None = None, how: Evaluation | None = None, **options: Any) -> Position:
    run = Run(out, **{"tensorboard": False, "sample_every": 0, "log_every": 2, **options})
    return train(recipe or Wanderer(), run, CPU, {"method": "wanderer"}, how)


def scores(out: Path) -> list[tuple[int, int, float, bool]]:
    found = records(out / "log.jsonl", (99, 99))
    return [(r["stage_number"], r["step"], *r["score"].values(), r["best"]) for r in found if "score" in r]


def content(out: Path) -> dict[str, Any]:
    file = dataclasses.asdict(read(out / NAME))
    return {**file, "tensors": {name: tensor.tolist() for name, tensor in file["tensors"].items()}}


def test_the_best_is_kept_and_the_last_is_not_it(tmp_path: Path) -> None:
    go(tmp_path, how=evaluation())
    found = scores(tmp_path)
    assert [(stage, step) for stage, step, *_ in found] == [
        *((0, i) for i in range(1, 6)),
        *((1, i) for i in range(1, 5)),
    ]
    values = [value for *_, value, _ in found]
    where = values.index(min(values))
    assert where != len(values) - 1
    assert [best for *_, best in found] == [v == min(values[: i + 1]) for i, v in enumerate(values)]
    best = read(tmp_path / NAME)
    stage, step, value, _ = found[where]
    assert distance(best) == value
    assert dict(best.card) == {
        "source": "a test",
        "steps": f"{step} of {('first', 'second')[stage]}",
        "score": f"distance {value!r}",
        "scored by": "from where it should be",
    }
    assert distance(read(tmp_path)) == values[-1]


def test_higher_may_be_better(tmp_path: Path) -> None:
    go(tmp_path, how=evaluation(better="higher"))
    assert distance(read(tmp_path / NAME)) == max(value for *_, value, _ in scores(tmp_path))


def test_scores_are_every_so_many_steps_and_at_the_end_of_a_stage(tmp_path: Path) -> None:
    go(tmp_path, how=evaluation(every=3))
    assert [found[:2] for found in scores(tmp_path)] == [(0, 3), (0, 5), (1, 3), (1, 4)]


@pytest.mark.parametrize("checkpoint_every", [1, 2, 100])
@pytest.mark.parametrize("at", [(0, 1), (0, 3), (0, 4), (1, 0), (1, 2), (1, 3)])
def test_cut_and_resumed_it_is_the_same_one(at: tuple[int, int], checkpoint_every: int, tmp_path: Path) -> None:
    """Also where the best model found before the cut is of a step that the checkpoint does not know."""
    go(tmp_path / "whole", how=evaluation())
    with pytest.raises(Killed):
        go(tmp_path / "cut", Wanderer(kill_at=at), evaluation(), checkpoint_every=checkpoint_every)
    begun = (tmp_path / "cut" / "state.pt").is_file()
    torch.manual_seed(1234)
    go(tmp_path / "cut", how=evaluation(), checkpoint_every=checkpoint_every, resume=begun)
    assert scores(tmp_path / "cut") == scores(tmp_path / "whole")
    assert content(tmp_path / "cut") == content(tmp_path / "whole")


def test_to_be_scored_changes_nothing_of_what_is_learnt(tmp_path: Path) -> None:
    go(tmp_path / "scored", how=evaluation())
    go(tmp_path / "alone")
    a, b = (torch.load(tmp_path / out / "state.pt", weights_only=True) for out in ("scored", "alone"))
    assert torch.equal(a["rng"], b["rng"])
    assert all(torch.equal(a["recipe"][name], b["recipe"][name]) for name in b["recipe"])
    assert not (tmp_path / "alone" / NAME).exists()


def test_what_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    values = iter([float("nan"), 3.0, float("-inf"), 2.0, float("nan"), 5.0, 4.0, 3.0, 2.5])
    go(tmp_path, how=evaluation(lambda _: next(values)))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    found = [(line["score"]["distance"], line["best"]) for line in lines if "score" in line]
    assert found[:5] == [(None, False), (3.0, True), (None, False), (2.0, True), (None, False)]
    assert read(tmp_path / NAME).card["score"] == "distance 2.0"


def test_another_score_does_not_take_over_a_run(tmp_path: Path) -> None:
    go(tmp_path, how=evaluation())
    other = dataclasses.replace(evaluation(), name="SWD")
    with pytest.raises(PinxitError, match=r"is chosen by distance \(from .*\), expected chosen by SWD \(from"):
        go(tmp_path, how=other, resume=True)
    (tmp_path / NAME).rename(tmp_path / "kept.safetensors")
    assert Best(tmp_path, other, Position(1, 4)).value is None


def test_time_spent_on_scores_is_not_counted_as_training(tmp_path: Path) -> None:
    def slow(file: ModelFile) -> float:
        time.sleep(0.3)
        return distance(file)

    go(tmp_path, how=evaluation(slow), log_every=1)
    rates = [r["steps_per_second"] for r in records(tmp_path / "log.jsonl", (99, 99)) if "score" not in r]
    assert sorted(rates)[len(rates) // 2] > 10
