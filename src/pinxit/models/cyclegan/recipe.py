"""The objective of CycleGAN and one training iteration (Zhu et al. 2017, sec. 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.augment import Preprocess
from pinxit.data.pairs import Pair, PairStream, Sides, check_pairs, find_pairs, kinds_of, pair_pictures
from pinxit.data.sheet import columns
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.cyclegan.config import MULTIPLE, PRESETS, SMALLEST, Data, Network, Options, Training
from pinxit.models.cyclegan.network import discriminator, generator, kinds
from pinxit.nn.counting import counted, speed
from pinxit.nn.dropout import masks_of
from pinxit.nn.image_pool import ImagePool
from pinxit.nn.init import initialize
from pinxit.nn.losses import fake_loss, generator_loss, real_loss
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

MASKS, POOL_A, POOL_B = 0, 1, 2
"""Numbers of a step's random draws."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> CycleGANRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    sides = find_pairs(data.data, data.a, data.b, data.split, paired=False)
    a, b = kinds_of(sides, data.range_a, data.range_b)
    test_norm = options.network.test_norm or ("picture" if t.batch == 1 else "running")
    network = dataclasses.replace(options.network, a=a, b=b, test_norm=test_norm)
    require_equal_channels(network, t)
    preprocess = Preprocess(t.preprocess, t.load_size, network.size, t.flip, MULTIPLE)
    if t.discriminator == "patch" and (preprocess.crops or preprocess.mode == "fixed"):
        require_room(t.d_layers, *network.size)
    if data.check and rank() == 0:
        check_pairs(sides, (a, b), preprocess=preprocess, batch=t.batch, paired=False).raise_if_bad()
    stream = PairStream(sides, preprocess, (a, b), t.batch, seed, rank(), world_size(), workers, paired=False)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    name = (data.data or data.a or sides.a[0].parent).name
    return CycleGANRecipe(
        network,
        t,
        stream,
        seed=seed,
        examples=examples_of(data, preprocess, network),
        card={"data": name, "source": "trained with pinxit train cyclegan", "steps": str(t.steps)},
    )


def require_equal_channels(network: Network, t: Training) -> None:
    """Raises `PinxitError` where the identity loss compares pictures of different channels."""
    assert network.a is not None
    assert network.b is not None
    if t.identity and network.a.channels != network.b.channels:
        got = f"{t.identity:g} with {network.a.channels} channels of A and {network.b.channels} of B"
        raise expected("--identity", got, "sides of equally many channels", "add --identity 0")


