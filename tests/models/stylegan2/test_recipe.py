from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.squares import Squares
from pinxit.errors import PinxitError
from pinxit.models.stylegan2.config import PRESETS, Network, Training, official_channels
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe, build, path_penalty

TINY = PRESETS["tiny"]


def made(**training: object) -> StyleGAN2Recipe:
    torch.manual_seed(0)
    recipe = StyleGAN2Recipe(TINY.network, dataclasses.replace(TINY.training, **training), seed=3)
    return recipe.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]


def pictures(folder: Path, count: int = 9) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        blocks = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((4, 4, 1)))
        Image.fromarray(blocks.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def batch(rows: int = 4) -> Squares:
    return Squares(torch.rand(rows, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1)


def test_the_papers_channels() -> None:
    assert Network().widths == (512, 512, 512, 512, 512, 256, 128, 64, 32)
    assert official_channels(64, 1) == (512, 512, 512, 512, 256)
    assert Network().latents == 18


def test_penalties_come_when_they_are_due() -> None:
    recipe = made(r1_every=3, path_every=2)
    seen = []
    for step in range(4):
        losses = recipe.step(batch(), step)
        seen.append((losses["r1"].item(), losses["path"].item()))
    assert seen[0][0] == seen[1][0] == seen[2][0] != seen[3][0]
    assert seen[0][1] == seen[1][1] != seen[2][1] == seen[3][1]


def test_without_penalties_and_augmentation() -> None:
    recipe = made(r1_every=0, path_every=0, augment=())
    losses = recipe.step(batch(), 0)
    assert losses["r1"] == losses["path"] == 0
    assert recipe.optimizers["G"].param_groups[0]["lr"] == 0.002


def test_lazy_penalties_shorten_adams_steps() -> None:
    group = made(r1_every=16).optimizers["D"].param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))


def test_path_length_mean_has_a_gradient() -> None:
    """The term that stands for the new mean's own dependence on the lengths, against autograd through all of it."""
    recipe = made()
    G, noise, mean = recipe.G, recipe.G.fixed_noise(), torch.tensor(0.7)
    z, direction = torch.randn(3, 8), torch.randn(3, 3, 32, 32)
    penalty, new = path_penalty(G, G.mapping(z), noise, direction, mean)
    # By its definition.
    latents = G.mapping(z)[:, None].expand(-1, G.options.latents, -1)
    along = (G(latents, noise) * direction).sum() / 32
    (slope,) = torch.autograd.grad(along, latents, create_graph=True)
    lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
    wanted_mean = mean + 0.01 * (lengths.mean() - mean)
    wanted = (lengths - wanted_mean).square().mean()
    torch.testing.assert_close(penalty, wanted)
    torch.testing.assert_close(new, wanted_mean.detach())
    weights = [p for name, p in G.named_parameters() if "conv.weight" in name or name.startswith("style")]
    for a, b in zip(*(torch.autograd.grad(x, weights) for x in (penalty, wanted)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.abs().max().item())


def test_the_average_follows_weights_and_keeps_noise() -> None:
    recipe = made(ema=0.9)
    before = copy.deepcopy(recipe.G_ema.state_dict())
    recipe.step(batch(), 1)
    after, fast = recipe.G_ema.state_dict(), recipe.G.state_dict()
    name = "convs.0.conv.weight"
    torch.testing.assert_close(after[name], 0.9 * before[name] + 0.1 * fast[name])
    assert torch.equal(after["noises.noise_3"], before["noises.noise_3"])


def test_bfloat16_keeps_penalties_and_pictures_in_float32() -> None:
    plain, quick = made(augment=()), made(augment=())
    exact = plain.step(batch(), 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert quick.G(torch.randn(2, 8)).dtype == torch.float32
        found = quick.step(batch(), 0)
    assert found["D"] == pytest.approx(exact["D"].item(), rel=0.05)
    assert all(p.dtype == torch.float32 for p in quick.parameters())


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "data")
    data = dataclasses.replace(TINY.data, data=folder)
    with pytest.raises(PinxitError, match=r"^--batch is 6, expected a multiple of 4; round it"):
        build(dataclasses.replace(TINY, data=data, training=dataclasses.replace(TINY.training, batch=6)))
    with pytest.raises(PinxitError, match=r"^--data is missing"):
        build(TINY)
    with pytest.raises(PinxitError, match=r"^--size is 48, expected a power of two from 8 to 1024"):
        Network(size=48)
    with pytest.raises(PinxitError, match=r"^--channels is 8 8, expected 4 numbers of 1 or more for 32 pixels"):
        Network(size=32, channels=(8, 8))
    with pytest.raises(PinxitError, match=r"^--mixing is 2"):
        Training(mixing=2)


def test_the_forecast_changes_nothing() -> None:
    recipe = made()
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    told = recipe.forecast()
    assert recipe.foretold is told
    assert told.seconds > 0
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Losses, both penalties among them, and weights: groups of the discriminator are the same whole ones."""
    options = (
        f"-m pinxit train stylegan2 --preset tiny --data {pictures(tmp_path / 'data')} --batch 8 --steps 4 --log-every "
        "1 --sample-every 0 --device cpu --no-tensorboard --out"
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
    assert len(logs[0]) == len(logs[1]) == 4
    for i, (a, b) in enumerate(zip(*logs, strict=True)):
        for name in ("D", "D_real", "D_fake", "G", "path", "path_mean"):
            assert a[name] == pytest.approx(b[name], rel=1e-4 if i == 0 else 1e-2, abs=1e-4), (i, name)
        assert a["r1"] == pytest.approx(b["r1"], rel=1e-3 if i == 0 else 3e-2), i
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value - two[name]).abs().mean() < 1e-3, name
