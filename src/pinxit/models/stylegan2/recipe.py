"""The objective of StyleGAN2 and one training iteration (Karras et al. 2020, sec. 3 and appendix B)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pinxit.data.squares import Squares, SquareStream, check_squares, find_squares
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.stylegan2.config import PRESETS, Network, Options, Training
from pinxit.models.stylegan2.draws import Draws, mine
from pinxit.models.stylegan2.network import GROUP, Discriminator, Generator, truncated
from pinxit.nn.counting import counted, speed
from pinxit.recipe import (
    Adam,
    Forecast,
    Recipe,
    Stage,
    frozen,
    rank,
    state_on_cpu,
    step_generator,
    update,
    world_size,
)

FOR_D, FOR_G, FOR_PATH = 0, 3, 6
"""Where a generation's random draws begin among those of a step: latents, noise, mixing."""
AUGMENT_REAL, AUGMENT_D, AUGMENT_G, AUGMENT_R1, DIRECTION = 9, 10, 11, 12, 13
"""Numbers of the other draws."""

MEAN_OF = 10_000
"""Latents that the mean w is taken over."""
PATH_DECAY = 0.01
"""How much of the mean path length is renewed each time."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> StyleGAN2Recipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    require_groups(t.batch)
    paths = find_squares(data.data)
    if data.check and rank() == 0:
        check_squares(paths)
    stream = SquareStream(
        paths, options.network.size, t.batch, seed, rank(), world_size(), workers, flip=t.flip, group=GROUP
    )
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    # Not drawn by the seed itself, by which samples and sheets draw their z: the first weights would be those very z.
    torch.manual_seed(seed + (1 << 41))
    assert data.data is not None
    card = {
        "data": f"{data.data.resolve().name}, {len(paths)} pictures",
        "source": "trained with pinxit train stylegan2",
        "steps": str(t.steps),
    }
    return StyleGAN2Recipe(options.network, t, stream, seed=seed, rows=data.rows, truncation=data.truncation, card=card)


def require_groups(batch: int) -> None:
    """Raises `PinxitError` for a batch whose groups of 4 pictures, of which the discriminator is told how much they
    differ, would not come out even, or be another process' in part."""
    world = world_size()
    if batch % (GROUP * world) and not (world == 1 and batch < GROUP):
        want = f"a multiple of {GROUP * world}" + (f" for {world} processes" if world > 1 else "")
        raise expected("--batch", batch, want, "round it")


