from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from pinxit.data.captions import CaptionBatch
from pinxit.errors import PinxitError
from pinxit.models.gawwn.config import PRESETS, Where
from pinxit.models.gawwn.recipe import GAWWNRecipe, build
from pinxit.models.gawwn.weights import import_release
from pinxit.recipe import step_noise
from pinxit.text.training import Texts, others
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

TINY = PRESETS["tiny"]
each_where = pytest.mark.parametrize("where", ["box", "points"])


def made(where: Where, **training: Any) -> GAWWNRecipe:
    torch.manual_seed(0)
    network = dataclasses.replace(TINY.network, where=where)
    t = dataclasses.replace(TINY.training, **training)
    return GAWWNRecipe(network, t, Texts("built-in", network.text_dim), seed=3).train()


def batch(recipe: GAWWNRecipe, rows: int = 4) -> CaptionBatch:
    chance = torch.Generator().manual_seed(1)
    photo = torch.rand(rows, 3, 128, 128, generator=chance) * 2 - 1
    box = torch.rand(rows, 4, generator=chance) * 0.5
    points = torch.rand(rows, 15, 3, generator=chance)
    points[..., 2] = points[..., 2].round()
    text = recipe.texts.rows([f"picture {i}" for i in range(rows)])
    return CaptionBatch(photo, text, box=box, points=points)


