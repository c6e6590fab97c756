"""Initial weights."""

from __future__ import annotations

from typing import Literal

from torch import nn

from pinxit.nn.norm import BatchNorm2d

Init = Literal["normal", "xavier", "xavier_uniform", "kaiming", "orthogonal", "none"]


def initialize(network: nn.Module, kind: Init = "xavier", gain: float = 0.02) -> None:
    """Draw the weights of every convolution and linear layer anew and set its bias to 0; the scales of batch norms are
    drawn around 1.

    Source: the official codes of pix2pix, CycleGAN and SPADE, of which SPADE's takes Xavier-normal weights with the
    unusually small gain 0.02. `gain` is the standard deviation for `normal` and for the scales of batch norms;
    `xavier_uniform` uses gain 1 and `kaiming` its own, as there. `none` keeps PyTorch's own draw.
    """
    if kind == "none":
        return
    for module in network.modules():
        if isinstance(module, BatchNorm2d) and module.weight is not None:
            nn.init.normal_(module.weight, 1.0, gain)
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        match kind:
            case "normal":
                nn.init.normal_(module.weight, 0.0, gain)
            case "xavier":
                nn.init.xavier_normal_(module.weight, gain=gain)
            case "xavier_uniform":
                nn.init.xavier_uniform_(module.weight, gain=1.0)
            case "kaiming":
                nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
            case "orthogonal":
                nn.init.orthogonal_(module.weight, gain=gain)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
