"""Options and presets of StackGAN. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected

FIRST = 64
"""Side of Stage-I's pictures in pixels."""


@dataclass(frozen=True)
class Data:
    """What is trained on, what reads its sentences, and what it begins with."""

    data: Path | None = None
    """Folder of photos with captions: CUB-200-2011, Oxford-102, COCO, captions.jsonl, captions.csv, or a .txt beside
    each photo."""
    split: str = "train"
    """Which part of it, where it has parts."""
    text_encoder: str = "built-in"
    """What makes numbers of a sentence: built-in (trained first, on these captions and photos), sentence:NAME|FOLDER,
    clip:NAME|FOLDER, char-cnn-rnn:MODEL, or precomputed, the authors' embeddings in the data folder."""
    stage1: Path | None = None
    """Model folder or file of StackGAN whose Stage-I is taken, and with it its text encoder: only Stage-II is
    trained."""
    boxes: bool = True
    """Whether photos with a bounding box are cut to a square of 1.5 times its side."""
    check: bool = True
    """Whether to look through all photos before training."""
    rows: int = 6
    """Captions on a sample sheet."""
    columns: int = 6
    """Pictures of each, beside the real photo."""


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    size: int = 256
    """Side of Stage-II's pictures: 128 or 256. Stage-I's is 64."""
    z_dim: int = 100
    """Numbers of noise."""
    text_dim: int = 1024
    """Numbers of a sentence: of the built-in encoder; others bring their own."""
    condition_dim: int = 128
    """Numbers that conditioning augmentation makes of them."""
    g_width: int = 192
    """Channels of the generators: Stage-I begins with 8 times as many, Stage-II with as many."""
    d_width: int = 96
    """Channels that the discriminators begin with."""
    residuals: int = 4
    """Residual blocks of Stage-II; the paper has 2 for 128 pixels."""
    unconditional: bool = True
    """Whether Stage-II's discriminator also judges pictures without their text, as the authors' PyTorch code; the paper
    and their TensorFlow code do not."""
    stage1_width: int | None = None
    """As g_width, of Stage-I alone; by default the same."""
    stage1_condition: int | None = None
    """As condition_dim, of Stage-I alone; by default the same."""

    def __post_init__(self) -> None:
        if self.size not in (128, 256):
            raise expected("--size", self.size, "128 or 256", "choose one; photos are scaled to it")
        at_least(self, 1, "z_dim", "text_dim", "condition_dim", "d_width", "residuals", "first_condition")
        for name in ("g_width", "first_width"):
            got = getattr(self, name)
            if got < 4 or got % 4:
                option = "g-width" if name == "g_width" else "stage1-width"
                raise expected(f"--{option}", got, "a multiple of 4, 4 or more", "round it")

    @property
    def first_width(self) -> int:
        """Stage-I's width."""
        return self.g_width if self.stage1_width is None else self.stage1_width

    @property
    def first_condition(self) -> int:
        """Stage-I's condition."""
        return self.condition_dim if self.stage1_condition is None else self.stage1_condition


@dataclass(frozen=True)
class Training:
    """The objective and the schedule of each stage."""

    stages: Literal[1, 2] = 2
    """How far: 1 ends with Stage-I."""
    text_steps: int = 2000
    """Iterations of the text stage, in which captions and photos learn what belongs together: the built-in encoder, and
    the network of pictures that later measures how well a picture fits its text."""
    text_batch: int = 64
    """Pairs an iteration of it; each is held against all others."""
    text_lr: float = 1e-3
    """Learning rate of it, which falls linearly to 0 over the second half."""
    match: bool = True
    """Whether, with another encoder than the built-in one, a network of pictures learns in the text stage how well a
    picture fits a text, so that the model can measure it; else there is no such stage then."""
    stage1_steps: int = 82_800
    """Iterations of Stage-I, each one update of the discriminator and one of the generator."""
    stage1_batch: int = 64
    """Photos an iteration of Stage-I, over all processes together."""
    stage1_halve: int = 13_800
    """Iterations of Stage-I after which its learning rate halves, again and again; 0: never."""
    stage2_steps: int = 82_800
    """Iterations of Stage-II."""
    stage2_batch: int = 64
    """Photos an iteration of Stage-II."""
    stage2_halve: int = 13_800
    """Iterations of Stage-II after which its learning rate halves; 0: never."""
    lr: float = 2e-4
    """Learning rate of Adam at first."""
    kl: float = 2.0
    """Weight of the Kullback-Leibler term, by which conditions stay near a standard Gaussian."""
    ema: float = 0.0
    """How much of an average over the generator's last steps, which samples are made with, stays each step; 0: none, as
    in the authors' codes."""
    captions: int = 1
    """Captions of a photo whose vectors' mean is its text; the authors' TensorFlow code takes 4 of ten. The built-in
    encoder takes one."""
    flip: bool = True
    """Whether every other photo is mirrored."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the model file holds convolutions as; computation is in float32 either way."""

    def __post_init__(self) -> None:
        at_least(self, 1, "text_steps", "stage1_steps", "stage2_steps", "captions")
        at_least(self, 2, "text_batch", "stage1_batch", "stage2_batch")
        at_least(self, 0, "stage1_halve", "stage2_halve", "lr", "text_lr", "kl", "ema")
        if self.ema >= 1:
            raise expected("--ema", self.ema, "from 0 to below 1", "correct it")


