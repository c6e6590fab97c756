"""Which networks the options of CycleGAN mean (Zhu et al. 2017, appendix 7.2); they are those of `nn`."""

from __future__ import annotations

from pinxit.data.kinds import Kind
from pinxit.models.cyclegan.config import Direction, Network, Training
from pinxit.nn.patchgan import NLayerDiscriminator, PixelDiscriminator
from pinxit.nn.resnet import ResnetGenerator


def kinds(c: Network, direction: Direction) -> tuple[Kind, Kind]:
    """What goes in and what comes out."""
    assert c.a is not None
    assert c.b is not None
    return (c.a, c.b) if direction == "AtoB" else (c.b, c.a)


def generator(c: Network, direction: Direction) -> ResnetGenerator:
    """Picture [N, C, H, W] of the one side -> [N, C', H, W] of the other."""
    into, out = kinds(c, direction)
    return ResnetGenerator(
        into.channels,
        out.channels,
        c.width,
        c.blocks,
        c.norm,
        0.5 if c.dropout else 0.0,
        picture_at_test=c.test_norm == "picture",
        dropout_at_test=c.test_dropout,
    )


def discriminator(c: Network, t: Training, channels: int) -> NLayerDiscriminator | PixelDiscriminator:
    """Pictures [N, C, H, W] of one side -> logits [N, 1, h, w]."""
    if t.discriminator == "pixel":
        return PixelDiscriminator(channels, t.d_width, c.norm)
    return NLayerDiscriminator(channels, t.d_width, t.d_layers, c.norm)
