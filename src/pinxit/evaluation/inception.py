"""The Inception network that FID, KID, Inception Score and SIFID are measured by.

It is TensorFlow's `inception-2015-12-05` (Szegedy et al. 2016, "Rethinking the Inception Architecture"), an Inception
v3 of before the paper's last corrections. It differs from the one of the paper and of torchvision, and every published
score depends on it: average pooling does not count the padding, the last block pools by the maximum, batch norm has an
epsilon of 0.001, and there are 1008 classes. Names are those of the PyTorch port of its weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.download import fetch
from pinxit.errors import expected
from pinxit.nn.norm import BatchNorm2d
from pinxit.official import fill, read_state

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The published weights (Apache-2.0, 96 MB). torch-fidelity's `weights-inception-2015-12-05-6726825d.pth` is the same
file. The whole hash is as several public projects list it; file names carry its beginning."""

SIDE = 299
"""Height and width of the pictures that the network was trained on, and that protocols bring pictures to."""

Layer = Literal["before pool 1", "64", "before pool 2", "192", "768", "2048", "logits"]
"""Where the network may be left. Numbers are channels, as FID's codes call their features: behind the first and the
second max pooling, before the auxiliary classifier (Mixed_6e), and behind the last, global average pooling."""

CHANNELS: dict[Layer, int] = {
    "before pool 1": 64, "64": 64, "before pool 2": 192, "192": 192, "768": 768, "2048": 2048, "logits": 1008
}  # fmt: skip


class Convolution(NamedTuple):
    """What a step of a branch is: without stride its output has the size of its input, with stride it is not padded."""

    name: str
    channels: int
    kernel: tuple[int, int]
    stride: int = 1


Pool = Literal["average", "maximum", "halve"]
Fork = tuple[Convolution, Convolution]
"""Two convolutions of one input, side by side."""
Branch = tuple[Convolution | Fork | Pool, ...]


class NormedConvolution(nn.Module):
    """Convolution, batch norm by the running statistics, ReLU."""

    def __init__(
        self, inputs: int, channels: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | str = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, padding, bias=False)
        self.bn = BatchNorm2d(channels, affine=True, sync=False, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Branches of convolutions over one input, side by side in the channels (Szegedy et al. 2016, fig. 5 to 7)."""

    def __init__(self, inputs: int, *branches: Branch) -> None:
        super().__init__()
        self.branches = branches
        self.channels = 0
        for branch in branches:
            channels = inputs
            for step in branch:
                if isinstance(step, str):
                    continue
                forked = (step,) if isinstance(step, Convolution) else step
                for c in forked:
                    padding = "same" if c.stride == 1 else 0
                    self.add_module(c.name, NormedConvolution(channels, c.channels, c.kernel, c.stride, padding))
                channels = sum(c.channels for c in forked)
            self.channels += channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._along(branch, x) for branch in self.branches], 1)

    def _along(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            match step:
                case "average":
                    x = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
                case "maximum":
                    x = F.max_pool2d(x, 3, stride=1, padding=1)
                case "halve":
                    x = F.max_pool2d(x, 3, stride=2)
                case Convolution():
                    x = self.get_submodule(step.name)(x)
                case (one, other):
                    x = torch.cat([self.get_submodule(one.name)(x), self.get_submodule(other.name)(x)], 1)
        return x


class Inception(nn.Module):
    """The network, always in eval mode and without gradients into its weights.

    `digest`: SHA-256 of the file that its weights are from; None: of none.
    """

    def __init__(self, classes: int = CHANNELS["logits"]) -> None:
        """`classes`: another number than the published 1008 for a classifier of one's own on top (birds, flowers)."""
        super().__init__()
        self.digest: str | None = None
        self.Conv2d_1a_3x3 = NormedConvolution(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = NormedConvolution(32, 32, 3)
        self.Conv2d_2b_3x3 = NormedConvolution(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = NormedConvolution(64, 80, 1)
        self.Conv2d_4a_3x3 = NormedConvolution(80, 192, 3)
        self.Mixed_5b = _mixed_5(192, 32)
        self.Mixed_5c = _mixed_5(self.Mixed_5b.channels, 64)
        self.Mixed_5d = _mixed_5(self.Mixed_5c.channels, 64)
        self.Mixed_6a = _mixed_6a(self.Mixed_5d.channels)
        self.Mixed_6b = _mixed_6(self.Mixed_6a.channels, 128)
        self.Mixed_6c = _mixed_6(self.Mixed_6b.channels, 160)
        self.Mixed_6d = _mixed_6(self.Mixed_6c.channels, 160)
        self.Mixed_6e = _mixed_6(self.Mixed_6d.channels, 192)
        self.Mixed_7a = _mixed_7a(self.Mixed_6e.channels)
        self.Mixed_7b = _mixed_7(self.Mixed_7a.channels, "average")
        self.Mixed_7c = _mixed_7(self.Mixed_7b.channels, "maximum")
        self.fc = nn.Linear(self.Mixed_7c.channels, classes)
        self.requires_grad_(False).eval()

    @property
    def published_classes(self) -> bool:
        """Whether it tells the 1008 classes of the published network, and not some of one's own."""
        return self.fc.out_features == CHANNELS["logits"]

    def channels(self, layer: Layer) -> int:
        """How many numbers a pixel, or behind the last layers a picture, has there."""
        return self.fc.out_features if layer == "logits" else CHANNELS[layer]

    def forward(self, x: Tensor, stop: Layer = "2048") -> Tensor:
        """x [N, 3, H, W] in [-1, 1] -> maps [N, C, h, w] up to layer "768", [N, C] of "2048" and "logits".

        Any size goes in that leaves a pixel at the layer (75x75 for the last ones, 7x7 for the first); bringing
        pictures to 299x299 is for the protocol (`features`).
        """
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        if stop == "before pool 1":
            return x
        x = F.max_pool2d(x, 3, stride=2)
        if stop == "64":
            return x
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        if stop == "before pool 2":
            return x
        x = F.max_pool2d(x, 3, stride=2)
        if stop == "192":
            return x
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        if stop == "768":
            return x
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return self.logits(x) if stop == "logits" else x

    def logits(self, features: Tensor) -> Tensor:
        """Features "2048" [N, 2048] -> the logits of all classes, [N, 1008], without their bias.

        TensorFlow's Inception Score reads the product of the matrix before the bias is added, and so does every code
        that agrees with it. A classifier of other classes, which no such code reads, has its bias.
        """
        logits = features @ self.fc.weight.T
        return logits if self.published_classes else logits + self.fc.bias


def load_inception(path: Path | None = None) -> Inception:
    """The network with the weights of a `pt_inception-2015-12-05-6726825d.pth`; None: the published one, from the cache
    or downloaded.

    A file of the same names with another number of classes is read too: one that was fine-tuned
    (`tools/fine_tune_inception.py`).

    Raises:
        PinxitError: the file is missing, damaged or of another network; or there is none and no network connection.
    """
    if path is None:
        path = fetch(URL, SHA256, f"download it elsewhere and give --inception FILE ({URL.rsplit('/', 1)[-1]})")
    thing = f"Inception weights '{path}'"
    if not path.is_file():
        remedy = "mend --inception, or leave it out to have them downloaded"
        raise expected(thing, "not there", URL.rsplit("/", 1)[-1], remedy)
    state = read_state(path)
    last = state.get("fc.weight")
    classes = 0 if last is None or last.ndim != 2 else len(last)
    # A thousand are torchvision's ImageNet: its network has the same names and computes something else.
    network = Inception(CHANNELS["logits"] if classes in (0, 1, 1000) else classes)
    advice = "torchvision's inception_v3 is another network; download FID's again"
    fill(
        network,
        state,
        {name: name for name in network.state_dict()},
        thing,
        "the Inception network of FID",
        advice=advice,
        old_norms=False,
    )
    with path.open("rb") as f:
        network.digest = hashlib.file_digest(f, "sha256").hexdigest()
    return network


def _mixed_5(inputs: int, pooled: int) -> Mixed:
    """At 35x35."""
    return Mixed(
        inputs,
        (Convolution("branch1x1", 64, (1, 1)),),
        (Convolution("branch5x5_1", 48, (1, 1)), Convolution("branch5x5_2", 64, (5, 5))),
        (
            Convolution("branch3x3dbl_1", 64, (1, 1)),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3)),
        ),
        ("average", Convolution("branch_pool", pooled, (1, 1))),
    )


def _mixed_6a(inputs: int) -> Mixed:
    """35x35 to 17x17."""
    return Mixed(
        inputs,
        (Convolution("branch3x3", 384, (3, 3), stride=2),),
        (
            Convolution("branch3x3dbl_1", 64, (1, 1)),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3), stride=2),
        ),
        ("halve",),
    )


