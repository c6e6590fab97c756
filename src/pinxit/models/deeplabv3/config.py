"""Options and presets of DeepLabV3. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinxit.data.modes import Mode
from pinxit.errors import at_least, expected

Depth = Literal[18, 34, 50, 101]


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    labels: int = 0
    """Known labels, without 'unknown', which is never predicted; 0 takes the number from the label set."""
    size: tuple[int, int] = (513, 513)
    """Height and width trained at, in pixels. Photos are scaled to as many pixels before they are segmented."""
    depth: Depth = 50
    """Layers of the ResNet; 18 and 34 are of basic blocks, 50 and 101 of bottlenecks."""
    width: int = 64
    """Channels of the backbone's first stage, 64 in published weights; the others have 2, 4 and 8 times as many."""
    output_stride: Literal[4, 8, 16, 32] = 16
    """How much smaller than the photo the last features are; beyond it kernels widen instead."""
    rates: tuple[int, ...] = (6, 12, 18)
    """Dilations of the pyramid's 3x3 kernels; the paper doubles them at output stride 8."""
    pyramid: int = 256
    """Channels of each part of the pyramid."""
    detail: int = 0
    """Channels of the first stage's features that join the pyramid's, as in DeepLabV3+; 0: none, as in DeepLabV3."""

    def __post_init__(self) -> None:
        at_least(self, 0, "labels", "detail")
        at_least(self, 1, "width", "pyramid")
        if min(self.size) < 1:
            raise expected("--size", " ".join(map(str, self.size)), "height and width in pixels", "correct it")
        if not self.rates or min(self.rates) < 1:
            raise expected("--rates", " ".join(map(str, self.rates)) or "empty", "dilations of 1 or more", "correct it")


@dataclass(frozen=True)
class Training:
    """The objective, the schedule and how photos are varied."""

    steps: int = 30_000
    """Iterations."""
    batch: int = 16
    """Pictures an iteration, over all ranks together; 2 or more, as the pyramid's batch norm sees one value each."""
    lr: float = 0.007
    """First learning rate of SGD; it falls as (1 - step / steps) ** power."""
    power: float = 0.9
    """Power of that fall (the paper's 'poly' policy)."""
    warm_up: int = 0
    """Steps over which the learning rate first rises from 0."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 1e-4
    """Weight decay, of every convolution's weights; norms and biases have none."""
    auxiliary: float = 0.0
    """Weight of a second loss, on the third stage's features; 0: off."""
    balance: float = 0.0
    """How much more rare labels count: by (median share / share) ** balance, at most 10 times; 0: all alike, as the
    paper; 1: median frequency balancing."""
    ema: float = 0.0
    """Decay of the moving average of the weights that is exported; 0, as the paper: the weights themselves."""
    preprocess: Mode = "scale_shortside_and_crop"
    """How a picture becomes `size`."""
    load_size: int = 513
    """Side in pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other picture is mirrored, map and photo together."""
    scale: tuple[float, float] = (0.5, 2.0)
    """Bounds of the random scale that a picture then gets; one of its `size` is cut out, with 'unknown' around where
    it is smaller."""
    jitter: float = 0.0
    """How much brightness, contrast and saturation vary, each by a factor within 1 ± this; 0: off, as the paper."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "load_size")
        at_least(self, 2, "batch")
        at_least(self, 0, "lr", "power", "warm_up", "momentum", "weight_decay", "auxiliary", "balance", "ema", "jitter")
        for name, value in (("ema", self.ema), ("momentum", self.momentum), ("jitter", self.jitter)):
            if value >= 1:
                raise expected(f"--{name}", value, "below 1", "lower it; 0 is off")
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            got = " ".join(map(str, self.scale))
            raise expected("--scale", got, "two numbers from 0.1 to 10, the smaller first", "correct it; 1 1 is off")


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
    split: str = "train"
    """Which split of --data."""
    label_set: str | None = None
    """Label set: a name (camvid, coco_stuff, ...), a .json file or a number of plain ids; by default the data set's."""
    outdoor: bool = False
    """Only ADE20K's outdoor scenes."""
    check: bool = True
    """Whether to look through all files before training."""
    backbone_weights: Path | None = None
    """Weights of a ResNet trained on ImageNet, in torchvision's published form (resnet50-0676ba61.pth), to begin
    with; by default the weights are drawn."""


@dataclass(frozen=True)
class Options:
    """All of a training of DeepLabV3."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import deeplabv3` may be told beside the file."""

    label_set: str | None = None
    """Label set of its scores: a name, a .json file, or a number of plain ids; by default plain ids."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {"data": ("check", "backbone_weights"), "training": ("steps",)}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what. A run is extended
by more `steps`."""

SUMMARIES: dict[str, str] = {
    "tiny": "64 px, a few thousand weights: to try the machinery",
    "cpu": "240x320 from scratch, about an hour on one core: a ResNet-18 of half width",
    "coco": "COCO-Stuff at 513 px with a ResNet-101, which --backbone-weights begins with weights of ImageNet",
    "ade20k": "ADE20K at 513 px with a ResNet-50, likewise",
    "cityscapes": "Cityscapes at 512x1024 with a ResNet-101 at output stride 8, likewise",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(size=(64, 64), depth=18, width=4, rates=(1, 2), pyramid=8, detail=4),
        training=Training(steps=20, batch=2, lr=0.05, preprocess="fixed", auxiliary=0.4, ema=0.9, jitter=0.2),
    ),
    "cpu": Options(
        network=Network(size=(240, 320), depth=18, width=32, output_stride=16, rates=(2, 4, 6), pyramid=128, detail=32),
        training=Training(
            steps=4800,
            batch=8,
            lr=0.05,
            warm_up=200,
            weight_decay=5e-4,
            balance=0.5,
            ema=0.995,
            preprocess="fixed",
            jitter=0.3,
        ),
    ),
    "coco": Options(Data(label_set="coco_stuff"), Network(depth=101), Training(steps=120_000)),
    "ade20k": Options(Data(label_set="ade20k"), Network(), Training(steps=60_000)),
    "cityscapes": Options(
        Data(label_set="cityscapes"),
        Network(size=(512, 1024), depth=101, output_stride=8, rates=(12, 24, 36)),
        Training(steps=90_000, preprocess="fixed"),
    ),
}
