"""Options and presets of SinGAN. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pinxit.errors import at_least, expected

Task = Literal["synthesis", "animation", "super_resolution"]

MIN_SIZES: dict[Task, int] = {"synthesis": 25, "animation": 20, "super_resolution": 18}
RECONSTRUCTION: dict[Task, float] = {"synthesis": 10.0, "animation": 10.0, "super_resolution": 100.0}
PALETTE, MOST_COLORS = 5, 64


@dataclass(frozen=True)
class Network:
    """The pyramid of scales and the networks' shapes; stored in the model file."""

    task: Task = "synthesis"
    """What the model is mainly for. `animation` has noise in the margin too and starts coarser; `super_resolution`
    has the pyramid that suits enlarging by `enlarge`, and weighs reconstruction ten times more. The authors train a
    model of its own for each; every model can do everything, somewhat less well."""
    min_size: int | None = None
    """Shorter side of the coarsest scale in pixels, about; by default 25, 20 for animation, 18 for super-resolution."""
    max_size: int = 250
    """Longer side of the finest scale; a larger photo is scaled down to it."""
    scale_factor: float = 0.75
    """Ratio of neighbouring scales, before it is adjusted so that the scales fit the photo."""
    enlarge: float = 4.0
    """With --task super_resolution: how many times the model is to enlarge, which fixes the ratio of scales."""
    width: int = 32
    """Channels at the first four scales; doubled every four scales."""
    min_width: int = 32
    """Fewest channels of a layer (each layer has half of those before it); doubled every four scales."""
    max_width: int = 128
    """Most channels."""
    layers: int = 5
    """Convolutions of each generator and each discriminator."""
    kernel: int = 3
    """Side of the convolutions."""

    def __post_init__(self) -> None:
        at_least(self, 1, "width", "min_width", "max_width")
        at_least(self, 2, "layers")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise expected("--kernel", self.kernel, "odd, 1 or more", "choose 3")
        if self.smallest <= self.receptive_field:
            raise expected("--min-size", self.smallest, f"{self.receptive_field + 1} or more", "correct it")
        at_least(self, self.smallest, "max_size")
        if not 0.1 <= self.scale_factor <= 0.95:
            raise expected("--scale-factor", self.scale_factor, "0.1..0.95", "choose one near 0.75")
        if not 1.1 <= self.enlarge <= 16:
            raise expected("--enlarge", self.enlarge, "1.1..16", "choose another")

    @property
    def smallest(self) -> int:
        return MIN_SIZES[self.task] if self.min_size is None else self.min_size

    @property
    def receptive_field(self) -> int:
        return 1 + (self.kernel - 1) * self.layers

    @property
    def margin(self) -> int:
        """Pixels that the unpadded convolutions eat at each side."""
        return (self.kernel - 1) * self.layers // 2

    def widths(self, scale: int) -> tuple[int, int]:
        """(width, least width) at a scale: doubled every four scales, up to `max_width`."""
        doubled = 2 ** (scale // 4)
        return min(self.width * doubled, self.max_width), min(self.min_width * doubled, self.max_width)


@dataclass(frozen=True)
class Training:
    """The objective and the schedule of each scale."""

    steps: int = 2000
    """Iterations a scale, each of `d_steps` discriminator and `g_steps` generator updates."""
    coarse_steps: int = 0
    """Most iterations at a coarse scale: one of fewer pixels than the windows gets as many more iterations as it
    is cheaper, up to this; 0: `steps` at every scale."""
    decay_from: int = 1600
    """Iteration of a scale of `steps` from which the learning rates are a tenth; of the same part of a longer one."""
    lr: float = 5e-4
    """Learning rate of Adam, for both networks."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's betas."""
    d_steps: int = 3
    """Discriminator updates an iteration."""
    g_steps: int = 3
    """Generator updates an iteration."""
    fake: Literal["kept", "recomputed"] = "kept"
    """What later generator updates of an iteration are computed from. kept: the fake of the first, whose gradients mix
    old activations with new weights, as the authors' code under the PyTorch of its time. recomputed: a fake by the
    current weights, as the maths would have it, and dearer."""
    penalty: float = 0.1
    """Weight of the gradient penalty (Gulrajani et al. 2017)."""
    penalty_every: int = 1
    """Discriminator updates from one gradient penalty to the next, which then counts so many times as much."""
    reconstruction: float | None = None
    """Weight of the squared reconstruction error; by default 10, for super-resolution 100."""
    noise: float = 0.1
    """Amplitude of the noise at each scale but the coarsest, in units of the root mean squared error that the coarser
    scales' reconstruction leaves there."""
    crop: int = 0
    """Side in pixels of the windows that are trained on at scales of more pixels than these have together; 0: the whole
    picture always. With windows, batch norm in the generator takes its statistics from whole pictures once the learning
    rate has decayed, and keeps them."""
    crops: int = 1
    """Windows an iteration."""
    batch: int = 1
    """Pictures an iteration at scales that are trained on whole, each with noise of its own."""
    pool: int = 0
    """Pictures that the frozen coarser scales paint once, to draw each iteration's input from; 0: painted anew for
    every discriminator update."""
    bf16: bool = False
    """Whether --precision auto computes convolutions in bfloat16 where the machine is quick at it."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "d_steps", "g_steps", "penalty_every", "crops", "batch")
        at_least(self, 0, "coarse_steps", "decay_from", "lr", "penalty", "noise", "crop", "pool")
        if self.reconstruction is not None:
            at_least(self, 0, "reconstruction")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")

    def in_windows(self, height: int, width: int) -> bool:
        """Whether a scale of this size is trained on in windows."""
        return 0 < self.crops * self.crop**2 < height * width

    def steps_at(self, height: int, width: int) -> int:
        """Iterations at a scale of this size."""
        cheaper = self.crops * self.crop**2 / (height * width)
        return max(self.steps, min(self.coarse_steps, int(self.steps * cheaper)))


@dataclass(frozen=True)
class Data:
    """What is learnt."""

    data: Path | None = None
    """The photo; or a folder of photos, of each of which a model is made, in a folder of its own under --out."""
    base: Path | None = None
    """A trained model of the photo, of which one scale is learnt anew, for paintings (sec. 4.2): its input is then
    reduced to a few colours, as paintings have. All else is kept. Without it a model is trained from nothing."""
    base_scale: int | None = None
    """With --base: the scale that is learnt anew, 1 or more; `pinxit paint` puts paintings in there."""
    palette: int | None = None
    """With --base: how many colours, 2..64; by default 5."""

    def __post_init__(self) -> None:
        for name in ("base_scale", "palette"):
            value = getattr(self, name)
            if value is not None and self.base is None:
                raise expected(f"--{name.replace('_', '-')}", f"{value} without --base", "a model", "add --base MODEL")
        if self.palette is not None and not 2 <= self.palette <= MOST_COLORS:
            raise expected("--palette", self.palette, f"2..{MOST_COLORS} colours", "choose another")


@dataclass(frozen=True)
class Options:
    """All of a training of SinGAN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import` may be told beside the authors' folder."""

    photo: Path | None = None
    """The photo it was trained on, which edits are pasted into; by default the 8-bit copy in the folder."""
    min_size: int | None = None
    """The --min_size it was trained with, where the sizes in the folder do not tell."""


ONE_EACH = True
"""Each picture in a folder given as --data is a training of its own."""

MAY_CHANGE: dict[str, tuple[str, ...]] = {}
"""Options that a resumed run may be given anew: none, as each scale builds on what the one before has become."""

SUMMARIES: dict[str, str] = {
    "tiny": "32 px, five steps a scale: to try the machinery",
    "draft": "two minutes on a laptop: whether the photo is worth it",
    "fast": "a quarter of an hour on a laptop",
    "paper": "the authors', to the last step: half a day on a laptop",
}

# What makes `fast` fast; docs/performance.md has what each of them gains and costs.
CHEAPER: dict[str, Any] = {
    "d_steps": 1,
    "g_steps": 1,
    "penalty_every": 4,
    "crop": 48,
    "crops": 4,
    "pool": 32,
    "bf16": True,
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(max_size=40, min_size=16, width=4, min_width=4), training=Training(steps=5, decay_from=4)
    ),
    "draft": Options(
        network=Network(max_width=64), training=Training(steps=120, coarse_steps=480, decay_from=84, **CHEAPER)
    ),
    "fast": Options(
        network=Network(max_width=64), training=Training(steps=600, coarse_steps=2400, decay_from=420, **CHEAPER)
    ),
    "paper": Options(),
}