def _mixed_6(inputs: int, inner: int) -> Mixed:
    """At 17x17."""
    return Mixed(
        inputs,
        (Convolution("branch1x1", 192, (1, 1)),),
        (
            Convolution("branch7x7_1", inner, (1, 1)),
            Convolution("branch7x7_2", inner, (1, 7)),
            Convolution("branch7x7_3", 192, (7, 1)),
        ),
        (
            Convolution("branch7x7dbl_1", inner, (1, 1)),
            Convolution("branch7x7dbl_2", inner, (7, 1)),
            Convolution("branch7x7dbl_3", inner, (1, 7)),
            Convolution("branch7x7dbl_4", inner, (7, 1)),
            Convolution("branch7x7dbl_5", 192, (1, 7)),
        ),
        ("average", Convolution("branch_pool", 192, (1, 1))),
    )


def _mixed_7a(inputs: int) -> Mixed:
    """17x17 to 8x8."""
    return Mixed(
        inputs,
        (Convolution("branch3x3_1", 192, (1, 1)), Convolution("branch3x3_2", 320, (3, 3), stride=2)),
        (
            Convolution("branch7x7x3_1", 192, (1, 1)),
            Convolution("branch7x7x3_2", 192, (1, 7)),
            Convolution("branch7x7x3_3", 192, (7, 1)),
            Convolution("branch7x7x3_4", 192, (3, 3), stride=2),
        ),
        ("halve",),
    )


def _mixed_7(inputs: int, pool: Pool) -> Mixed:
    """At 8x8."""
    return Mixed(
        inputs,
        (Convolution("branch1x1", 320, (1, 1)),),
        (
            Convolution("branch3x3_1", 384, (1, 1)),
            (Convolution("branch3x3_2a", 384, (1, 3)), Convolution("branch3x3_2b", 384, (3, 1))),
        ),
        (
            Convolution("branch3x3dbl_1", 448, (1, 1)),
            Convolution("branch3x3dbl_2", 384, (3, 3)),
            (Convolution("branch3x3dbl_3a", 384, (1, 3)), Convolution("branch3x3dbl_3b", 384, (3, 1))),
        ),
        (pool, Convolution("branch_pool", 192, (1, 1))),
    )
