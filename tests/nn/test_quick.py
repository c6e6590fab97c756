"""Convolutions that are quicker in training, against PyTorch's own."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn import quick, winograd
from pinxit.nn.quick import QuickConv2d, QuickConvTranspose2d

WAYS = ["product", "winograd", "strided"]
CONVS = [(3, 1, 0), (3, 1, 1), (4, 1, 1), (4, 1, 2), (4, 1, 0)]  # kernel, stride, padding: what Winograd's can do
STRIDED = [(3, 2, 0), (3, 2, 1), (3, 2, 2)]
OTHERS = [(4, 2, 1), (4, 2, 2), (1, 1, 0), (5, 3, 1)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ways that were taken."""
    found: list[str] = []
    for way, function in zip(WAYS, (quick._Product, quick._Winograd, quick._Strided), strict=True):

        def apply(*inputs: object, way: str = way, own: Callable[..., Tensor] = function.apply) -> Tensor:
            found.append(way)
            return own(*inputs)

        monkeypatch.setattr(function, "apply", apply)
    return found


def only(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """That way, for small layers too."""
    monkeypatch.setattr(quick, "LEAST_WEIGHTS", 0 if way == "product" else 1 << 60)
    monkeypatch.setattr(quick, "A_PIXEL", 0)
    monkeypatch.setattr(quick, "LEAST_STRIDED", 0 if way == "strided" else 1 << 60)
    monkeypatch.setattr(quick, "LEAST_CHANNELS", 0)
    monkeypatch.setattr(quick, "LEAST_PIXELS", 0)


def pair(ours: nn.Conv2d | nn.ConvTranspose2d, last: bool = True) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    """The same, and PyTorch's with the same weights."""
    plain = copy.deepcopy(ours)  # only forward differs
    plain.__class__ = nn.Conv2d if isinstance(ours, nn.Conv2d) else nn.ConvTranspose2d  # pyright: ignore[reportAttributeAccessIssue]
    form = torch.channels_last if last else torch.contiguous_format
    return [layer.to(memory_format=form).train() for layer in (ours, plain)]  # pyright: ignore[reportCallIssue]


def found_by(layer: nn.Module, size: tuple[int, ...], last: bool) -> list[Tensor | None]:
    """What comes out, and all gradients."""
    torch.manual_seed(1)
    x = torch.randn(size, dtype=torch.float64).requires_grad_()
    y = layer(x.contiguous(memory_format=torch.channels_last) if last else x)
    (y * torch.randn(y.shape, dtype=torch.float64)).sum().backward()
    return [y, x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("conv", [*CONVS, *STRIDED, *OTHERS])
@pytest.mark.parametrize("size", [(2, 6, 9, 11), (1, 6, 5, 5), (3, 6, 8, 23)])
@pytest.mark.parametrize("last", [True, False])
def test_convolutions_are_equal_with_gradients(
    way: str,
    conv: tuple[int, int, int],
    size: tuple[int, ...],
    last: bool,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if (way == "winograd" and conv not in CONVS) or (way == "strided" and conv not in STRIDED):
        pytest.skip("not its kernel and stride")
    only(way, monkeypatch)
    monkeypatch.setattr(winograd, "PATCHES", 7)
    monkeypatch.setattr(winograd, "NUMBERS", 40)  # so that there are several parts
    torch.manual_seed(0)
    k, stride, padding = conv
    layers = pair(QuickConv2d(6, 5, k, stride, padding, bias=size[0] > 1).double(), last)
    ours, theirs = (found_by(layer, size, last) for layer in layers)
    assert taken == [way]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("way", ["product", "strided"])
@pytest.mark.parametrize("conv", [(4, 2, 1, 0), (3, 2, 1, 1), (3, 2, 0, 0), (3, 1, 1, 0), (4, 2, 0, 1), (5, 3, 2, 2)])
@pytest.mark.parametrize("size", [(2, 6, 4, 5), (1, 6, 1, 1)])
@pytest.mark.parametrize("last", [True, False])
def test_transposed_convolutions_are_equal_with_gradients(
    way: str,
    conv: tuple[int, int, int, int],
    size: tuple[int, ...],
    last: bool,
    taken: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way == "strided" and conv[:2] != (3, 2):
        pytest.skip("not its kernel and stride")
    only(way, monkeypatch)
    torch.manual_seed(0)
    k, stride, padding, more = conv
    layers = pair(QuickConvTranspose2d(6, 5, k, stride, padding, more, bias=size[0] > 1).double(), last)
    ours, theirs = (found_by(layer, size, last) for layer in layers)
    assert taken == [way]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("frozen", ["input", "weights"])
def test_only_gradients_that_are_asked_for(
    way: str, frozen: str, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only(way, monkeypatch)
    torch.manual_seed(0)
    found = []
    for layer in pair(QuickConv2d(6, 5, 3, 2 if way == "strided" else 1, padding=1).double()):
        layer.requires_grad_(frozen == "input")
        torch.manual_seed(1)
        x = torch.randn(2, 6, 9, 8, dtype=torch.float64).requires_grad_(frozen == "weights")
        layer(x).square().sum().backward()
        found.append([x.grad, *(p.grad for p in layer.parameters())])
    assert taken == [way]
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("way", "layer"),
    [
        ("product", QuickConv2d(6, 5, 4, padding=1)),
        ("product", QuickConvTranspose2d(6, 5, 4, 2, 1)),
        ("winograd", QuickConv2d(6, 5, 4, padding=1)),
        ("winograd", QuickConv2d(6, 5, 3, padding=1)),
        ("strided", QuickConv2d(6, 5, 3, 2, padding=1)),
        ("strided", QuickConvTranspose2d(6, 5, 3, 2, 1, 1)),
    ],
)
@pytest.mark.parametrize("by", ["input", "weight", "both"])
def test_gradients_of_gradients(
    way: str, layer: nn.Conv2d | nn.ConvTranspose2d, by: str, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a gradient penalty takes them, by the input; and by the weight, for the sake of completeness."""
    only(way, monkeypatch)
    found = []
    for conv in pair(copy.deepcopy(layer).double()):
        torch.manual_seed(1)
        x = torch.randn(2, 6, 9, 8, dtype=torch.float64, requires_grad=True)
        y = conv(torch.tanh(x)).square().sum()
        slopes = torch.autograd.grad(
            y, {"input": [x], "weight": [conv.weight], "both": [x, conv.weight]}[by], create_graph=True
        )
        torch.stack([slope.square().sum() for slope in slopes]).sum().backward()
        found.append([*slopes, x.grad, *(p.grad for p in conv.parameters())])
    assert len(taken) == 1
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "layer", [QuickConv2d(64, 32, 3, 1, 1), QuickConv2d(64, 32, 4, 2, 1), QuickConvTranspose2d(64, 32, 4, 2, 1)]
)
def test_bf16_is_as_near_as_pytorch(
    layer: nn.Conv2d | nn.ConvTranspose2d, taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    only("product", monkeypatch)
    found = []
    torch.manual_seed(1)
    x, g = torch.randn(2, 64, 10, 10).relu(), torch.randn(2, 32, 20, 20)
    for conv, bf16 in zip([*pair(layer), pair(layer)[1]], (True, True, False), strict=True):
        inner = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            y = conv(inner)
        assert y.dtype == (torch.bfloat16 if bf16 else torch.float32)
        (y.float() * g[:, :, : y.shape[2], : y.shape[3]]).sum().backward()
        assert conv.weight.grad is not None
        assert inner.grad is not None
        found.append([y.detach().float(), inner.grad, conv.weight.grad.clone()])
        conv.zero_grad()
    assert taken == ["product"]
    for ours, theirs, exact in zip(*found, strict=True):
        errors = [(z - exact).square().mean().sqrt() for z in (ours, theirs)]
        assert errors[0] < 1.5 * errors[1]


def test_rounding_of_winograd(monkeypatch: pytest.MonkeyPatch) -> None:
    """In fp32, to the deviation of each result; PyTorch's own is up to 1e-6."""
    only("winograd", monkeypatch)
    torch.manual_seed(0)
    x, g = torch.randn(1, 256, 34, 34).relu(), torch.randn(1, 64, 32, 32)
    found = []
    for conv in (QuickConv2d(256, 64, 3), nn.Conv2d(256, 64, 3).double()):
        torch.manual_seed(2)
        nn.init.normal_(conv.weight, 0, 1 / 48)
        nn.init.zeros_(conv.bias)  # pyright: ignore[reportArgumentType]
        if conv.weight.dtype == torch.float64:
            conv.load_state_dict(found[0])
        inner = x.clone().to(conv.weight.dtype).requires_grad_()
        y = conv(inner)
        (y * g).sum().backward()
        found += [conv.state_dict(), [y, inner.grad, conv.weight.grad]]
    for ours, exact in zip(found[1], found[3], strict=True):
        assert (ours.double() - exact).square().mean().sqrt() / exact.std() < 3e-6


def test_in_eval_mode_and_without_gradients_it_is_pytorch_bit_for_bit(
    taken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(1, 6, 9, 9)
    for way in WAYS:
        only(way, monkeypatch)
        for layer in (QuickConv2d(6, 5, 3), QuickConvTranspose2d(6, 5, 3)):
            ours, plain = pair(layer)
            assert torch.equal(ours.eval()(x), plain(x))
            with torch.no_grad():
                assert torch.equal(ours.train()(x), plain(x))
    assert not taken


def test_what_it_cannot_do_is_left_to_pytorch(taken: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    only("product", monkeypatch)
    x = torch.randn(1, 6, 9, 9)
    QuickConv2d(6, 4, 3, groups=2)(x)
    QuickConv2d(6, 4, 3, dilation=2)(x)
    QuickConv2d(6, 4, (3, 1))(x)
    QuickConv2d(6, 4, 3, padding="same")(x)
    QuickConv2d(6, 4, 3, padding=1, padding_mode="reflect")(x)
    QuickConvTranspose2d(6, 4, 3, groups=2)(x)
    QuickConvTranspose2d(6, 4, 3, 2, output_padding=(1, 0))(x)
    QuickConvTranspose2d(6, 4, 3, 2)(x, output_size=[20, 20])
    assert not taken
