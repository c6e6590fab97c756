"""A slow copy of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn


class EMA(nn.Module):
    """Exponential moving average of a network's parameters; its buffers are copied as they are.

    The average is a child module, so it is saved and restored with whatever holds it.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.average = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards `network`; the decay warms up as (1 + step) / (10 + step), so that early noise is forgotten."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for slow, fast in zip(self.average.parameters(), network.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)
        for slow, fast in zip(self.average.buffers(), network.buffers(), strict=True):
            slow.copy_(fast)
