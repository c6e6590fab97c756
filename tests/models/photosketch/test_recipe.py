"""The objective of PhotoSketch, and what a training of it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.photo_sketches import PhotoSketches
from pinxit.errors import PinxitError
from pinxit.models.photosketch.config import PRESETS, Network, Options, Training
from pinxit.models.photosketch.network import GlobalDiscriminator, discriminator, generator
from pinxit.models.photosketch.recipe import PhotoSketchRecipe, build, to_nearest

TINY = PRESETS["tiny"]


def batch(n: int = 2, references: int = 3) -> PhotoSketches:
    random = torch.Generator().manual_seed(0)
    return PhotoSketches(
        torch.rand(n, 3, 32, 32, generator=random) * 2 - 1, torch.rand(n, references, 32, 32, generator=random) * 2 - 1
    )


def recipe(**training) -> PhotoSketchRecipe:
    torch.manual_seed(0)
    return PhotoSketchRecipe(
        dataclasses.replace(TINY.network, dropout=False), dataclasses.replace(TINY.training, **training)
    ).train()


def test_only_the_nearest_drawing_counts() -> None:
    fake = torch.zeros(2, 1, 4, 4, requires_grad=True)
    references = torch.stack([torch.full((3, 4, 4), 1.0), torch.full((3, 4, 4), 0.5)])
    references[0, 1], references[1, 2] = 0.25, -0.125
    loss = to_nearest(fake, references)
    assert loss.item() == (0.25 + 0.125) / 2
    (slope,) = torch.autograd.grad(loss, fake)
    assert (slope[0] < 0).all()
    assert (slope[1] > 0).all()


def test_losses_are_those_of_their_formulas() -> None:
    r, b = recipe(gan=0.5, l1=30.0), batch()
    before = {name: value.clone() for name, value in r.state_dict().items()}
    losses = r.step(b, 0)
    r.load_state_dict(before)
    fake = r.G(b.photo)

    def entropy(x: Tensor, real: bool) -> Tensor:
        p = torch.sigmoid(r.D(torch.cat([b.photo, x], dim=1)))
        return -(p if real else 1 - p).log().mean()

    torch.testing.assert_close(losses["D_fake"], entropy(fake, False), atol=1e-5, rtol=1e-5)
    each = [entropy(b.sketches[:, i : i + 1], True) for i in range(3)]
    torch.testing.assert_close(losses["D_real"], sum(each) / 3, atol=1e-5, rtol=1e-5)
    nearest = torch.stack([(fake[i] - b.sketches[i]).abs().mean((1, 2)).min() for i in range(2)])
    torch.testing.assert_close(losses["L1"], 30 * nearest.mean(), atol=1e-4, rtol=1e-5)


def test_a_drawing_shown_twice_changes_nothing_but_statistics() -> None:
    once, twice = recipe(), recipe()
    b = batch(references=1)
    a, c = once.step(b, 0), twice.step(PhotoSketches(b.photo, b.sketches.repeat(1, 2, 1, 1)), 0)
    for name in a:
        torch.testing.assert_close(a[name], c[name])


def test_it_learns() -> None:
    r, b = recipe(lr=2e-3, l1=200.0), batch(references=1)
    b = b._replace(sketches=b.photo.mean(dim=1, keepdim=True).sign())
    losses = [r.step(b, step)["L1"].item() for step in range(60)]
    assert losses[-1] < 0.6 * losses[0]


def test_dropout_is_a_function_of_the_step() -> None:
    def made(step: int) -> Tensor:
        torch.manual_seed(0)
        return PhotoSketchRecipe(TINY.network, TINY.training).train().step(batch(), step)["L1"]

    assert made(1) == made(1) != made(2)


def test_rates_fall() -> None:
    r = recipe(decay_from=10)
    for step, rate in ((0, 2e-4), (10, 2e-4), (15, 1e-4)):
        r.step(batch(), step)
        assert r.optimizers["G"].param_groups[0]["lr"] == pytest.approx(rate)


@pytest.mark.parametrize(("side", "out"), [(256, 1), (512, 9), (288, 2)])
def test_the_discriminator_of_whole_drawings(side: int, out: int) -> None:
    D = GlobalDiscriminator(4, 4)
    with torch.no_grad():
        assert D(torch.zeros(1, 4, side, 256)).shape == (1, 1, out, 1)


def folder(path: Path) -> Path:
    (path / "train").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(3):
        photo = random.integers(0, 256, (40, 40, 3), np.uint8)
        sketch = np.where(random.random((40, 40, 1)) < 0.1, 0, 255).repeat(3, axis=2).astype(np.uint8)
        Image.fromarray(np.hstack([photo, sketch])).save(path / "train" / f"{i}.png")
    return path


def test_preview_and_forecast(tmp_path: Path) -> None:
    r = build(dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, data=folder(tmp_path), rows=2)))
    pictures = r.preview()
    assert pictures is not None
    assert pictures.shape == (2, 3, 3, 32, 32)
    forecast = r.forecast()
    assert 0 < forecast.seconds < 600
    assert forecast.memory > 1e5


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"network": {"size": (64, 64)}, "training": {"discriminator": "global"}}, "--discriminator is global for"),
        ({"training": {"d_layers": 5}}, "--d-layers is 5"),
        ({"training": {"load_size": 16}}, "--load-size is 16, expected 32 or more"),
        ({"data": {"direction": "BtoA"}}, "is dark all over"),
    ],
)
def test_refused(tmp_path: Path, change: dict, told: str) -> None:
    data = {"data": folder(tmp_path), **change.pop("data", {})}
    options = Options(
        dataclasses.replace(TINY.data, **data),
        dataclasses.replace(TINY.network, **change.get("network", {})),
        dataclasses.replace(TINY.training, **change.get("training", {})),
    )
    with pytest.raises(PinxitError, match=told):
        build(options)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Network(size=(62, 64)), "--size is 62 64, expected multiples of 4, 8 or more"),
        (lambda: Network(width=0), "--width is 0"),
        (lambda: Training(rotate=60), "--rotate is 60, expected 0..45"),
        (lambda: Training(vary=1.5), "--vary is 1.5, expected 0..1"),
        (lambda: Training(betas=(0.5, 1.0)), "--betas is 0.5 1.0"),
    ],
)
def test_options_refused(make, told: str) -> None:
    with pytest.raises(PinxitError, match=told):
        make()


def test_names_of_weights_do_not_hang_on_dropout() -> None:
    with_it, without = (generator(dataclasses.replace(TINY.network, dropout=value)) for value in (True, False))
    assert list(with_it.state_dict()) == list(without.state_dict())
    assert discriminator(Network(), Training())(torch.zeros(2, 4, 256, 256)).shape == (2, 1, 1, 1)
