"""Label maps and instance maps as channels of a network's input."""

from __future__ import annotations

import torch
from torch import Tensor


def one_hot(labels: Tensor, channels: int) -> Tensor:
    """Indices [N, H, W] int64, 0..channels - 1 -> [N, channels, H, W] of 0 and 1."""
    # scatter_ rather than F.one_hot, which makes an int64 tensor of the same size first.
    hot = torch.zeros(labels.shape[0], channels, *labels.shape[1:], device=labels.device)
    return hot.scatter_(1, labels[:, None], 1.0)


def boundary(instances: Tensor) -> Tensor:
    """Instance ids [N, H, W] -> [N, 1, H, W]: 1 on both pixels of every pair of 4-neighbours whose instances differ
    (Wang et al. 2018, sec. 3.3)."""
    edge = torch.zeros_like(instances, dtype=torch.bool)
    vertical, horizontal = instances[:, 1:] != instances[:, :-1], instances[:, :, 1:] != instances[:, :, :-1]
    edge[:, 1:] |= vertical
    edge[:, :-1] |= vertical
    edge[:, :, 1:] |= horizontal
    edge[:, :, :-1] |= horizontal
    return edge[:, None].float()
