"""A classifier of one's own for Inception Score, fine-tuned from the network of FID:

    python tools/fine_tune_inception.py CUB_200_2011/images birds.pth --steps 3000
    pinxit evaluate runs/birds --data birds --split test --pictures 30000 --metrics is --inception birds.pth

StackGAN's paper (sec. 4.1) measures birds and flowers so, as the published network does not tell their kinds apart:
score and classifier belong together, and numbers of two classifiers do not compare.

PHOTOS is a folder with a folder for each class. The last blocks and a new layer on top learn; batch norm stays as it
was. Every tenth photo of a class is held out, and the share of these that is told right is printed. The file has the
form of FID's weights, with another number of classes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from PIL import Image
from torch import Tensor, nn

from pinxit.data.folders import natural
from pinxit.data.images import SUFFIXES, read_photo
from pinxit.errors import PinxitError, expected
from pinxit.evaluation.features import prepared
from pinxit.evaluation.inception import Inception, load_inception
from pinxit.modelfile import replacing
from pinxit.training.distributed import pick_device

HELD_OUT = 10
"""One photo of so many is held out."""

Photos = list[tuple[Path, int]]
"""Files, and the number of their class."""


@dataclass(frozen=True)
class FineTune:
    """Fine-tune the Inception network on photos in a folder for each class."""

    photos: tyro.conf.Positional[Path]
    """Folder with a folder for each class."""
    out: tyro.conf.Positional[Path]
    """File for the weights, .pth."""
    inception: str = "download"
    """pt_inception-2015-12-05-6726825d.pth to begin with, or download."""
    steps: int = 2000
    """Iterations."""
    batch: int = 32
    """Photos an iteration."""
    lr: float = 3e-4
    """Learning rate of Adam for the new layer, falling to 0 as a cosine; the blocks below have a tenth."""
    blocks: tuple[str, ...] = ("Mixed_7a", "Mixed_7b", "Mixed_7c")
    """Which of the network's blocks learn beside the new layer."""
    seed: int = 0
    """Of the new layer, of order and crops."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def find_classes(folder: Path) -> tuple[list[str], Photos, Photos]:
    """Names of classes, photos to learn from, photos held out. Raises `PinxitError` for fewer than two classes."""
    homes = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."] if folder.is_dir() else []
    classes: list[str] = []
    learnt: Photos = []
    held: Photos = []
    for home in sorted(homes, key=lambda path: natural(path.name)):
        files = sorted((path for path in home.iterdir() if path.suffix.lower() in SUFFIXES), key=lambda p: p.name)
        if len(files) < 2:
            raise expected(f"class '{home}'", f"of {len(files)} photos", "2 or more", "add some, or move it away")
        for i, file in enumerate(files):
            (held if i % HELD_OUT == HELD_OUT - 1 or i == len(files) - 1 else learnt).append((file, len(classes)))
        classes.append(home.name)
    if len(classes) < 2:
        raise expected(
            f"folder '{folder}'", f"of {len(classes)} classes", "a folder for each of 2 or more", "sort them"
        )
    return classes, learnt, held


def batches(photos: Photos, batch: int, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Photos [N, 3, 299, 299] and their classes [N]: squares of 70 % to all of the side, every second one mirrored."""
    random = np.random.default_rng(seed)
    order: list[int] = []
    for _ in range(steps):
        while len(order) < batch:
            order += random.permutation(len(photos)).tolist()
        some, order = [photos[i] for i in order[:batch]], order[batch:]
        yield torch.stack([varied(read_photo(file), random) for file, _ in some]), torch.tensor([c for _, c in some])


def varied(photo: Image.Image, random: np.random.Generator) -> Tensor:
    side = int(min(photo.size) * random.uniform(0.7, 1))
    left, top = (int(random.integers(length - side + 1)) for length in photo.size)
    picture = np.asarray(photo.crop((left, top, left + side, top + side)))
    return as_input(picture[:, ::-1] if random.integers(2) else picture)


def as_input(picture: np.ndarray) -> Tensor:
    return prepared(torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))), "pytorch-fid")


@torch.no_grad()
def accuracy(network: Inception, photos: Photos, device: torch.device) -> float:
    """The share that is told right, of whole photos."""
    right = 0
    for start in range(0, len(photos), 32):
        some = photos[start : start + 32]
        x = torch.stack([as_input(np.asarray(read_photo(file))) for file, _ in some]).to(device)
        right += int((logits(network, x).argmax(1).cpu() == torch.tensor([c for _, c in some])).sum())
    return right / len(photos)


def logits(network: Inception, x: Tensor) -> Tensor:
    return network.fc(network(x))


def widened(published: Inception, classes: int) -> Inception:
    """The network with a new layer on top."""
    network = Inception(classes)
    state = {name: value for name, value in published.state_dict().items() if not name.startswith("fc.")}
    network.load_state_dict(state, strict=False)
    nn.init.normal_(network.fc.weight, std=0.01)
    nn.init.zeros_(network.fc.bias)
    return network


def learning(network: Inception, blocks: Sequence[str], lr: float) -> torch.optim.Adam:
    """The optimizer of what is to learn. Raises `PinxitError` for a block that there is not."""
    parts = dict(network.named_children())
    for block in blocks:
        if block not in parts:
            raise expected("--blocks", block, f"some of {', '.join(parts)}", "correct it")
    below = [p for block in blocks for p in parts[block].parameters()]
    for parameter in (*below, *network.fc.parameters()):
        parameter.requires_grad_(True)
    return torch.optim.Adam([{"params": list(network.fc.parameters()), "lr": lr}, {"params": below, "lr": lr / 10}])


def main(o: FineTune) -> float:
    """Train, write the file, and return the share of held-out photos that is told right."""
    classes, learnt, held = find_classes(o.photos)
    if len(classes) in (1000, 1008):
        raise expected("number of classes", len(classes), "another than ImageNet's", "take the published network")
    device = pick_device(o.device)
    torch.manual_seed(o.seed)
    network = widened(load_inception(None if o.inception == "download" else Path(o.inception)), len(classes)).to(device)
    optimizer = learning(network, o.blocks, o.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, o.steps)
    for step, (x, y) in enumerate(batches(learnt, o.batch, o.seed, o.steps), 1):
        loss = F.cross_entropy(logits(network, x.to(device)), y.to(device), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == o.steps:
            print(f"step {step}/{o.steps}  loss {loss.item():.3f}")
    right = accuracy(network, held, device)
    with replacing(o.out) as temporary:
        torch.save({name: value.cpu() for name, value in network.state_dict().items()}, temporary)
    print(f"{len(classes)} classes; {right:.1%} of {len(held)} held-out photos are told right: {o.out.resolve()}")
    return right


if __name__ == "__main__":
    try:
        main(tyro.cli(FineTune))
    except PinxitError as error:
        sys.exit(f"fine_tune_inception: {error}")
