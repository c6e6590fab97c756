"""Discriminators' shapes and what they see; their numbers are held to account in tests/parity."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pinxit.nn.patchgan import NLayerDiscriminator, PixelDiscriminator


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_a_logit_sees_its_patch(layers: int, patch: int) -> None:
    """The paper's sizes (Isola et al. 2017, appendix 6.1.2)."""
    D = NLayerDiscriminator(2, 2, layers, "none")
    for conv in (m for m in D.modules() if isinstance(m, nn.Conv2d)):
        nn.init.ones_(conv.weight)
    x = torch.ones(1, 2, 256, 256, requires_grad=True)
    logits = D(x)
    assert logits.shape == (1, 1, (256 >> layers) - 2, (256 >> layers) - 2)
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    assert x.grad is not None
    for axis in (2, 3):
        seen = x.grad.abs().amax(dim=[d for d in range(4) if d != axis]).nonzero()
        assert int(seen.max() - seen.min()) + 1 == patch


def test_widths_double_up_to_eight_times() -> None:
    D = NLayerDiscriminator(3, 4, 5, "batch")
    convolutions = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [4, 8, 16, 32, 32, 32, 1]
    assert [m.bias is not None for m in convolutions] == [True, False, False, False, False, False, True]


def test_the_pixel_discriminator_sees_a_pixel() -> None:
    D = PixelDiscriminator(3, 4, "instance").eval()
    assert [m.bias is not None for m in D.modules() if isinstance(m, nn.Conv2d)] == [True] * 3
    D = PixelDiscriminator(3, 4, "batch").eval()
    assert [m.bias is not None for m in D.modules() if isinstance(m, nn.Conv2d)] == [True, False, False]
    x = torch.rand(1, 3, 5, 6, requires_grad=True)
    logits = D(x)
    assert logits.shape == (1, 1, 5, 6)
    logits[0, 0, 2, 3].backward()
    assert x.grad is not None
    assert x.grad.abs().sum(dim=(0, 1)).nonzero().tolist() == [[2, 3]]
