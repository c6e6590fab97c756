"""The objective of pix2pix and one training iteration (Isola et al. 2017, sec. 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.data.augment import Preprocess
from pinxit.data.kinds import Kind
from pinxit.data.pairs import Pair, PairStream, check_pairs, find_pairs, kinds_of, pair_pictures
from pinxit.data.sheet import columns
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pix.config import PRESETS, Data, Direction, Network, Options, Training
from pinxit.models.pix2pix.network import discriminator, generator
from pinxit.nn.counting import counted, speed
from pinxit.nn.dropout import masks_of
from pinxit.nn.init import initialize
from pinxit.nn.losses import fake_loss, generator_loss, gradient_penalty, real_loss
from pinxit.nn.patchgan import require_room
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
    step_generator,
    update,
    world_size,
)

MASKS, MIX = 0, 1
"""Numbers of a step's random draws."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> Pix2PixRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    require_size(options.network)
    sides = find_pairs(data.data, data.a, data.b, data.split)
    kinds = kinds_of(sides, data.range_a, data.range_b)
    network = resolve(options.network, kinds, data.direction, t)
    preprocess = preprocess_of(network, t)
    if t.discriminator == "patch" and (preprocess.crops or preprocess.mode == "fixed"):
        require_room(t.d_layers, *network.size)
    if data.check and rank() == 0:
        check_pairs(sides, kinds, preprocess=preprocess, batch=t.batch).raise_if_bad()
    stream = PairStream(sides, preprocess, kinds, t.batch, seed, rank(), world_size(), workers)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    name = (data.data or data.a or sides.a[0].parent).name
    return Pix2PixRecipe(
        network,
        t,
        data.direction,
        stream,
        seed=seed,
        examples=examples_of(data, preprocess, kinds),
        card={
            "data": f"{name}, {data.direction}",
            "source": "trained with pinxit train pix2pix",
            "steps": str(t.steps),
        },
    )


def resolve(network: Network, kinds: tuple[Kind, Kind], direction: Direction, t: Training) -> Network:
    """The network with what goes in and out filled in, and the statistics of a finished model."""
    into, out = kinds if direction == "AtoB" else kinds[::-1]
    test_norm = network.test_norm or ("picture" if t.batch == 1 else "running")
    return dataclasses.replace(network, input=into, output=out, test_norm=test_norm)


def require_size(network: Network) -> None:
    """Raises `PinxitError` for a size that the generator's halvings do not divide."""
    step, least = network.multiple, network.smallest
    if any(side % step or side < least for side in network.size):
        got = " ".join(map(str, network.size))
        remedy = "round it" + (", or take another --depth" if network.generator == "unet" else "")
        raise expected("--size", got, f"multiples of {step}, {least} or more", remedy)


def preprocess_of(network: Network, t: Training) -> Preprocess:
    return Preprocess(t.preprocess, t.load_size, network.size, t.flip, network.multiple)


