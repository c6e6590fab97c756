from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pinxit.nn.init import Init, initialize
from pinxit.nn.norm import BatchNorm2d, SpectralConv2d

IN, OUT, K = 32, 48, 3


@pytest.mark.parametrize(
    ("kind", "deviation"),
    [
        ("normal", 0.02),
        ("xavier", 0.02 * math.sqrt(2 / ((IN + OUT) * K * K))),
        ("xavier_uniform", math.sqrt(2 / ((IN + OUT) * K * K))),
        ("kaiming", math.sqrt(2 / (IN * K * K))),
        ("orthogonal", 0.02 / math.sqrt(IN * K * K)),
    ],
)
def test_weights_have_the_deviation_of_their_kind_and_biases_are_zero(kind: Init, deviation: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(IN, OUT, K), SpectralConv2d(IN, OUT, K))
    initialize(network, kind, 0.02)
    for conv in network:
        assert isinstance(conv, nn.Conv2d)
        assert conv.weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert conv.bias is not None
        assert conv.bias.abs().max() == 0


def test_none_keeps_pytorchs_draw() -> None:
    network = nn.Linear(4, 4)
    before = network.weight.clone()
    initialize(network, "none")
    assert torch.equal(network.weight, before)


def test_scales_of_batch_norms_are_drawn_around_1() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BatchNorm2d(2000, affine=True), BatchNorm2d(3), nn.InstanceNorm2d(3))
    initialize(network, "normal", 0.02)
    weight, bias = network[0].weight, network[0].bias
    assert isinstance(weight, torch.Tensor)
    assert weight.mean().item() == pytest.approx(1, abs=0.005)
    assert weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert isinstance(bias, torch.Tensor)
    assert bias.abs().max() == 0
