from __future__ import annotations

import torch
from torch import nn

from pinxit.nn.conditioning import Bottleneck, Projection, begin, beside, convolved, doubled, halved, unfolded
from pinxit.nn.norm import BatchNorm2d


def test_text_stands_at_every_place() -> None:
    features, text = torch.randn(2, 3, 4, 5), torch.randn(2, 6)
    joined = beside(features, text)
    assert joined.shape == (2, 9, 4, 5)
    assert torch.equal(joined[:, :3], features)
    assert all(torch.equal(joined[:, 3:, i, j], text) for i in range(4) for j in range(5))


def test_sizes() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert convolved(3, 5)(x).shape == (2, 5, 4, 4)
    assert convolved(3, 5, 1)(x).shape == (2, 5, 4, 4)
    assert convolved(3, 5, 4)(x).shape == (2, 5, 1, 1)
    assert halved(3, 5)(x).shape == (2, 5, 2, 2)
    assert doubled(3, 5)(x).shape == (2, 5, 8, 8)
    assert unfolded(3, 5)(x[:, :, :1, :1]).shape == (2, 5, 4, 4)


def test_slopes() -> None:
    x = torch.randn(4, 3, 4, 4)
    assert [type(part) for part in halved(3, 5, None)] == [nn.Conv2d, BatchNorm2d]
    assert halved(3, 5, 0)(x).min() == 0
    assert halved(3, 5)(x).min() < 0
    leaky, linear = halved(3, 5), halved(3, 5, None)
    linear[0].load_state_dict(leaky[0].state_dict())
    torch.testing.assert_close(leaky(x), nn.functional.leaky_relu(linear(x), 0.2))


def test_a_bottleneck_without_weights_is_a_rectifier() -> None:
    block = Bottleneck(8, 2).eval()
    nn.init.zeros_(block.path[2][0].weight)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x.relu())


def test_projection() -> None:
    x = torch.randn(5, 7)
    plain, normed = Projection(7, 3), Projection(7, 3, norm=True, slope=0)
    torch.testing.assert_close(plain(x), nn.functional.leaky_relu(x @ plain.linear.weight.T + plain.linear.bias, 0.2))
    linear = normed.linear(x)
    wanted = (linear - linear.mean(0)) / (linear.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(normed(x), wanted.relu())


def test_initial_weights() -> None:
    torch.manual_seed(0)
    convolution, norm, linear = nn.Conv2d(64, 64, 4), BatchNorm2d(4096, affine=True), nn.Linear(100, 100)
    begin(nn.Sequential(convolution, norm, linear))
    assert convolution.bias is not None
    assert norm.weight is not None
    assert norm.bias is not None
    assert abs(convolution.weight.std().item() - 0.02) < 1e-3
    assert not convolution.bias.any()
    assert abs(norm.weight.std().item() - 0.02) < 1e-3
    assert abs(norm.weight.mean().item() - 1) < 1e-2
    assert not norm.bias.any()
    assert 0.09 < linear.weight.abs().max() <= 0.1
    assert 0.05 < linear.bias.abs().max() <= 0.1