def examples_of(data: Data, preprocess: Preprocess, kinds: tuple[Kind, Kind]) -> Pair | None:
    """Pairs for the preview, spread over the validation split where there is one, else over those trained on.

    One alone where `preprocess` leaves pictures of several sizes, which no sheet has rows for.
    """
    if data.rows < 1:
        return None
    sides = find_pairs(data.data, data.a, data.b, data.split)
    if data.data is not None and data.split == "train":
        with suppress(PinxitError):  # there may be none
            sides = find_pairs(data.data, split="val")
    total = len(sides.a)
    rows = min(total, data.rows) if preprocess.crops or preprocess.mode == "fixed" else 1
    return pair_pictures(sides, [i * total // rows for i in range(rows)], preprocess, kinds)


class Pix2PixRecipe(Recipe):
    """pix2pix in training. `examples`: some pairs for the preview."""

    def __init__(
        self,
        network: Network,
        training: Training,
        direction: Direction = "AtoB",
        stream: PairStream | None = None,
        *,
        seed: int = 0,
        examples: Pair | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.direction, self.stream = network, training, direction, stream
        self.seed, self.examples, self.card = seed, examples, card or {}
        self.G, self.D = generator(network), discriminator(network, training)
        for part in (self.G, self.D):
            initialize(part, training.init, training.init_gain)
        self.optimizers = {
            name: Adam(part.parameters(), lr=training.lr, betas=training.betas)
            for name, part in (("G", self.G), ("D", self.D))
        }

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("pix2pix", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: Pair, step: int) -> dict[str, Tensor]:
        """D first, then G against the D just updated, by the same fake (Isola et al. 2017, sec. 3.3)."""
        t = self.training_options
        for optimizer in self.optimizers.values():
            set_rate(optimizer, t.lr * linear_decay(step, t.decay_from, t.steps))
        into, real = self.in_and_out(batch)
        self.require_divisible(*into.shape[2:])
        with self.masks(step):
            fake = self.G(into)

        losses = {
            "D_fake": fake_loss(self.D(torch.cat([into, fake.detach()], dim=1)), t.adversarial),
            "D_real": real_loss(self.D(torch.cat([into, real], dim=1)), t.adversarial),
        }
        d_loss = losses["D_fake"] + losses["D_real"]
        if t.adversarial == "w" and t.gradient_penalty:
            losses["penalty"] = t.gradient_penalty * self.penalty(into, real, fake, step)
            d_loss = d_loss + losses["penalty"]
        update(self.optimizers["D"], d_loss * 0.5)  # halved, so that D learns more slowly than G

        with frozen(self.D):
            losses["GAN"] = generator_loss(self.D(torch.cat([into, fake], dim=1)), t.adversarial)
            losses["L1"] = t.l1 * F.l1_loss(fake.float(), real)
            update(self.optimizers["G"], losses["GAN"] + losses["L1"])
        return {name: loss.detach() for name, loss in losses.items()}

    def in_and_out(self, batch: Pair) -> tuple[Tensor, Tensor]:
        return (batch.a, batch.b) if self.direction == "AtoB" else (batch.b, batch.a)

    def require_divisible(self, height: int, width: int) -> None:
        """Raises `PinxitError` for a size the halvings do not divide, as preprocess modes without a crop give, or of
        which D's leave nothing."""
        step, least = self.network.multiple, self.network.smallest
        if height % step or width % step or min(height, width) < least:
            got, want = f"{height}x{width} (height x width)", f"multiples of {step}, {least} or more"
            raise expected("picture size after --preprocess", got, want, "choose fixed, none, or a mode that crops")
        if self.training_options.discriminator == "patch":
            require_room(self.training_options.d_layers, height, width)

    def masks(self, step: int):
        """What dropout drops in this step."""
        return masks_of(self.G, step_generator(self.seed, step, MASKS))

    def penalty(self, into: Tensor, real: Tensor, fake: Tensor, step: int) -> Tensor:
        """D's gradient penalty between real and fake outputs, the input joined to both."""
        mix = torch.rand(len(real) * world_size(), generator=step_generator(self.seed, step, MIX))
        mix = mix[rank() * len(real) : (rank() + 1) * len(real)].to(real.device)
        return gradient_penalty(self.D, torch.cat([into, real], dim=1), torch.cat([into, fake.detach()], dim=1), mix)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: what goes in, its translation as a finished model gives it, and what belongs to it."""
        if self.examples is None:
            return None
        device = next(self.G.parameters()).device
        into, real = (side.to(device) for side in self.in_and_out(self.examples))
        self.G.eval()
        with masks_of(self.G, torch.Generator().manual_seed(self.seed)):
            fake = self.G(into)
        self.G.train()
        return columns(into, fake, real)

    def forecast(self) -> Forecast:
        network, t = self.network, self.training_options
        side = max(network.multiple, 64)
        assert network.input is not None
        rate = speed(
            self.G, torch.zeros(1, network.input.channels, side, side, device=next(self.G.parameters()).device)
        )
        seconds, memory = cost(network, t, rate)
        others = {}
        small = PRESETS["cpu"]
        other = cost(
            dataclasses.replace(small.network, input=network.input, output=network.output), small.training, rate
        )
        if other[0] < seconds / 2:
            others["cpu"] = other
        self.foretold = Forecast(seconds, memory, others)
        return self.foretold

    def model_file(self) -> ModelFile:
        tensors = state_on_cpu(self.G.state_dict())
        if self.training_options.store == "float16":
            # Convolutions alone: a norm's few numbers take no room, and its variances may exceed what half holds.
            tensors = {name: v.half() if v.dim() == 4 else v for name, v in tensors.items()}
        tensors = {f"G.{name}": value for name, value in tensors.items()}
        return ModelFile("pix2pix", dataclasses.asdict(self.network), tensors, card=self.card)


def cost(network: Network, t: Training, rate: float) -> tuple[float, float]:
    """Seconds of a training at `rate` operations a second, and bytes of its activations, weights, gradients and Adam's
    moments."""
    with torch.device("meta"):
        G, D = generator(network), discriminator(network, t)
    assert network.input is not None
    assert network.output is not None
    rows, into, out = max(1, t.batch // world_size()), network.input.channels, network.output.channels
    of_g, held = counted(G, torch.empty(rows, into, *network.size, device="meta"))
    of_d, held_by_d = counted(D, torch.empty(rows, into + out, *network.size, device="meta"))
    # A backward pass takes two forward ones. D is passed forward three times; backward twice to its weights and once
    # to the fake alone. Its own update holds two of its passes, beside G's.
    operations = 3 * of_g + 8 * of_d
    weights = sum(p.numel() for part in (G, D) for p in part.parameters())
    return t.steps * operations / rate, float(held + 2 * held_by_d + 16 * weights)
