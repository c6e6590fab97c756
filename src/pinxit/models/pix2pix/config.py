"""Options and presets of pix2pix. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pinxit.data.kinds import Kind
from pinxit.data.modes import Mode
from pinxit.errors import at_least, expected

Direction = Literal["AtoB", "BtoA"]


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    generator: Literal["unet", "resnet"] = "unet"
    """Which generator: the U-Net, or residual blocks."""
    depth: int = 8
    """Halvings of the U-Net; the sides of a picture must be multiples of 2^depth. 8 is the official unet_256, 7 the
    unet_128."""
    blocks: int = 9
    """Residual blocks of the ResNet generator."""
    width: int = 64
    """Channels of the generator's first layer; they double with each halving."""
    widest: int = 8
    """How many times `width` a layer of the U-Net has at most."""
    norm: Literal["batch", "instance", "none"] = "batch"
    """Normalisation, in the discriminator too."""
    dropout: bool = True
    """Whether half of what the middle layers give is dropped at random in training: the paper's noise z."""
    test_norm: Literal["picture", "running"] | None = None
    """Statistics batch norm uses in a finished model: the picture's own, as the authors' test script, or those
    gathered in training. By default the picture's where it is trained with batch 1, whose statistics are just those of
    one picture, else the running ones."""
    test_dropout: bool = False
    """Whether dropout stays on in a finished model, as in the authors' test script: then a picture has as many
    translations as there are seeds."""
    size: tuple[int, int] = (256, 256)
    """Height and width trained at, in pixels."""
    input: Annotated[Kind | None, tyro.conf.Suppress] = None
    """What pictures go in; None takes it from the data."""
    output: Annotated[Kind | None, tyro.conf.Suppress] = None
    """What pictures come out; None takes it from the data."""

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "widest", "blocks")
        at_least(self, 2, "depth")
        if self.depth > 12:
            raise expected("--depth", self.depth, "12 or less", "lower it")
        if min(self.size) < 1:
            raise expected("--size", " ".join(map(str, self.size)), "height and width in pixels", "correct it")

    @property
    def multiple(self) -> int:
        """What the sides of a picture must be multiples of."""
        return 1 << self.depth if self.generator == "unet" else 4

    @property
    def smallest(self) -> int:
        """The shortest side a picture may have."""
        return self.multiple if self.generator == "unet" else 8


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what the discriminator is."""

    steps: int = 80_000
    """Iterations, each one discriminator and one generator update."""
    decay_from: int = -1
    """Step from which the learning rates fall linearly to 0 at `steps`; -1: never."""
    batch: int = 1
    """Pictures an iteration, over all ranks together."""
    lr: float = 2e-4
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's betas."""
    adversarial: Literal["original", "ls", "w", "hinge"] = "original"
    """Adversarial loss: the paper's (the official `vanilla`), least squares (`lsgan`), Wasserstein (`wgangp`) or
    hinge."""
    gradient_penalty: float = 10.0
    """Weight of the gradient penalty; used with the Wasserstein loss. The official code names that loss wgangp but
    leaves the penalty out: 0 is what it does."""
    l1: float = 100.0
    """Weight of the mean absolute difference to the true output."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """What is judged: patches or single pixels."""
    d_width: int = 64
    """Channels of the discriminator's first layer."""
    d_layers: int = 3
    """Halvings of the patch discriminator: 3 see 70x70 pixels; the official `basic` is 3, `n_layers` any."""
    init: Literal["normal", "xavier", "xavier_uniform", "kaiming", "orthogonal", "none"] = "normal"
    """Initial weights."""
    init_gain: float = 0.02
    """Standard deviation (or gain) of the initial weights."""
    preprocess: Mode = "resize_and_crop"
    """How a picture becomes `size`; both sides alike."""
    load_size: int = 286
    """Side in pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other picture is mirrored, both sides together."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the model file holds weights as; training and painting compute in float32 either way."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "d_width", "d_layers", "load_size")
        at_least(self, 0, "lr", "gradient_penalty", "l1", "init_gain")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on: pictures of two sides, A and B, in pairs."""

    data: Path | None = None
    """Folder with SPLIT (files of A left and B right), or SPLITA and SPLITB, or A/SPLIT and B/SPLIT."""
    a: Path | None = None
    """Folder of the pictures of side A, in place of --data; paired with --b by name."""
    b: Path | None = None
    """Folder of the pictures of side B."""
    split: str = "train"
    """Which split of --data."""
    direction: Direction = "AtoB"
    """What goes in and what comes out."""
    range_a: tuple[float, float] | None = None
    """Values of side A that become -1 and 1; by default all that its integers hold, or those that its floats have."""
    range_b: tuple[float, float] | None = None
    """The same for side B."""
    check: bool = True
    """Whether to look through all files before training."""
    rows: int = 4
    """Pairs on a sample sheet."""


