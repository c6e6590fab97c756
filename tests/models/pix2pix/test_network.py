"""The U-Net's shapes and reach; its numbers are held to account in tests/parity."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from pinxit.data.kinds import Kind
from pinxit.models.pix2pix.config import Network, Training
from pinxit.models.pix2pix.network import UNet, discriminator, generator
from pinxit.nn.dropout import Dropout
from pinxit.nn.patchgan import NLayerDiscriminator, PixelDiscriminator
from pinxit.nn.resnet import Norm, ResnetGenerator

TINY = Network(depth=3, width=2, input=Kind(2), output=Kind(5), test_norm="running")


@pytest.mark.parametrize("depth", [2, 3, 5, 7, 8])
def test_depths_and_dropout(depth: int) -> None:
    """Dropout in the full-width layers but the innermost: depth - 5 of them."""
    G = generator(dataclasses.replace(TINY, depth=depth)).eval()
    assert isinstance(G, UNet)
    assert G.multiple == 1 << depth
    side = G.multiple
    with torch.no_grad():
        out = G(torch.rand(1, 2, side, 2 * side))
    assert out.shape == (1, 5, side, 2 * side)
    assert out.abs().max() <= 1
    assert sum(isinstance(m, Dropout) for m in G.modules()) == max(0, depth - 5)


def test_widths() -> None:
    G = generator(dataclasses.replace(TINY, depth=6))
    assert [conv.out_channels for conv in G.down] == [2, 4, 8, 16, 16, 16]  # type: ignore[union-attr]
    G = generator(dataclasses.replace(TINY, depth=6, widest=2))
    assert [conv.out_channels for conv in G.down] == [2, 4, 4, 4, 4, 4]  # type: ignore[union-attr]
    assert [conv.in_channels for conv in G.up] == [4, 8, 8, 8, 8, 4]  # type: ignore[union-attr]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_norms_and_biases_are_where_the_official_code_has_them(norm: Norm) -> None:
    G = generator(dataclasses.replace(TINY, depth=5, norm=norm))
    assert isinstance(G, UNet)
    normed = {"batch": 3 + 4, "instance": 3 + 4, "none": 0}[norm]
    assert sum(not isinstance(m, nn.Identity) for m in [*G.down_norms, *G.up_norms]) == normed
    assert [m.bias is not None for m in G.down] == [norm == "instance"] * 5  # type: ignore[union-attr]
    assert [m.bias is not None for m in G.up] == [True, *[norm == "instance"] * 4]  # type: ignore[union-attr]


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_margin_is_how_far_it_sees(depth: int) -> None:
    torch.manual_seed(0)
    G = generator(dataclasses.replace(TINY, depth=depth, norm="none", input=Kind(1), output=Kind(1)))
    for p in G.parameters():
        nn.init.constant_(p, 0.02)  # so that nothing cancels, and tanh does not saturate
    side = 2 * (G.margin // G.multiple + 2) * G.multiple
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    out = G.double()(x)
    farthest = 0
    for pixel in range(side // 2, side // 2 + G.multiple):
        (slope,) = torch.autograd.grad(out[0, 0, side // 2, pixel], x, retain_graph=True)
        seen = slope[0, 0].abs().amax(dim=0).nonzero().flatten()
        farthest = max(farthest, pixel - int(seen.min()), int(seen.max()) - pixel)
    assert farthest == G.margin


def test_the_generator_and_discriminator_that_are_asked_for() -> None:
    resnet = dataclasses.replace(TINY, generator="resnet", blocks=1)
    G = generator(resnet)
    assert isinstance(G, ResnetGenerator)
    assert any(isinstance(m, Dropout) for m in G.modules())
    assert not any(isinstance(m, Dropout) for m in generator(dataclasses.replace(resnet, dropout=False)).modules())
    assert isinstance(discriminator(TINY, Training(discriminator="pixel")), PixelDiscriminator)
    D = discriminator(TINY, Training(d_width=2, d_layers=2))
    assert isinstance(D, NLayerDiscriminator)
    assert D(torch.rand(1, 7, 32, 32)).shape == (1, 1, 6, 6)


@pytest.mark.parametrize("kind", ["unet", "resnet"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("test_norm", ["picture", "running"])
def test_the_same_alone_as_in_a_batch(kind, norm: Norm, test_norm) -> None:
    torch.manual_seed(0)
    c = dataclasses.replace(TINY, generator=kind, blocks=1, norm=norm, test_norm=test_norm, depth=6)
    G = generator(c)
    x = torch.rand(3, 2, 64, 64)
    G(x)  # running statistics of their own
    G.eval()
    with torch.no_grad():
        torch.testing.assert_close(G(x)[1:2], G(x[1:2]), rtol=0, atol=1e-5)
