"""Options and presets of PhotoSketch. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected

GLOBAL_LEAST = 256
"""Shortest side in pixels that the discriminator of whole drawings takes."""


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    width: int = 64
    """Channels of the generator's first layer; they double with each halving."""
    blocks: int = 9
    """Residual blocks of the generator."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation, in the discriminator too."""
    dropout: bool = True
    """Whether half of what is between the convolutions of a block is dropped at random in training; a finished model
    has none."""
    test_norm: Literal["picture", "running"] = "picture"
    """Statistics batch norm uses in a finished model: the picture's own, as the authors' test script, or those
    gathered in training."""
    size: tuple[int, int] = (256, 256)
    """Height and width trained at, in pixels."""

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "blocks")
        if any(side % self.multiple or side < self.smallest for side in self.size):
            got = " ".join(map(str, self.size))
            raise expected("--size", got, f"multiples of {self.multiple}, {self.smallest} or more", "round it")

    @property
    def multiple(self) -> int:
        """What the sides of a picture must be multiples of."""
        return 4

    @property
    def smallest(self) -> int:
        """The shortest side a picture may have."""
        return 8


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what the discriminator is."""

    steps: int = 320_000
    """Iterations, each one discriminator and one generator update."""
    decay_from: int = -1
    """Step from which the learning rates fall linearly to 0 at `steps`; -1: never."""
    batch: int = 2
    """Photos an iteration, over all ranks together."""
    references: int = 5
    """Drawings of a photo that are used at most, the first by name."""
    lr: float = 2e-4
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's betas."""
    adversarial: Literal["original", "ls", "hinge"] = "original"
    """Adversarial loss: the paper's, least squares (the official default) or hinge."""
    gan: float = 1.0
    """Weight of the adversarial loss, in the discriminator's too."""
    l1: float = 200.0
    """Weight of the mean absolute difference to the nearest of a photo's drawings."""
    discriminator: Literal["global", "patch"] = "global"
    """What is judged: the drawing as a whole (256 pixels or more), or patches of it."""
    d_width: int = 64
    """Channels of the discriminator's first layer."""
    d_layers: int = 3
    """Halvings of the patch discriminator."""
    init: Literal["normal", "xavier", "kaiming", "orthogonal", "none"] = "normal"
    """Initial weights."""
    init_gain: float = 0.02
    """Standard deviation (or gain) of the initial weights."""
    load_size: int = 286
    """Pixels that the shorter side of `size` is scaled to before a crop of that size is cut out."""
    rotate: float = 15.0
    """Largest angle in degrees that photo and drawings are turned by, either way; zoomed, so that no corner is bare."""
    vary: float = 0.8
    """Share of the photos that are turned and cropped; the others are scaled to `size`."""
    color_jitter: float = 0.02
    """Largest change of a photo's brightness, contrast, saturation (shares) and hue (share of the circle)."""
    flip: bool = True
    """Whether every other photo is mirrored, with its drawings."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "references", "d_width", "d_layers", "load_size")
        at_least(self, 0, "lr", "gan", "l1", "init_gain", "rotate", "vary", "color_jitter")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")
        for name, most in (("rotate", 45), ("vary", 1), ("color_jitter", 0.5)):
            if getattr(self, name) > most:
                option = f"--{name.replace('_', '-')}"
                raise expected(option, getattr(self, name), f"0..{most}", "lower it")


@dataclass(frozen=True)
class Data:
    """What is trained on: photos, each with one drawing or more."""

    data: Path | None = None
    """Folder with image/, sketch-rendered/width-5/ and list/SPLIT.txt, as the authors'; or of pairs: SPLIT (files side
    by side), SPLITA and SPLITB, or A/SPLIT and B/SPLIT."""
    photos: Path | None = None
    """Folder of the photos, in place of --data."""
    sketches: Path | None = None
    """Folder of their drawings: for photo NAME, a folder NAME, or files NAME, NAME_1, NAME_2 and so on."""
    split: str = "train"
    """Which split of --data."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Of pairs: whether A is the photo (AtoB) or B."""
    check: bool = True
    """Whether to look through all files before training."""
    rows: int = 4
    """Photos on a sample sheet."""


@dataclass(frozen=True)
class Options:
    """All of a training of PhotoSketch."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import photosketch` may be told beside the file. The shapes of the weights tell the rest."""

    epoch: str = "latest"
    """Which of several checkpoints in a folder: the part of the file name before _net_G.pth."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows"),
    "network": ("test_norm",),
    "training": ("steps", "decay_from"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "32 px, a few thousand weights: to try the machinery",
    "cpu": "64 px, a quarter of an hour on one core: outlines of single objects",
    "paper": "256 px, contour drawings as the paper",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(width=3, blocks=1, size=(32, 32)),
        training=Training(steps=20, d_width=4, d_layers=2, discriminator="patch", load_size=36),
    ),
    # Without dropout, which blurs what a small network has learnt; the objects stand in the middle, upright.
    "cpu": Options(
        network=Network(width=16, blocks=4, dropout=False, test_norm="running", size=(64, 64)),
        training=Training(
            steps=4000,
            decay_from=2000,
            batch=4,
            discriminator="patch",
            d_width=24,
            d_layers=2,
            load_size=68,
            rotate=10.0,
        ),
    ),
    # The authors' script: 400 epochs and 400 of decay, in batches of 2; steps are those for 800 photos to train on.
    "paper": Options(training=Training(steps=320_000, decay_from=160_000)),
}
