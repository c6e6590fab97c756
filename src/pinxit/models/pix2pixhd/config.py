"""Options and presets of pix2pixHD. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pinxit.data.kinds import Kind
from pinxit.data.modes import Mode
from pinxit.errors import at_least, expected


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    source: Literal["labels", "pictures"] = "labels"
    """What goes in: a label map, or a picture of another kind (the official label_nc 0), given as sides A and B."""
    labels: int = 0
    """Known labels, without 'unknown'; 0 takes the number from the label set."""
    unknown: bool = False
    """Whether 'unknown' pixels have a channel of their own (index `labels`)."""
    instances: bool = False
    """Whether the boundary of instances is an input channel."""
    input: Annotated[Kind | None, tyro.conf.Suppress] = None
    """The kind of the pictures that go in; None for label maps, or to take it from the data."""
    output: Annotated[Kind | None, tyro.conf.Suppress] = None
    """The kind of the pictures that come out; None takes it from the data."""
    size: tuple[int, int] = (512, 1024)
    """Height and width trained at, in pixels."""
    width: int = 64
    """Channels of the first feature map at full size; it doubles with each halving of the resolution, so the global
    generator's first has 2^enhancers times as many."""
    downsamplings: int = 4
    """Halvings in the global generator."""
    blocks: int = 9
    """Residual blocks of the global generator."""
    enhancers: int = 0
    """Local enhancers around the global generator, each of which doubles the resolution."""
    enhancer_blocks: int = 3
    """Residual blocks of each enhancer."""
    norm: Literal["instance", "batch"] = "instance"
    """Normalisation in all networks."""
    test_norm: Literal["picture", "running"] = "picture"
    """Statistics batch norm uses when painting: the picture's own (the authors' test script) or those gathered in
    training; instance norm always uses the picture's."""
    features: Literal["none", "instance", "label"] = "none"
    """Whether an encoder's features of the photo, averaged over each instance or each label's pixels, are input
    channels: then the style of each object can be chosen."""
    feature_channels: int = 3
    """Features of each object."""
    encoder_width: int = 16
    """Channels of the feature encoder's first layer."""
    encoder_downsamplings: int = 4
    """Halvings in the feature encoder."""
    clusters: int = 10
    """Styles of each label to choose from: clusters of the features of its objects."""

    def __post_init__(self) -> None:
        at_least(self, 0, "labels", "downsamplings", "blocks", "enhancers", "enhancer_blocks")
        at_least(self, 1, "width", "feature_channels", "encoder_width", "encoder_downsamplings", "clusters")
        if min(self.size) < 1:
            raise expected("--size", " ".join(map(str, self.size)), "height and width in pixels", "correct it")
        if self.source == "pictures" and self.features == "label":
            raise expected("--features", "label", "instance or none with --source pictures", "there are no labels")

    @property
    def multiple(self) -> int:
        """What height and width must be multiples of."""
        halvings = self.downsamplings + self.enhancers
        return 1 << (halvings if self.features == "none" else max(halvings, self.encoder_downsamplings))


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and what the discriminators are."""

    steps: int = 100_000
    """Iterations, each one generator and one discriminator update, with all of the network at full size."""
    decay_from: int = -1
    """Step from which the learning rates fall linearly to 0 at `steps`; -1: never."""
    coarse_steps: int = 0
    """Iterations before, for each enhancer, without it and at half the size; 0: all is trained together from the
    start."""
    coarse_decay_from: int = -1
    """As `decay_from`, for the coarse iterations."""
    frozen_steps: int = 0
    """Iterations that train a new enhancer alone, before `steps` with all; after coarse iterations only."""
    batch: int = 1
    """Pictures an iteration, over all ranks together."""
    lr: float = 2e-4
    """Learning rate of Adam."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Adam's betas."""
    adversarial: Literal["ls", "original", "hinge", "w"] = "ls"
    """Adversarial loss: least squares, or another."""
    feature_matching: float = 10.0
    """Weight of the discriminator feature matching loss; 0: off."""
    perceptual: float = 10.0
    """Weight of the VGG-19 perceptual loss; 0, or --no-perceptual: off."""
    d_width: int = 64
    """Channels of the discriminators' first layer."""
    d_layers: int = 3
    """Strided convolutions of each discriminator."""
    d_scales: int = 2
    """Discriminators, each at half the resolution of the one before; coarse iterations have one less for each enhancer
    that is missing, but never none."""
    pool: int = 0
    """Earlier fakes that the discriminators are shown among the new ones; 0: none."""
    checkpointing: bool = False
    """Whether activations are computed twice in place of being kept: two thirds of the memory, a fifth more time."""
    ema: float = 0.0
    """Decay of the moving average of G that is exported; 0, as the authors: G itself."""
    preprocess: Mode = "scale_width"
    """How a picture becomes `size`; coarse iterations halve all its sizes."""
    load_size: int = 1024
    """Side in pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other picture is mirrored, all its parts together."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "d_width", "d_layers", "d_scales", "load_size")
        at_least(self, 0, "coarse_steps", "frozen_steps", "pool", "feature_matching", "perceptual", "ema", "lr")
        if self.ema >= 1:
            raise expected("--ema", self.ema, "a decay below 1", "lower it; 0 is off")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise expected("--betas", " ".join(map(str, self.betas)), "two numbers from 0 to below 1", "correct it")
        if self.frozen_steps and not self.coarse_steps:
            raise expected("--frozen-steps", self.frozen_steps, "0 without --coarse-steps", "give both or none")


@dataclass(frozen=True)
class Data:
    """What is trained on: a data set in a known layout, any folders of maps and photos, or pictures of two sides."""

    data: Path | None = None
    """Folder of a data set as it was published (Cityscapes, COCO-Stuff, ADE20K, CamVid, Facades, or SPLIT_label,
    SPLIT_img and SPLIT_inst beside each other); with --source pictures, of side-by-side files or two sides."""
    maps: Path | None = None
    """Folder of label maps, for one's own data in place of --data; paired with --photos by name."""
    photos: Path | None = None
    """Folder of photos."""
    instance_maps: Path | None = None
    """Folder of instance maps."""
    a: Path | None = None
    """Folder of the pictures that go in, with --source pictures and in place of --data."""
    b: Path | None = None
    """Folder of the pictures that come out."""
    split: str = "train"
    """Which split of --data."""
    label_set: str | None = None
    """Label set: a name (cityscapes, camvid, ...), a .json file or a number of plain ids; by default the data set's."""
    range_a: tuple[float, float] | None = None
    """Values of side A that become -1 and 1; by default all that its integers hold, or those that its floats have."""
    range_b: tuple[float, float] | None = None
    """The same for side B."""
    check: bool = True
    """Whether to look through all files before training."""
    vgg: str | None = None
    """VGG-19 weights of the perceptual loss: a file (vgg19-dcbb9e9d.pth), or `download` to fetch it once."""
    no_perceptual: bool = False
    """Train without the perceptual loss, and so without VGG-19."""


