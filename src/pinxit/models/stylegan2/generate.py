"""The user's verbs of StyleGAN2: seeds and latents in, PIL pictures out."""

from __future__ import annotations

import dataclasses
import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_image, to_tensor
from pinxit.data.squares import square
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.stylegan2.config import Network
from pinxit.models.stylegan2.network import Generator, mixed, truncated
from pinxit.translator import filled, options_of

AT_ONCE = 8
"""Pictures that are made together."""
LATENTS_OF_PCA = 50_000
SPREAD_OF = 10_000
"""Latents that w's spread is taken over."""
MOST_SEED = (1 << 64) - 1


@dataclass(frozen=True)
class Directions:
    """Ways to go in w, the most telling first (Härkönen et al. 2020, "GANSpace")."""

    vectors: Tensor
    """[K, style_dim], each of length 1."""
    deviations: Tensor
    """[K]: the standard deviation of w along each, which strengths are in units of."""


@dataclass(frozen=True)
class Projection:
    """The latent whose picture comes nearest to one that was given."""

    w: Tensor
    """[style_dim], or [latents, style_dim] of a w+."""
    picture: Image.Image
    """What the model makes of it."""
    distance: float
    """What the search made small, of `picture`: see `Model.project`."""


class Model:
    """A generator with its mean w. Make one with `load`. Noise is the model's own, so that a latent has one picture.

    `G`: the network; `mean`: w's mean [style_dim], which truncation draws towards.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device) -> None:
        self.file, self.card, self.options, self.device = file, file.card, options, device
        self.G = filled(Generator(options), "G", file, device)
        mean = file.tensors.get("w_mean")
        if mean is None or mean.shape != (options.style_dim,):
            raise expected("the model", "without its mean w", "whole", "train or import it again")
        self.mean = mean.to(device)

    @torch.no_grad()
    def w(self, seed: int, truncation: float = 1.0) -> Tensor:
        """The latent [style_dim] of a seed. `truncation`: 1 leaves it, the nearer to 0 the more common."""
        if not 0 <= seed <= MOST_SEED:
            raise expected("seed", seed, f"0..{MOST_SEED}", "choose another")
        if not -2 <= truncation <= 2:
            raise expected("truncation", truncation, "-2..2, mostly 0.5..1", "choose another")
        z = torch.randn(1, self.options.style_dim, generator=torch.Generator().manual_seed(seed))
        return truncated(self.G.mapping(z.to(self.device)), self.mean, truncation)[0]

    @torch.no_grad()
    def pictures(self, latents: Sequence[Tensor]) -> Iterator[Image.Image]:
        """A picture for each w [style_dim] or w+ [latents, style_dim]. Raises `PinxitError` for another model's."""
        dim, layers = self.options.style_dim, self.options.latents
        for w in latents:
            if tuple(w.shape) not in ((dim,), (layers, dim)):
                raise expected("latent", f"of shape {tuple(w.shape)}", f"({dim},) or ({layers}, {dim})", "use its own")
        for start in range(0, len(latents), AT_ONCE):
            some = [w if w.ndim == 2 else w.expand(layers, -1) for w in latents[start : start + AT_ONCE]]
            for picture in self.G(torch.stack(some).to(self.device)):
                yield to_image(picture)

    def sample(self, n: int = 1, seed: int = 0, truncation: float = 0.7) -> list[Image.Image]:
        """`n` pictures; each has a seed of its own, `seed` and those that follow."""
        if n < 1:
            raise expected("n", n, "1 or more", "enlarge it")
        return list(self.pictures([self.w(seed + i, truncation) for i in range(n)]))

    def mix(self, coarse: int, fine: int, at: int | None = None, truncation: float = 0.7) -> Image.Image:
        """Pose and shape of the seed `coarse`, colours and texture of `fine`.

        `at`: how many layers, from the coarsest on, have the former; by default half of them.
        """
        layers = self.options.latents
        at = layers // 2 if at is None else at
        if not 0 <= at <= layers:
            raise expected("at", at, f"0..{layers}, the model's layers", "choose another")
        w = mixed(self.w(coarse, truncation)[None], self.w(fine, truncation)[None], at, layers)
        return next(self.pictures([w[0]]))

    def interpolate(
        self, seeds: Sequence[int], frames: int = 60, truncation: float = 0.7, *, loop: bool = True
    ) -> Iterator[Image.Image]:
        """From each seed's picture to the next one's in `frames` steps, on a smooth curve through their w.

        `loop`: whether the last leads back to the first. Each picture of a seed occurs once; without a loop the last
        one ends it. Raises `PinxitError` for fewer than two seeds.
        """
        if len(seeds) < 2 or frames < 1:
            got = f"{len(seeds)} seeds, {frames} frames between them"
            raise expected("the interpolation", got, "two seeds or more, and one frame or more", "give them")
        knots = torch.stack([self.w(seed, truncation) for seed in seeds])
        ways = len(seeds) if loop else len(seeds) - 1
        path = [on_curve(knots, i + step / frames, loop) for i in range(ways) for step in range(frames)]
        return self.pictures(path if loop else [*path, knots[-1]])

    @torch.no_grad()
    def principal(self, count: int = 16, seed: int = 0) -> Directions:
        """The principal directions of w: along the first one it differs most. At most `style_dim` of them."""
        if not 1 <= count <= self.options.style_dim:
            raise expected("count", count, f"1..{self.options.style_dim}, the numbers of a latent", "choose fewer")
        w = self._many(LATENTS_OF_PCA, seed)
        values, vectors = torch.linalg.eigh(torch.cov(w.t()))
        values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count].t()
        # Which of two opposite ones it is, is chance: that whose largest number is above 0.
        largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
        vectors = vectors * largest.sign()
        return Directions(vectors.float().to(self.device), values.clamp_min(0).sqrt().float().to(self.device))

    def edit(
        self, w: Tensor, directions: Directions, strengths: Sequence[float], layers: tuple[int, int] | None = None
    ) -> Image.Image:
        """The picture of w or w+, moved along each direction by so many of its standard deviations.

        `layers`: the first that is moved and the one behind the last; by default all. Raises `PinxitError` for
        directions of another model, or more strengths than there are.
        """
        dim, all_layers = self.options.style_dim, self.options.latents
        if directions.vectors.shape[1] != dim:
            got = f"of {directions.vectors.shape[1]} numbers"
            raise expected("directions", got, f"{dim}, as the model's latents", "use those of this model")
        if len(strengths) > len(directions.vectors):
            raise expected("strengths", f"{len(strengths)}", f"at most {len(directions.vectors)}", "leave some out")
        first, last = layers or (0, all_layers)
        if not 0 <= first < last <= all_layers:
            raise expected("layers", f"{first} {last}", f"two numbers from 0 to {all_layers}, rising", "correct them")
        by = torch.tensor(list(strengths), device=self.device) * directions.deviations[: len(strengths)]
        step = by @ directions.vectors[: len(strengths)]
        latents = (w if w.ndim == 2 else w.expand(all_layers, -1)).clone()
        latents[first:last] += step
        return next(self.pictures([latents]))

    def project(
        self,
        picture: Image.Image,
        steps: int = 400,
        seed: int = 0,
        *,
        plus: bool = False,
        distance: Callable[[Tensor, Tensor], Tensor] | None = None,
        progress: Callable[[int], object] = lambda step: None,
    ) -> Projection:
        """Search the w (with `plus` the w+) whose picture is nearest (Karras et al. 2020, sec. 5 and appendix D).

        From the best of some random w by Adam; noise that fades is added to w on the way, so that it does not stick.
        `distance`: of two batches [N, 3, H, W]; the paper's is LPIPS. By default `pyramid_distance`, which needs no
        weights and minds colours and layout more than texture; `pinxit.nn.vgg.load_perceptual` gives another.
        The picture is cut to the square in its middle and scaled. Noise stays the model's own; the paper fits it too.
        """
        if steps < 1:
            raise expected("steps", steps, "1 or more", "enlarge it")
        compare = distance or pyramid_distance
        target = to_tensor(square(picture.convert("RGB"), self.options.size))[None].to(self.device)
        some = self._many(256, seed).float()
        spread = (self._many(SPREAD_OF, seed) - self.mean).square().sum(dim=1).mean().sqrt().item()
        with torch.no_grad():
            near = [compare(self.G(w[None]), target).item() for w in [self.mean, *truncated(some, self.mean, 0.7)[:64]]]
        start = [self.mean, *truncated(some, self.mean, 0.7)[:64]][int(np.argmin(near))]
        w = (start.expand(self.options.latents, -1) if plus else start).clone().requires_grad_()
        optimizer = torch.optim.Adam([w], lr=0.1, betas=(0.9, 0.999))
        generator = torch.Generator().manual_seed(seed)
        best, best_w = min(near), w.detach().clone()
        for step in range(steps):
            t = step / steps
            optimizer.param_groups[0]["lr"] = 0.1 * ramp(t)
            shake = 0.05 * spread / math.sqrt(len(start)) * max(0.0, 1 - t / 0.75) ** 2
            noise = shake * torch.randn(w.shape, generator=generator).to(self.device)
            loss = compare(self.G((w + noise)[None]), target)
            (w.grad,) = torch.autograd.grad(loss, w)
            optimizer.step()
            with torch.no_grad():
                if step % 10 == 9 or step == steps - 1:
                    found = compare(self.G(w[None]), target).item()
                    if found < best:
                        best, best_w = found, w.detach().clone()
            progress(step + 1)
        return Projection(best_w, next(self.pictures([best_w])), best)

    @torch.no_grad()
    def _many(self, count: int, seed: int) -> Tensor:
        z = torch.randn(count, self.options.style_dim, generator=torch.Generator().manual_seed(seed))
        return torch.cat([self.G.mapping(some.to(self.device)) for some in z.split(5000)]).double()


