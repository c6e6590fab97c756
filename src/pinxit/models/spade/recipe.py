"""The objective of SPADE and one training iteration (Park et al. 2019, sec. 3 and appendix A)."""

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
from pinxit.data.labels import LabelSet
from pinxit.data.stream import LabelPhotos, LabelPhotoStream, label_pictures
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.spade import shared
from pinxit.models.spade.config import UPSAMPLINGS, Data, Network, Options, Training
from pinxit.models.spade.network import Discriminator, Encoder, Generator, embed
from pinxit.nn import vgg
from pinxit.nn.ema import EMA
from pinxit.nn.init import initialize
from pinxit.nn.losses import fake_loss, feature_matching, generator_loss, kl_to_standard_normal, real_loss
from pinxit.recipe import (
    Adam,
    Recipe,
    Stage,
    frozen,
    linear_decay,
    rank,
    set_rate,
    state_on_cpu,
    step_noise,
    update,
    world_size,
)

Features = list[list[Tensor]]
"""For each discriminator the output of each layer."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> SpadeRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    require_one_source(options.data)
    labels = label_set_for(options.data.data, options.data.label_set)
    network = resolve(options.network, labels)
    perceptual = perceptual_of(options)  # before the check of the data, which may take minutes
    if not network.unknown:
        # A model without a channel for 'unknown' cannot be shown such pixels; the check names the files that have any.
        labels = dataclasses.replace(labels, ignore=())
    items = items_of(options.data, options.data.split)
    t = options.training
    preprocess = Preprocess(t.preprocess, t.load_size, network.size, t.flip)
    if options.data.check and rank() == 0:
        check(items, labels, network.instances, preprocess=preprocess, batch=t.batch).raise_if_bad()
    stream = LabelPhotoStream(
        items, labels, preprocess, t.batch, seed, rank(), world_size(), workers, network.instances
    )
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    return SpadeRecipe(
        network,
        t,
        labels,
        stream,
        seed=seed,
        perceptual=perceptual,
        examples=examples_of(options.data, items, labels, preprocess, network),
        card={"data": labels.name, "source": "trained with pinxit train spade", "steps": str(t.steps)},
    )


def require_one_source(data: Data) -> None:
    """Raises `PinxitError` where it is not said what to train on, or said twice."""
    if data.data is None and (data.maps is None or data.photos is None):
        raise expected("--data", "missing", "a data set's folder, or --maps and --photos", "say what to train on")
    if data.data is not None and (data.maps or data.photos or data.instance_maps):
        raise expected("--data", "given with --maps or --photos", "one of the two", "leave one out")


def items_of(data: Data, split: str) -> list[Item]:
    if data.data is not None:
        return find(data.data, split, outdoor=data.outdoor)
    assert data.maps is not None
    return pair(data.maps, data.photos, data.instance_maps)


def resolve(network: Network, labels: LabelSet) -> Network:
    """The network with its number of labels filled in.

    Raises `PinxitError` where it was made for other labels, or for a size that its doublings do not divide.
    """
    step = 1 << UPSAMPLINGS[network.upsamplings]
    if any(side % step for side in network.size):
        got = " ".join(map(str, network.size))
        raise expected("--size", got, f"multiples of {step}", "round it")
    if network.labels == 0:
        return dataclasses.replace(network, labels=len(labels.labels), unknown=bool(labels.ignore))
    if network.labels != len(labels.labels):
        got = f"{len(labels.labels)} labels"
        raise expected(f"label set {labels.name!r}", got, f"{network.labels}", "mend --label-set or --labels")
    return network


def perceptual_of(options: Options) -> vgg.PerceptualDistance | None:
    if options.training.perceptual == 0 or options.data.no_perceptual:
        return None
    if options.data.vgg is None:
        raise expected("--vgg", "missing", "VGG-19 weights", "give a file or `download`, or add --no-perceptual")
    if options.data.vgg == "download":
        return vgg.load_perceptual(fetch(vgg.URL, vgg.SHA256, "give --vgg FILE, or --no-perceptual"))
    return vgg.load_perceptual(Path(options.data.vgg))


def examples_of(
    data: Data, items: list[Item], labels: LabelSet, preprocess: Preprocess, network: Network, rows: int = 4
) -> LabelPhotos:
    """Items for the preview, spread over the validation split where there is one with photos, else over `items`.

    One alone where `preprocess` leaves pictures of several sizes, which no sheet has rows for.
    """
    if not preprocess.crops and preprocess.mode != "fixed":
        rows = 1
    held_out = []
    if data.data is not None and data.split == "train" and "val" in splits(data.data):
        held_out = find(data.data, "val", photos_required=False)
    shown = [i for i in held_out if i.photo is not None and (i.instance is not None or not network.instances)] or items
    return label_pictures(shown[:: max(1, len(shown) // rows)][:rows], labels, preprocess, network.instances)


class SpadeRecipe(Recipe):
    """SPADE in training.

    `perceptual`: the VGG-19 distance, a callable (fake, real) -> scalar, or None for none.
    `examples`: some validation items for the preview.
    `share`: whether to compute once what is alike in a batch (`shared`) where that pays; else with the plain networks.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        label_set: LabelSet,
        stream: LabelPhotoStream | None = None,
        *,
        seed: int = 0,
        perceptual: nn.Module | None = None,
        examples: LabelPhotos | None = None,
        card: dict[str, str] | None = None,
        share: bool = True,
    ) -> None:
        super().__init__()
        self.share = share
        self.network, self.training_options, self.label_set, self.stream = network, training, label_set, stream
        self.seed, self.examples, self.card = seed, examples, card or {}
        self.G = Generator(network)
        self.D = Discriminator(network, training)
        self.E = Encoder(network) if network.vae else None
        for part in (self.G, self.D, self.E):
            if part is not None:
                initialize(part, training.init, training.init_gain)
        self.ema = EMA(self.G, training.ema) if training.ema else None
        # In a list, since it is no part of what training changes and must not be saved with it.
        self._perceptual = [perceptual] if perceptual is not None and training.perceptual else []

        betas = training.betas or ((0.0, 0.9) if training.ttur else (0.5, 0.999))
        self.rates = (training.lr / 2, training.lr * 2) if training.ttur else (training.lr, training.lr)
        painters = [*self.G.parameters(), *(self.E.parameters() if self.E is not None else ())]
        # The plain networks are there to be held against others, and follow the official code to the last bit.
        adam = Adam if share else torch.optim.Adam
        self.optimizers = {
            "G": adam(painters, lr=self.rates[0], betas=betas),
            "D": adam(self.D.parameters(), lr=self.rates[1], betas=betas),
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpadeRecipe:
        # What moves the networks moves the perceptual distance with them.
        for distance in self._perceptual:
            distance._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("spade", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: LabelPhotos, step: int) -> dict[str, Tensor]:
        """G (and E) first, then D on a picture painted anew by the G just updated, as the official code."""
        t = self.training_options
        self.require_divisible(*batch.labels.shape[1:])
        scale = linear_decay(step, t.decay_from, t.steps)
        set_rate(self.optimizers["G"], self.rates[0] * scale)
        set_rate(self.optimizers["D"], self.rates[1] * scale)
        maps = firsts = semantics = None
        if self.shares:
            maps = shared.Maps(batch.labels, batch.instances, self.network)
            firsts = shared.firsts_of(self.D, maps)  # D's own update comes last, so for all of the step
        else:
            semantics = embed(batch.labels, batch.instances, self.network)
        losses: dict[str, Tensor] = {}

        with frozen(self.D):
            fake, kl = self.paint(batch, step, 0, maps)
            fixed = firsts.detach() if firsts is not None else None
            if fixed is not None and t.d_norm != "batch":
                on_fake, on_real = shared.discriminate_apart(self.D, fixed, fake, batch.photo)
            else:
                on_fake, on_real = self.discriminate(semantics, fixed, fake, batch.photo)
            losses["GAN"] = over_scales(generator_loss, on_fake, t)
            if t.feature_matching:
                losses["feature_matching"] = t.feature_matching * feature_matching(on_fake, on_real)
            for distance in self._perceptual:
                losses["perceptual"] = t.perceptual * distance(fake, batch.photo)
            if kl is not None:
                # A sum over the batch, so the mean over ranks that follows must be undone.
                losses["KL"] = t.kl * kl * world_size()
            update(self.optimizers["G"], torch.stack(list(losses.values())).sum())
        if self.ema is not None:
            self.ema.update(self.G, step)

        with torch.no_grad():
            fake, _ = self.paint(batch, step, 1, maps)
        on_fake, on_real = self.discriminate(semantics, firsts, fake, batch.photo)
        losses["D_fake"] = over_scales(fake_loss, on_fake, t)
        losses["D_real"] = over_scales(real_loss, on_real, t)
        update(self.optimizers["D"], losses["D_fake"] + losses["D_real"])
        return {name: loss.detach() for name, loss in losses.items()}

    def require_divisible(self, height: int, width: int) -> None:
        """Raises `PinxitError` for a size that the doublings do not divide, as preprocess modes without a crop give."""
        step = 1 << self.G.doublings
        if height % step or width % step:
            got, want = f"{height}x{width} (height x width)", f"multiples of {step}"
            raise expected("picture size after --preprocess", got, want, "choose fixed, or a mode that crops")

    @property
    def shares(self) -> bool:
        """Whether steps are made by `shared`. On a GPU it has not been seen to pay, and what was compiled is the plain
        networks."""
        on_cpu = next(self.G.parameters()).device.type == "cpu"
        return self.share and on_cpu and self.G._compiled_call_impl is None

    def paint(
        self, batch: LabelPhotos, step: int, draw: int, maps: shared.Maps | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The fake, in the style of the batch's own photos, and the KL divergence of that style; None without a VAE.

        `maps`: the batch's, to share what is alike; None: the plain network.
        """
        z = kl = None
        if self.E is not None:
            mean, log_variance = self.E(batch.photo) if maps is None else shared.encode(self.E, batch.photo)
            z = mean + self.noise(step, draw, mean) * torch.exp(0.5 * log_variance)
            kl = kl_to_standard_normal(mean, log_variance)
        if maps is not None:
            return shared.paint(self.G, maps, z), kl
        return self.G(batch.labels, batch.instances, z), kl

    def noise(self, step: int, draw: int, like: Tensor) -> Tensor:
        return step_noise(self.seed, step, draw, *like.shape, device=like.device)

    def discriminate(
        self, semantics: Tensor | None, firsts: shared.Firsts | None, fake: Tensor, real: Tensor
    ) -> tuple[Features, Features]:
        """D's outputs on fakes and on reals, from one pass over both, so that a batch norm in D sees them together."""
        pictures = torch.cat([fake, real])
        if firsts is not None:
            outputs = shared.discriminate(self.D, firsts, pictures)
        else:
            assert semantics is not None
            outputs = self.D(torch.cat([semantics, semantics]), pictures)
        on_fake = [[layer.chunk(2)[0] for layer in scale] for scale in outputs]
        on_real = [[layer.chunk(2)[1] for layer in scale] for scale in outputs]
        return on_fake, on_real

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: map in colour, photo, the painting in the photo's style, the painting in a random style."""
        if self.examples is None:
            return None
        painter = (self.ema.average if self.ema is not None else self.G).eval()
        device = next(painter.parameters()).device
        labels, photo = self.examples.labels.to(device), self.examples.photo.to(device)
        instances = None if self.examples.instances is None else self.examples.instances.to(device)
        map_colors = torch.stack([torch.from_numpy(self.label_set.colorize(m)) for m in labels.cpu().numpy()])
        columns = [map_colors.permute(0, 3, 1, 2).to(device) / 127.5 - 1, photo]
        if self.E is None:
            columns.append(painter(labels, instances))
        else:
            self.E.eval()
            columns.append(painter(labels, instances, self.E(photo)[0]))
            noise = torch.randn(len(photo), self.network.z_dim, generator=torch.Generator().manual_seed(self.seed))
            columns.append(painter(labels, instances, noise.to(device)))
            self.E.train()
        self.G.train()
        return torch.stack(columns, dim=1).clamp(-1, 1)

    def model_file(self) -> ModelFile:
        painter = self.ema.average if self.ema is not None else self.G
        tensors = {f"G.{k}": v for k, v in state_on_cpu(painter.state_dict()).items()}
        if self.E is not None:
            tensors |= {f"E.{k}": v for k, v in state_on_cpu(self.E.state_dict()).items()}
        return ModelFile("spade", dataclasses.asdict(self.network), tensors, self.label_set.to_json(), self.card)


def over_scales(loss: Callable[..., Tensor], outputs: Features, t: Training) -> Tensor:
    """The mean over discriminators of a loss on their logits."""
    return torch.stack([loss(scale[-1], t.adversarial) for scale in outputs]).mean()
