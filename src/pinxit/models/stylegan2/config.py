"""Options and presets of StyleGAN2. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected

Policy = Literal["color", "translation", "cutout"]

LEAST, MOST = 8, 1024
"""Pixels of a side."""


def official_channels(size: int, multiplier: float = 2.0) -> tuple[int, ...]:
    """The paper's channels from 4x4 pixels up to `size`: 512 as far as 32 pixels, then half as many each doubling.

    `multiplier`: 2 is configuration F of the paper, 1 its configuration E and the official code's smaller form.
    """
    steps = int(math.log2(size)) - 1
    return tuple(512 if i <= 3 else max(1, int(256 * multiplier) >> (i - 4)) for i in range(steps))


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    size: int = 1024
    """Side of the pictures in pixels, a power of two."""
    channels: tuple[int, ...] | None = None
    """Channels at 4, 8, 16 … pixels, as far as size; by default the paper's, see multiplier."""
    multiplier: float = 2.0
    """Channels from 64 pixels on, as a multiple of 256, 128, 64, 32, 16; the paper's configuration F has 2. Used where
    channels are not given."""
    style_dim: int = 512
    """Numbers in a latent, of z and of w."""
    mapping_layers: int = 8
    """Layers that make w of z."""
    mapping_rate: float = 0.01
    """How much more slowly the mapping learns than the rest."""
    blur: tuple[int, ...] = (1, 3, 3, 1)
    """Taps of the filter that pictures are resampled with."""

    def __post_init__(self) -> None:
        if self.size not in [1 << i for i in range(3, 11)]:
            got, want = self.size, f"a power of two from {LEAST} to {MOST}"
            raise expected("--size", got, want, "choose the nearest; pictures are scaled to it")
        steps = int(math.log2(self.size)) - 1
        if self.channels is not None and (len(self.channels) < steps or min(self.channels) < 1):
            got = " ".join(map(str, self.channels)) or "nothing"
            raise expected("--channels", got, f"{steps} numbers of 1 or more for {self.size} pixels", "correct them")
        at_least(self, 1, "style_dim", "mapping_layers")
        if not 0 < self.mapping_rate <= 1:
            raise expected("--mapping-rate", self.mapping_rate, "above 0, at most 1", "correct it")
        if self.multiplier <= 0 or not math.isfinite(self.multiplier):
            raise expected("--multiplier", self.multiplier, "above 0", "correct it")
        # The padding that the official code gives its resampling keeps sizes for as many taps alone.
        if len(self.blur) != 4 or sum(self.blur) <= 0:
            raise expected("--blur", " ".join(map(str, self.blur)), "four taps, of a sum above 0", "take 1 3 3 1")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at 4, 8, 16 … pixels."""
        steps = int(math.log2(self.size)) - 1
        return official_channels(self.size, self.multiplier) if self.channels is None else self.channels[:steps]

    @property
    def latents(self) -> int:
        """Layers that a w goes to: the second number of a w+."""
        return 2 * int(math.log2(self.size)) - 2


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what pictures are shown as."""

    steps: int = 800_000
    """Iterations, each one update of the discriminator and one of the generator; penalties have updates of their
    own."""
    batch: int = 32
    """Pictures an iteration, over all processes together; a multiple of 4 for each."""
    lr: float = 2e-3
    """Learning rate of Adam, before the correction for lazy penalties."""
    r1: float = 10.0
    """Weight gamma of the R1 penalty: what the discriminator pays for slopes at real pictures. Smaller pictures want
    less."""
    r1_every: int = 16
    """Steps between updates by the R1 penalty; 0: none."""
    path: float = 2.0
    """Weight of the path length penalty: what the generator pays where equal steps of w change pictures unequally."""
    path_every: int = 4
    """Steps between updates by the path length penalty; 0: none."""
    path_shrink: int = 2
    """By how much the batch of the path length penalty is smaller."""
    mixing: float = 0.9
    """How often the coarse layers have another w than the fine ones."""
    ema: float = 0.5 ** (32 / 10_000)
    """How much of the averaged generator, which samples are made with, stays each step."""
    augment: tuple[Policy, ...] = ()
    """What real and generated pictures go through alike before they are judged (DiffAugment), for sets of some
    thousands and fewer: color, translation, cutout."""
    flip: bool = True
    """Whether every other picture is mirrored."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the model file holds weights as; computation is in float32 either way."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "path_shrink")
        at_least(self, 0, "lr", "r1", "r1_every", "path", "path_every")
        for name, most in (("mixing", 1.0), ("ema", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise expected(f"--{name}", getattr(self, name), "from 0 to 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on."""

    data: Path | None = None
    """Folder of pictures, folders in it included. Each is cut to the square in its middle and scaled to size."""
    check: bool = True
    """Whether to look through all files before training."""
    rows: int = 6
    """Rows and columns of a sample sheet."""
    truncation: float = 1.0
    """Truncation of the pictures on it."""


@dataclass(frozen=True)
class Options:
    """All of a training of StyleGAN2."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import stylegan2` may be told beside the file. Its shapes tell size, channels and layers."""

    which: Literal["g_ema", "g"] = "g_ema"
    """Which generator of a training's checkpoint: the averaged one, or the one in training."""
    mapping_rate: float = 0.01
    """The --lr_mlp it was trained with, which no shape tells; the authors' code has 0.01 alone."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows", "truncation"),
    "network": (),
    "training": ("steps", "store"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "32 px, a few thousand weights: to try the machinery",
    "cpu": "64 px, small: an hour or two on one core of a laptop, for a set of some thousand plain pictures",
    "small": "128 px, the paper's widths halved, DiffAugment: wants a GPU",
    "e_256": "256 px, channel multiplier 1, as the smaller form of the official code",
    "config_f": "1024 px, the paper's configuration F: wants several GPUs",
}

AUGMENT: tuple[Policy, ...] = ("color", "translation", "cutout")

PRESETS: dict[str, Options] = {
    "tiny": Options(
        data=Data(rows=2),
        network=Network(size=32, channels=(8, 8, 6, 4), style_dim=8, mapping_layers=2),
        training=Training(steps=20, batch=4, r1_every=2, path_every=2, augment=AUGMENT),
    ),
    "cpu": Options(
        network=Network(size=64, channels=(128, 96, 64, 32, 16), style_dim=128, mapping_layers=4),
        training=Training(
            steps=15_000, batch=16, r1=0.2, path_every=8, ema=0.998, augment=("color", "translation"), store="float16"
        ),
    ),
    "small": Options(
        network=Network(size=128, channels=(256, 256, 256, 256, 128, 64), style_dim=256),
        training=Training(steps=200_000, r1=1.0, augment=AUGMENT),
    ),
    "e_256": Options(network=Network(size=256, multiplier=1.0), training=Training(r1=10.0)),
    # Tables 1 and 2 of the paper: 25 million pictures.
    "config_f": Options(),
}
