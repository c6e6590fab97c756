"""The objective of PhotoSketch and one training iteration (Li et al. 2019)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import torch
from torch import Tensor

from pinxit.data.photo_sketches import (
    PhotoSketches,
    PhotoSketchStream,
    Vary,
    check_drawn,
    drawn_pictures,
    find_drawn,
)
from pinxit.data.sheet import columns
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.photosketch.config import GLOBAL_LEAST, PRESETS, Data, Network, Options, Training
from pinxit.models.photosketch.network import discriminator, generator
from pinxit.nn.counting import counted, speed
from pinxit.nn.dropout import masks_of
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

MASKS = 0
"""Number of a step's random draws."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> PhotoSketchRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, network, t = options.data, options.network, options.training
    require_discriminator(network, t)
    vary = Vary(network.size, t.load_size, t.rotate, t.vary, t.color_jitter, t.flip)
    drawn = find_drawn(data.data, data.photos, data.sketches, data.split, data.direction, t.references)
    if data.check and rank() == 0:
        check_drawn(drawn)
    stream = PhotoSketchStream(drawn, vary, t.batch, seed, rank(), world_size(), workers)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    name = (data.data or data.photos or drawn[0].photo.parent).name
    card = {
        "data": f"{name}, photo to drawing",
        "source": "trained with pinxit train photosketch",
        "steps": str(t.steps),
    }
    return PhotoSketchRecipe(network, t, stream, seed=seed, examples=examples_of(data, vary, t), card=card)


def require_discriminator(network: Network, t: Training) -> None:
    """Raises `PinxitError` for a discriminator that leaves nothing of a drawing of the size trained at."""
    if t.discriminator == "patch":
        require_room(t.d_layers, *network.size)
    elif min(network.size) < GLOBAL_LEAST:
        got = f"global for drawings of {network.size[0]}x{network.size[1]} (height x width)"
        raise expected("--discriminator", got, f"patch below {GLOBAL_LEAST} pixels", "choose patch, or enlarge --size")


def examples_of(data: Data, vary: Vary, t: Training) -> PhotoSketches | None:
    """Photos for the preview, spread over the validation split where there is one, else over those trained on."""
    if data.rows < 1:
        return None
    drawn = find_drawn(data.data, data.photos, data.sketches, data.split, data.direction, t.references)
    if data.data is not None and data.split == "train":
        with suppress(PinxitError):  # there may be none
            drawn = find_drawn(data.data, split="val", direction=data.direction, most=t.references)
    rows = min(data.rows, len(drawn))
    return drawn_pictures([drawn[i * len(drawn) // rows] for i in range(rows)], vary)


def to_nearest(fake: Tensor, references: Tensor) -> Tensor:
    """Mean absolute difference of each drawing to the nearest of its photo's, averaged over the photos.

    `fake`: [N, 1, H, W]; `references`: [N, n, H, W].
    """
    return (fake.float() - references).abs().mean(dim=(2, 3)).amin(dim=1).mean()


class PhotoSketchRecipe(Recipe):
    """Generator and discriminator in training, on the batches of `stream`.

    `seed`: of the draws of each step; `examples`: photos for the preview; `card`: what the model file says of itself.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        stream: PhotoSketchStream | None = None,
        *,
        seed: int = 0,
        examples: PhotoSketches | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options = network, training
        self.stream, self.seed, self.examples, self.card = stream, seed, examples, card or {}
        self.G, self.D = generator(network), discriminator(network, training)
        for part in (self.G, self.D):
            initialize(part, training.init, training.init_gain)
        self.optimizers = {
            name: Adam(part.parameters(), lr=training.lr, betas=training.betas)
            for name, part in (("G", self.G), ("D", self.D))
        }

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("photosketch", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: PhotoSketches, step: int) -> dict[str, Tensor]:
        """D first, shown every drawing of each photo, then G, compared with the nearest of them."""
        t = self.training_options
        for optimizer in self.optimizers.values():
            set_rate(optimizer, t.lr * linear_decay(step, t.decay_from, t.steps))
        photo, references = batch
        masks = masks_of(self.G, step_generator(self.seed, step, MASKS)) if self.network.dropout else nullcontext()
        with masks:
            fake = self.G(photo)

        d_fake = fake_loss(self.D(torch.cat([photo, fake.detach()], dim=1)), t.adversarial)
        # One after the other, as the statistics of D's batch norms are those of one drawing a photo.
        of_each = [
            real_loss(self.D(torch.cat([photo, reference], dim=1)), t.adversarial)
            for reference in references.split(1, dim=1)
        ]
        d_real = torch.stack(of_each).mean()
        update(self.optimizers["D"], (d_fake + d_real) * 0.5 * t.gan)  # halved, so that D learns more slowly than G

        with frozen(self.D):
            gan = t.gan * generator_loss(self.D(torch.cat([photo, fake], dim=1)), t.adversarial)
            l1 = t.l1 * to_nearest(fake, references)
            update(self.optimizers["G"], gan + l1)
        losses = {"D_fake": d_fake, "D_real": d_real, "GAN": gan, "L1": l1}
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: the photo, its drawing by a finished model, and the nearest of those people made."""
        if self.examples is None:
            return None
        device = next(self.G.parameters()).device
        photo, references = (x.to(device) for x in self.examples)
        self.G.eval()
        fake = self.G(photo)
        self.G.train()
        nearest = (fake - references).abs().mean(dim=(2, 3)).argmin(dim=1)
        rows = torch.arange(len(nearest), device=device)
        return columns(photo, fake, references[rows, nearest][:, None])

    def forecast(self) -> Forecast:
        network, t = self.network, self.training_options
        references = 1 if self.stream is None else self.stream.references
        rate = speed(self.G, torch.zeros(1, 3, 64, 64, device=next(self.G.parameters()).device))
        seconds, memory = cost(network, t, references, rate)
        small = PRESETS["cpu"]
        other = cost(small.network, small.training, references, rate)
        self.foretold = Forecast(seconds, memory, {"cpu": other} if other[0] < seconds / 2 else {})
        return self.foretold

    def model_file(self) -> ModelFile:
        tensors = {f"G.{name}": value for name, value in state_on_cpu(self.G.state_dict()).items()}
        return ModelFile("photosketch", dataclasses.asdict(self.network), tensors, card=self.card)


def cost(network: Network, t: Training, references: int, rate: float) -> tuple[float, float]:
    """Seconds of a training at `rate` operations a second, and bytes of its activations, weights, gradients and Adam's
    moments."""
    with torch.device("meta"):
        G, D = generator(network), discriminator(network, t)
    rows = max(1, t.batch // world_size())
    of_g, held = counted(G, torch.empty(rows, 3, *network.size, device="meta"))
    of_d, held_by_d = counted(D, torch.empty(rows, 4, *network.size, device="meta"))
    # A backward pass takes two forward ones. D's own update goes forward and back through the fake and each reference;
    # G's goes forward, and back to the fake alone.
    operations = 3 * of_g + (3 * (1 + references) + 2) * of_d
    weights = sum(p.numel() for part in (G, D) for p in part.parameters())
    return t.steps * operations / rate, float(held + (1 + references) * held_by_d + 16 * weights)
