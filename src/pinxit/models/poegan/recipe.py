"""The objective of PoE-GAN and one training iteration (Huang et al. 2022, sec. 3.3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.data.augment import Preprocess
from pinxit.data.captions import Captioned
from pinxit.data.conditions import (
    Conditioned,
    Conditions,
    ConditionStream,
    check_conditions,
    condition_pictures,
    find_conditions,
    label_set_of,
)
from pinxit.data.download import fetch
from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.poegan.config import MODALITIES, Data, Network, Options, Training
from pinxit.models.poegan.discriminator import Discriminator, Judged
from pinxit.models.poegan.experts import divergence
from pinxit.models.poegan.network import Experts, Generator
from pinxit.nn import vgg
from pinxit.nn.ema import EMA
from pinxit.recipe import (
    Adam,
    Recipe,
    Stage,
    frozen,
    rank,
    state_on_cpu,
    step_generator,
    step_noise,
    update,
    world_size,
)
from pinxit.text.matching import matching_loss, same_rows
from pinxit.text.training import BUILT_IN, PRECOMPUTED, Texts, whole_batch

Inputs = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]
"""Labels, sketch, text and style as the networks take them."""

PRESENT, NOISE = 0, 1
"""Numbers of a step's draws: which inputs are shown; the noise of the global latent, those of the spatial ones after
it."""

SHOWN = ((), ("map",), ("sketch",), ("text",), ("style",), MODALITIES)
"""Subsets of the inputs that the sample sheet has columns of."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> PoEGANRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    items = items_of(data, data.split)
    inputs = inputs_of(items, options.network.inputs)
    labels = label_set_of(items, data.data, data.label_set) if "map" in inputs else None
    perceptual = perceptual_of(data)
    if data.check and rank() == 0:
        check_conditions(items, labels)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    texts = (
        Texts(data.text_encoder, options.network.text_width, data.data, data.text_cache) if "text" in inputs else None
    )
    network = resolve(options.network, inputs, labels, texts)
    rows = None if texts is None else rows_of(texts, items)
    preprocess = Preprocess(t.preprocess, t.load_size, network.size, t.flip)

    def stream(some: Sequence[int], batch: int) -> ConditionStream:
        chosen = [items[i] for i in some]
        of_texts = None if rows is None else [rows[i] for i in some]
        return ConditionStream(chosen, labels, preprocess, of_texts, batch, seed, rank(), world_size(), workers)

    everything = range(len(items))
    captioned = [i for i in everything if items[i].captions]
    learns = texts is not None and texts.name == BUILT_IN
    return PoEGANRecipe(
        network,
        t,
        labels,
        texts,
        stream(everything, t.batch),
        stream(captioned, t.text_batch) if learns else None,
        seed=seed,
        perceptual=perceptual,
        examples=examples_of(data, items, labels, preprocess, texts),
        card={
            "data": f"{(data.data or data.photos or Path()).resolve().name}, {len(items)} photos",
            "source": "trained with pinxit train poegan",
            "steps": str(t.steps),
        },
    )


def items_of(data: Data, split: str) -> list[Conditioned]:
    return find_conditions(
        data.data, split, photos=data.photos, maps=data.maps, sketches=data.sketches, captions=data.captions
    )


def inputs_of(items: Sequence[Conditioned], wanted: Sequence[str]) -> tuple[str, ...]:
    """What a model is to take: what is wanted, or else all that some of the items have. Every photo has a style.

    Raises `PinxitError` where no item has something that is wanted.
    """
    there = {name for item in items for name, has in zip(MODALITIES, (*item.has, True), strict=True) if has}
    for name in wanted:
        if name not in there:
            raise expected(
                f"the data's {name}", "missing of every photo", f"{name}s of some", "add them, or mend --inputs"
            )
    return tuple(name for name in MODALITIES if name in (wanted or there))


def resolve(network: Network, inputs: tuple[str, ...], labels: LabelSet | None, texts: Texts | None) -> Network:
    """The network with what the data says filled in. Raises `PinxitError` where it was made for other labels."""
    if texts is not None:
        network = dataclasses.replace(network, text_width=texts.width)
    network = dataclasses.replace(network, inputs=inputs)
    if labels is None:
        return network
    count = len(labels.labels)
    if network.labels not in (0, count):
        raise expected(f"label set {labels.name!r}", f"{count} labels", network.labels, "mend --label-set or --labels")
    return dataclasses.replace(network, labels=count, unknown=bool(labels.ignore))


