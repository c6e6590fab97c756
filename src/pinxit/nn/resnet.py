"""The ResNet generator of Johnson et al. 2016 as CycleGAN and pix2pix have it, and the norms of these two.

The numbers in names of weights are those of the official code (github junyanz/pytorch-CycleGAN-and-pix2pix): places
in a sequence in which padding, norms and activations count too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from pinxit.nn.dropout import Dropout
from pinxit.nn.norm import BatchNorm2d, InstanceNorm2d
from pinxit.nn.quick import QuickConv2d, QuickConvTranspose2d
from pinxit.nn.slim import ReflectionPad2d, SlimConv2d

Norm = Literal["batch", "instance", "none"]


def norm_layer(kind: Norm, channels: int, picture_at_test: bool = False) -> nn.Module:
    """Batch norm over all ranks, with scale and shift, instance norm without, or nothing.

    `picture_at_test`: batch norm takes the picture's own statistics in eval mode, not the running ones.
    """
    match kind:
        case "batch":
            return BatchNorm2d(channels, affine=True, picture_at_test=picture_at_test)
        case "instance":
            return InstanceNorm2d(channels)
        case "none":
            return nn.Identity()


def has_bias(norm: Norm) -> bool:
    """Whether a convolution in front of the norm has a bias: in the official code only with instance norm, which
    removes it again."""
    return norm == "instance"


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al. 2016), without an activation behind the sum.

    `dropout`: its probability between the two; 0 leaves the layer out, which moves the second convolution by a place.
    `bias`: whether the convolutions have one; None: as `has_bias` says.
    """

    def __init__(
        self,
        channels: int,
        norm: Norm,
        dropout: float = 0.0,
        *,
        picture_at_test: bool = False,
        dropout_at_test: bool = False,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        bias = has_bias(norm) if bias is None else bias

        def half() -> list[nn.Module]:
            conv = QuickConv2d(channels, channels, 3, bias=bias)
            return [ReflectionPad2d(1), conv, norm_layer(norm, channels, picture_at_test)]

        between = [Dropout(dropout, dropout_at_test)] if dropout else []
        self.conv_block = nn.Sequential(*half(), nn.ReLU(inplace=True), *between, *half())

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape; H and W at least 2."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """Picture -> picture: a 7x7 convolution, halvings, residual blocks, doublings, a 7x7 convolution and tanh.

    `width`: channels at full size; they double with each of the `downsamplings`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        width: int = 64,
        blocks: int = 9,
        norm: Norm = "instance",
        dropout: float = 0.0,
        downsamplings: int = 2,
        *,
        picture_at_test: bool = False,
        dropout_at_test: bool = False,
    ) -> None:
        super().__init__()
        self.blocks, self.downsamplings = blocks, downsamplings
        bias = has_bias(norm)

        def normed(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, norm_layer(norm, channels, picture_at_test), nn.ReLU(inplace=True)]

        layers = [ReflectionPad2d(3), *normed(nn.Conv2d(channels_in, width, 7, bias=bias), width)]
        for i in range(downsamplings):
            w = width << i
            layers += normed(QuickConv2d(w, 2 * w, 3, stride=2, padding=1, bias=bias), 2 * w)
        at_test = {"picture_at_test": picture_at_test, "dropout_at_test": dropout_at_test}
        layers += [ResnetBlock(width << downsamplings, norm, dropout, **at_test) for _ in range(blocks)]
        for i in range(downsamplings, 0, -1):
            w = width << i
            up = QuickConvTranspose2d(w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=bias)
            layers += normed(up, w // 2)
        self.model = nn.Sequential(*layers, ReflectionPad2d(3), SlimConv2d(width, channels_out, 7), nn.Tanh())

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of; they must be at least twice as much."""
        return 1 << self.downsamplings

    @property
    def margin(self) -> int:
        """How far away a pixel of the input may be from one of the output that hangs on it, norms aside."""
        # Each layer adds its radius times its scale: 7x7 twice, the halvings, the blocks, the doublings.
        scales = [1 << i for i in range(self.downsamplings)]
        return 6 + sum(scales) + 2 * self.blocks * self.multiple + sum(2 * s for s in scales)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] in [-1, 1] -> [N, C', H, W] in [-1, 1]."""
        return self.model(x)


@dataclass(frozen=True)
class Found:
    """What `resnet_of` found."""

    channels_in: int
    channels_out: int
    width: int
    blocks: int
    norm: Norm
    dropout: bool


def resnet_of(state: Mapping[str, Tensor]) -> Found | None:
    """The generator that a state dict is of, as its names and shapes tell; None where it is not one of two halvings."""
    blocks = {int(match[1]) for name in state if (match := re.match(r"model\.(\d+)\.conv_block\.", name))}
    last = f"model.{max(blocks, default=0) + 8}.weight"
    if not blocks or min(blocks) != 10 or "model.1.weight" not in state or last not in state:
        return None
    # The norm stands behind the first convolution; of batch norm it has a scale, in front of instance norm there is a
    # bias. Dropout moves a block's second convolution from place 5 to 6, where otherwise its norm is.
    norm: Norm = "batch" if "model.2.weight" in state else "instance" if "model.1.bias" in state else "none"
    width, channels_in = state["model.1.weight"].shape[:2]
    dropout = (second := state.get("model.10.conv_block.6.weight")) is not None and second.dim() == 4
    return Found(channels_in, len(state[last]), width, len(blocks), norm, dropout)
