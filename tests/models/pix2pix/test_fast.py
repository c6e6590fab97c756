"""The fast generators of pix2pix against the plain ones."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from pinxit.data.kinds import Kind
from pinxit.models.pix2pix.config import Network, Training
from pinxit.models.pix2pix.fast import FastUNet, fast
from pinxit.models.pix2pix.generate import Model, load
from pinxit.models.pix2pix.network import UNet, generator
from pinxit.models.pix2pix.recipe import Pix2PixRecipe


def settled(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(getattr(module, "running_var", None), torch.Tensor):
            module.running_mean.normal_(0, 0.3)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            module.running_var.uniform_(0.5, 2)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int) -> None:
    draw = random.Random(seed)
    torch.manual_seed(seed)
    c = Network(
        generator=draw.choice(["unet", "unet", "resnet"]),
        depth=draw.choice([2, 3, 5, 6]),
        blocks=draw.choice([1, 2]),
        width=draw.choice([4, 10, 32]),
        widest=draw.choice([2, 8]),
        norm=draw.choice(["batch", "instance", "none"]),
        dropout=draw.random() < 0.5,
        test_norm=draw.choice(["picture", "running"]),
        input=Kind(draw.choice([1, 3, 4])),
        output=Kind(draw.choice([1, 2, 3, 6])),
    )
    G = settled(generator(c))
    assert isinstance(c.input, Kind)
    sides = [max(c.multiple * draw.choice([1, 2, 3]), c.smallest) for _ in range(2)]
    if c.generator == "unet" and c.depth == 2:
        sides = [2 * side for side in sides]  # instance norm wants more than a pixel
    x = torch.rand(draw.choice([1, 2]), c.input.channels, *sides) * 2 - 1
    with torch.no_grad():
        exact = G.double()(x.double())
        torch.testing.assert_close(fast(G, torch.float64)(x), exact, rtol=0, atol=1e-9)  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(fast(G.float())(x), G(x), rtol=0, atol=1e-5)  # pyright: ignore[reportArgumentType]


def model(**change) -> Model:
    torch.manual_seed(0)
    options = {"depth": 5, "width": 8, "size": (64, 64), **change}
    c = Network(input=Kind(), output=Kind(), **options)
    return load(Pix2PixRecipe(c, Training(init_gain=0.06), "AtoB").model_file())


def test_pictures_are_the_plain_networks() -> None:
    m = model()
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    quick = m.translate(picture)
    m._fast = {torch.float32: m.network, torch.bfloat16: m.network}
    plain = m.translate(picture)
    assert np.abs(quick.astype(int) - plain).max() <= 1
    assert (quick != plain).mean() < 1e-3


def test_autocast_takes_the_one_in_bf16() -> None:
    m = model()
    picture = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    wide = m.translate(picture)
    with torch.autocast("cpu", torch.bfloat16):
        half = m.translate(picture)
    assert set(m._fast) == {torch.float32, torch.bfloat16}
    assert np.abs(half.astype(int) - wide).mean() < 3
    assert np.array_equal(m.translate(picture), wide)


def test_with_noise_it_is_the_plain_network() -> None:
    m = model(test_dropout=True, depth=6)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert not np.array_equal(m.translate(picture, 1), m.translate(picture, 2))
    assert not m._fast
    deep = Network(depth=6, width=4, input=Kind(), output=Kind(), test_dropout=True)
    G = generator(deep)
    assert isinstance(G, UNet)
    with pytest.raises(ValueError, match="dropout is on"):
        FastUNet(G.eval())