@dataclass(frozen=True)
class Options:
    """All of a training of pix2pixHD."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import pix2pixhd` may be told beside the folder. The shapes of the weights tell the rest."""

    label_set: str | None = None
    """Label set: a name, a .json file, or a number of plain ids; by default Cityscapes' where its 35 labels fit."""
    pictures: bool = False
    """Whether the model was made for pictures in place of label maps (label_nc 0)."""
    features: Literal["instance", "label"] = "instance"
    """What the encoder's features were averaged over (instance_feat or label_feat); opt.txt goes before."""
    epoch: str = "latest"
    """Which of several checkpoints: the part of the file name before _net_G.pth."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {
    "data": ("check", "vgg"),
    "training": ("steps", "decay_from", "checkpointing"),
}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "64 px, a few thousand weights, all stages: to try the machinery",
    "cpu": "96x128, half an hour on a laptop",
    "label2city_512": "Cityscapes at 512x1024, as the paper's global generator",
    "label2city_1024": "Cityscapes at 1024x2048, as the paper, coarse to fine: 18 GB, 12 with --checkpointing",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(
            size=(64, 64),
            width=3,
            downsamplings=2,
            blocks=1,
            enhancers=1,
            enhancer_blocks=1,
            features="label",
            encoder_width=3,
            encoder_downsamplings=2,
            clusters=3,
        ),
        training=Training(
            steps=10,
            coarse_steps=6,
            frozen_steps=4,
            batch=2,
            d_width=4,
            perceptual=0,
            pool=3,
            preprocess="fixed",
            ema=0.9,
        ),
    ),
    "cpu": Options(
        network=Network(size=(96, 128), width=24, downsamplings=3, blocks=4),
        training=Training(steps=8000, decay_from=4000, d_width=24, perceptual=0, preprocess="fixed", ema=0.998),
    ),
    # The paper's, sec. 4 "Implementation details", and the official code's scripts: 200 epochs of 2,975 pictures at
    # half size; then 100 of the whole, the enhancer alone in the first 10. The second half of either decays.
    "label2city_512": Options(
        Data(label_set="cityscapes"),
        Network(labels=35, instances=True),
        Training(steps=595_000, decay_from=297_500),
    ),
    "label2city_1024": Options(
        Data(label_set="cityscapes"),
        Network(labels=35, instances=True, size=(1024, 2048), width=32, enhancers=1),
        Training(
            steps=267_750,
            decay_from=119_000,
            coarse_steps=595_000,
            coarse_decay_from=297_500,
            frozen_steps=29_750,
            d_scales=3,
            preprocess="fixed",
        ),
    ),
}