def ramp(t: float) -> float:
    """The share of the learning rate at `t` of the way: up within 5 %, down as a cosine over the last quarter."""
    return min(1.0, t / 0.05 + 0.02) * (0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - t) / 0.25)))


def pyramid_distance(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference of pixels and of their slopes, averaged over halved sizes as far as 8 pixels."""
    total, scales = torch.zeros((), device=a.device), 0
    while min(a.shape[2:]) >= 8:
        total = total + F.l1_loss(a, b)
        for dim in (2, 3):
            total = total + F.l1_loss(a.diff(dim=dim), b.diff(dim=dim))
        a, b, scales = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2), scales + 1
    return total / scales


def on_curve(knots: Tensor, t: float, loop: bool) -> Tensor:
    """A point of the Catmull-Rom curve through `knots` [K, D] at `t`, whose whole numbers are the knots."""
    count, i, u = len(knots), int(t), t - int(t)

    def knot(j: int) -> Tensor:
        return knots[j % count] if loop else knots[min(max(j, 0), count - 1)]

    a, b, c, d = (knot(j) for j in range(i - 1, i + 3))
    return b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))


def read_directions(path: Path) -> Directions:
    """Directions from an `.npz`: GANSpace's published ones (`act_comp`, `act_stdev`, of w), or our own (`vectors`,
    `deviations`). Nothing in it is executed. Raises `PinxitError`."""
    thing, want = f"directions '{path}'", "an .npz with act_comp and act_stdev, as GANSpace writes it"
    if not path.is_file():
        raise expected(thing, "not there", want, "check the path")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            names = ("act_comp", "act_stdev") if "act_comp" in held.files else ("vectors", "deviations")
            vectors, deviations = (np.asarray(held[name], np.float32) for name in names)
    except KeyError as error:
        raise expected(thing, f"without {error}", want, "check that this is the right file") from error
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise expected(thing, f"damaged, or pickled ({error})", want, "download it again") from error
    vectors, deviations = vectors.reshape(len(vectors) if vectors.ndim else 0, -1), deviations.reshape(-1)
    if len(vectors) == 0 or len(vectors) != len(deviations) or not np.isfinite(vectors).all():
        got = f"of {len(vectors)} directions and {len(deviations)} deviations"
        raise expected(thing, got, "as many of each, all finite", "download it again")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise expected(thing, "with one of length 0", "ways to go", "download it again")
    return Directions(torch.from_numpy(vectors / lengths), torch.from_numpy(deviations))


def load(file: ModelFile, device: torch.device | str = "cpu") -> Model:
    """A model ready to sample. Raises `PinxitError` where the file is not whole."""
    return Model(file, network_of(file), torch.device(device))


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    return Network(**options_of(file, {f.name for f in dataclasses.fields(Network)}, ()))
