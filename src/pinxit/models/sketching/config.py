"""Options and presets of GAN Sketching. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.errors import at_least, expected

Policy = Literal["color", "translation", "cutout"]
Change = Literal["contour", "down", "up"]


@dataclass(frozen=True)
class Data:
    """What is customised, and by what."""

    base: Path | None = None
    """Model folder or file of StyleGAN2 that is customised; it is left as it is."""
    sketches: tuple[Path, ...] = ()
    """Files and folders of sketches: pictures (scans and photos of paper too) or SVGs."""
    photosketch: Path | None = None
    """Model folder or file of PhotoSketch, which draws the contours of generated pictures."""
    data: Path | None = None
    """Folder of the pictures that the base was trained on, which its pictures are to stay like. Without it, pictures
    sampled from the base stand in for them."""
    pad: bool = True
    """Whether a sketch of another aspect is set on white paper; else it is refused."""
    check: bool = True
    """Whether to look through all pictures in --data before training."""
    rows: int = 6
    """Pictures on a sample sheet, each before and after."""


@dataclass(frozen=True)
class Training:
    """The objective, the schedule, what of the generator is trained, and which iterate is kept."""

    steps: int = 75_000
    """Iterations, each one update of the discriminators and one of the generator."""
    batch: int = 4
    """Pictures an iteration, over all processes together; a multiple of 4 for each."""
    lr: float = 2e-3
    """Learning rate of Adam."""
    d_lr: float | None = None
    """Learning rate of the discriminators, ahead of the correction for their lazy penalty; by default the same."""
    train: Literal["mapping", "shift", "styles", "all"] = "mapping"
    """What of the generator is trained: the mapping from z to w, a shift of all w alone, the mapping and the layers
    that make styles of w, or everything."""
    image: float = 0.7
    """Weight of the discriminator of pictures, which keeps them like the original's; 0: none."""
    weight: float = 0.0
    """Weight of the mean absolute change of what is trained."""
    adversarial: Literal["original", "hinge", "ls", "w"] = "original"
    """Adversarial loss: logistic (softplus), hinge, least squares or Wasserstein."""
    r1: float = 10.0
    """Weight gamma of the R1 penalty: what the discriminators pay for slopes at sketches and real pictures."""
    r1_every: int = 16
    """Steps between updates by the R1 penalty; 0: none."""
    mixing: float = 0.9
    """How often the coarse layers have another w than the fine ones."""
    augment: tuple[Policy, ...] = ()
    """What sketches and contours go through alike before they are judged (DiffAugment): for hand drawings translation
    and color, for sketches that PhotoSketch itself has made nothing."""
    sketch_discriminator: Literal["original", "fresh"] = "original"
    """Whether the discriminator of sketches begins as the original's of pictures, or with random weights."""
    drawn: tuple[Change, ...] = ("contour",)
    """What becomes of a generated picture before it is judged beside the sketches, in order: contour is PhotoSketch's
    drawing, down and up halve and double."""
    given: tuple[Change, ...] = ()
    """What becomes of a sketch before it is judged: down and up."""
    ema: float = 0.5 ** (32 / 10_000)
    """How much of the averaged generator, which is scored and kept, stays each step; 0: the iterate itself."""
    keep: Literal["best", "last"] = "best"
    """Which iterate the model is: that of the best score, or the last."""
    score_every: int = 500
    """Steps between scores."""
    score_of: int = 64
    """Pictures that a score is taken over, always of the same z."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "score_every")
        at_least(self, 2, "score_of")
        at_least(self, 0, "lr", *(["d_lr"] if self.d_lr is not None else []), "image", "weight", "r1", "r1_every")
        for name in ("mixing", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise expected(f"--{name}", getattr(self, name), "from 0 to 1", "correct it")
        for name, contours in (("drawn", 1), ("given", 0)):
            changes = getattr(self, name)
            if changes.count("contour") != contours or changes.count("down") != changes.count("up"):
                want = f"{'contour once' if contours else 'no contour'}, and as many up as down"
                raise expected(f"--{name}", " ".join(changes) or "nothing", want, "correct it")


@dataclass(frozen=True)
class Options:
    """All of a training of GAN Sketching. The network is the base's."""

    data: Data = field(default_factory=Data)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import sketching` may be told beside the file."""

    iteration: str = "best"
    """Which iterate in a folder of checkpoints: the number ahead of _net_G.pth; best: that in best_iter.txt, or the
    last where there is none."""
    mapping_rate: float = 0.01
    """The --lr_mlp it was trained with, which no shape tells."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "rows"),
    "training": ("steps", "keep"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "a few steps: to try the machinery",
    "cpu": "for models of 64 px or so: a few minutes on a laptop",
    "paper": "the paper's schedule, for models of 256 px: wants a GPU",
}

HAND: tuple[Policy, ...] = ("color", "translation")

PRESETS: dict[str, Options] = {
    "tiny": Options(
        data=Data(rows=2), training=Training(steps=20, r1_every=2, augment=HAND, score_every=2, score_of=4)
    ),
    # The mapping learns at a hundredth of the rate: in so few steps 0.002, the paper's, would hardly move it.
    "cpu": Options(training=Training(steps=600, lr=0.2, d_lr=2e-3, r1=1.0, augment=HAND, ema=0.95, score_every=50)),
    "paper": Options(training=Training(augment=HAND)),
}
