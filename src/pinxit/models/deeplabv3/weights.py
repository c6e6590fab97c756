"""Published weights: ResNets trained on ImageNet, and whole DeepLabV3s, in the form that torchvision publishes.

Names of tensors are facts read from those files (github pytorch/vision, BSD 3-Clause); ours are the same.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from pinxit.data.labels import load_label_set, numbered
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import Depth, Network
from pinxit.models.deeplabv3.network import BLOCKS, DeepLabV3
from pinxit.official import State, fill, read_state
from pinxit.recipe import state_on_cpu


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Fill a `ResNet` with one trained on ImageNet (`resnet50-0676ba61.pth` and its like); every name and shape must
    agree but for the classifier `fc`, which has no place here.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    state = {name: value for name, value in read_state(path).items() if not name.startswith("fc.")}
    want = "a ResNet of this --depth and --width"
    advice = "name weights of the same ResNet, or mend --depth"
    fill(backbone, state, {n: n for n in backbone.state_dict()}, f"weights '{path}'", want, advice=advice)


def import_release(source: Path | Sequence[Path], *, label_set: str | None = None) -> ModelFile:
    """Read a whole DeepLabV3 as torchvision publishes it (`deeplabv3_resnet50_coco-cd0a2569.pth` and its like).

    ResNet-50 or 101 is told by the number of its blocks; an `aux_classifier`, which only training needs, is left out.
    `label_set`: name or file of the set that the scores are of; by default plain numbers.

    Raises `PinxitError`.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    if len(paths) != 1 or not paths[0].is_file():
        got = "not there" if len(paths) == 1 and not paths[0].exists() else "a folder" if len(paths) == 1 else "several"
        raise expected(f"'{paths[0]}'" if paths else "FILE", got, "one .pth of a DeepLabV3", "name the file itself")
    path = paths[0]
    state = {name: v for name, v in read_state(path).items() if not name.startswith("aux_classifier.")}
    network = network_of(state, path)
    S = DeepLabV3(network)
    fill(S, state, {n: n for n in S.state_dict()}, f"weights '{path}'", "a DeepLabV3 with ResNet-50 or 101")
    labels = load_label_set(label_set) if label_set else numbered(network.labels)
    if len(labels.labels) != network.labels:
        got = f"{len(labels.labels)} labels"
        want = f"{network.labels} as the weights"
        raise expected(f"label set {labels.name!r}", got, want, "name the set they were for")
    card = {
        "source": f"weights in torchvision's form, imported from {path.name}",
        "licence": "torchvision's own: BSD 3-Clause, trained on COCO; others: as whoever trained them says",
    }
    tensors = {f"S.{k}": v for k, v in state_on_cpu(S.state_dict()).items()}
    return ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels.to_json(), card)


def network_of(state: State, path: Path) -> Network:
    """The options of the network in a state dict. Raises `PinxitError` where it is none that torchvision has."""
    found = [re.match(r"backbone\.layer3\.(\d{1,3})\.", name) for name in state]
    blocks = 1 + max((int(match[1]) for match in found if match), default=-1)
    depth: Depth | None = 50 if blocks == BLOCKS[50][2] else 101 if blocks == BLOCKS[101][2] else None
    shapes = {name: tuple(value.shape) for name, value in state.items() if value.ndim == 4 and 0 not in value.shape}
    want = "a DeepLabV3 with ResNet-50 or 101, in torchvision's form"
    for name in ("backbone.conv1.weight", "classifier.1.weight", "classifier.4.weight"):
        if name not in shapes:
            raise expected(f"weights '{path}'", f"without {name}", want, "check that this is the right file")
    if depth is None:
        got = f"with {blocks} blocks in backbone.layer3"
        raise expected(f"weights '{path}'", got, want, "check that this is the right file")
    return Network(
        labels=shapes["classifier.4.weight"][0],
        size=(520, 520),  # the side that torchvision's own evaluation scales photos to
        depth=depth,
        width=shapes["backbone.conv1.weight"][0],
        output_stride=8,
        rates=(12, 24, 36),
        pyramid=shapes["classifier.1.weight"][0],
    )
