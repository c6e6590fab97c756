"""Options and presets of SPADE. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.data.modes import Mode
from pinxit.errors import at_least, expected

Upsamplings = Literal["normal", "more", "most"]
UPSAMPLINGS: dict[Upsamplings, int] = {"normal": 5, "more": 6, "most": 7}


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    labels: int = 0
    """Known labels, without 'unknown'; 0 takes the number from the label set."""
    unknown: bool = False
    """Whether 'unknown' pixels have a channel of their own (index `labels`)."""
    instances: bool = False
    """Whether the boundary of instances is an input channel (the last)."""
    size: tuple[int, int] = (256, 256)
    """Height and width trained at, in pixels."""
    upsamplings: Upsamplings = "normal"
    """5, 6 or 7 doublings from the first feature map to the picture."""
    width: int = 64
    """Channels of the last full-width block; the first has 16 times as many."""
    norm: Literal["sync_batch", "batch", "instance"] = "sync_batch"
    """The parameter-free normalisation inside SPADE: batch norm over all ranks, over this rank, or instance norm."""
    kernel: Literal[1, 3, 5] = 3
    """Kernel of SPADE's convolutions."""
    hidden: int = 128
    """Channels between the label map and gamma, beta."""
    spectral: bool = True
    """Whether the residual blocks' convolutions have spectral norm."""
    vae: bool = False
    """Whether a style vector z, learnt by an encoder, drives the picture; else the label map alone does."""
    z_dim: int = 256
    """Dimensions of z."""
    encoder_norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation inside the style encoder."""
    norm_at_test: Literal["running", "batch"] = "running"
    """Statistics batch norm uses when painting: those gathered in training (the authors' test script) or the
    picture's own."""

    def __post_init__(self) -> None:
        at_least(self, 0, "labels")
        at_least(self, 1, "width", "hidden", "z_dim")
        if min(self.size) < 1:
            raise expected("--size", " ".join(map(str, self.size)), "height and width in pixels", "correct it")


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what the discriminator is."""

    steps: int = 100_000
    """Iterations, each one generator and one discriminator update."""
    decay_from: int = -1
    """Step from which the learning rates fall linearly to 0 at `steps`; -1: never."""
    batch: int = 32
    """Pictures an iteration, over all ranks together."""
    lr: float = 2e-4
    """Learning rate of Adam; with `ttur` half of it for G and twice for D (Heusel et al. 2017)."""
    ttur: bool = True
    """Whether G and D have rates of their own: the two time-scale update rule."""
    betas: tuple[float, float] | None = None
    """Adam's betas; by default (0, 0.9) with `ttur`, (0.5, 0.999) without."""
    adversarial: Literal["hinge", "ls", "original", "w"] = "hinge"
    """Adversarial loss."""
    feature_matching: float = 10.0
    """Weight of the discriminator feature matching loss; 0: off."""
    perceptual: float = 10.0
    """Weight of the VGG-19 perceptual loss; 0, or --no-perceptual: off."""
    kl: float = 0.05
    """Weight of the KL divergence of the encoder's z; used with `vae`."""
    d_width: int = 64
    """Channels of the discriminators' first layer."""
    d_layers: int = 4
    """Convolutions of each discriminator before its logits."""
    d_scales: int = 2
    """Discriminators, each at half the resolution of the one before."""
    d_norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation inside the discriminators."""
    d_spectral: bool = True
    """Whether the discriminators' inner convolutions have spectral norm."""
    init: Literal["normal", "xavier", "xavier_uniform", "kaiming", "orthogonal", "none"] = "xavier"
    """Initial weights."""
    init_gain: float = 0.02
    """Gain (or standard deviation) of the initial weights."""
    ema: float = 0.0
    """Decay of the moving average of G that is exported; 0, as the authors: G itself."""
    preprocess: Mode = "resize_and_crop"
    """How a picture becomes `size`."""
    load_size: int = 286
    """Side in pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other picture is mirrored, map and photo together."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "d_width", "d_layers", "d_scales", "load_size")
        at_least(self, 0, "feature_matching", "perceptual", "kl", "ema", "init_gain", "lr")
        if self.ema >= 1:
            raise expected("--ema", self.ema, "a decay below 1", "lower it; 0 is off")
        if self.betas is not None and not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on: a data set in a known layout, or any folders of maps and photos."""

    data: Path | None = None
    """Folder of a data set as it was published (COCO-Stuff, ADE20K, Cityscapes, CamVid, Facades, or SPLIT_label and
    SPLIT_img beside each other)."""
    maps: Path | None = None
    """Folder of label maps, for one's own data in place of --data; paired with --photos by name."""
    photos: Path | None = None
    """Folder of photos."""
    instance_maps: Path | None = None
    """Folder of instance maps."""
    split: str = "train"
    """Which split of --data."""
    label_set: str | None = None
    """Label set: a name (camvid, coco_stuff, ...), a .json file or a number of plain ids; by default the data set's."""
    outdoor: bool = False
    """Only ADE20K's outdoor scenes."""
    check: bool = True
    """Whether to look through all files before training."""
    vgg: str | None = None
    """VGG-19 weights of the perceptual loss: a file (vgg19-dcbb9e9d.pth), or `download` to fetch it once."""
    no_perceptual: bool = False
    """Train without the perceptual loss, and so without VGG-19."""


@dataclass(frozen=True)
class Options:
    """All of a training of SPADE."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import spade` may be told beside the folder."""

    preset: str | None = None
    """Which release it is: coco, ade20k or cityscapes. Without it the options are read from the opt.txt beside them."""
    label_set: str | None = None
    """Label set: a name, a .json file, or a number of plain ids; by default the release's own."""
    epoch: str = "latest"
    """Which of several checkpoints: the part of the file name before _net_G.pth."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {"data": ("check", "vgg"), "training": ("steps", "decay_from")}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "64 px, a few thousand weights: to try the machinery",
    "cpu": "192x256 with styles, an hour or two on a laptop: the embedded model's",
    "coco": "COCO-Stuff at 256 px, as the paper",
    "ade20k": "ADE20K at 256 px, as the paper",
    "cityscapes": "Cityscapes at 256x512, as the paper",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(size=(64, 64), width=4, hidden=8, vae=True, z_dim=8),
        training=Training(steps=20, batch=2, d_width=4, d_layers=3, perceptual=0, preprocess="fixed", ema=0.9),
    ),
    "cpu": Options(
        network=Network(size=(192, 256), width=12, hidden=32, vae=True, z_dim=64),
        training=Training(
            steps=3300,
            decay_from=2400,
            batch=4,
            lr=3e-4,
            perceptual=0,
            d_width=32,
            preprocess="fixed",
            ema=0.998,
        ),
    ),
    # The paper's three: sec. 4 "Implementation details", and the official code's defaults for each data set. Steps are
    # epochs times pictures over the batch: 100 x 118,287 / 32; 200 x 20,210 / 32; 200 x 2,975 / 16.
    "coco": Options(
        Data(label_set="coco_stuff"),
        Network(labels=182, unknown=True, instances=True),
        Training(steps=369_647),
    ),
    "ade20k": Options(
        Data(label_set="ade20k"),
        Network(labels=150, unknown=True),
        Training(steps=126_312, decay_from=63_156),
    ),
    "cityscapes": Options(
        Data(label_set="cityscapes"),
        Network(labels=35, instances=True, size=(256, 512), upsamplings="more"),
        Training(steps=37_187, decay_from=18_593, batch=16, preprocess="fixed"),
    ),
}
