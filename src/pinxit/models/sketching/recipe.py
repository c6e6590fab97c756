"""The objective of GAN Sketching and one training iteration (Wang et al. 2021, sec. 3)."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from pinxit.data.sheet import columns
from pinxit.data.sketches import Sketch, read_sketches
from pinxit.data.squares import SquareStream, check_squares, find_squares, rows_of
from pinxit.data.stream import shuffled
from pinxit.errors import expected
from pinxit.modelfile import ModelFile, read
from pinxit.models.photosketch.generate import contour_network
from pinxit.models.sketching.config import Data, Options, Training
from pinxit.models.sketching.network import Seen, Shift, twin
from pinxit.models.sketching.score import Measured, line_distances, measured
from pinxit.models.stylegan2.draws import Draws
from pinxit.models.stylegan2.generate import network_of
from pinxit.models.stylegan2.network import GROUP, Discriminator, Generator
from pinxit.models.stylegan2.recipe import lazy_adam, mean_over_ranks, mean_w, require_groups
from pinxit.models.stylegan2.weights import absorb
from pinxit.nn.counting import counted, speed
from pinxit.nn.losses import fake_loss, generator_loss, real_loss
from pinxit.recipe import (
    Adam,
    Forecast,
    Recipe,
    Stage,
    frozen,
    rank,
    state_on_cpu,
    update,
    world_size,
)
from pinxit.translator import filled

FOR_D, FOR_G, FOR_REAL = 0, 3, 6
"""Where a generation's random draws begin among those of a step: latents, noise, mixing."""
AUGMENT_REAL, AUGMENT_D, AUGMENT_G, AUGMENT_R1 = 9, 10, 11, 12
"""Numbers of the other draws."""

SCORES = 1 << 40
"""What the seed of the z of scores and sample sheets is more than the run's."""
AT_ONCE = 8
"""Pictures of a score that are made together."""
CPU = torch.device("cpu")


