"""The objective of pix2pixHD and one training iteration (Wang et al. 2018, sec. 3), from coarse to fine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from pinxit.data.augment import Preprocess
from pinxit.data.check import check
from pinxit.data.download import fetch
from pinxit.data.folders import Item, find, label_set_for, pair, splits
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet
from pinxit.data.pairs import Pair, PairStream, check_pairs, find_pairs, kinds_of, pair_pictures
from pinxit.data.stream import LabelPhotos, LabelPhotoStream, label_pictures
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Data, Network, Options, Training
from pinxit.models.pix2pixhd.features import Bank, draw, find_objects, instance_means, spread
from pinxit.models.pix2pixhd.forecast import forecast
from pinxit.models.pix2pixhd.network import (
    Discriminator,
    Encoder,
    Generator,
    PatchDiscriminator,
    embed,
    picture_channels,
)
from pinxit.nn import vgg
from pinxit.nn.ema import EMA
from pinxit.nn.image_pool import ImagePool
from pinxit.nn.losses import fake_loss, feature_matching, generator_loss, real_loss
from pinxit.nn.norm import BatchNorm2d
from pinxit.recipe import (
    Adam,
    Forecast,
    Recipe,
    Stage,
    frozen,
    linear_decay,
    rank,
    set_rate,
    state_on_cpu,
    update,
    world_size,
)

Batch = LabelPhotos | Pair
Opened = tuple[LabelPhotoStream | PairStream, Batch | None]
"""The stream of a level, and some examples for its previews."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> Pix2PixHDRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    if t.checkpointing and options.network.norm == "batch":
        want = "none with batch norm, whose statistics would count each batch twice"
        raise expected("--checkpointing", "given", want, "leave it out, or take --norm instance")
    if t.preprocess == "fixed" or "crop" in t.preprocess:  # else the pictures tell, one by one
        require_scales(t.d_scales, *options.network.size)
    perceptual = perceptual_of(options)  # before the check of the data, which may take minutes
    pictures = options.network.source == "pictures"
    network, label_set, open = (open_pictures if pictures else open_labels)(options, seed, workers)
    if perceptual is not None and picture_channels(network) != 3:
        got = f"for pictures of {picture_channels(network)} channels"
        raise expected("--perceptual", got, "for those of 3", "add --no-perceptual")
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    name = label_set.name if label_set is not None else (data.data or data.a or Path()).name
    card = {"data": name, "source": "trained with pinxit train pix2pixhd", "steps": str(t.steps)}
    return Pix2PixHDRecipe(network, t, label_set, open, seed=seed, perceptual=perceptual, card=card)


def open_labels(options: Options, seed: int, workers: int) -> tuple[Network, LabelSet, Callable[[int], Opened]]:
    """The network for these label maps, their label set, and what opens the stream of a level."""
    data, t = options.data, options.training
    if data.a is not None or data.b is not None:
        raise expected("--a or --b", "given", "--maps and --photos", "add --source pictures, or leave them out")
    if data.data is None and (data.maps is None or data.photos is None):
        raise expected("--data", "missing", "a data set's folder, or --maps and --photos", "say what to train on")
    if data.data is not None and (data.maps or data.photos or data.instance_maps):
        raise expected("--data", "given with --maps or --photos", "one of the two", "leave one out")
    labels = label_set_for(data.data, data.label_set)
    network = resolve(options.network, labels)
    if not network.unknown:
        # A model without a channel for 'unknown' cannot be shown such pixels; the check names the files that have any.
        labels = dataclasses.replace(labels, ignore=())
    items = items_of(data)
    with_ids = network.instances or network.features == "instance"
    if data.check and rank() == 0:
        whole = preprocess_of(network, t, network.enhancers)
        check(items, labels, with_ids, preprocess=whole, batch=t.batch).raise_if_bad()
    shown = examples_of(data, items, with_ids)

    def open(level: int) -> Opened:
        preprocess = preprocess_of(network, t, level)
        stream = LabelPhotoStream(items, labels, preprocess, t.batch, seed, rank(), world_size(), workers, with_ids)
        rows = 4 if preprocess.crops or preprocess.mode == "fixed" else 1
        return stream, label_pictures(shown[:rows], labels, preprocess, with_ids)

    return network, labels, open