def rows_of(texts: Texts, items: Sequence[Conditioned]) -> list[Tensor]:
    """For each item the rows of its captions; of one without any, none."""
    captioned = [Captioned(item.photo, item.captions) for item in items if item.captions]
    rows = iter(texts.prepare(captioned))
    found = [next(rows) if item.captions else None for item in items]
    none = next(x for x in found if x is not None)[:0]
    return [none if x is None else x for x in found]


def perceptual_of(data: Data) -> vgg.PerceptualDistance | None:
    if data.vgg is None:
        return None
    if data.vgg == "download":
        return vgg.load_perceptual(fetch(vgg.URL, vgg.SHA256, "give --vgg FILE, or leave it out"))
    return vgg.load_perceptual(Path(data.vgg))


def examples_of(
    data: Data, items: list[Conditioned], labels: LabelSet | None, preprocess: Preprocess, texts: Texts | None
) -> Conditions | None:
    """Items for the preview, spread over the validation split where there is one, else over `items`: those first that
    have most."""
    if data.rows < 1:
        return None
    if data.data is not None and data.split == "train" and data.text_encoder != PRECOMPUTED:
        try:
            held_out = find_conditions(data.data, "val")
        except PinxitError:  # it has none
            held_out = []
        if labels is not None or not any(item.label for item in held_out):
            items = held_out or items
    most = max(sum(item.has) for item in items)
    full = [item for item in items if sum(item.has) == most]
    shown = full[:: max(1, len(full) // data.rows)][: data.rows]
    rows = rows_of(texts, shown) if texts is not None and any(item.captions for item in shown) else None
    return condition_pictures(shown, labels, preprocess, rows)


class PoEGANRecipe(Recipe):
    """PoE-GAN in training.

    `average` holds the mean of `G` over its last steps, which samples are made with; `last_r1` is the penalty as it
    last was, for the log.
    """

    last_r1: Tensor
    bf16 = True

    def __init__(
        self,
        network: Network,
        training: Training,
        label_set: LabelSet | None = None,
        texts: Texts | None = None,
        stream: ConditionStream | None = None,
        text_stream: ConditionStream | None = None,
        *,
        seed: int = 0,
        perceptual: vgg.PerceptualDistance | None = None,
        examples: Conditions | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        t = self.training_options = training
        self.network, self.label_set, self.stream, self.text_stream = network, label_set, stream, text_stream
        self.seed, self.examples, self.card = seed, examples, card or {}
        # Not a sub-module, which checkpoints would hold.
        self._perceptual = [] if perceptual is None else [perceptual]
        self.G, self.D = Generator(network), Discriminator(network)
        self.average = EMA(self.G, t.ema)
        self.texts = texts
        self.register_buffer("last_r1", torch.zeros(()))
        self.optimizers = {
            "G": Adam(self.G.parameters(), lr=t.lr, betas=(0.0, 0.99)),
            "D": Adam(self.D.parameters(), lr=t.lr if t.d_lr is None else t.d_lr, betas=(0.0, 0.99)),
        }
        if texts is not None and text_stream is not None:
            self.optimizers["text"] = Adam(texts.parameters(), lr=t.text_lr)

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        if self.text_stream is not None:
            yield Stage("text", self.training_options.text_steps, self.text_stream.batches, self.text_step)
        yield Stage("poegan", self.training_options.steps, self.stream.batches, self.step)

    def text_step(self, batch: Conditions, step: int) -> dict[str, Tensor]:
        """The built-in encoder learns which caption belongs to which photo."""
        assert self.texts is not None
        loss = self.texts.matching_step(batch.photo, batch.text)
        update(self.optimizers["text"], loss)
        return {"text": loss.detach()}

    def present(self, has: Tensor, step: int) -> Tensor:
        """Which inputs are shown in a step, bool [N, 4]: each that the item has, with probability `keep`, whatever the
        others do. Drawn for the whole batch, so that N processes show what one would."""
        rows = len(has)
        draws = torch.rand(rows * world_size(), len(MODALITIES), generator=step_generator(self.seed, step, PRESENT))
        kept = (draws < self.training_options.keep)[rank() * rows : (rank() + 1) * rows].to(has.device)
        there = torch.cat([has, torch.ones_like(has[:, :1])], dim=1)
        mine = torch.tensor([name in self.network.inputs for name in MODALITIES], device=has.device)
        return kept & there & mine

    def inputs(self, batch: Conditions) -> Inputs:
        """Map, sketch, text and style of a batch as the networks take them; None for what the model does not take."""
        text = self.texts.embed(batch.text) if self.texts is not None else None
        given = (batch.labels, batch.sketch, text, batch.photo)
        a, b, c, d = (x if name in self.network.inputs else None for name, x in zip(MODALITIES, given, strict=True))
        return a, b, c, d

    def step(self, batch: Conditions, step: int) -> dict[str, Tensor]:
        """D, now and then its penalty; then G by the same fake; the average."""
        t, photo = self.training_options, batch.photo
        present, inputs = self.present(batch.has, step), self.inputs(batch)
        rows, device = len(photo), photo.device
        shapes = self.G.noise_shapes()
        noise = [step_noise(self.seed, step, NOISE + i, rows, *s, device=device) for i, s in enumerate(shapes)]
        fake, experts = self.G.traced(noise, *inputs, present)

        judged = self.D(torch.cat([photo, fake.detach()]), self.D.embedded(*inputs, present), present)
        on_real, on_fake = halves(judged)
        losses = {"D": mean_over(on_real.logits, -1.0) + mean_over(on_fake.logits, 1.0)}
        d_loss = losses["D"]
        if t.text_contrast and "text" in self.network.inputs:
            losses["D_text"] = self.text_contrast(on_real, inputs[2], batch.text, batch.has[:, 2])
            d_loss = d_loss + t.text_contrast * losses["D_text"]
        update(self.optimizers["D"], d_loss)
        losses |= {"D_real": whole(on_real).mean(), "D_fake": whole(on_fake).mean()}

        if t.r1_every and step % t.r1_every == 0:
            penalty = r1_penalty(self.D, photo, inputs, present)
            update(self.optimizers["D"], penalty * (t.r1 / 2 * t.r1_every))
            self.last_r1.copy_(whole_batch(penalty.detach()[None]).mean())

        with frozen(self.D):
            with torch.no_grad():
                embedded = self.D.embedded(*inputs, present)
            on_fake = self.D(fake, embedded, present)
            losses["G"] = mean_over(on_fake.logits, -1.0)
            kl = divergences(experts, self.network.doublings + 2)
            losses["KL"] = sum(kl.values(), torch.zeros((), device=device))
            g_loss = losses["G"] + t.kl * losses["KL"]
            if t.image_contrast:
                losses["G_image"] = self.image_contrast(fake, photo, on_fake, on_real.features.detach(), present)
                g_loss = g_loss + t.image_contrast * losses["G_image"]
            if t.text_contrast and "text" in self.network.inputs:
                losses["G_text"] = self.text_contrast(on_fake, inputs[2], batch.text, present[:, 2])
                g_loss = g_loss + t.text_contrast * losses["G_text"]
            update(self.optimizers["G"], g_loss)
        self.average.update(self.G, step)
        losses |= {"r1": self.last_r1.clone()} | {f"KL_{name}": x for name, x in kl.items()}
        return {name: loss.detach() for name, loss in losses.items()}

    def text_contrast(self, judged: Judged, text: Tensor | None, rows: Tensor, counts: Tensor) -> Tensor:
        """How badly pictures and texts are told to belong together, over the whole batch of all processes (as in Zhang
        et al. 2021, XMC-GAN, eq. 5). `counts` bool [N]: which pictures have a text to be judged by."""
        assert self.D.of_text is not None
        assert text is not None
        words, pictures = self.D.of_text(text), self.D.of_picture(judged.features)
        return among(words, pictures, counts, self.training_options.temperature, same_rows(whole_batch(rows)))

    def image_contrast(self, fake: Tensor, photo: Tensor, on_fake: Judged, real: Tensor, present: Tensor) -> Tensor:
        """How badly a picture is told to belong to the photo whose inputs it was made by, among those of the whole
        batch; pictures that were made by none do not count. `real`: the discriminator's features of the photos."""
        made = on_fake.features
        if self._perceptual:
            network = self._perceptual[0].to(photo.device)
            made = network.features(fake)[-1].float().mean(dim=(2, 3))
            with torch.no_grad():
                real = network.features(photo)[-1].float().mean(dim=(2, 3))
        return among(made, real, present.any(dim=1), self.training_options.temperature)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row an example: photo, map, sketch, then pictures by nothing, by each input alone, and by all; always of
        the same noise."""
        if self.examples is None:
            return None
        G: Generator = self.average.average  # pyright: ignore[reportAssignmentType]
        device = self.last_r1.device
        batch = Conditions(*(part.to(device) for part in self.examples))
        colors = torch.zeros_like(batch.photo)
        if self.label_set is not None:
            maps = torch.stack([torch.from_numpy(self.label_set.colorize(m)) for m in batch.labels.cpu().numpy()])
            colors = maps.permute(0, 3, 1, 2).to(device) / 127.5 - 1
        columns = [batch.photo, colors, (1 - 2 * batch.sketch).expand(-1, 3, -1, -1)]
        generator = torch.Generator().manual_seed(self.seed)
        noise = [torch.randn(len(batch.photo), *s, generator=generator).to(device) for s in G.noise_shapes()]
        there = torch.cat([batch.has, torch.ones_like(batch.has[:, :1])], dim=1)
        for subset in SHOWN:
            chosen = torch.tensor(
                [name in subset and name in self.network.inputs for name in MODALITIES], device=device
            )
            columns.append(G(noise, *self.inputs(batch), there & chosen))
        return torch.stack([column.float() for column in columns], dim=1).clamp(-1, 1)

    def model_file(self) -> ModelFile:
        tensors = {f"G.{name}": x for name, x in state_on_cpu(self.average.average.state_dict()).items()}
        config = dataclasses.asdict(self.network)
        if self.texts is not None:
            config |= self.texts.described()
            tensors |= self.texts.tensors()
        labels = None if self.label_set is None else self.label_set.to_json()
        return ModelFile("poegan", config, tensors, labels, self.card)


def halves(judged: Judged) -> tuple[Judged, Judged]:
    """What was said of the first and of the second half of a batch."""
    logits = [scale.chunk(2) for scale in judged.logits]
    first, second = judged.features.chunk(2)
    return Judged([scale[0] for scale in logits], first), Judged([scale[1] for scale in logits], second)


def mean_over(logits: Sequence[Tensor], sign: float) -> Tensor:
    """The mean over scales of the logistic loss log(1 + exp(sign logit)) (Goodfellow et al. 2014): of what was made by
    sign 1, of what is real, and for the generator, by -1."""
    return torch.stack([F.softplus(sign * scale).mean() for scale in logits]).mean()


def whole(judged: Judged) -> Tensor:
    """One logit a picture [N]: the mean over scales of that over places."""
    return torch.stack([scale.flatten(1).mean(dim=1) if scale.ndim > 1 else scale for scale in judged.logits]).mean(0)


def r1_penalty(D: Discriminator, photo: Tensor, inputs: Inputs, present: Tensor) -> Tensor:
    """The mean over pictures of the squared slope of D's logits there, summed over scales: Mescheder et al. 2018, eq.
    9, without gamma / 2. The style that D is told of is held fixed. In fp32, past a compiled form of D."""
    with torch.autocast(photo.device.type, enabled=False):
        embedded = D.embedded(*inputs, present)
        x = photo.detach().float().requires_grad_()
        judged = D.forward(x, embedded, present)
        logits = whole(judged) * len(judged.logits)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        # No weight is left without a gradient, as 0 times its logits give one: Adam then forgets alike for all.
        return slope.square().sum(dim=(1, 2, 3)).mean() + 0 * logits.sum()


def divergences(experts: Sequence[Experts], latents: int) -> dict[str, Tensor]:
    """Of each modality what it tells beyond the prior, in nats: the mean over the batch, over all `latents` alike."""
    found: dict[str, Tensor] = {}
    for of_latent in experts:
        nats = divergence(of_latent.mean, of_latent.log_variance, of_latent.present).mean(dim=0) / latents
        for name, x in zip(of_latent.names, nats, strict=True):
            found[name] = found[name] + x if name in found else x
    return found


def among(a: Tensor, b: Tensor, counts: Tensor, temperature: float, same: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE of rows of `a` [N, W] and of `b` over the whole batch of all processes; of the rows that
    `counts` bool [N] alone. 0 where fewer than two count."""
    a, b, counts = whole_batch(a.float()), whole_batch(b.float()), whole_batch(counts)
    few = 0 * (a.sum() + b.sum())
    chosen = counts.nonzero()[:, 0]
    if len(chosen) < 2:
        return few
    if same is not None:
        same = same[chosen][:, chosen]
    return matching_loss(a[chosen], b[chosen], temperature, same) + few