class Sketched(NamedTuple):
    """A batch."""

    sketch: Tensor
    """float32 [N, 1, size, size] in [-1, 1]: lines dark, paper 1."""
    photo: Tensor | None
    """float32 [N, 3, size, size] in [-1, 1]; None where samples of the original stand in for them."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> SketchingRecipe:
    """The recipe that `options` describe; models, sketches and pictures are checked first.

    Warns of what is done to sketches, and of those that look like photos. Raises `PinxitError` for whatever is wrong
    with the models, the sketches, the pictures or the options.
    """
    data, t = options.data, options.training
    require_groups(t.batch)
    base, photosketch = opened(data)
    size = network_of(base).size
    sketches = sketches_of(data, size)
    if rank() == 0:
        for note in (note for sketch in sketches for note in sketch.notes):
            warnings.warn(note, stacklevel=2)
    photos = None
    if data.data is not None and t.image:
        paths = find_squares(data.data)
        if data.check and rank() == 0:
            check_squares(paths)
        photos = SquareStream(paths, size, t.batch, seed, rank(), world_size(), workers, flip=False, group=GROUP)
    # Every rank draws the same initial weights, where there are any to be drawn.
    torch.manual_seed(seed)
    lines = torch.stack([torch.from_numpy(sketch.lines) for sketch in sketches])
    assert data.base is not None
    card = {
        **base.card,
        "customised": f"{data.base.resolve().name}, by sketches ({len(sketches)}), with pinxit sketch",
        "steps": str(t.steps),
    }
    return SketchingRecipe(base, photosketch, t, lines, photos, seed=seed, rows=data.rows, card=card)


def opened(data: Data) -> tuple[ModelFile, ModelFile]:
    """The model of StyleGAN2 that is customised, and that of PhotoSketch. Raises `PinxitError`."""
    files = []
    for option, path, method in (("base", data.base, "stylegan2"), ("photosketch", data.photosketch, "photosketch")):
        if path is None:
            raise expected(f"--{option}", "missing", f"a model of {method}", "name one")
        file = read(path)
        if file.method != method:
            raise expected(f"--{option} '{path}'", f"of method {file.method}", method, "name another model")
        files.append(file)
    return files[0], files[1]


def sketches_of(data: Data, size: int) -> list[Sketch]:
    """The sketches that `data` names, clean and at `size` pixels. Raises `PinxitError`."""
    if not data.sketches:
        raise expected("the number of --sketches", 0, "1 or more", "name files or folders, or draw some")
    return read_sketches(data.sketches, (size, size), pad=data.pad)


def trained(G: Generator, what: str) -> list[str]:
    """Names of the weights that `--train` means."""
    parts = {"mapping": ("style.",), "shift": ("w_shift",), "styles": ("style.", ".modulation."), "all": ("",)}[what]
    return [name for name, _ in G.named_parameters() if any(part in name for part in parts)]


class SketchingRecipe(Recipe):
    """A generator that is customised.

    `G_before` is the original, `G_ema` the average of `G` over its last steps, `G_best` the average when it had the
    best score; weights that are not trained are the same tensors in all of them. `before` and `now` are what
    `score.measured` said of the original and of the average at the last score; `last_r1` the penalties as they last
    were, for the log.

    Args:
        base: the model of StyleGAN2.
        photosketch: the model that draws contours.
        lines: all sketches, [M, 1, size, size] in [-1, 1], lines dark.
        photos: what the base was trained on; without it, samples of the base.
        rows: pictures on a sample sheet.
        card: what the model file says of itself.

    Raises:
        PinxitError: a model is not whole, or the base has no discriminator and none that is fresh is asked for.
    """

    best_score: Tensor
    best_step: Tensor
    last_r1: Tensor
    before: Tensor
    now: Tensor

    def __init__(
        self,
        base: ModelFile,
        photosketch: ModelFile,
        training: Training,
        lines: Tensor,
        photos: SquareStream | None = None,
        *,
        seed: int = 0,
        rows: int = 6,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        t = self.training_options = training
        self.network, self.base, self.lines, self.photos = network_of(base), base, lines, photos
        self.seed, self.rows, self.card = seed, rows, card or {}
        self.draws = Draws(seed, training.mixing, training.augment)
        self.digest = digest_of(base, photosketch, lines)
        require_size(self.network.size, lines, t)

        self.G = filled(Generator(self.network), "G", base, CPU)
        if t.train == "shift":
            self.G.style.append(Shift(self.network.style_dim))
        self.names = trained(self.G, t.train)
        self.G_before, self.G_ema, self.G_best = (cast(Generator, twin(self.G, self.names)) for _ in range(3))
        for name in self.names:
            self.G.get_parameter(name).requires_grad_(True)

        self.D_sketch = discriminator_of(base, fresh=t.sketch_discriminator == "fresh")
        self.D_image = discriminator_of(base, fresh=not any(name.startswith("D.") for name in base.tensors))
        contours = contour_network(photosketch)
        self.drawn, self.given = Seen(t.drawn, contours), Seen(t.given)
        # The finished model: trained by, PhotoSketch's gathered statistics move away from those of photos.
        self.judge = Seen(t.drawn, twin(contours, ())).eval()

        for name, shape in (("best_score", ()), ("best_step", ()), ("last_r1", (2,)), ("before", (3,)), ("now", (3,))):
            self.register_buffer(name, torch.zeros(shape))
        self.best_score.fill_(float("inf"))
        judges = nn.ModuleList([self.D_sketch, self.D_image] if t.image else [self.D_sketch])
        self.optimizers = {
            "G": Adam([self.G.get_parameter(name) for name in self.names], lr=t.lr, betas=(0.0, 0.99)),
            "D": lazy_adam(judges, t.lr if t.d_lr is None else t.d_lr, t.r1_every),
        }

    def train(self, mode: bool = True) -> SketchingRecipe:
        super().train(mode)
        self.judge.eval()
        return self

    def get_extra_state(self) -> Tensor:
        """Which models and sketches these are: 32 bytes."""
        return self.digest.clone()

    def set_extra_state(self, state: Tensor) -> None:
        """Raises `PinxitError` where a run of others is resumed."""
        if not torch.equal(state.cpu(), self.digest):
            got, want = "with other sketches or other models", "those that the run began with"
            raise expected("--resume", got, want, "name those, or begin another run")

    def stages(self) -> Iterator[Stage]:
        yield Stage("sketching", self.training_options.steps, self.batches, self.step)

    def batches(self, start: int = 0) -> Iterator[Sketched]:
        """Sketches in an order that is drawn anew each time all have been shown; and pictures, as their stream has
        them."""
        batch, many = self.training_options.batch, len(self.lines)
        rows = rows_of(rank(), world_size(), batch, GROUP)
        photos = self.photos.batches(start) if self.photos is not None else None
        step = start
        while True:
            places = [divmod(step * batch + row, many) for row in rows]
            which = [int(shuffled(self.seed, epoch, many, side=2)[place]) for epoch, place in places]
            yield Sketched(self.lines[which], None if photos is None else next(photos).photo)
            step += 1

    def step(self, batch: Sketched, step: int) -> dict[str, Tensor]:
        """Both discriminators, now and then their penalty, and the generator; then its average, and now and then its
        score."""
        t, kind = self.training_options, self.training_options.adversarial
        inputs, augmented = self.draws.inputs, self.draws.augmented
        if step == 0:
            self.before.copy_(torch.stack(self.measure(self.G_before)))
            self.now.copy_(self.before)
        sketch, photo = batch
        rows = len(sketch)
        with torch.no_grad():
            fake = self.G(*inputs(self.G, step, FOR_D, rows))
            drawn = augmented(self.drawn(fake), step, AUGMENT_D)
            if t.image and photo is None:
                photo = self.G_before(*inputs(self.G_before, step, FOR_REAL, rows))
        losses = {
            "D_fake_sketch": fake_loss(self.D_sketch(drawn), kind),
            "D_real_sketch": real_loss(self.D_sketch(augmented(self.given(sketch), step, AUGMENT_REAL)), kind),
        }
        if photo is not None and t.image:
            losses["D_fake_image"] = t.image * fake_loss(self.D_image(fake), kind)
            losses["D_real_image"] = t.image * real_loss(self.D_image(photo), kind)
        update(self.optimizers["D"], torch.stack([*losses.values()]).sum())

        if t.r1_every and step % t.r1_every == 0:
            penalties = [
                squared_slopes(self.D_sketch, sketch, lambda x: augmented(self.given(x), step, AUGMENT_R1)),
            ]
            if photo is not None and t.image:
                penalties.append(t.image * squared_slopes(self.D_image, photo))
            update(self.optimizers["D"], torch.stack(penalties).sum() * (t.r1 / 2 * t.r1_every))
            for i, penalty in enumerate(penalties):
                self.last_r1[i] = mean_over_ranks(penalty)

        with frozen(self.D_sketch, self.D_image):
            fake = self.G(*inputs(self.G, step, FOR_G, rows))
            of_g = {"G_sketch": generator_loss(self.D_sketch(augmented(self.drawn(fake), step, AUGMENT_G)), kind)}
            if t.image:
                of_g["G_image"] = t.image * generator_loss(self.D_image(fake), kind)
            if t.weight:
                of_g["G_weight"] = t.weight * self.change()
            update(self.optimizers["G"], torch.stack([*of_g.values()]).sum())
        losses |= of_g

        self.average()
        if (step + 1) % t.score_every == 0:
            self.keep_best(step + 1)
        losses |= {"r1_sketch": self.last_r1[0], "r1_image": self.last_r1[1]}
        now, before = Measured(*self.now.unbind()), Measured(*self.before.unbind())
        losses |= {"outlines": now.outlines, "covered": now.covered, "spread": now.spread, "score": now.score(before)}
        return {name: loss.detach().clone() for name, loss in losses.items()}

    def change(self) -> Tensor:
        """The mean absolute change of each weight that is trained, averaged over them."""
        parts = [(self.G.get_parameter(n) - self.G_before.get_parameter(n)).abs().mean() for n in self.names]
        return torch.stack(parts).mean()

    @torch.no_grad()
    def average(self) -> None:
        for name in self.names:
            self.G_ema.get_parameter(name).lerp_(self.G.get_parameter(name), 1 - self.training_options.ema)

    @torch.no_grad()
    def keep_best(self, step: int) -> None:
        """Score the average after `step` steps, and keep it where it is the best yet."""
        found = self.measure(self.G_ema)
        self.now.copy_(torch.stack(found))
        score = found.score(Measured(*self.before.unbind()))
        if score < self.best_score:
            self.best_score.copy_(score)
            self.best_step.fill_(step)
            for name in self.names:
                self.G_best.get_parameter(name).copy_(self.G_ema.get_parameter(name))

    @torch.no_grad()
    def measure(self, G: Generator) -> Measured:
        """What is measured of a generator: always of the same z and its own noise, in fp32."""
        pictures, contours = [], []
        with torch.autocast(self.now.device.type, enabled=False):
            for some in self.latents_of(self.training_options.score_of).split(AT_ONCE):
                picture = G.forward(G.mapping(some)).clamp(-1, 1)
                pictures.append(picture)
                contours.append(self.judge.forward(picture)[:, :1])
        return measured(torch.cat(pictures), torch.cat(contours), self.lines.to(self.now.device))

    def latents_of(self, count: int) -> Tensor:
        """The z [count, style_dim] of scores and sample sheets."""
        # Not of the seed itself: a base's first weights were drawn by such a one, and its mapping answers the very
        # same numbers as it does no other z.
        generator = torch.Generator().manual_seed(self.seed + SCORES)
        return torch.randn(count, self.network.style_dim, generator=generator).to(self.now.device)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row for each z, the same ones always: the picture before, its contours, the picture now, its contours, and
        the sketch nearest to them."""
        if self.rows < 1:
            return None
        z = self.latents_of(self.rows)
        before, now = (
            torch.cat([G.forward(G.mapping(some)).clamp(-1, 1) for some in z.split(AT_ONCE)])
            for G in (self.G_before, self.G_ema)
        )
        contours = [torch.cat([self.judge.forward(some) for some in x.split(AT_ONCE)]) for x in (before, now)]
        lines = self.lines.to(z.device)
        nearest = lines[line_distances(contours[1][:, :1], lines).argmin(dim=1)]
        return columns(before, contours[0], now, contours[1], nearest)

    def forecast(self) -> Forecast:
        device, size = self.now.device, self.network.size
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - as the loop has it
        rate = speed(self.D_sketch, torch.zeros(4, 3, size, size, device=device))
        seconds, memory = self.cost(rate)
        self.foretold = Forecast(seconds, memory)
        return self.foretold

    def cost(self, rate: float) -> tuple[float, float]:
        """Seconds at `rate` operations a second, and bytes of activations, weights, gradients and Adam's moments."""
        t, rows, size = self.training_options, max(1, self.training_options.batch // world_size()), self.network.size
        with torch.device("meta"):
            G, D = Generator(self.network), Discriminator(self.network)
        contours = twin(cast(nn.Module, self.drawn.contours), ()).to("meta")
        of_g, held = counted(G, torch.empty(rows, self.network.style_dim, device="meta"))
        of_d, held_by_d = counted(D, torch.empty(rows, 3, size, size, device="meta"))
        of_c, held_by_c = counted(contours, torch.empty(rows, 3, size, size, device="meta"))
        judges = 2 if t.image else 1
        # A backward pass takes two forward ones, and one where only the picture's gradient is asked for; a penalty
        # about six in all.
        operations = (3 + (t.image > 0)) * of_g + 3 * of_c + 8 * judges * of_d
        if t.r1_every:
            operations += 6 * judges * of_d / t.r1_every
        operations += t.score_of / rows * (of_g + of_c) / t.score_every
        weights = sum(p.numel() for part in (G, D, D) for p in part.parameters())
        return t.steps * operations / rate, float(2 * (held + judges * held_by_d) + held_by_c + 20 * weights)

    def model_file(self) -> ModelFile:
        """A model of StyleGAN2. What was not trained is the base's, byte for byte."""
        best = self.training_options.keep == "best" and self.best_step.item() > 0
        G, names = (self.G_best if best else self.G_ema), self.names
        if self.training_options.train == "shift":
            G, names = unshifted(G, self.network.style_dim), trained(self.G_before, "styles")
            names = [name for name in names if ".modulation.bias" in name]
        state = state_on_cpu(G.state_dict())
        tensors = {**self.base.tensors, **{f"G.{name}": state[name] for name in names}, "w_mean": mean_w(G).cpu()}
        if self.training_options.image:
            tensors |= {f"D.{name}": value for name, value in state_on_cpu(self.D_image.state_dict()).items()}
        card = dict(self.card)
        if best:
            card["iterate"] = f"after {int(self.best_step)} steps, the best by the distance of its outlines"
        return ModelFile("stylegan2", self.base.config, tensors, card=card)


def squared_slopes(D: nn.Module, real: Tensor, judged: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """The mean over pictures of the squared slope of D's logits by the picture, ahead of `judged` (Mescheder et al.
    2018, eq. 9, without gamma / 2).

    As `r1_penalty` of StyleGAN2, but that a weight that slopes do not hang on, the last bias, has no gradient, where
    that one has 0: Adam then passes it over, and counts one step less for it. So does the authors' code.
    """
    with torch.autocast(real.device.type, enabled=False):
        real = real.detach().float().requires_grad_()
        logits = D.forward(judged(real))
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return slope.square().sum(dim=(1, 2, 3)).mean()


def unshifted(G: Generator, style_dim: int) -> Generator:
    """The same generator, whose shift of w is in the layers that w goes to."""
    shift = cast(Shift, G.style[-1]).w_shift.detach().reshape(style_dim)
    G = cast(Generator, twin(G, [name for name, _ in G.named_parameters()]))
    del G.style[-1]
    absorb(G, shift)
    return G


def discriminator_of(base: ModelFile, *, fresh: bool) -> Discriminator:
    """The original's discriminator, or one with random weights.

    Raises `PinxitError` where the base has none.
    """
    D = Discriminator(network_of(base))
    if fresh:
        return D
    if not any(name.startswith("D.") for name in base.tensors):
        want = "with it, as training and import of a whole checkpoint leave it"
        remedy = "import the file that has d too, or give --sketch-discriminator fresh"
        raise expected("the model that is customised", "without its discriminator", want, remedy)
    return filled(D, "D", base, CPU).requires_grad_(True)


def require_size(size: int, lines: Tensor, t: Training) -> None:
    """Raises `PinxitError` for sketches of another size than the base's pictures, or too many halvings of it."""
    if lines.shape[1:] != (1, size, size):
        got = "x".join(map(str, lines.shape[2:]))
        raise expected("the sketches' size", got, f"{size}x{size}, as the base's pictures", "scale them")
    if size >> max(t.drawn.count("down"), t.given.count("down")) < 8:
        got = f"{max(t.drawn.count('down'), t.given.count('down'))} times down"
        raise expected("--drawn", got, f"what leaves 8 of {size} pixels", "leave some out")


def digest_of(base: ModelFile, photosketch: ModelFile, lines: Tensor) -> Tensor:
    """SHA-256 over the weights of both models and the sketches, as bytes."""
    digest = hashlib.sha256()
    for tensors in (base.tensors, photosketch.tensors, {"": lines}):
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
