"""Training SinGAN: windows, what a scale starts from, memory, and runs that are cut at any scale."""

from __future__ import annotations

import dataclasses
import weakref
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pinxit.errors import PinxitError
from pinxit.modelfile import read
from pinxit.models.singan.config import PRESETS, Network, Training
from pinxit.models.singan.pyramid import plan, resize
from pinxit.models.singan.recipe import Dice, Draws, SinGANRecipe, View, live_weights
from pinxit.nn import quick
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

WINDOWS = {"steps": 4, "crop": 20, "crops": 3, "batch": 2, "pool": 3, "d_steps": 1, "g_steps": 1, "penalty_every": 2}


def photo() -> torch.Tensor:
    noise = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    return F.interpolate(noise, size=(32, 40), mode="bilinear") * 2 - 1


def recipe(**training: Any) -> SinGANRecipe:
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    settings = dataclasses.replace(tiny.training, **{"steps": 4, **training})
    pyramid = plan(32, 40, tiny.network)
    return SinGANRecipe(tiny.network, settings, pyramid, resize(photo(), 1.0), seed=3)


@pytest.mark.parametrize("training", [{}, WINDOWS], ids=["whole", "windows"])
def test_cut_anywhere_and_resumed_is_bit_equal(training: dict[str, int], tmp_path: Path) -> None:
    """Every cut after every step of every scale but the last: what is saved, and what a fresh recipe makes of it."""
    scales = len(recipe().pyramid.sizes)
    assert scales >= 4

    def run(out: Path, r: SinGANRecipe, resume: bool = False) -> None:
        options = Run(out, resume=resume, checkpoint_every=1, log_every=1, sample_every=0, tensorboard=False)
        train(r, options, torch.device("cpu"), {})

    whole = tmp_path / "whole"
    run(whole, recipe(**training))
    end = checkpoint.read(whole, {})
    for scale in range(scales):
        for step in (1, 4):
            out = tmp_path / f"{scale}_{step}"
            cut = recipe(**training)
            stages = cut.stages

            def some(stages=stages, scale=scale, step=step):
                for number, stage in enumerate(islice(stages(), scale + 1)):
                    yield dataclasses.replace(stage, steps=step) if number == scale else stage

            cut.stages = some  # type: ignore[method-assign]
            run(out, cut)
            torch.manual_seed(99)
            run(out, recipe(**training), resume=True)
            again = checkpoint.read(out, {})
            assert again["recipe"].keys() == end["recipe"].keys()
            for name, value in end["recipe"].items():
                assert torch.equal(again["recipe"][name], value), f"cut at {scale}, {step}: {name}"
            for name, value in read(whole).tensors.items():
                assert torch.equal(read(out).tensors[name], value), name


def test_a_scale_starts_from_the_one_below_where_the_widths_are_equal() -> None:
    r = recipe()
    network = dataclasses.replace(r.network, width=8, min_width=8)
    torch.manual_seed(0)
    r = SinGANRecipe(network, r.settings, r.pyramid, r.photo)
    for scale, _ in enumerate(r.stages()):
        first = next(r.G.parameters())
        if scale:
            assert not next(r.Gs[scale - 1].parameters()).requires_grad
            equal = network.widths(scale) == network.widths(scale - 1)
            assert bool((first == scale).all()) == equal
        with torch.no_grad():
            first.fill_(scale + 1)
    # Doubled every four scales.
    assert [network.widths(scale)[0] for scale in (3, 4, 8, 40)] == [8, 16, 32, 128]