def examples_of(data: Data, preprocess: Preprocess, network: Network) -> Pair | None:
    """Pictures for the preview, spread over the validation split where there is one, else over those trained on.

    One alone where `preprocess` leaves pictures of several sizes, which no sheet has rows for.
    """
    if data.rows < 1:
        return None
    sides = find_pairs(data.data, data.a, data.b, data.split, paired=False)
    if data.data is not None and data.split == "train":
        with suppress(PinxitError):  # there may be none
            sides = find_pairs(data.data, split="val", paired=False)
    rows = data.rows if preprocess.crops or preprocess.mode == "fixed" else 1
    rows = min(rows, *sides.counts)
    if sides.b is not None:  # else two halves of a file have one number
        a, b = ([side[i * len(side) // rows] for i in range(rows)] for side in (sides.a, sides.b))
        sides = Sides(a, b)
    return pair_pictures(sides, range(rows), preprocess, kinds(network, "AtoB"), paired=False)


class CycleGANRecipe(Recipe):
    """CycleGAN in training.

    `AtoB`, `BtoA` are the generators (the paper's G and F); `D_A` judges pictures of side A, `D_B` those of B. The
    official code calls a discriminator by the generator it goes with: its D_A is `D_B` here.
    `examples`: some pictures of both sides for the preview.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        stream: PairStream | None = None,
        *,
        seed: int = 0,
        examples: Pair | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.stream = network, training, stream
        self.seed, self.examples, self.card = seed, examples, card or {}
        a, b = (kind.channels for kind in kinds(network, "AtoB"))
        self.AtoB, self.BtoA = generator(network, "AtoB"), generator(network, "BtoA")
        self.D_A, self.D_B = discriminator(network, training, a), discriminator(network, training, b)
        self.pool_A, self.pool_B = ImagePool(training.pool), ImagePool(training.pool)
        for part in (self.AtoB, self.BtoA, self.D_A, self.D_B):
            initialize(part, training.init, training.init_gain)
        both = {"G": (self.AtoB, self.BtoA), "D": (self.D_A, self.D_B)}
        self.optimizers = {
            name: Adam(nn.ModuleList(parts).parameters(), lr=training.lr, betas=training.betas)
            for name, parts in both.items()
        }

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("cyclegan", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: Pair, step: int) -> dict[str, Tensor]:
        """Both generators first, then both discriminators, which are shown some older fakes (sec. 4)."""
        t = self.training_options
        for optimizer in self.optimizers.values():
            set_rate(optimizer, t.lr * linear_decay(step, t.decay_from, t.steps))
        a, b = batch
        self.require_divisible(a, b)

        with self.masks(step), frozen(self.D_A, self.D_B):
            fake_b = self.AtoB(a)
            back_a = self.BtoA(fake_b)
            fake_a = self.BtoA(b)
            back_b = self.AtoB(fake_a)
            losses = {}
            if t.identity:
                losses["identity_A"] = t.cycle_a * t.identity * l1(self.BtoA(a), a)
                losses["identity_B"] = t.cycle_b * t.identity * l1(self.AtoB(b), b)
            losses["AtoB"] = generator_loss(self.D_B(fake_b), t.adversarial)
            losses["BtoA"] = generator_loss(self.D_A(fake_a), t.adversarial)
            losses["cycle_A"] = t.cycle_a * l1(back_a, a)
            losses["cycle_B"] = t.cycle_b * l1(back_b, b)
            update(self.optimizers["G"], torch.stack(list(losses.values())).sum())

        for side, D, real, fake, pool, draw in (
            ("B", self.D_B, b, fake_b, self.pool_B, POOL_B),
            ("A", self.D_A, a, fake_a, self.pool_A, POOL_A),
        ):
            shown = pool.query(fake, step_generator(self.seed, step, draw))
            on_real, on_fake = real_loss(D(real), t.adversarial), fake_loss(D(shown), t.adversarial)
            losses[f"D_{side}"] = 0.5 * (on_real + on_fake)  # halved, so that D learns more slowly than G
        update(self.optimizers["D"], losses["D_A"] + losses["D_B"])
        return {name: loss.detach() for name, loss in losses.items()}

    def require_divisible(self, *sides: Tensor) -> None:
        """Raises `PinxitError` for a size the halvings do not divide, as preprocess modes without a crop give, or of
        which those of the Ds leave nothing."""
        for height, width in (side.shape[2:] for side in sides):
            if height % MULTIPLE or width % MULTIPLE or min(height, width) < SMALLEST:
                got, want = f"{height}x{width} (height x width)", f"multiples of {MULTIPLE}, {SMALLEST} or more"
                raise expected("picture size after --preprocess", got, want, "choose fixed, none, or a mode that crops")
            if self.training_options.discriminator == "patch":
                require_room(self.training_options.d_layers, height, width)

    def masks(self, step: int):
        """What dropout drops in this step."""
        return masks_of(nn.ModuleList([self.AtoB, self.BtoA]), step_generator(self.seed, step, MASKS))

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: a picture of A, its translation to B and back; a picture of B, to A and back."""
        if self.examples is None:
            return None
        device = next(self.AtoB.parameters()).device
        generators = nn.ModuleList([self.AtoB, self.BtoA]).eval()
        shown = []
        with masks_of(generators, torch.Generator().manual_seed(self.seed)):
            for x, there, back in zip(self.examples, (self.AtoB, self.BtoA), (self.BtoA, self.AtoB), strict=True):
                fake = there(x.to(device))
                shown += [x.to(device), fake, back(fake)]
        generators.train()
        return columns(*shown)

    def forecast(self) -> Forecast:
        into = kinds(self.network, "AtoB")[0].channels
        rate = speed(self.AtoB, torch.zeros(1, into, 64, 64, device=next(self.AtoB.parameters()).device))
        seconds, memory = cost(self.network, self.training_options, rate)
        others = {}
        small = PRESETS["cpu"]
        shape = dataclasses.replace(small.network, a=self.network.a, b=self.network.b)
        other = cost(shape, small.training, rate)
        if other[0] < seconds / 2:
            others["cpu"] = other
        self.foretold = Forecast(seconds, memory, others)
        return self.foretold

    def model_file(self) -> ModelFile:
        tensors = {}
        for direction in ("AtoB", "BtoA"):
            for name, value in state_on_cpu(self.get_submodule(direction).state_dict()).items():
                # Convolutions alone: a norm's few numbers take no room, and its variances may exceed what half holds.
                half = self.training_options.store == "float16" and value.dim() == 4
                tensors[f"{direction}.{name}"] = value.half() if half else value
        return ModelFile("cyclegan", dataclasses.asdict(self.network), tensors, card=self.card)


def cost(network: Network, t: Training, rate: float) -> tuple[float, float]:
    """Seconds of a training at `rate` operations a second, and bytes of its activations, weights, gradients and Adam's
    moments."""
    rows = max(1, t.batch // world_size())
    operations = memory = 0.0
    for direction in ("AtoB", "BtoA"):
        into, out = (kind.channels for kind in kinds(network, direction))
        with torch.device("meta"):
            G, D = generator(network, direction), discriminator(network, t, out)
        of_g, held = counted(G, torch.empty(rows, into, *network.size, device="meta"))
        of_d, held_by_d = counted(D, torch.empty(rows, out, *network.size, device="meta"))
        # A backward pass takes two forward ones. D is passed forward three times; backward twice to its weights and
        # once to the fake alone.
        passes = 3 if t.identity else 2
        operations += 3 * passes * of_g + 8 * of_d
        weights = sum(p.numel() for part in (G, D) for p in part.parameters())
        pool = 4 * t.pool * out * network.size[0] * network.size[1]
        memory += passes * held + held_by_d + 16 * weights + pool
    return t.steps * operations / rate, memory


def l1(x: Tensor, y: Tensor) -> Tensor:
    return F.l1_loss(x.float(), y)
