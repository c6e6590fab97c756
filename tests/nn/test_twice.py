"""Batch norm's second derivative, against PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn import twice
from pinxit.nn.twice import BatchNorm2d

SIZES = [(1, 5, 6, 7), (3, 4, 5, 2), (2, 1, 3, 3)]


def pair(channels: int, dtype: torch.dtype = torch.float64) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    """Ours, and PyTorch's with the same scale and shift."""
    ours, plain = BatchNorm2d(channels), nn.BatchNorm2d(channels)
    torch.manual_seed(1)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    plain.load_state_dict(ours.state_dict())
    return ours.to(dtype), plain.to(dtype)


def picture(size: tuple[int, ...], dtype: torch.dtype, last: bool, seed: int = 0) -> Tensor:
    x = torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(seed)) * 2 + 3
    return x.contiguous(memory_format=torch.channels_last) if last else x


def penalised(norm: nn.BatchNorm2d, x: Tensor, *, by: str) -> list[Tensor]:
    """What comes out, its gradients, and the gradients of a function of these."""
    x = x.clone().requires_grad_()
    y = norm(x)
    pull = torch.linspace(-1, 2, y.numel(), dtype=x.dtype).view(y.shape)
    wanted = [x] if by == "x" else [x, *norm.parameters()]
    first = torch.autograd.grad((torch.sin(y) * pull).sum(), wanted, create_graph=True)
    loss = sum((g.float() if g.dtype == torch.bfloat16 else g).square().sum() for g in first) + (y * pull).sum()
    return [y, *first, *torch.autograd.grad(loss, [x, *norm.parameters()])]


@pytest.mark.parametrize("by", ["x", "all"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("part", [1, 30, 1 << 18])
def test_all_derivatives_are_pytorchs(
    part: int, size: tuple[int, ...], last: bool, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twice, "PART", part)
    ours, plain = pair(size[1])
    x = picture(size, torch.float64, last)
    for a, b in zip(penalised(ours, x, by=by), penalised(plain, x, by=by), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    for a, b in zip(ours.buffers(), plain.buffers(), strict=True):
        assert torch.equal(a, b)


def test_in_fp32_it_is_as_near_to_the_truth_as_pytorchs() -> None:
    ours, plain = pair(16, torch.float32)
    x = picture((2, 16, 32, 32), torch.float32, last=True)
    truth = penalised(pair(16)[1], x.double(), by="x")
    for a, b, true in zip(penalised(ours, x, by="x"), penalised(plain, x, by="x"), truth, strict=True):
        off, usual = ((found - true).abs().max() for found in (a, b))
        assert off <= 4 * usual + 1e-6 * true.abs().max()


def test_without_a_second_derivative_the_gradients_are_bit_equal() -> None:
    ours, plain = pair(8, torch.float32)
    x = picture((2, 8, 9, 9), torch.float32, last=True)
    found = []
    for norm in (ours, plain):
        here = x.clone().requires_grad_()
        (norm(here) ** 2 * here.detach()).sum().backward()
        found.append([here.grad, *(p.grad for p in norm.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twice, "PART", 100)
    ours = pair(8, torch.float32)[0]
    x = picture((1, 8, 9, 9), torch.bfloat16, last=True)
    truth = penalised(pair(8)[1], x.double(), by="x")
    for a, true in zip(penalised(ours, x, by="x"), truth, strict=True):
        assert (a - true).abs().max() <= 0.05 * true.abs().max()


@pytest.mark.parametrize("how", ["eval", "no grad", "averaged"])
def test_elsewhere_it_is_pytorchs(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(twice._BatchNorm, "apply", refused)
    ours, plain = pair(4, torch.float32)
    for norm in (ours, plain):
        norm.train(how != "eval")
        norm.momentum = None if how == "averaged" else 0.1
    x = picture((2, 4, 5, 5), torch.float32, last=True)
    with torch.set_grad_enabled(how != "no grad"):
        assert torch.equal(ours(x), plain(x))
    assert all(torch.equal(a, b) for a, b in zip(ours.buffers(), plain.buffers(), strict=True))


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="4D"):
        BatchNorm2d(4)(torch.zeros(2, 4))