def open_pictures(options: Options, seed: int, workers: int) -> tuple[Network, None, Callable[[int], Opened]]:
    """As `open_labels`, for pictures of two sides."""
    data, t = options.data, options.training
    if data.maps or data.photos or data.instance_maps or data.label_set:
        raise expected("label maps", "given with --source pictures", "sides A and B", "leave out one of the two")
    if options.network.instances or options.network.features != "none":
        what = "--instances" if options.network.instances else "--features"
        raise expected(what, "given with --source pictures", "none, as its sides have no instance maps", "leave it out")
    sides = find_pairs(data.data, data.a, data.b, data.split)
    kinds = kinds_of(sides, data.range_a, data.range_b)
    network = dataclasses.replace(options.network, input=kinds[0], output=kinds[1])
    require_size(network)
    whole = preprocess_of(network, t, network.enhancers)
    if data.check and rank() == 0:
        check_pairs(sides, kinds, preprocess=whole, batch=t.batch).raise_if_bad()
    total = len(sides.a)

    def open(level: int) -> Opened:
        preprocess = preprocess_of(network, t, level)
        stream = PairStream(sides, preprocess, kinds, t.batch, seed, rank(), world_size(), workers)
        rows = min(total, 4 if preprocess.crops or preprocess.mode == "fixed" else 1)
        return stream, pair_pictures(sides, range(0, total, total // rows)[:rows], preprocess, kinds)

    return network, None, open


def preprocess_of(network: Network, t: Training, level: int) -> Preprocess:
    """How pictures are prepared for a level; half the size for each enhancer that is missing.

    Raises `PinxitError` for a mode that scales nothing, where there are coarse levels.
    """
    missing = network.enhancers - level
    if network.enhancers and t.coarse_steps and t.preprocess in ("none", "crop"):
        want = "fixed, or a mode that scales, as coarse iterations see smaller pictures"
        raise expected("--preprocess", t.preprocess, want, "choose one, or --coarse-steps 0")
    height, width = (side >> missing for side in network.size)
    return Preprocess(t.preprocess, t.load_size >> missing, (height, width), t.flip, network.multiple)


def resolve(network: Network, labels: LabelSet) -> Network:
    """The network with its number of labels filled in.

    Raises `PinxitError` where it was made for other labels, or for a size that its halvings do not divide.
    """
    require_size(network)
    network = dataclasses.replace(network, output=network.output or Kind())
    if network.labels == 0:
        return dataclasses.replace(network, labels=len(labels.labels), unknown=bool(labels.ignore))
    if network.labels != len(labels.labels):
        got = f"{len(labels.labels)} labels"
        raise expected(f"label set {labels.name!r}", got, f"{network.labels}", "mend --label-set or --labels")
    return network


def require_size(network: Network) -> None:
    if any(side % network.multiple or side < 2 * network.multiple for side in network.size):
        got, want = " ".join(map(str, network.size)), f"multiples of {network.multiple}, twice it or more"
        raise expected("--size", got, want, "round it, or take fewer --downsamplings")


def require_scales(scales: int, height: int, width: int) -> None:
    """Raises `PinxitError` where the coarsest of so many discriminators would see one pixel, which no norm takes."""
    side = min(height, width)
    if side <= 1 << (scales - 1):
        want = f"{(side - 1).bit_length()} or fewer for pictures of {height}x{width} (height x width)"
        raise expected("--d-scales", scales, want, "lower it, or train at a larger --size")


def items_of(data: Data) -> list[Item]:
    if data.data is not None:
        return find(data.data, data.split)
    assert data.maps is not None
    return pair(data.maps, data.photos, data.instance_maps)


def perceptual_of(options: Options) -> vgg.PerceptualDistance | None:
    if options.training.perceptual == 0 or options.data.no_perceptual:
        return None
    if options.data.vgg is None:
        raise expected("--vgg", "missing", "VGG-19 weights", "give a file or `download`, or add --no-perceptual")
    if options.data.vgg == "download":
        return vgg.load_perceptual(fetch(vgg.URL, vgg.SHA256, "give --vgg FILE, or --no-perceptual"))
    return vgg.load_perceptual(Path(options.data.vgg))


def examples_of(data: Data, items: list[Item], with_ids: bool, rows: int = 4) -> list[Item]:
    """Items for the preview, spread over the validation split where there is one with photos, else over `items`."""
    held_out = []
    if data.data is not None and data.split == "train" and "val" in splits(data.data):
        held_out = find(data.data, "val", photos_required=False)
    shown = [i for i in held_out if i.photo is not None and (i.instance is not None or not with_ids)] or items
    return shown[:: max(1, len(shown) // rows)][:rows]


class Pix2PixHDRecipe(Recipe):
    """pix2pixHD in training: without enhancers first where there are coarse iterations, else all of it.

    `open`: a level, the number of enhancers in training -> its stream and examples.
    `perceptual`: the VGG-19 distance, a callable (fake, real) -> scalar, or None for none.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        label_set: LabelSet | None = None,
        open: Callable[[int], Opened] | None = None,
        *,
        seed: int = 0,
        perceptual: nn.Module | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.label_set, self.open = network, training, label_set, open
        self.seed, self.card, self.examples = seed, card or {}, None
        level = 0 if training.coarse_steps else network.enhancers
        self.G = Generator(network, level, training.checkpointing)
        self.D = Discriminator(network, training, self.scales_at(level))
        self.E = Encoder(network) if network.features != "none" else None
        for part in (self.G, self.D, self.E):
            if part is not None:
                initialize(part)
        labels = max(1, network.labels + network.unknown)
        self.bank = Bank(labels, network.feature_channels) if self.E is not None else None
        self.pool = ImagePool(training.pool) if training.pool else None
        # In a list, since it is no part of what training changes and must not be saved with it.
        self._perceptual = [perceptual] if perceptual is not None and training.perceptual else []
        self.begin()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Pix2PixHDRecipe:
        # What moves the networks moves the perceptual distance with them.
        for distance in self._perceptual:
            distance._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def scales_at(self, level: int) -> int:
        return max(1, self.training_options.d_scales - (self.network.enhancers - level))

    def begin(self) -> None:
        """What each level begins anew: the optimizers, the average, and the pool, whose pictures have another size."""
        t = self.training_options
        self.inner: list[nn.Module] = []
        self.schedule = (t.decay_from, t.steps)
        self.ema = EMA(self.G, t.ema) if t.ema else None
        if self.pool is not None:
            self.pool = ImagePool(t.pool)
        self.optimizers = {"G": self.adam(self.G, self.E), "D": self.adam(self.D)}

    def adam(self, *parts: nn.Module | None) -> Adam:
        t = self.training_options
        weights = [p for part in parts if part is not None for p in part.parameters()]
        return Adam(weights, lr=t.lr, betas=t.betas)

    def stages(self) -> Iterator[Stage]:
        """Level by level: a new enhancer alone, then with all within it (sec. 3.1 and 4)."""
        assert self.open is not None
        t, first, last = self.training_options, self.G.level, self.network.enhancers
        for level in range(first, last + 1):
            if level > first:
                self.grow()
            stream, self.examples = self.open(level)
            if level > first and t.frozen_steps:
                self.inner = [self.G.model, *self.G.enhancers[:-1]]
                self.schedule = (-1, t.frozen_steps)
                self.optimizers["G"] = self.adam(self.G.enhancers[-1], self.G.head, self.E)
                yield Stage(f"enhancer{level}_alone", t.frozen_steps, stream.batches, self.step)
                self.inner = []
                self.optimizers["G"] = self.adam(self.G, self.E)
            steps, decay_from = (t.steps, t.decay_from) if level == last else (t.coarse_steps, t.coarse_decay_from)
            self.schedule = (decay_from, steps)
            yield Stage(f"enhancer{level}" if level else "global", steps, stream.batches, self.step)

    def grow(self) -> None:
        """The next enhancer and, at the full resolution it brings, the next discriminator."""
        device = next(self.G.parameters()).device
        self.G.grow()
        initialize(self.G.enhancers[-1])
        initialize(self.G.head)
        if len(self.D.scales) < self.scales_at(self.G.level):
            self.D.scales.append(PatchDiscriminator(self.network, self.training_options))
            initialize(self.D.scales[-1])
        self.to(device)
        self.begin()

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """All losses from the same weights; then G (and E) is updated, then D, as the official code."""
        t = self.training_options
        source, photo, instances = batch if isinstance(batch, LabelPhotos) else (*batch, None)
        self.require_divisible(*photo.shape[2:])
        for optimizer in self.optimizers.values():
            set_rate(optimizer, t.lr * linear_decay(step, *self.schedule))
        semantics = embed(source, instances, self.network)
        with frozen(*self.inner):
            fake = self.paint(semantics, source, photo, instances, gather=True)
        shown = torch.cat([semantics, fake.detach()], dim=1)
        if self.pool is not None:
            shown = self.pool.query(shown, torch.Generator().manual_seed(self.seed * 1_000_003 + step))
        real = torch.cat([semantics, photo], dim=1)
        # D does not change until its own update, so its graphs may wait till then where memory is what counts.
        with torch.set_grad_enabled(not t.checkpointing):
            on_shown, on_real = [] if t.checkpointing else self.D(shown), self.D(real)

        losses: dict[str, Tensor] = {}
        with frozen(self.D):
            on_fake = self.D(torch.cat([semantics, fake], dim=1))
            losses["GAN"] = over_scales(generator_loss, on_fake, t)
            if t.feature_matching:
                weight = t.feature_matching * 4 / (t.d_layers + 1)
                losses["feature_matching"] = weight * feature_matching(on_fake, on_real)
            for distance in self._perceptual:
                losses["perceptual"] = t.perceptual * distance(fake, photo)
            update(self.optimizers["G"], torch.stack(list(losses.values())).sum())
        if self.ema is not None:
            self.ema.update(self.G, step)

        if t.checkpointing:
            on_shown, on_real = self.D(shown), self.D(real)
        losses["D_fake"] = over_scales(fake_loss, on_shown, t)
        losses["D_real"] = over_scales(real_loss, on_real, t)
        update(self.optimizers["D"], 0.5 * (losses["D_fake"] + losses["D_real"]))
        return {name: loss.detach() for name, loss in losses.items()}

    def require_divisible(self, height: int, width: int) -> None:
        """Raises `PinxitError` for a size that the halvings do not divide, as preprocess modes without a crop give, or
        that is too small for D."""
        multiple = self.network.multiple >> (self.network.enhancers - self.G.level)
        if height % multiple or width % multiple:
            got, want = f"{height}x{width} (height x width)", f"multiples of {multiple}"
            raise expected("picture size after --preprocess", got, want, "choose fixed, or a mode that crops")
        require_scales(len(self.D.scales), height, width)

    def paint(
        self, semantics: Tensor, source: Tensor, photo: Tensor, instances: Tensor | None, *, gather: bool = False
    ) -> Tensor:
        """The fake, in the styles of the photo's own objects where there are features; `gather` keeps these."""
        if self.E is None:
            return self.G(semantics)
        objects = find_objects(source, instances, self.network)
        means = instance_means(self.E(photo), objects.place)
        if gather and self.bank is not None:
            self.bank.add(objects, means)
        return self.G(torch.cat([semantics, spread(means, objects.place)], dim=1))

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: what goes in, the photo, the painting, and where there are features one in other styles."""
        if self.examples is None:
            return None
        G = (self.ema.average if self.ema is not None else self.G).eval()
        device = next(G.parameters()).device
        source, photo, instances = (
            None if part is None else part.to(device)
            for part in (self.examples if isinstance(self.examples, LabelPhotos) else (*self.examples, None))
        )
        assert source is not None
        assert photo is not None
        if self.label_set is None:
            first = rgb(source)
        else:
            colors = torch.stack([torch.from_numpy(self.label_set.colorize(m)) for m in source.cpu().numpy()])
            first = colors.permute(0, 3, 1, 2).to(device) / 127.5 - 1
        semantics = embed(source, instances, self.network)
        columns = [first, rgb(photo)]
        if self.E is None or self.bank is None:
            columns.append(rgb(G(semantics)))
        else:
            objects = find_objects(source, instances, self.network)
            own = instance_means(self.E.eval()(photo), objects.place)
            drawn = draw(objects, *self.bank.clusters(self.network.clusters), seed=self.seed)
            for means in (own, drawn.to(device)):
                columns.append(rgb(G(torch.cat([semantics, spread(means, objects.place)], dim=1))))
            self.E.train()
        self.G.train()
        return torch.stack(columns, dim=1).clamp(-1, 1)

    def model_file(self) -> ModelFile:
        """The levels so far: a run that is not at its end paints smaller pictures."""
        painter = self.ema.average if self.ema is not None else self.G
        tensors = {f"G.{k}": v for k, v in state_on_cpu(painter.state_dict()).items()}
        if self.E is not None and self.bank is not None:
            tensors |= {f"E.{k}": v for k, v in state_on_cpu(self.E.state_dict()).items()}
            tensors["styles.clusters"], tensors["styles.counts"] = self.bank.clusters(self.network.clusters)
        c, missing = self.network, self.network.enhancers - self.G.level
        height, width = (side >> missing for side in c.size)
        so_far = dataclasses.replace(c, enhancers=self.G.level, width=c.width << missing, size=(height, width))
        labels = None if self.label_set is None else self.label_set.to_json()
        return ModelFile("pix2pixhd", dataclasses.asdict(so_far), tensors, labels, self.card)

    def forecast(self) -> Forecast:
        self.foretold = forecast(self.network, self.training_options, self.G)
        return self.foretold


def initialize(network: nn.Module) -> None:
    """The official code's initial weights: normal ones of deviation 0.02, biases as PyTorch draws them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, BatchNorm2d) and module.weight is not None:
            nn.init.normal_(module.weight, 1.0, 0.02)


def over_scales(loss: Callable[..., Tensor], outputs: list[list[Tensor]], t: Training) -> Tensor:
    """The sum over discriminators of a loss on their logits, as the official code; not the mean."""
    return torch.stack([loss(scale[-1], t.adversarial) for scale in outputs]).sum()


def rgb(x: Tensor) -> Tensor:
    """Pictures of any number of channels as people can see them [N, 3, H, W]: one as grey, else the first three."""
    return x[:, :3] if x.shape[1] > 2 else x[:, :1].expand(-1, 3, -1, -1)
