"""The objective of DeepLabV3 and one training iteration (Chen et al. 2017, sec. 4.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.augment import Preprocess
from pinxit.data.check import check
from pinxit.data.folders import Item, find, label_set_for, pair, splits
from pinxit.data.images import read_map
from pinxit.data.labels import LabelSet
from pinxit.data.stream import LabelPhotos, LabelPhotoStream, label_pictures
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import Data, Network, Options, Training
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.models.deeplabv3.weights import load_backbone
from pinxit.nn.ema import EMA
from pinxit.recipe import Recipe, Stage, rank, set_rate, state_on_cpu, step_generator, update, world_size

MOST_WEIGHT = 10.0
"""How much more than others a rare label may count, at most."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> DeepLabV3Recipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    require_one_source(options.data)
    labels = label_set_for(options.data.data, options.data.label_set)
    network = resolve(options.network, labels)
    t = options.training
    items = items_of(options.data, options.data.split)
    preprocess = Preprocess(t.preprocess, t.load_size, network.size, t.flip)
    if options.data.check and rank() == 0:
        check(items, labels, use_instances=False, preprocess=preprocess, batch=t.batch).raise_if_bad()
    stream = LabelPhotoStream(items, labels, preprocess, t.batch, seed, rank(), world_size(), workers)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    recipe = DeepLabV3Recipe(
        network,
        t,
        labels,
        stream,
        seed=seed,
        weights=label_weights(items, labels, t.balance) if t.balance else None,
        examples=examples_of(options.data, items, labels, preprocess),
        card={"data": labels.name, "source": "trained with pinxit train deeplabv3", "steps": str(t.steps)},
    )
    if options.data.backbone_weights is not None:
        load_backbone(recipe.S.backbone, options.data.backbone_weights)
        if recipe.ema is not None:
            recipe.ema.average.load_state_dict(recipe.S.state_dict())
    return recipe


def require_one_source(data: Data) -> None:
    """Raises `PinxitError` where it is not said what to train on, or said twice."""
    if data.data is None and (data.maps is None or data.photos is None):
        raise expected("--data", "missing", "a data set's folder, or --maps and --photos", "say what to train on")
    if data.data is not None and (data.maps or data.photos):
        raise expected("--data", "given with --maps or --photos", "one of the two", "leave one out")


def items_of(data: Data, split: str) -> list[Item]:
    if data.data is not None:
        return find(data.data, split, outdoor=data.outdoor)
    assert data.maps is not None
    return pair(data.maps, data.photos)


def resolve(network: Network, labels: LabelSet) -> Network:
    """The network with its number of labels filled in. Raises `PinxitError` where it was made for other labels."""
    if network.labels in (0, len(labels.labels)):
        return dataclasses.replace(network, labels=len(labels.labels))
    got = f"{len(labels.labels)} labels"
    raise expected(f"label set {labels.name!r}", got, f"{network.labels}", "mend --label-set or --labels")


