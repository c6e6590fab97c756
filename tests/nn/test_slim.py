"""Convolutions to few channels against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import pinxit.nn.slim
from pinxit.nn.slim import ReflectionPad2d, SlimConv2d


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """For small pictures too, where it does not pay."""
    monkeypatch.setattr(pinxit.nn.slim, "LEAST", 0)


def both(outputs: int, kernel: tuple[int, int], padding: int, bias: bool, dtype: torch.dtype) -> list[nn.Conv2d]:
    torch.manual_seed(0)
    slim = SlimConv2d(5, outputs, kernel, padding=padding, bias=bias).to(dtype)
    plain = nn.Conv2d(5, outputs, kernel, padding=padding, bias=bias).to(dtype)
    plain.load_state_dict(slim.state_dict())
    return [slim.train(), plain]


@pytest.mark.parametrize("outputs", [1, 3, 4])
@pytest.mark.parametrize(
    ("kernel", "padding"), [((7, 7), 0), ((4, 4), 1), ((4, 4), 2), ((3, 3), 0), ((1, 1), 0), ((3, 5), 1)]
)
@pytest.mark.parametrize("last", [False, True])
def test_equal_with_gradients(outputs: int, kernel: tuple[int, int], padding: int, last: bool) -> None:
    found = []
    for conv in both(outputs, kernel, padding, outputs != 4, torch.float64):
        torch.manual_seed(1)
        x = torch.randn(2, 5, 9, 11, dtype=torch.float64, requires_grad=True)
        y = conv(x.contiguous(memory_format=torch.channels_last) if last else x)
        (y * torch.randn(y.shape, dtype=torch.float64)).sum().backward()
        found.append([y, x.grad, *(p.grad for p in conv.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_gradients_of_gradients() -> None:
    """As a gradient penalty takes them."""
    found = []
    for conv in both(1, (4, 4), 1, True, torch.float64):
        torch.manual_seed(1)
        x = torch.randn(2, 5, 9, 11, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(conv(torch.tanh(x)).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        found.append([slope, x.grad, *(p.grad for p in conv.parameters())])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_bf16_is_as_near_as_pytorch() -> None:
    torch.manual_seed(1)
    x = torch.randn(2, 5, 40, 40)
    slim, plain = both(3, (7, 7), 0, True, torch.float32)
    exact = plain(x)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = slim(x), plain(x)
    assert ours.dtype == theirs.dtype == torch.bfloat16
    errors = [(y.float() - exact).square().mean().sqrt() for y in (ours, theirs)]
    assert errors[0] < 2 * errors[1]


@pytest.mark.parametrize("outputs", [3, 5])
def test_in_eval_mode_and_to_many_channels_it_is_pytorch_bit_for_bit(outputs: int) -> None:
    x = torch.randn(1, 5, 9, 9)
    slim, plain = both(outputs, (3, 3), 0, True, torch.float32)
    assert torch.equal(slim.train(outputs == 5)(x), plain(x))


def test_padding_in_bf16_is_to_the_same_values() -> None:
    x = torch.randn(2, 3, 5, 6).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = ReflectionPad2d(2)(x), nn.ReflectionPad2d(2)(x)
    assert ours.dtype == torch.bfloat16
    assert torch.equal(ours, theirs.bfloat16())
