"""Options and presets of the char-CNN-RNN. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    length: int = 201
    """Letters of a sentence that are looked at."""
    channels: tuple[int, int] = (384, 512)
    """Channels of the first two convolutions."""
    hidden: int = 256
    """Channels of the third, and of the recurrence."""
    last_pool: bool = True
    """Whether the third convolution is pooled as the first two are."""
    recurrence: Literal["rectified", "gated"] = "rectified"
    """A rectified layer, or a gated unit (as the authors' encoder for GANs of birds)."""
    average: bool = True
    """Whether the embedding is made of the mean over time, or of the last state."""
    embedding: int = 1024
    """Numbers of an embedding; with --features as many as these have."""
    pictures: Literal["network", "features"] = "network"
    """Where the features of pictures come from: a small network that learns along, or the files in --features."""

    def __post_init__(self) -> None:
        at_least(self, 1, "hidden", "embedding")
        if min(self.channels) < 1:
            raise expected("--channels", " ".join(map(str, self.channels)), "two numbers, 1 or more", "correct it")
        if self.steps < 1:
            raise expected("--length", self.length, "so many letters that the convolutions leave some", "enlarge it")

    @property
    def steps(self) -> int:
        """Steps of the recurrence: what three convolutions of 4 and two or three poolings of 3 leave of `length`."""
        left = self.length
        for stride in (3, 3, 2 if self.last_pool else 0):
            left -= 3
            if stride:
                left = (left - 3) // stride + 1
        return left


@dataclass(frozen=True)
class Training:
    """The objective and the schedule."""

    steps: int = 30_000
    """Iterations."""
    batch: int = 40
    """Photos an iteration, each of another class, over all ranks together."""
    by_class: bool = True
    """Whether no two photos of a batch are of one class, where the data have classes; else each stands for itself."""
    lr: float = 7e-4
    """Learning rate of RMSprop."""
    decay: float = 0.98
    """What the learning rate is multiplied by each `decay_every` steps."""
    decay_every: int = 150
    """As published: as many as there are classes to train on."""
    margin: float = 1.0
    """By how much the score of a pair must exceed those of wrong ones."""
    symmetric: bool = True
    """Whether the right photo is found by the sentence too, not only the right sentence by the photo."""
    init: float = 0.08
    """The text network's initial weights are drawn from the even distribution between minus this and this."""
    spare_equal: bool = False
    """Whether pairs with equal captions in a batch are not taken for wrong ones."""
    flip: bool = True
    """Whether every other photo is mirrored, for the small network."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "decay_every")
        at_least(self, 2, "batch")
        at_least(self, 0, "lr", "margin", "init")
        if not 0 < self.decay <= 1:
            raise expected("--decay", self.decay, "above 0, at most 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on: photos and captions of them."""

    data: Path | None = None
    """Folder of photos with captions: CUB-200-2011, Oxford-102, COCO, captions.jsonl, captions.csv, or a .txt of each
    photo's name, one caption a line."""
    split: str = "train"
    """Which split of it."""
    features: Path | None = None
    """Folder with, for each photo, a .npy of its name (in the same sub-folders as in --data) that holds its feature,
    or several, one a row, such as those of crops. --data itself, where they lie beside the photos."""
    check: bool = True
    """Whether to look through all files before training."""
    rows: int = 4
    """Sentences on a sample sheet, each with the photo it was written of and then those found by it."""


@dataclass(frozen=True)
class Options:
    """All of a training of the char-CNN-RNN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import charcnnrnn` may be told beside the file: nothing, as the file tells all."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows"),
    "network": (),
    "training": ("steps",),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "a few thousand weights: to try the machinery",
    "cpu": "a quarter of the paper's channels, the features of photos learnt along",
    "birds": "as the authors' script for CUB-200-2011, with --features of 1024 numbers a photo",
    "flowers": "as the authors' script for Oxford-102, with --features of 1024 numbers a photo",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(length=100, channels=(8, 8), hidden=8, embedding=16),
        training=Training(steps=20, batch=4),
        data=Data(rows=2),
    ),
    "cpu": Options(
        network=Network(channels=(96, 128), hidden=128, embedding=128),
        training=Training(steps=3000, batch=32, by_class=False, decay_every=100, spare_equal=True),
    ),
    # 200 epochs, each of as many iterations as there are classes to train and validate on: 150 of birds, 82 of flowers.
    "birds": Options(network=Network(pictures="features"), training=Training()),
    "flowers": Options(network=Network(pictures="features"), training=Training(steps=16_400, decay_every=82)),
}
