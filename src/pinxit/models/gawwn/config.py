"""Options and presets of GAWWN. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected

SIZE = 128
"""Side of the pictures in pixels."""
GRID = 16
"""Side of the feature maps in which places are told."""
PARTS = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape", "right eye",
    "right leg", "right wing", "tail", "throat",
)  # fmt: skip
"""Parts of a bird, in the order of CUB's parts.txt."""
POINTS = len(PARTS)

Where = Literal["box", "points"]


@dataclass(frozen=True)
class Data:
    """What is trained on, and what reads its sentences."""

    data: Path | None = None
    """Folder of photos with captions, and with boxes or points: CUB-200-2011 with its text."""
    split: str = "train"
    """Which part of it, where it has parts."""
    text_encoder: str = "built-in"
    """What makes numbers of a sentence: built-in (trained first, on these captions and photos), sentence:NAME|FOLDER,
    clip:NAME|FOLDER, char-cnn-rnn:MODEL, or precomputed, the embeddings in the data folder."""
    squeeze: bool = True
    """Whether photos are squeezed into a square, as the authors do, so that objects at their ends are seen; else
    squares are cut out of them."""
    check: bool = True
    """Whether to look through all photos before training."""
    rows: int = 6
    """Captions on a sample sheet, each with its photo's box or points."""
    columns: int = 6
    """Pictures of each, beside the real photo."""


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    where: Where = "box"
    """What tells the place: the box around the object, or points at its parts."""
    z_dim: int = 100
    """Numbers of noise."""
    text_dim: int = 1024
    """Numbers of a sentence: of the built-in encoder; others bring their own."""
    condition_dim: int = 128
    """Numbers that the discriminator makes of them."""
    g_width: int = 128
    """Channels of the generator, of which its layers have multiples."""
    d_width: int = 128
    """Channels of the discriminator, of which its layers have multiples."""

    def __post_init__(self) -> None:
        at_least(self, 1, "z_dim", "text_dim", "condition_dim", "g_width", "d_width")


@dataclass(frozen=True)
class Training:
    """The objective and the schedule."""

    text_steps: int = 2000
    """Iterations of the text stage, in which captions and photos learn what belongs together; with another encoder than
    the built-in one they serve only to measure later whether a picture fits its text. 0: leave it out."""
    text_batch: int = 64
    """Pairs an iteration of it, over all processes together; each is held against all others."""
    text_lr: float = 1e-3
    """Learning rate of it, falling to 0 as a cosine."""
    steps: int = 331_800
    """Iterations, each one update of the discriminator and one of the generator."""
    batch: int = 16
    """Photos an iteration, over all processes together."""
    lr: float = 2e-4
    """Learning rate of Adam at first."""
    halve: int = 55_300
    """Iterations after which it halves, again and again; 0: never."""
    mismatched: float = 0.5
    """What share of the discriminator's loss on false pairs is that on real photos with another's text; the rest is
    that on generated pictures."""
    captions: int = 1
    """How many captions of a photo are averaged; above 1 with another encoder than the built-in one alone. The authors
    have 4."""
    load: int = 150
    """Pixels that a photo is scaled to, of which 128x128 are cut out at random."""
    flip: bool = True
    """Whether every other photo is mirrored."""
    store: Literal["float32", "float16"] = "float32"
    """Numbers that the model file holds convolutions as; computation is in float32 either way."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "captions")
        at_least(self, 2, "text_batch", "batch")
        at_least(self, SIZE, "load")
        at_least(self, 0, "text_steps", "text_lr", "lr", "halve")
        if not 0 <= self.mismatched <= 1:
            raise expected("--mismatched", self.mismatched, "from 0 to 1", "correct it")


@dataclass(frozen=True)
class Options:
    """All of a training of GAWWN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """`pinxit import gawwn` reads nothing: the authors' weights have no form but Lua Torch's."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows", "columns"),
    "network": (),
    "training": ("steps", "store"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "boxes, a few thousand weights: to try the machinery",
    "cpu": "boxes, a quarter of the paper's widths, built-in encoder: for a CPU; --where points for points",
    "paper_box": "boxes, the network and schedule released for CUB-200-2011, 600 epochs: wants a GPU",
    "paper_points": "points, as released for CUB-200-2011, 600 epochs: wants a GPU",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        data=Data(rows=2, columns=2),
        network=Network(z_dim=4, text_dim=8, condition_dim=4, g_width=4, d_width=4),
        training=Training(text_steps=10, text_batch=4, steps=20, batch=4, halve=10),
    ),
    "cpu": Options(
        network=Network(text_dim=128, condition_dim=64, g_width=32, d_width=32),
        training=Training(text_steps=600, steps=8000, batch=16, halve=0, store="float16"),
    ),
    # 8,855 birds of the training classes by 16 are 553 steps an epoch; the rate halves each 100 of them.
    "paper_box": Options(),
    "paper_points": Options(network=Network(where="points")),
}