def birds(folder: Path, count: int = 8) -> Path:
    """The layout of CUB-200-2011."""
    random = np.random.default_rng(0)
    names, boxes, points = [], [], []
    for i in range(count):
        name = f"00{1 + i % 2}.Kind/bird_{i}"
        for kind in ("images", "text"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        blocks = np.kron(random.integers(0, 255, (8, 9, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        Image.fromarray(blocks).save(folder / "images" / f"{name}.jpg")
        (folder / "text" / f"{name}.txt").write_text(f"bird number {i}\n", encoding="utf-8")
        names.append(f"{i + 1} {name}.jpg")
        boxes.append(f"{i + 1} {4 + i} 5.0 30.0 25.0")
        points += [f"{i + 1} {part} {5 + 2 * part} {4 + 2 * part} {part % 2}" for part in range(1, 16)]
    (folder / "parts").mkdir()
    for name, lines in (("images.txt", names), ("bounding_boxes.txt", boxes), ("parts/part_locs.txt", points)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def of(folder: Path, where: Where, **training: Any) -> Any:
    return dataclasses.replace(
        TINY,
        data=dataclasses.replace(TINY.data, data=folder),
        network=dataclasses.replace(TINY.network, where=where),
        training=dataclasses.replace(TINY.training, **training),
    )


@each_where
def test_a_steps_losses(where: Where) -> None:
    """Against their definition; without learning, so that the generator's is of the same weights."""
    recipe, other = made(where, lr=0.0), made(where, lr=0.0)
    shown = batch(recipe)
    losses = recipe.step(shown, 0)
    place = shown.box if where == "box" else shown.points
    assert place is not None
    text, wrong = other.texts.embed(shown.text), other.texts.embed(others(shown.text))
    assert not torch.equal(text, wrong)
    fake = other.G(step_noise(3, 0, 0, 4, 4, device="cpu"), text, place)
    ones, zeros = torch.ones(4), torch.zeros(4)
    wanted = {
        "D_right": F.binary_cross_entropy(other.D(shown.photo, text, place).sigmoid(), ones),
        "D_wrong": F.binary_cross_entropy(other.D(shown.photo, wrong, place).sigmoid(), zeros),
        "D_made": F.binary_cross_entropy(other.D(fake, text, place).sigmoid(), zeros),
        "G": F.binary_cross_entropy(other.D(fake, text, place).sigmoid(), ones),
    }
    wanted["D"] = wanted["D_right"] + (wanted["D_wrong"] + wanted["D_made"]) / 2
    assert losses.keys() == wanted.keys()
    for name, loss in wanted.items():
        torch.testing.assert_close(losses[name], loss.detach(), rtol=1e-5, atol=1e-6)


@each_where
def test_all_weights_learn(where: Where) -> None:
    recipe = made(where)
    before = {name: p.clone() for name, p in recipe.named_parameters()}
    for step in range(2):
        recipe.step(batch(recipe), step)
    still = [name for name, p in recipe.named_parameters() if torch.equal(p, before[name])]
    assert all(name.startswith("texts.") for name in still)
    assert len(still) == len(list(recipe.texts.parameters()))


@each_where
def test_a_cut_at_the_border_of_the_stages_changes_nothing(where: Where, tmp_path: Path) -> None:
    options = of(birds(tmp_path / "data"), where, text_steps=2, steps=3)
    quiet = {"sample_every": 0, "tensorboard": False}
    train(build(options, seed=5), Run(tmp_path / "whole", **quiet), torch.device("cpu"), {})
    for ends in ((1, 0), (2, 0), (2, 1), (2, 3)):
        torch.manual_seed(99)
        recipe = build(options, seed=5)
        stages = recipe.stages

        def cut(stages: Any = stages, ends: tuple[int, int] = ends) -> Any:
            for stage, end in zip(stages(), ends, strict=True):
                yield dataclasses.replace(stage, steps=end)
                if end < stage.steps:
                    return

        recipe.stages = cut
        resume = (tmp_path / "cut").exists()
        train(recipe, Run(tmp_path / "cut", **quiet, resume=resume), torch.device("cpu"), {})
    whole, pieces = (checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut"))
    assert whole["stage"] == pieces["stage"] == 1
    assert whole["recipe"].keys() == pieces["recipe"].keys()
    for name, value in whole["recipe"].items():
        assert torch.equal(value, pieces["recipe"][name]), name


@each_where
def test_the_sheet_and_the_data(where: Where, tmp_path: Path) -> None:
    recipe = build(of(birds(tmp_path / "data"), where), seed=5)
    sheet, again = recipe.preview(), recipe.preview()
    assert sheet is not None
    assert again is not None
    assert sheet.shape == (2, 3, 3, 128, 128)
    assert torch.equal(sheet, again)
    assert recipe.G.training
    *_, stage = recipe.stages()
    shown = next(stage.batches(0))
    assert shown.box.shape == (4, 4)
    assert shown.points.shape == (4, 15, 3)
    assert shown.points[..., 2].sum() > 0


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    folder = birds(tmp_path / "data")
    with pytest.raises(PinxitError, match=r"^--data is missing"):
        build(TINY)
    (folder / "bounding_boxes.txt").unlink()
    with pytest.raises(PinxitError, match=r"^the data set is without box, .*bounding_boxes\.txt.*--where points"):
        build(of(folder, "box"))
    build(of(folder, "points"))
    (folder / "parts" / "part_locs.txt").unlink()
    with pytest.raises(PinxitError, match=r"^the data set is without points, .*part_locs\.txt.*--where box"):
        build(of(folder, "points"))
    with pytest.raises(PinxitError, match=r"^the release is 'net_G\.t7', expected nothing"):
        import_release([Path("net_G.t7")])


@pytest.mark.slow
@each_where
def test_two_processes_train_as_one(where: Where, tmp_path: Path) -> None:
    options = (
        f"-m pinxit train gawwn --preset tiny --where {where} --data {birds(tmp_path / 'data')} --text-steps 2 "
        "--batch 8 --text-batch 8 --steps 3 --log-every 1 --sample-every 0 --device cpu --no-tensorboard --out"
    ).split()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in ([sys.executable, *options, tmp_path / "one"], [*torchrun, *options, tmp_path / "two"]):
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    logs = [[*map(json.loads, (tmp_path / n / "log.jsonl").read_text().splitlines())] for n in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 5
    # Each training's first step is of the same weights; Adam's first steps, which are signs, then enlarge rounding.
    for i, (a, b, near) in enumerate(zip(*logs, (1e-4, 1e-2, 1e-4, 1e-2, 3e-2), strict=True)):
        for name in ("text",) if i < 2 else ("D", "D_right", "D_wrong", "D_made", "G"):
            assert a[name] == pytest.approx(b[name], rel=near, abs=1e-4), (i, name)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value.float() - two[name].float()).abs().mean() < 1e-3, name
