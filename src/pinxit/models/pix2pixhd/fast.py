"""The generator of pix2pixHD for finished models, several times faster on a CPU (see `pinxit.nn.folded`)."""

from __future__ import annotations

import torch
from torch import Tensor

from pinxit.models.pix2pixhd.network import Enhancer, Generator, halved
from pinxit.nn.folded import Folded


class FastGenerator:
    """A generator in eval mode, folded."""

    def __init__(self, G: Generator, dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        self.model, self.head = Folded([G.model], dtype), Folded([G.head], dtype)
        enhancers = [enhancer for enhancer in G.enhancers if isinstance(enhancer, Enhancer)]
        self.enhancers = [(Folded([e.down], dtype), Folded([e.up], dtype)) for e in enhancers]

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """As `Generator.forward`."""
        pyramid = [x.contiguous(memory_format=torch.channels_last)]
        for _ in self.enhancers:
            pyramid.append(halved(pyramid[-1]))
        x = self.model(pyramid.pop())
        for down, up in self.enhancers:
            x = up(down(pyramid.pop()).add_(x))
        return self.head(x)