@dataclass(frozen=True)
class Options:
    """All of a training of StackGAN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import stackgan` may be told beside the file: nothing, as its shapes tell widths, size and stage."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows", "columns"),
    "network": (),
    "training": ("stages", "stage2_steps", "store"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by `stages` 2, or by more `stage2_steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "64 and 128 px, a few thousand weights: to try the machinery",
    "cpu": "64 and 128 px, small: for a CPU, and some thousand photos of plain things",
    "flickr": "64 and 128 px, built-in encoder: some ten thousand photos of anything; wants a GPU",
    "birds": "256 px, the paper's schedule for CUB-200-2011, 600 and 600 epochs: wants a GPU",
    "birds_code": "the same by the authors' TensorFlow code, whose Stage-I halves its rate each 50 epochs",
    "flowers": "256 px, the paper's schedule for Oxford-102: wants a GPU",
    "flowers_code": "the same by the authors' TensorFlow code",
    "coco": "256 px, as the authors' PyTorch code for COCO, 120 and 100 epochs: wants several GPUs",
}

# Steps are epochs times photos over the batch: 8,855 birds and 7,034 flowers of the training classes by 64; 82,783
# photos of COCO by 128 and 40.
BIRD_EPOCH, FLOWER_EPOCH, COCO_EPOCH, COCO_EPOCH_2 = 138, 109, 646, 2069
PAPER = Network(g_width=128, d_width=64, unconditional=False)


def of_tensorflow(epoch: int, first_halve: int) -> Training:
    """600 epochs a stage; sec. 3.4 has the rate halved each 100 in both, and the authors' file for Stage-I each 50."""
    return Training(
        stage1_steps=600 * epoch,
        stage1_halve=first_halve * epoch,
        stage2_steps=600 * epoch,
        stage2_halve=100 * epoch,
        captions=4,
    )


PRESETS: dict[str, Options] = {
    "tiny": Options(
        data=Data(rows=2, columns=2),
        network=Network(size=128, z_dim=4, text_dim=8, condition_dim=4, g_width=8, d_width=4, residuals=1),
        training=Training(
            text_steps=10,
            text_batch=4,
            stage1_steps=20,
            stage1_batch=4,
            stage1_halve=10,
            stage2_steps=20,
            stage2_batch=4,
            stage2_halve=10,
            ema=0.9,
        ),
    ),
    "cpu": Options(
        network=Network(size=128, text_dim=128, condition_dim=64, g_width=48, d_width=32, residuals=2),
        training=Training(
            text_steps=600,
            stage1_steps=4000,
            stage1_batch=32,
            stage1_halve=0,
            stage2_steps=2000,
            stage2_batch=16,
            stage2_halve=0,
            ema=0.995,
            store="float16",
        ),
    ),
    "flickr": Options(
        network=Network(size=128, text_dim=256, g_width=128, d_width=64, residuals=2),
        training=Training(
            text_steps=5000,
            text_batch=128,
            stage1_steps=60_000,
            stage1_halve=15_000,
            stage2_steps=60_000,
            stage2_halve=15_000,
            ema=0.999,
        ),
    ),
    "birds": Options(network=PAPER, training=of_tensorflow(BIRD_EPOCH, 100)),
    "birds_code": Options(network=PAPER, training=of_tensorflow(BIRD_EPOCH, 50)),
    "flowers": Options(network=PAPER, training=of_tensorflow(FLOWER_EPOCH, 100)),
    "flowers_code": Options(network=PAPER, training=of_tensorflow(FLOWER_EPOCH, 50)),
    "coco": Options(
        network=Network(residuals=2),
        training=Training(
            stage1_steps=120 * COCO_EPOCH,
            stage1_batch=128,
            stage1_halve=20 * COCO_EPOCH,
            stage2_steps=100 * COCO_EPOCH_2,
            stage2_batch=40,
            stage2_halve=20 * COCO_EPOCH_2,
        ),
    ),
}
