"""The objective of SinGAN and one training iteration (Rott Shaham et al. 2019, sec. 2), a scale at a time."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.images import read_photo, to_tensor
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.singan.base import Base, base_of
from pinxit.models.singan.config import PRESETS, RECONSTRUCTION, Network, Options, Training
from pinxit.models.singan.network import Discriminator, Generator
from pinxit.models.singan.palette import reduced
from pinxit.models.singan.pyramid import Pyramid, enlarge, plan, resize
from pinxit.recipe import Adam, Forecast, Recipe, Stage, frozen, set_rate, state_on_cpu, update, world_size


def build(options: Options, *, seed: int = 0, workers: int = 0) -> SinGANRecipe:
    """The recipe for one photo. Raises `PinxitError` for whatever is wrong with the photo or the options."""
    data, network = options.data, options.network
    if data.data is None:
        raise expected("--data", "missing", "a photo, or a folder of photos", "name one")
    if world_size() > 1:
        raise expected("--data", f"one photo for {world_size()} processes", "one process for each", "give a folder")
    photo = to_tensor(read_photo(data.data))[None]
    pyramid = plan(photo.shape[2], photo.shape[3], network)
    photo = resize(photo, pyramid.shrink)
    card = {"data": data.data.name, "source": "trained with pinxit train singan"}
    base = None
    if data.base is not None:
        base = base_of(data, network, pyramid, photo)
        # The same scales; an import may come to them by other options, and their exact ratio is what it paints with.
        network, pyramid = base.model.network, base.model.pyramid
        card["source"] += f", scale {base.scale} for paintings; before: {base.model.card.get('source', 'unknown')}"
    torch.manual_seed(seed)
    return SinGANRecipe(network, options.training, pyramid, photo, seed=seed, card=card, base=base)


class Dice(NamedTuple):
    """A batch of SinGAN: there is one photo, so a step is told apart by its noise alone."""

    seed: Tensor
    """int64 []."""


class Draws:
    """The random numbers of a step, drawn on the CPU, so that every device sees the same."""

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.device = device

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device)

    def uniform(self, *shape: int) -> Tensor:
        """In [0, 1)."""
        return torch.rand(shape, generator=self.generator).to(self.device)

    def below(self, end: int, count: int) -> list[int]:
        return torch.randint(end, (count,), generator=self.generator).tolist()


class View(NamedTuple):
    """What an iteration looks at: windows of one size in the scale's picture, or the whole of it some times over."""

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]
    """(y, x) of each window's top left pixel."""

    def of(self, x: Tensor, margin: int = 0) -> Tensor:
        """[1, C, H, W] (with a margin around it), or one for each window -> the windows [N, C, h, w] (with theirs)."""
        height, width = self.height + 2 * margin, self.width + 2 * margin
        if x.shape[-2:] == (height, width):
            return x
        rows = x if len(x) == len(self.corners) else [x[0]] * len(self.corners)
        cut = [row[:, y : y + height, x : x + width] for row, (y, x) in zip(rows, self.corners, strict=True)]
        return torch.stack(cut)


def place(share: float, end: int, beyond: int) -> int:
    """0..end, at `share` (0..1) of the way from `beyond` before it to `beyond` behind it."""
    return min(max(int(share * (end + 2 * beyond + 1)) - beyond, 0), end)


