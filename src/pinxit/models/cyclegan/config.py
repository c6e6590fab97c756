"""Options and presets of CycleGAN. Imports no torch, so that `--help` is quick."""

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

    blocks: int = 9
    """Residual blocks of each generator; the paper has 6 at 128 pixels and 9 at 256 and more."""
    width: int = 64
    """Channels of each generator's first layer; they double with each of two halvings."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation, in the discriminators too."""
    dropout: bool = False
    """Whether half of what the first convolution of each block gives is dropped at random in training."""
    test_norm: Literal["picture", "running"] | None = None
    """Statistics batch norm uses in a finished model: the picture's own, as the authors' test script, or those
    gathered in training. By default the picture's where it is trained with batch 1, else the running ones. Instance
    norm always takes the picture's."""
    test_dropout: bool = False
    """Whether dropout stays on in a finished model, as in the authors' test script."""
    size: tuple[int, int] = (256, 256)
    """Height and width trained at, in pixels."""
    directions: Annotated[tuple[Direction, ...], tyro.conf.Suppress] = ("AtoB", "BtoA")
    """Which generators the model file has; an imported one may have one alone."""
    a: Annotated[Kind | None, tyro.conf.Suppress] = None
    """What the pictures of side A are; None takes it from the data."""
    b: Annotated[Kind | None, tyro.conf.Suppress] = None
    """What the pictures of side B are; None takes it from the data."""

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "blocks")
        if any(side % MULTIPLE or side < SMALLEST for side in self.size):
            got = " ".join(map(str, self.size))
            raise expected("--size", got, f"multiples of {MULTIPLE}, {SMALLEST} or more", "round it")


MULTIPLE, SMALLEST = 4, 8
"""What a side of a picture must be a multiple of, and at least."""


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what the discriminators are."""

    steps: int = 266_800
    """Iterations, each one update of both generators and one of both discriminators."""
    decay_from: int = 133_400
    """Step from which the learning rates fall linearly to 0 at `steps`; -1: never."""
    batch: int = 1
    """Pictures of each side an iteration, over all ranks together."""
    lr: float = 2e-4
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's betas."""
    adversarial: Literal["ls", "original", "w", "hinge"] = "ls"
    """Adversarial loss: the paper's least squares (the official `lsgan`), or another."""
    cycle_a: float = 10.0
    """Weight of the mean absolute difference between a picture of A and what comes back of it from B."""
    cycle_b: float = 10.0
    """The same for a picture of B that goes to A and back."""
    identity: float = 0.5
    """Weight, as a share of those of the cycles, of what a generator changes in pictures that are already of its
    output's side; 0: off. It keeps colours, and needs sides of equally many channels."""
    pool: int = 50
    """Earlier fakes of each generator that the discriminators are shown among the new ones; 0: none."""
    discriminator: Literal["patch", "pixel"] = "patch"
    """What is judged: patches or single pixels."""
    d_width: int = 64
    """Channels of the discriminators' first layer."""
    d_layers: int = 3
    """Halvings of the patch discriminators: 3 see 70x70 pixels."""
    init: Literal["normal", "xavier", "xavier_uniform", "kaiming", "orthogonal", "none"] = "normal"
    """Initial weights."""
    init_gain: float = 0.02
    """Standard deviation (or gain) of the initial weights."""
    preprocess: Mode = "resize_and_crop"
    """How a picture becomes `size`; each side by itself."""
    load_size: int = 286
    """Side in pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other picture is mirrored."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the model file holds weights as; training and painting compute in float32 either way."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "d_width", "d_layers", "load_size")
        at_least(self, 0, "lr", "cycle_a", "cycle_b", "identity", "pool", "init_gain")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on: pictures of two sides, A and B, which need not belong together."""

    data: Path | None = None
    """Folder with SPLITA and SPLITB (trainA, trainB), or A/SPLIT and B/SPLIT."""
    a: Path | None = None
    """Folder of the pictures of side A, in place of --data."""
    b: Path | None = None
    """Folder of the pictures of side B."""
    split: str = "train"
    """Which split of --data."""
    range_a: tuple[float, float] | None = None
    """Values of side A that become -1 and 1; by default all that its integers hold, or those that its floats have."""
    range_b: tuple[float, float] | None = None
    """The same for side B."""
    check: bool = True
    """Whether to look through all files before training."""
    rows: int = 4
    """Pictures of each side on a sample sheet."""


@dataclass(frozen=True)
class Options:
    """All of a training of CycleGAN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import cyclegan` may be told beside the files. The shapes of the weights tell blocks, width,
    channels, norm and dropout."""

    preset: str | None = None
    """Which release it is, by the authors' name: horse2zebra, zebra2horse, style_monet ... Each is one generator; it
    tells the direction."""
    direction: Direction | None = None
    """What a latest_net_G.pth without a preset translates; latest_net_G_A.pth is AtoB, latest_net_G_B.pth BtoA."""
    epoch: str = "latest"
    """Which of several checkpoints in a folder: the part of the file name before _net_G.pth."""


RELEASES: dict[str, tuple[Direction, str]] = {
    "horse2zebra": ("AtoB", "horses to zebras"),
    "zebra2horse": ("BtoA", "zebras to horses"),
    "apple2orange": ("AtoB", "apples to oranges"),
    "orange2apple": ("BtoA", "oranges to apples"),
    "summer2winter_yosemite": ("AtoB", "summer to winter"),
    "winter2summer_yosemite": ("BtoA", "winter to summer"),
    "monet2photo": ("AtoB", "Monet to photos"),
    "style_monet": ("BtoA", "photos to Monet"),
    "style_cezanne": ("BtoA", "photos to Cezanne"),
    "style_ukiyoe": ("BtoA", "photos to Ukiyo-e"),
    "style_vangogh": ("BtoA", "photos to Van Gogh"),
    "sat2map": ("AtoB", "aerial photos to maps"),
    "map2sat": ("BtoA", "maps to aerial photos"),
    "cityscapes_photo2label": ("AtoB", "streets to label maps"),
    "cityscapes_label2photo": ("BtoA", "label maps to streets"),
    "facades_photo2label": ("AtoB", "facades to label maps"),
    "facades_label2photo": ("BtoA", "label maps to facades"),
    "iphone2dslr_flower": ("AtoB", "flowers by a telephone to flowers by a reflex camera"),
}
"""The released models: direction within their data sets, and what they do. All have 9 blocks of width 64, instance norm
and no dropout."""

MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows"),
    "network": ("test_norm", "test_dropout"),
    "training": ("steps", "decay_from", "store"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "32 px, a few thousand weights: to try the machinery",
    "cpu": "128 px, half an hour to an hour on a laptop",
    "cycle_gan": "256 px, nine blocks, as the paper's horse2zebra",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(blocks=1, width=3, size=(32, 32)),
        training=Training(steps=20, decay_from=10, d_width=4, d_layers=2, load_size=36, pool=3),
    ),
    "cpu": Options(
        network=Network(blocks=6, width=24, size=(128, 128)),
        training=Training(steps=4000, decay_from=2000, d_width=32, load_size=143, store="float16"),
    ),
    # The paper's, sec. 4 and appendix 7.1: 200 epochs, the second half of which decays, of the 1,334 zebras (the larger
    # side is an epoch).
    "cycle_gan": Options(),
}