class StyleGAN2Recipe(Recipe):
    """StyleGAN2 in training.

    `G_ema` is the average of `G` over its last steps, which samples are made with. `path_mean` is the moving mean of
    path lengths; `last_r1` and `last_path` are the penalties as they last were, for the log.
    """

    path_mean: Tensor
    last_r1: Tensor
    last_path: Tensor

    def __init__(
        self,
        network: Network,
        training: Training,
        stream: SquareStream | None = None,
        *,
        seed: int = 0,
        rows: int = 4,
        truncation: float = 1.0,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.stream = network, training, stream
        self.seed, self.rows, self.truncation, self.card = seed, rows, truncation, card or {}
        self.draws = Draws(seed, training.mixing, training.augment)
        self.G, self.D = Generator(network), Discriminator(network)
        self.G_ema = copy.deepcopy(self.G).requires_grad_(False)
        for name in ("path_mean", "last_r1", "last_path"):
            self.register_buffer(name, torch.zeros(()))
        self.optimizers = {
            "G": lazy_adam(self.G, training.lr, training.path_every),
            "D": lazy_adam(self.D, training.lr, training.r1_every),
        }

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("stylegan2", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: Squares, step: int) -> dict[str, Tensor]:
        """D, now and then its penalty; G, now and then its own; the average. Penalties are updates of their own
        ("lazy regularization", appendix B)."""
        t = self.training_options
        real = batch.photo
        with torch.no_grad():
            fake = self.G(*self.draws.inputs(self.G, step, FOR_D, len(real)))
        on_real = self.D(self.draws.augmented(real, step, AUGMENT_REAL))
        on_fake = self.D(self.draws.augmented(fake, step, AUGMENT_D))
        losses = {"D": discriminator_loss(on_real, on_fake), "D_real": on_real.mean(), "D_fake": on_fake.mean()}
        update(self.optimizers["D"], losses["D"])

        if t.r1_every and step % t.r1_every == 0:
            penalty = r1_penalty(self.D, real, lambda x: self.draws.augmented(x, step, AUGMENT_R1))
            update(self.optimizers["D"], penalty * (t.r1 / 2 * t.r1_every))
            self.last_r1.copy_(mean_over_ranks(penalty))

        with frozen(self.D):
            fake = self.G(*self.draws.inputs(self.G, step, FOR_G, len(real)))
            losses["G"] = generator_loss(self.D(self.draws.augmented(fake, step, AUGMENT_G)))
            update(self.optimizers["G"], losses["G"])

        if t.path_every and step % t.path_every == 0:
            w, noise = self.draws.inputs(self.G, step, FOR_PATH, max(1, len(real) // t.path_shrink))
            penalty, mean = path_penalty(self.G, w, noise, self.direction(step, len(w)), self.path_mean)
            update(self.optimizers["G"], penalty * (t.path * t.path_every))
            self.path_mean.copy_(mean)
            self.last_path.copy_(mean_over_ranks(penalty))

        with torch.no_grad():
            for slow, fast in zip(self.G_ema.parameters(), self.G.parameters(), strict=True):
                slow.lerp_(fast, 1 - t.ema)
        losses |= {"r1": self.last_r1.clone(), "path": self.last_path.clone(), "path_mean": self.path_mean.clone()}
        return {name: loss.detach() for name, loss in losses.items()}

    def direction(self, step: int, rows: int) -> Tensor:
        """Along which paths are measured: standard normal pictures."""
        size = self.network.size
        generator = step_generator(self.seed, step, DIRECTION)
        everyones = torch.randn(rows * world_size(), 3, size, size, generator=generator)
        return mine(everyones, rows).to(self.path_mean.device)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """Pictures of the averaged generator, always of the same latents and noise."""
        if self.rows < 1:
            return None
        device, count = self.path_mean.device, self.rows**2
        z = torch.randn(count, self.network.style_dim, generator=torch.Generator().manual_seed(self.seed))
        w = self.G_ema.mapping(z.to(device))
        if self.truncation != 1:
            w = truncated(w, mean_w(self.G_ema), self.truncation)
        pictures = torch.cat([self.G_ema(some) for some in w.split(8)])
        return pictures.clamp(-1, 1).view(self.rows, self.rows, *pictures.shape[1:])

    def forecast(self) -> Forecast:
        device = self.path_mean.device
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - as the loop has it
        rate = speed(self.D, torch.zeros(4, 3, self.network.size, self.network.size, device=device))
        seconds, memory = cost(self.network, self.training_options, rate)
        others = {}
        if self.network.size > PRESETS["cpu"].network.size:
            others["cpu"] = cost(PRESETS["cpu"].network, PRESETS["cpu"].training, rate)
        self.foretold = Forecast(seconds, memory, others)
        return self.foretold

    def model_file(self) -> ModelFile:
        tensors = {"w_mean": mean_w(self.G_ema).cpu()}
        for name, value in state_on_cpu(self.G_ema.state_dict()).items():
            # Convolutions alone: the mapping's weights are large, and what is small takes no room.
            half = self.training_options.store == "float16" and value.dim() == 4 and ".conv." in name
            tensors[f"G.{name}"] = value.half() if half else value
        for name, value in state_on_cpu(self.D.state_dict()).items():
            tensors[f"D.{name}"] = value.half() if self.training_options.store == "float16" else value
        return ModelFile("stylegan2", dataclasses.asdict(self.network), tensors, card=self.card)


def lazy_adam(network: torch.nn.Module, lr: float, every: int) -> Adam:
    """Adam with betas 0 and 0.99, corrected for a penalty that has an update of its own each `every` steps: there are
    (every + 1) / every as many updates, each is so much shorter (appendix B)."""
    ratio = every / (every + 1) if every else 1.0
    return Adam(network.parameters(), lr=lr * ratio, betas=(0.0, 0.99**ratio))


def discriminator_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """Logistic loss of logits (Goodfellow et al. 2014, eq. 1)."""
    return F.softplus(-on_real.float()).mean() + F.softplus(on_fake.float()).mean()


def generator_loss(on_fake: Tensor) -> Tensor:
    """The non-saturating form (Goodfellow et al. 2014, sec. 3)."""
    return F.softplus(-on_fake.float()).mean()


def r1_penalty(D: torch.nn.Module, real: Tensor, augment: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """The mean over pictures of the squared slope of D's logits there: Mescheder et al. 2018, eq. 9, without gamma / 2.

    Slopes are those by the picture ahead of `augment`. In fp32; past a compiled form of D, which cannot be
    differentiated twice.
    """
    with torch.autocast(real.device.type, enabled=False):
        real = real.detach().float().requires_grad_()
        logits = D.forward(augment(real))
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        # No weight is left without a gradient, as 0 times its logits give one: Adam then forgets alike for all.
        return slope.square().sum(dim=(1, 2, 3)).mean() + 0 * logits.sum()


def path_penalty(
    G: Generator, w: Tensor, noise: Sequence[Tensor], direction: Tensor, mean: Tensor
) -> tuple[Tensor, Tensor]:
    """How unequal the lengths of paths are, that steps in w make the picture go (eq. 4), and their new moving mean.

    w [N, style_dim] or w+, `direction` standard normal [N, 3, H, W], `mean` the moving one. A path's length is the
    root of the mean over layers of the squared slope of <picture, direction> / sqrt(H W) by that layer's w. The new
    mean, which lengths are held against, is that of the whole batch over all ranks, and gradients flow through it.
    """
    with torch.autocast(w.device.type, enabled=False):
        latents = w if w.ndim == 3 else w[:, None].expand(-1, G.options.latents, -1)
        pictures = G.forward(latents, noise)
        height, width = pictures.shape[2:]
        along = (pictures * direction).sum() / (height * width) ** 0.5
        (slope,) = torch.autograd.grad(along, latents, create_graph=True)
        lengths = slope.square().sum(dim=2).mean(dim=1).sqrt()
        all_mean = mean_over_ranks(lengths.mean())
        new = mean + PATH_DECAY * (all_mean - mean)
        penalty = (lengths - new).square().mean()
        # What comes of the mean's own dependence on the lengths, as a term of value 0: every rank has a part of it.
        pull = -2 * PATH_DECAY * (all_mean - new) * (lengths.mean() - lengths.detach().mean())
        return penalty + pull + 0 * pictures.sum(), new


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of every process' scalar, without its gradient."""
    x = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(x)
        x = x / world_size()
    return x


@torch.no_grad()
def mean_w(G: Generator) -> Tensor:
    """The mean of w [style_dim], which truncation draws towards; always over the same latents."""
    dim = G.options.style_dim
    z = torch.randn(MEAN_OF, dim, generator=torch.Generator().manual_seed(0))
    total = torch.zeros(dim, dtype=torch.float64)
    for some in z.to(G.input.input.device).split(2500):
        total += G.mapping(some).double().sum(dim=0).cpu()
    return (total / MEAN_OF).float().to(G.input.input.device)


def cost(network: Network, t: Training, rate: float) -> tuple[float, float]:
    """Seconds of a training at `rate` operations a second, and bytes of its activations, weights, gradients and Adam's
    moments."""
    rows = max(1, t.batch // world_size())
    with torch.device("meta"):
        G, D = Generator(network), Discriminator(network)
    of_g, held = counted(G, torch.empty(rows, network.style_dim, device="meta"))
    of_d, held_by_d = counted(D, torch.empty(rows, 3, network.size, network.size, device="meta"))
    # A backward pass takes two forward ones, a penalty about six in all. D judges real and fake with a backward to its
    # weights, and the fake once more with one to the picture.
    operations = 4 * of_g + 8 * of_d
    if t.r1_every:
        operations += 6 * of_d / t.r1_every
    if t.path_every:
        operations += 6 * of_g / t.path_every / t.path_shrink
    weights = sum(p.numel() for part in (G, D) for p in part.parameters())
    return t.steps * operations / rate, 2 * (held + held_by_d) + 20 * weights
