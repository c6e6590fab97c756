"""What GAN Sketching adds to StyleGAN2 and PhotoSketch: the way from pictures to what is judged, and the shift of w."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.sketching.config import Change


class Seen(nn.Module):
    """Pictures or sketches to what the discriminator of sketches sees, by `changes` in order.

    `contours`: PhotoSketch's network, for the change `contour`.
    """

    def __init__(self, changes: Sequence[Change], contours: nn.Module | None = None) -> None:
        super().__init__()
        self.changes, self.contours = tuple(changes), contours

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] in about [-1, 1] -> [N, 3, H, W]; what has one channel has it three times."""
        for change in self.changes:
            match change:
                case "contour":
                    assert self.contours is not None
                    x = self.contours(x)
                case "down":
                    x = F.interpolate(x, scale_factor=0.5, mode="bicubic")
                case "up":
                    x = F.interpolate(x, scale_factor=2.0, mode="bicubic")
        return x.expand(-1, 3, -1, -1)


class Shift(nn.Module):
    """What is added to every w; the last layer of a mapping. Named as in the authors' checkpoints."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.w_shift = nn.Parameter(torch.zeros(1, dim))

    def forward(self, w: Tensor) -> Tensor:
        return w + self.w_shift


def twin(network: nn.Module, own: Collection[str]) -> nn.Module:
    """A copy whose weights `own` are its own; the others are the very same tensors."""
    shared = [p for name, p in network.named_parameters() if name not in own]
    return copy.deepcopy(network, {id(p): p for p in shared})
