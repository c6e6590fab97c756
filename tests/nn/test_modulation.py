from __future__ import annotations

import pytest
import torch

from pinxit.nn.modulation import demodulation, modulated_conv, modulated_conv_by_weights


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_scaled_activations_are_scaled_weights(up: bool, demodulate: bool, size: int) -> None:
    """Pictures and the gradients of all that goes in."""
    torch.manual_seed(0)
    x, weight, style = torch.randn(3, 4, 6, 7), torch.randn(5, 4, size, size), torch.randn(3, 4) + 1
    inputs = [part.double().requires_grad_() for part in (x, weight, style)]
    quick = modulated_conv(*inputs, up=up)
    if demodulate:
        quick = quick * demodulation(*inputs[1:])[:, :, None, None]
    plain = modulated_conv_by_weights(*inputs, up=up, demodulate=demodulate)
    torch.testing.assert_close(quick, plain)
    toward = torch.randn_like(plain)
    for a, b in zip(*(torch.autograd.grad(y, inputs, toward) for y in (quick, plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_demodulated_outputs_have_unit_variance() -> None:
    torch.manual_seed(0)
    weight, style = torch.randn(16, 32, 3, 3), torch.rand(2, 32) + 0.5
    y = modulated_conv(torch.randn(2, 32, 64, 64), weight, style) * demodulation(weight, style)[:, :, None, None]
    torch.testing.assert_close(y.var(dim=(2, 3)), torch.ones(2, 16), atol=0.1, rtol=0)