def test_nothing_of_a_fake_outlives_it() -> None:
    """A graph that holds its own results is never freed: a training would eat the memory within the hour."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2, inplace=True))
    with live_weights(network, True):
        fake = network(torch.randn(1, 3, 8, 8))
    gone = weakref.ref(fake)
    del fake
    assert gone() is None


def test_live_weights_see_an_update() -> None:
    """d(w2 w1 x)/dw1 = w2 x, with the w2 there is at the time of the backward pass."""
    w1, w2 = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    both = nn.Sequential(w1, w2)
    with live_weights(both, True):
        y = both(torch.ones(1, 1))
    with torch.no_grad():
        w2.weight.fill_(5.0)
    y.sum().backward()
    assert w1.weight.grad is not None
    assert w1.weight.grad.item() == 5.0


def test_windows_are_cut_with_their_margin() -> None:
    x = torch.arange(12 * 14.0).view(1, 1, 12, 14)
    view = View(4, 5, ((0, 0), (2, 3)))
    cut = view.of(x, margin=2)
    assert cut.shape == (2, 1, 8, 9)
    assert torch.equal(cut[1], x[0, :, 2:10, 3:12])


def test_noise_is_none_in_the_margin_but_for_animation() -> None:
    r = recipe(**WINDOWS)
    m = r.network.margin
    height, width = r.pyramid.sizes[-1]
    corner = View(20, 20, ((0, 0), (height - 20, width - 20)))
    noise = r.noise(Draws(0), r.pyramid.finest, corner)
    assert not noise[0, :, :m].any()
    assert not noise[1, :, :, -m:].any()
    assert noise[0, :, -m:].any()
    assert r.noise(Draws(0), 0).unique(dim=1).shape[1] == 1
    moving = SinGANRecipe(dataclasses.replace(r.network, task="animation"), r.settings, r.pyramid, r.photo)
    assert moving.noise(Draws(0), 2)[:, :, :m].any()


def test_fake_kept_and_recomputed_part_only_after_the_first_generator_update() -> None:
    losses = {}
    for fake in ("kept", "recomputed"):
        r = recipe(d_steps=1, g_steps=1)
        r.settings = dataclasses.replace(r.settings, fake=fake)
        next(r.stages())
        r.train()
        losses[fake] = r.step(Dice(torch.tensor(5)), 0)
    assert all(torch.equal(a, b) for a, b in zip(*(v.values() for v in losses.values()), strict=True))


@pytest.mark.parametrize("fake", ["kept", "recomputed"])
@pytest.mark.parametrize("way", ["product", "winograd"])
def test_the_quick_convolutions_train_as_pytorch_does(way: str, fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In double: in fp32 activations that are 0 but for rounding part two runs (tests/parity/test_singan.py)."""
    found = []
    monkeypatch.setattr("pinxit.models.singan.pyramid.resize", lambda *args, **size: resize(*args, **size).double())
    torch.set_default_dtype(torch.float64)
    try:
        for quickly in (False, True):
            monkeypatch.setattr(quick, "A_PIXEL", 0)
            monkeypatch.setattr(quick, "LEAST_WEIGHTS", 0 if quickly and way == "product" else 1 << 60)
            monkeypatch.setattr(quick, "LEAST_CHANNELS", 0 if quickly and way == "winograd" else 1 << 60)
            monkeypatch.setattr(quick, "LEAST_PIXELS", 0)
            ours = recipe(fake=fake, d_steps=3, g_steps=3)
            for _ in islice(ours.stages(), 2):
                ours.train()
                losses = [loss for i in range(4) for loss in ours.step(next(ours.batches(i)), i).values()]
                # A bias in front of a batch norm has no gradient but rounding, of which Adam makes whole steps.
                rest = [
                    x.clone() for k, x in ours.state_dict().items() if not k.endswith(("conv.bias", "running_mean"))
                ]
                found.append(losses + rest)
    finally:
        torch.set_default_dtype(torch.float32)
    assert {x.dtype for x in found[0][:12]} == {torch.float64}
    for plain, quickly in zip(found[:2], found[2:], strict=True):
        torch.testing.assert_close(quickly, plain, rtol=1e-6, atol=1e-7)


def test_the_forecast_draws_no_random_numbers() -> None:
    r = recipe()
    before = torch.get_rng_state()
    forecast = r.forecast()
    assert torch.equal(before, torch.get_rng_state())
    assert 0 < forecast.seconds < 1000
    assert 0 < forecast.memory < 1e9


@pytest.mark.parametrize(
    ("height", "width", "told"), [(8, 8, "8 px"), (20, 400, "13 px once the longer is 250"), (24, 90, "24 px")]
)
def test_a_photo_too_small_is_refused(height: int, width: int, told: str) -> None:
    with pytest.raises(PinxitError, match=f"shorter side is {told}, expected 25 or more"):
        plan(height, width, Network())


def test_options_out_of_range_are_refused() -> None:
    for make in (
        lambda: Network(kernel=4),
        lambda: Network(min_size=10),
        lambda: Network(max_size=20),
        lambda: Network(scale_factor=1.0),
        lambda: Network(enlarge=40),
        lambda: Training(steps=0),
        lambda: Training(betas=(0.5, 1.0)),
    ):
        with pytest.raises(PinxitError, match="expected"):
            make()