class SinGANRecipe(Recipe):
    """A pyramid of GANs that grows by a scale each stage; what was learnt below stays as it is."""

    def __init__(
        self,
        network: Network,
        training: Training,
        pyramid: Pyramid,
        photo: Tensor,
        *,
        seed: int = 0,
        card: dict[str, str] | None = None,
        base: Base | None = None,
    ) -> None:
        """`photo` [1, 3, H, W], of the pyramid's finest size; `base`: a model, all of which is kept but one scale."""
        super().__init__()
        self.network, self.settings, self.pyramid, self.seed, self.card = network, training, pyramid, seed, card or {}
        self.photo: Tensor
        self.z_opt: Tensor
        self.amplitudes: Tensor
        self.register_buffer("photo", photo)
        height, width = pyramid.sizes[0]
        self.register_buffer("z_opt", self.padded(torch.zeros(1, 3, height, width)))
        self.register_buffer("amplitudes", torch.ones(len(pyramid.sizes)))
        self.Gs, self.finer = nn.ModuleList(), nn.ModuleList()
        self.D: Discriminator | None = None
        self.palette: Tensor | None
        self.register_buffer("palette", None if base is None else base.palette)
        self.scales = range(len(pyramid.sizes))
        if base is not None:
            self.scales = range(base.scale, base.scale + 1)
            self.Gs.extend(base.model.Gs[: base.scale])
            self.finer.extend(base.model.Gs[base.scale + 1 :])
            self.z_opt.copy_(base.model.z_opt)
            self.amplitudes.copy_(torch.tensor(base.model.amplitudes))
        self.weight = training.reconstruction if training.reconstruction is not None else RECONSTRUCTION[network.task]
        self.bf16 = training.bf16
        self.ready = -1
        self.pool: Tensor | None = None

    @property
    def scale(self) -> int:
        """The scale in training."""
        return len(self.Gs) - 1

    @property
    def G(self) -> Generator:
        network = self.Gs[-1]
        assert isinstance(network, Generator)
        return network

    def stages(self) -> Iterator[Stage]:
        for scale in self.scales:
            height, width = self.pyramid.sizes[scale]
            self.grow(scale)
            yield Stage(f"scale{scale}_{width}x{height}", self.steps, self.batches, self.step)

    @property
    def steps(self) -> int:
        """Iterations of the scale in training."""
        return self.settings.steps_at(*self.pyramid.sizes[self.scale])

    def grow(self, scale: int) -> None:
        """Networks for the next scale: from the one trained before where the widths are equal, else new."""
        G, D = Generator(self.network, scale), Discriminator(self.network, scale)
        if self.D is not None and self.network.widths(scale) == self.network.widths(scale - 1):
            G.load_state_dict(self.G.state_dict())
            D.load_state_dict(self.D.state_dict())
        self.Gs.requires_grad_(False)
        self.Gs.append(G)
        self.D = D
        t = self.settings
        self.optimizers = {name: Adam(part.parameters(), lr=t.lr, betas=t.betas) for name, part in (("G", G), ("D", D))}

    def train(self, mode: bool = True) -> SinGANRecipe:
        """Scales that are done stay in eval mode, so that they paint in training what they will paint later."""
        super().train(mode)
        self.Gs[:-1].eval()
        return self

    def batches(self, start: int) -> Iterator[Dice]:
        for i in range(start, self.steps):
            yield Dice(torch.tensor((self.seed * 1_000_003 + self.scale) * 1_000_003 + i))

    def draws(self, batch: Dice) -> Draws:
        return Draws(int(batch.seed), self.photo.device)

    def step(self, batch: Dice, step: int) -> dict[str, Tensor]:
        """Updates of the critic, then of the generator (eq. 4): WGAN-GP, and the reconstruction of the photo."""
        t, D, draws = self.settings, self.D, self.draws(batch)
        assert D is not None
        self.prepare()
        decay_from = t.decay_from * self.steps // t.steps
        for optimizer in self.optimizers.values():
            set_rate(optimizer, t.lr * (1.0 if step < decay_from else 0.1))
        settled_from = min(decay_from, self.steps - 1)
        if t.crop and step >= settled_from:
            self.settle(anew=step == settled_from)
        if self.scale == 0:
            # Here the photo is reconstructed from new noise each time, as in the authors' code; the last is kept.
            self.z_opt.copy_(self.noise(draws, 0))
        view = self.look(draws)
        real, noise = view.of(self.real), self.noise(draws, self.scale, view)

        d_loss = fake = previous = torch.zeros(())
        for j in range(t.d_steps):
            previous = self.previous(draws, view)
            with live_weights(self.G, t.fake == "kept" and j + 1 == t.d_steps):
                fake = self.paint(noise, previous)
            d_loss = -D(real).mean() + D(fake.detach()).mean()
            if (step * t.d_steps + j) % t.penalty_every == 0:
                penalty = gradient_penalty(D, real, fake.detach(), draws.uniform(1, 1))
                d_loss = d_loss + t.penalty * t.penalty_every * penalty
            update(self.optimizers["D"], d_loss)

        g_loss = error = torch.zeros(())
        for j in range(t.g_steps):
            with frozen(D):
                if t.fake == "recomputed":
                    fake = self.paint(noise, previous)
                g_loss = -D(fake).mean()
                error = F.mse_loss(self.reconstruct(view), real)
                again = t.fake == "kept" and j + 1 < t.g_steps
                update(self.optimizers["G"], g_loss + self.weight * error, retain_graph=again)
        self.gather(step)
        return {"D": d_loss.detach(), "G": g_loss.detach(), "reconstruction": error.detach()}

    def paint(self, noise: Tensor, previous: Tensor) -> Tensor:
        """The picture [N, 3, h, w] of the scale in training; `noise` and `previous` [N, 3, h + 2 margin, …]."""
        return self.G(self.amplitudes[self.scale] * noise + previous, previous)

    def reconstruct(self, view: View) -> Tensor:
        m = self.network.margin
        z = view.of(self.z_opt if self.scale == 0 else torch.zeros_like(self.rec), m)
        return self.paint(z, view.of(self.rec, m))

    def noise(self, draws: Draws, scale: int, view: View | None = None, n: int = 1) -> Tensor:
        """Noise with its margin [N, 3, h + 2 margin, w + 2 margin], for the view or `n` whole pictures.

        One channel three times over at the coarsest scale; 0 in the margin but for animation.
        """
        m = self.network.margin
        height, width = self.pyramid.sizes[scale]
        view = view or View(height, width, ((0, 0),) * n)
        shape = (len(view.corners), 1 if scale == 0 else 3)
        whole = (view.height, view.width) == (height, width)
        if whole and self.network.task != "animation":
            noise = F.pad(draws.normal(*shape, height, width), (m, m, m, m))
        else:
            noise = draws.normal(*shape, view.height + 2 * m, view.width + 2 * m)
            if self.network.task != "animation":
                noise = noise * view.of(F.pad(noise.new_ones(1, 1, height, width), (m, m, m, m)), m)
        return noise.expand(-1, 3, -1, -1)

    def look(self, draws: Draws) -> View:
        """Where this iteration looks."""
        t = self.settings
        height, width = self.pyramid.sizes[self.scale]
        if not t.in_windows(height, width):
            return View(height, width, ((0, 0),) * t.batch)
        h, w = min(height, t.crop), min(width, t.crop)
        # One in each part of the picture, so that together they are about as bright and as rough as the whole; and
        # places beyond its edge are taken to the edge, where a window would else hardly ever come.
        shorter = max(n for n in range(1, t.crops + 1) if t.crops % n == 0 and n * n <= t.crops)
        rows, columns = (shorter, t.crops // shorter) if height < width else (t.crops // shorter, shorter)
        corners = []
        for i, (u, v) in enumerate(draws.uniform(t.crops, 2).tolist()):
            y, x = (i // columns + u) / rows, (i % columns + v) / columns
            corners.append((place(y, height - h, h // 4), place(x, width - w, w // 4)))
        return View(h, w, tuple(corners))

    def previous(self, draws: Draws, view: View) -> Tensor:
        """What the coarser scales paint, enlarged, with a margin of 0 [N, 3, h + 2 margin, w + 2 margin]."""
        n = len(view.corners)
        if self.scale == 0:
            pictures = torch.zeros_like(self.rec)
        elif self.pool is not None:
            pictures = self.pool[draws.below(len(self.pool), n)]
        else:
            pictures = self.padded(self.climb(draws, n))
        return view.of(pictures, self.network.margin)

    @torch.no_grad()
    def climb(self, draws: Draws, n: int = 1) -> Tensor:
        """`n` pictures of the coarser scales at the size of the one in training [n, 3, H, W]."""
        pictures = torch.zeros(n, 3, *self.pyramid.sizes[0], device=self.photo.device)
        for scale in range(self.scale):
            pictures = self.rise(scale, pictures, self.noise(draws, scale, n=n))
        return self.reduced(pictures)

    @torch.no_grad()
    def rise(self, scale: int, pictures: Tensor, noise: Tensor) -> Tensor:
        """From the input of a scale that is done to that of the next."""
        previous = self.padded(pictures)
        painted = self.Gs[scale](self.amplitudes[scale] * noise + previous, previous)
        return enlarge(painted, self.pyramid, self.pyramid.sizes[scale + 1])

    def reduced(self, pictures: Tensor) -> Tensor:
        """In a retraining for paintings: in the palette's colours, as paintings will be (sec. 4.2)."""
        return pictures if self.palette is None else reduced(pictures, self.palette)

    def padded(self, pictures: Tensor) -> Tensor:
        return F.pad(pictures, (self.network.margin,) * 4)

    def prepare(self) -> None:
        """Before the first step of a scale: its photo, what the coarser scales make of z_opt, and the pool.

        All of it follows from the frozen scales and the seed, so a run that goes on makes it anew, bit for bit.
        """
        if self.ready == self.scale:
            return
        if self.settings.pool:
            self.pool = self.pooled()
        self.ready, device = self.scale, self.photo.device
        self.real = self.pyramid.levels(self.photo)[self.scale]
        reconstruction = torch.zeros(1, 3, *self.pyramid.sizes[0], device=device)
        for scale in range(self.scale):
            z = self.z_opt if scale == 0 else torch.zeros(1, device=device)
            reconstruction = self.rise(scale, reconstruction, z)
        self.rec = self.padded(self.reduced(reconstruction))
        if self.scale > 0:
            self.amplitudes[self.scale] = self.settings.noise * F.mse_loss(self.real, reconstruction).sqrt()

    @torch.no_grad()
    def pooled(self) -> Tensor | None:
        """Pictures of the coarser scales at the size of the one in training, with their margin; None at the coarsest.

        Those of the scale before go on from where they are; a resumed run makes them all anew, by the same steps.
        """
        if self.scale == 0:
            return None
        m, first = self.network.margin, 0
        pictures = torch.zeros(self.settings.pool, 3, *self.pyramid.sizes[0], device=self.photo.device)
        if self.pool is not None and self.ready == self.scale - 1:
            first, pictures = self.ready, self.pool[..., m:-m, m:-m]
        for scale in range(first, self.scale):
            draws = Draws((self.seed * 1_000_003 + scale) * 1_000_003 + 999_983, self.photo.device)
            height, width = self.pyramid.sizes[scale + 1]
            few = max(1, min(8, POOLED_AT_ONCE // (height * width)))
            parts = [self.rise(scale, part, self.noise(draws, scale, n=len(part))) for part in pictures.split(few)]
            pictures = torch.cat(parts)
        return self.padded(self.reduced(pictures))

    @torch.no_grad()
    def gather(self, step: int) -> None:
        """The authors' previews run the generator in train mode, which moves what batch norm will paint with; so it is
        part of the method."""
        if not self.settings.crop and (step % 500 == 0 or step + 1 == self.steps):
            self.reconstruct(self.look(Draws(0)))

    @torch.no_grad()
    def settle(self, anew: bool) -> None:
        """Batch norm with fixed statistics, of whole pictures, in the generator: the rest of the training is then done
        on what will be painted with. Statistics of windows vary too much, and those of samples and of the photo differ.
        """
        norms = [m for m in self.G.modules() if isinstance(m, nn.BatchNorm2d)]
        if anew:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # an average over all that follows
            draws = Draws(self.seed * 1_000_003 + 999_979, self.photo.device)
            height, width = self.pyramid.sizes[self.scale]
            whole = View(height, width, ((0, 0),))
            for _ in range(8):
                self.paint(self.noise(draws, self.scale, whole), self.previous(draws, whole))
                self.reconstruct(whole)
        for norm in norms:
            norm.momentum = 0.1
            norm.eval()

    def forecast(self) -> Forecast:
        """From a few steps on small noise pictures, for each width of networks there is; larger ones in proportion."""
        seconds, memory = self.cost(self.network, self.settings)
        others = {}
        for name in ("fast", "draft"):
            preset = PRESETS[name]
            shape = dataclasses.replace(self.network, max_width=min(self.network.max_width, preset.network.max_width))
            other = self.cost(shape, preset.training)
            if other[0] < seconds / 2:
                others[name] = other
        self.foretold = Forecast(seconds, memory, others)
        return self.foretold

    def cost(self, network: Network, training: Training) -> tuple[float, float]:
        """Seconds and bytes of a training on this photo, about."""
        seconds = memory = 0.0
        rates: dict[tuple[int, int], float] = {}
        for scale in self.scales:
            height, width = self.pyramid.sizes[scale]
            windows = training.in_windows(height, width)
            pixels = training.crops * training.crop**2 if windows else training.batch * height * width
            widths = network.widths(scale)
            if widths not in rates:
                rates[widths] = time_of_a_step(network, training, widths, self.photo.device)
            seconds += training.steps_at(height, width) * rates[widths] * max(pixels / PROBE**2, 0.5)
            activations = BYTES_A_PIXEL * pixels * (64 + max(widths))
            memory = max(memory, activations + 12 * (training.pool + 8) * height * width)
        return seconds, memory

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """The photo at this scale, its reconstruction, and three samples."""
        self.prepare()
        self.G.eval()
        draws = Draws(self.seed, self.photo.device)
        height, width = self.pyramid.sizes[self.scale]
        whole = View(height, width, ((0, 0),))
        samples = [self.paint(self.noise(draws, self.scale, whole), self.previous(draws, whole))[0] for _ in range(3)]
        row = torch.stack([self.real[0], self.reconstruct(whole)[0], *samples])
        self.G.train()
        return row[None].clamp(-1, 1)

    def model_file(self) -> ModelFile:
        """The scales so far: a run that is not at its end paints smaller pictures."""
        Gs = nn.ModuleList([*self.Gs, *self.finer])
        tensors = {f"G.{k}": v for k, v in state_on_cpu(Gs.state_dict()).items()}
        real = self.pyramid.levels(self.photo)[len(Gs) - 1]
        photo = self.photo if len(Gs) == len(self.pyramid.sizes) else real
        rest = {"z_opt": self.z_opt, "amplitudes": self.amplitudes[: len(Gs)], "real": real, "photo": photo}
        tensors |= {name: value.clone() for name, value in state_on_cpu(rest).items()}
        pyramid = {"sizes": self.pyramid.sizes[: len(Gs)], "factor": self.pyramid.factor}
        if self.palette is not None:
            tensors |= state_on_cpu({"palette": self.palette})
            pyramid["palette_scale"] = self.scale
        return ModelFile("singan", {**dataclasses.asdict(self.network), **pyramid}, tensors, None, self.card)


POOLED_AT_ONCE = 1 << 18
"""Pixels of the pictures for the pool that are painted together, for the memory's sake."""
PROBE = 40
"""Side of the pictures that the speed is measured on."""
BYTES_A_PIXEL = 300
"""Memory of a step, per pixel of the pictures it works on and channel (and 64 more, for what has no channels)."""


def time_of_a_step(network: Network, training: Training, widths: tuple[int, int], device: torch.device) -> float:
    """Seconds an iteration takes on a picture of PROBE x PROBE pixels with networks of these widths."""
    with torch.random.fork_rng():
        small = dataclasses.replace(network, task="synthesis", width=widths[0], min_width=widths[1], max_width=10**6)
        alone = dataclasses.replace(training, crop=0, pool=0, batch=1)
        photo = torch.rand(1, 3, PROBE, PROBE) * 2 - 1
        probe = SinGANRecipe(small, alone, Pyramid(((PROBE, PROBE),), 0.75, 1.0), photo).to(device)
        next(probe.stages())
        probe.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - untyped
        times = []
        for i in range(1 + training.penalty_every):
            begun = time.perf_counter()
            with torch.autocast(device.type, torch.bfloat16, enabled=training.bf16):
                losses = probe.step(Dice(torch.tensor(i)), i)
                losses["G"].item()  # waits for the device
            times.append(time.perf_counter() - begun)
    return sum(times[1:]) / (len(times) - 1)


def gradient_penalty(D: Discriminator, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
    """That the critic's gradient have norm 1 between real and fake (Gulrajani et al. 2017, eq. 3), at every pixel, over
    its channels; `mix` [1, 1] in [0, 1) is the share of the real picture."""
    with torch.autocast(real.device.type, enabled=False):
        between = (mix * real + (1 - mix) * fake.float()).requires_grad_()
        (gradient,) = torch.autograd.grad(D(between).sum(), between, create_graph=True)
        return ((gradient.norm(2, dim=1) - 1) ** 2).mean()


@contextmanager
def live_weights(network: nn.Module, active: bool) -> Iterator[None]:
    """What is computed within remembers the weights of `network` by reference: a backward pass after an update uses the
    new weights with the old activations.

    So PyTorch did until 1.4 without a word, and the authors' code relies on it; later ones refuse. (Their check is of
    tensors that autograd keeps itself, hence the hooks.)
    """
    if not active:
        yield
        return
    weights = {p.data_ptr(): p for p in network.parameters()}

    def pack(x: Tensor) -> Tensor:
        # Detached: a result that its own graph holds on to would never be freed.
        weight = weights.get(x.data_ptr())
        return x.detach() if weight is None else weight

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        yield