@dataclass(frozen=True)
class Options:
    """All of a training of pix2pix."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import pix2pix` may be told beside the file. The shapes of the weights tell generator, depth, width,
    channels and norm."""

    preset: str | None = None
    """Which release it is: edges2shoes, edges2handbags, facades_label2photo (or facades), day2night, map2sat or
    sat2map. It tells the direction, for the model's card, and that the model has batch norm and dropout."""
    no_dropout: bool = False
    """That a U-Net was trained without dropout, which has no weights to tell it by; train_opt.txt beside the file tells
    it too. Else it may be turned on when the model translates."""
    direction: Direction | None = None
    """What it translates, for the card; by default as the release or train_opt.txt says."""
    epoch: str = "latest"
    """Which of several checkpoints in a folder: the part of the file name before _net_G.pth."""


RELEASES: dict[str, tuple[Direction, str]] = {
    "edges2shoes": ("AtoB", "edges to shoes"),
    "edges2handbags": ("AtoB", "edges to handbags"),
    "facades": ("BtoA", "label maps to facades"),
    "facades_label2photo": ("BtoA", "label maps to facades"),
    "day2night": ("AtoB", "day to night"),
    "map2sat": ("BtoA", "maps to aerial photos"),
    "sat2map": ("AtoB", "aerial photos to maps"),
}
"""The released models: direction within their data sets, and what they do. All have batch norm and dropout."""

MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows"),
    "network": ("test_norm", "test_dropout"),
    "training": ("steps", "decay_from", "store"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "64 px, a few thousand weights: to try the machinery",
    "cpu": "128 px, half an hour on a laptop: the embedded model's",
    "facades": "label maps to facades (B to A), as the paper",
    "cityscapes": "label maps to streets (B to A), as the paper",
    "sat2map": "aerial photos to maps, as the paper",
    "map2sat": "maps to aerial photos (B to A), as the paper",
    "edges2shoes": "edges to shoes, as the paper",
    "edges2handbags": "edges to handbags, as the paper",
    "day2night": "day to night, as the paper",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(depth=5, width=3, size=(64, 64)),
        training=Training(steps=20, batch=2, d_width=4, d_layers=2, load_size=72),
    ),
    "cpu": Options(
        network=Network(depth=7, width=32, widest=4, size=(128, 128)),
        training=Training(steps=8000, decay_from=4000, batch=4, d_width=32, load_size=136, store="float16"),
    ),
    # The paper's, appendix 6.2: steps are epochs times pictures over the batch. 200 x 400, 200 x 2,975, 200 x 1,096 at
    # batch 1; 15 x 49,825, 15 x 138,567 and 17 x 17,823 at batch 4. For edges it names neither jitter nor mirroring.
    # The rates are constant there; the authors' PyTorch code lets them fall over the second half (--decay-from).
    "facades": Options(Data(direction="BtoA"), training=Training(steps=80_000)),
    "cityscapes": Options(Data(direction="BtoA"), training=Training(steps=595_000)),
    "sat2map": Options(training=Training(steps=219_200)),
    "map2sat": Options(Data(direction="BtoA"), training=Training(steps=219_200)),
    "edges2shoes": Options(training=Training(steps=186_843, batch=4, preprocess="fixed", flip=False)),
    "edges2handbags": Options(training=Training(steps=519_626, batch=4, preprocess="fixed", flip=False)),
    "day2night": Options(training=Training(steps=75_747, batch=4)),
}
