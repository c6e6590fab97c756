"""The generators of pix2pix for finished models, several times faster on a CPU (see `pinxit.nn.folded`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.pix2pix.network import UNet
from pinxit.nn.dropout import Dropout
from pinxit.nn.folded import Folded
from pinxit.nn.resnet import ResnetGenerator


class FastUNet:
    """A `UNet` in eval mode, folded. Raises `ValueError` where its dropout is on."""

    def __init__(self, G: UNet, dtype: torch.dtype = torch.float32) -> None:
        if any(isinstance(module, Dropout) and module.at_test for module in G.modules()):
            raise ValueError("dropout is on")
        self.dtype, self.depth = dtype, G.depth

        def of(*layers: nn.Module) -> Folded:
            return Folded(layers, dtype)

        inner = G.depth - 1
        self.down = [of(G.down[i], *([G.down_norms[i - 1]] if 0 < i < inner else [])) for i in range(G.depth)]
        self.up = [of(G.up[i], *([G.up_norms[i - 1]] if i > 0 else [])) for i in range(G.depth)]

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """As `UNet.forward`."""
        across: list[Tensor] = []
        x = self.down[0](x)
        for down in self.down[1:]:
            F.leaky_relu_(x, 0.2)
            across.append(x)
            x = down(x)
        F.relu_(x)
        for up in self.up[:0:-1]:
            skipped, x = across.pop(), up(x)
            # Both halves through the ReLU on their way to where the next layer takes them from.
            n, channels, height, width = x.shape
            both = x.new_empty(n, height, width, skipped.shape[1] + channels).permute(0, 3, 1, 2)
            torch.clamp_min(skipped, 0, out=both[:, : skipped.shape[1]])
            torch.clamp_min(x, 0, out=both[:, skipped.shape[1] :])
            x = both
        return torch.tanh(self.up[0](x).to(torch.promote_types(self.dtype, torch.float32)))


def fast(G: UNet | ResnetGenerator, dtype: torch.dtype = torch.float32) -> FastUNet | Folded:
    """What `G` computes in eval mode. Raises `ValueError` where its dropout is on."""
    return FastUNet(G, dtype) if isinstance(G, UNet) else Folded([G.model], dtype)