def examples_of(data: Data, items: list[Item], labels: LabelSet, preprocess: Preprocess, rows: int = 4) -> LabelPhotos:
    """Items for the preview, spread over the validation split where there is one with photos, else over `items`.

    One alone where `preprocess` leaves pictures of several sizes, which no sheet has rows for.
    """
    if not preprocess.crops and preprocess.mode != "fixed":
        rows = 1
    held_out = []
    if data.data is not None and data.split == "train" and "val" in splits(data.data):
        held_out = find(data.data, "val", photos_required=False)
    shown = [item for item in held_out if item.photo is not None] or items
    return label_pictures(shown[:: max(1, len(shown) // rows)][:rows], labels, preprocess)


def label_weights(items: Sequence[Item], labels: LabelSet, power: float) -> Tensor:
    """What a pixel of each label counts, float32 [labels]: (median share / its share) ** `power`, at most
    `MOST_WEIGHT`; labels without a pixel 1.

    With `power` 1 that is median frequency balancing (Eigen & Fergus 2015, sec. 6.3.2), with shares of all pixels.
    """
    pixels = np.zeros(len(labels.labels) + 1, np.int64)
    for item in items:
        pixels += np.bincount(read_map(item.label, labels).ravel(), minlength=len(pixels))
    counts = pixels[:-1].astype(np.float64)
    if not counts.any():
        return torch.ones(len(counts))
    ratio = np.median(counts[counts > 0]) / np.maximum(counts, 1)
    weights = np.where(counts > 0, np.minimum(ratio**power, MOST_WEIGHT), 1.0)
    return torch.from_numpy(weights.astype(np.float32))


class DeepLabV3Recipe(Recipe):
    """DeepLabV3 in training.

    `weights`: what a pixel of each label counts, [labels]; None: all alike.
    `examples`: some validation items for the preview.
    """

    bf16 = True

    def __init__(
        self,
        network: Network,
        training: Training,
        label_set: LabelSet,
        stream: LabelPhotoStream | None = None,
        *,
        seed: int = 0,
        weights: Tensor | None = None,
        examples: LabelPhotos | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.label_set, self.stream = network, training, label_set, stream
        self.seed, self.examples, self.card = seed, examples, card or {}
        self.S = DeepLabV3(network, auxiliary=training.auxiliary > 0)
        initialize(self.S)
        self.ema = EMA(self.S, training.ema) if training.ema else None
        self.register_buffer("label_weights", torch.ones(network.labels) if weights is None else weights, False)
        matrices = [p for p in self.S.parameters() if p.ndim > 1]
        vectors = [p for p in self.S.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": training.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        self.optimizers = {"S": torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum)}

    label_weights: Tensor

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("deeplabv3", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: LabelPhotos, step: int) -> dict[str, Tensor]:
        """One step of SGD on the cross entropy at the photo's own resolution (Chen et al. 2017, sec. 4.1)."""
        t = self.training_options
        set_rate(self.optimizers["S"], t.lr * poly(step, t.steps, t.power) * min(1.0, (step + 1) / (t.warm_up + 1)))
        photo, labels = self.varied(batch, step)
        scores, second = self.S(photo)
        losses = {"segmentation": self.loss(scores, labels)}
        if second is not None:
            losses["auxiliary"] = t.auxiliary * self.loss(second, labels)
        update(self.optimizers["S"], torch.stack(list(losses.values())).sum())
        if self.ema is not None:
            self.ema.update(self.S, step)
        return {name: loss.detach() for name, loss in losses.items()}

    def loss(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The mean cross entropy over all pixels that have a label, on all ranks, each counted as `label_weights` says.

        scores [N, labels, h, w], enlarged to the size of labels [N, H, W]; where none has a label the loss is 0.
        """
        scores = F.interpolate(scores.float(), size=labels.shape[1:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(
            scores, labels, self.label_weights, ignore_index=self.label_set.unknown, reduction="sum"
        )
        counted = F.pad(self.label_weights, (0, 1))[labels].sum()
        if world_size() > 1:
            # Ranks differ in how many pixels are labelled; the mean over ranks, which follows, is to be that over all.
            dist.all_reduce(counted)
            counted = counted / world_size()
        return total / counted.clamp(min=torch.finfo(torch.float32).tiny)

    @torch.no_grad()
    def varied(self, batch: LabelPhotos, step: int) -> tuple[Tensor, Tensor]:
        """Photos and maps at random scales, cut out at random places, the photos with other light and colours; which
        ones is a function of the seed and the step alone."""
        t = self.training_options
        rows = len(batch.photo)
        draws = torch.rand(rows * world_size(), 6, generator=step_generator(self.seed, step, 0))
        photos, maps = [], []
        for i, row in enumerate(draws[rank() * rows : (rank() + 1) * rows].tolist()):
            photo, labels = batch.photo[i : i + 1], batch.labels[i : i + 1]
            if t.jitter:
                photo = recoloured(photo, *(1 + t.jitter * (2 * u - 1) for u in row[3:]))
            low, high = t.scale
            photo, labels = zoomed(
                photo, labels, low * (high / low) ** row[0], row[1], row[2], unknown=self.label_set.unknown
            )
            photos.append(photo)
            maps.append(labels)
        return torch.cat(photos).contiguous(memory_format=torch.channels_last), torch.cat(maps)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: photo, its map in colour, the map that the network sees."""
        if self.examples is None:
            return None
        network = (self.ema.average if self.ema is not None else self.S).eval()
        photo, labels = self.examples.photo, self.examples.labels
        scores, _ = network(photo.to(self.label_weights.device))
        scores = F.interpolate(scores.float(), size=labels.shape[1:], mode="bilinear", align_corners=False)
        self.S.train()
        columns = [photo]
        for ids in (labels, scores.argmax(dim=1).cpu()):
            colors = torch.from_numpy(self.label_set.colorize(ids.numpy()))
            columns.append(colors.permute(0, 3, 1, 2) / 127.5 - 1)
        return torch.stack(columns, dim=1)

    def model_file(self) -> ModelFile:
        network = self.ema.average if self.ema is not None else self.S
        state = {k: v for k, v in network.state_dict().items() if not k.startswith("aux_classifier.")}
        tensors = {f"S.{k}": v for k, v in state_on_cpu(state).items()}
        return ModelFile("deeplabv3", dataclasses.asdict(self.network), tensors, self.label_set.to_json(), self.card)


def poly(step: int, steps: int, power: float) -> float:
    """(1 - step / steps) ** power, the 'poly' policy (Chen et al. 2017, sec. 4.1); 0 from `steps` on."""
    return max(0.0, 1 - step / steps) ** power


def initialize(network: nn.Module) -> None:
    """Draw the weights of convolutions for ReLUs, from a normal distribution by their outputs (He et al. 2015, eq. 14),
    and set biases to 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def zoomed(
    photo: Tensor, labels: Tensor, scale: float, down: float, right: float, *, unknown: int
) -> tuple[Tensor, Tensor]:
    """A photo [1, 3, H, W] and its map [1, H, W] `scale` times as large, and of that a window [H, W].

    `down`, `right`: where it lies, 0..1 from the one edge to the other. Where the scaled picture is smaller than the
    window, grey and `unknown` lie around it.
    """
    height, width = labels.shape[1:]
    rows, columns = max(1, round(height / scale)), max(1, round(width / scale))  # what the window shows
    if (rows, columns) == (height, width):
        return photo, labels
    top, left = round(down * (height - rows)), round(right * (width - columns))
    window = (-left, left + columns - width, -top, top + rows - height)  # negative margins cut off
    photo = F.interpolate(
        F.pad(photo, window), size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )
    ids = F.interpolate(
        F.pad(labels[:, None].float(), window, value=unknown), size=(height, width), mode="nearest-exact"
    )
    return photo, ids[:, 0].long()


def recoloured(photo: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """A photo [1, 3, H, W] in [-1, 1] with its light, its contrast and its colours multiplied, clipped to [-1, 1]."""
    photo = (photo + 1) * brightness - 1
    mean = photo.mean()
    photo = mean + (photo - mean) * contrast
    red, green, blue = photo.unbind(dim=1)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    return (grey + (photo - grey) * saturation).clamp(-1, 1)
