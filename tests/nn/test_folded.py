"""Folded layers against the modules they are made from, in fp64 to rounding and in fp32 to 1e-5."""

from __future__ import annotations

import random
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn.dropout import Dropout
from pinxit.nn.folded import Conv, Folded, Transposed, best_tile
from pinxit.nn.norm import BatchNorm2d
from pinxit.nn.resnet import Norm, ResnetGenerator


def settled(network: nn.Module) -> nn.Module:
    """As after a training: statistics and affine parameters are not a fresh network's."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d | nn.BatchNorm2d):
            cast("Tensor", module.running_mean).normal_(0, 0.3)
            cast("Tensor", module.running_var).uniform_(0.5, 2)
            if module.weight is not None and module.bias is not None:
                module.weight.normal_(1, 0.3)
                module.bias.normal_(0, 0.3)
    return network.eval().requires_grad_(False)


def hold(network: nn.Module, layers: list[nn.Module], x: Tensor) -> None:
    exact = network.double()(x.double())
    before = x.clone()
    torch.testing.assert_close(Folded(layers, torch.float64)(x), exact, rtol=0, atol=1e-9)
    network.float()
    torch.testing.assert_close(Folded(layers)(x), network(x), rtol=0, atol=1e-5)
    assert torch.equal(x, before), "the input is not written to"
    halved = Folded(layers, torch.bfloat16)(x)
    assert halved.dtype == torch.bfloat16
    assert (halved.double() - exact).abs().mean() < 0.03 * exact.std()


@pytest.fixture(autouse=True)
def without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.mark.parametrize("seed", range(12))
def test_random_resnets(seed: int) -> None:
    draw = random.Random(seed)
    norm: Norm = draw.choice(["batch", "instance", "none"])
    G = ResnetGenerator(
        draw.choice([1, 3, 4]),
        draw.choice([1, 2, 3, 5]),
        draw.choice([3, 8, 16]),
        draw.choice([1, 3]),
        norm,
        draw.choice([0.0, 0.5]),
        draw.choice([1, 2, 3]),
        picture_at_test=draw.random() < 0.5,
    )
    settled(G)
    inputs = cast("nn.Conv2d", G.model[1]).in_channels
    sides = [draw.choice([2, 3, 5]) * G.multiple + (8 if G.multiple == 8 else 4) for _ in range(2)]
    sides = [side // G.multiple * G.multiple for side in sides]
    hold(G, [G.model], torch.rand(draw.choice([1, 3]), inputs, *sides) * 2 - 1)


@pytest.mark.parametrize(
    ("outputs", "inputs", "kernel", "stride", "padding", "size"),
    [
        (3, 8, 7, 1, 0, (20, 17)),  # few outputs: 2x2 at a time
        (4, 8, 3, 1, 1, (9, 7)),
        (1, 8, 7, 1, 3, (20, 17)),  # 4x4 at a time
        (2, 8, 1, 1, 0, (6, 5)),
        (3, 8, 4, 2, 1, (10, 8)),
        (256, 64, 4, 2, 1, (8, 8)),  # tiny pictures
        (256, 64, 4, 2, 1, (2, 2)),
        (256, 64, 4, 2, 1, (2, 12)),
        (128, 128, 3, 1, 1, (1, 1)),
        (128, 128, 3, 1, 0, (21, 18)),  # Winograd's
        (384, 256, 3, 1, 1, (16, 15)),
        (24, 8, 5, 3, 2, (14, 11)),  # PyTorch's
    ],
)
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(
    outputs: int, inputs: int, kernel: int, stride: int, padding: int, size: tuple[int, int], n: int, bias: bool
) -> None:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias).requires_grad_(False)
    hold(conv, [conv], torch.randn(n, inputs, *size))


@pytest.mark.parametrize(
    ("outputs", "inputs", "kernel", "extra", "size"),
    [
        (32, 16, 3, 1, (8, 9)),
        (3, 16, 4, 0, (16, 17)),
        (1, 16, 3, 1, (5, 4)),
        (256, 64, 4, 0, (1, 1)),
        (256, 64, 4, 0, (1, 3)),
        (256, 64, 4, 0, (2, 3)),
        (128, 128, 4, 0, (5, 6)),
        (128, 128, 4, 0, (9, 8)),
    ],
)
@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_transposed_convolutions(
    outputs: int, inputs: int, kernel: int, extra: int, size: tuple[int, int], n: int, bias: bool
) -> None:
    conv = nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, extra, bias=bias).requires_grad_(False)
    hold(conv, [conv], torch.randn(n, inputs, *size))


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norm", [BatchNorm2d(6), BatchNorm2d(6, affine=True), nn.BatchNorm2d(6)])
def test_batch_norm_folds_into_the_convolution_before_it(transposed: bool, bias: bool, norm: nn.Module) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layers = settled(nn.Sequential(kind(5, 6, 3, bias=bias), norm, nn.LeakyReLU(0.2)))
    hold(layers, [layers], torch.randn(2, 5, 8, 9))
    assert len(Folded([layers]).steps) == 2


def test_weights_are_shared_where_they_are_as_they_were() -> None:
    conv = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    up = nn.ConvTranspose2d(8, 8, 3).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    folded, unfolded = Folded([conv, up]).steps
    assert isinstance(folded, Conv)
    assert isinstance(unfolded, Transposed)
    assert folded.ordered.weight.data_ptr() == conv.weight.data_ptr()
    assert unfolded.ordered.weight.data_ptr() == up.weight.data_ptr()


def test_statistics_of_large_pictures_are_summed_well() -> None:
    """Far from 0, where a long sum in fp32 loses digits."""
    norm = nn.InstanceNorm2d(8)
    x = torch.randn(1, 8, 300, 500) + 30
    ours = Folded([norm])(x)
    assert (ours - norm.double()(x.double())).abs().max() < 2e-5


def test_noise_and_unknown_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="dropout is on"):
        Folded([nn.Sequential(Dropout(0.5, at_test=True))])
    assert not Folded([Dropout(0.5), nn.Identity()]).steps
    with pytest.raises(ValueError, match="no fast form of GELU"):
        Folded([nn.GELU()])


def test_bf16_takes_no_coarse_tiles() -> None:
    assert best_tile(256, 256, 64, 64, torch.float32) == 4
    assert best_tile(256, 256, 64, 64, torch.bfloat16) == 2
    assert best_tile(1024, 1024, 32, 32, torch.float32) == 2, "F(4x4) would take too much memory"
    assert best_tile(64, 64, 32, 32, torch.float32) == 0
