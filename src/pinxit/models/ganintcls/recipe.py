"""The objective of GAN-INT-CLS and one training iteration (Reed et al. 2016, algorithm 1 and eq. 5)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from pinxit.data.captions import (
    CaptionBatch,
    Captioned,
    CaptionStream,
    FoundCaptions,
    check_captions,
    find_captioned,
    still,
)
from pinxit.data.check import raise_first
from pinxit.data.download import cache_folder
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.ganintcls.config import SIZE, Data, Network, Options, Training
from pinxit.models.ganintcls.network import Discriminator, Generator
from pinxit.nn.losses import fake_loss, generator_loss, real_loss
from pinxit.recipe import (
    Adam,
    Recipe,
    Stage,
    frozen,
    rank,
    set_rate,
    state_on_cpu,
    step_noise,
    update,
    world_size,
)
from pinxit.text.training import CACHE, Texts, embeddings_in, whole_batch

FOR_D, FOR_G, FOR_BETWEEN = 0, 1, 2
"""Numbers of a step's draws of noise."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> GANINTCLSRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    if t.batch % (2 * world_size()):
        raise expected("--batch", t.batch, f"a multiple of {2 * world_size()}", "round it")
    items = find_captioned(data.data, data.split)
    if data.check and rank() == 0:
        raise_first(check_captions(FoundCaptions(items)).problems)
    assert data.data is not None
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    # Not drawn by the seed itself, by which sheets draw their z: the first weights would be those very numbers.
    torch.manual_seed(seed + (1 << 41))
    published = embeddings_in(data.data, data.split)
    learns = t.text_steps > 0
    texts = Texts(data.text_encoder, options.network.text_dim, published, cache_folder() / CACHE, pictures=learns)
    texts.require_averages(t.captions)
    rows = texts.prepare(items)
    shown = partial(
        CaptionStream,
        items,
        rows,
        SIZE,
        seed=seed,
        rank=rank(),
        world=world_size(),
        workers=workers,
        load=t.load,
        flip=t.flip,
        crop_boxes=data.boxes,
        mean_of=t.captions,
    )
    streams = shown(batch=t.text_batch), shown(batch=t.batch, with_wrong=True)
    card = {
        "data": f"{data.data.resolve().name}, {len(items)} photos with captions",
        "source": "trained with pinxit train ganintcls",
        "steps": str(t.steps),
    }
    network = dataclasses.replace(options.network, text_dim=texts.width)
    examples = examples_of(items, rows, data)
    return GANINTCLSRecipe(network, t, texts, streams, seed=seed, examples=examples, columns=data.columns, card=card)


def examples_of(items: Sequence[Captioned], rows: Sequence[Tensor], data: Data) -> CaptionBatch | None:
    """Photos and their first captions for the sample sheet, spread over the items; None: no sheet is wanted."""
    count = min(data.rows, len(items))
    if count < 1 or data.columns < 1:
        return None
    shown = [i * len(items) // count for i in range(count)]
    photos = [still(items[i], SIZE, crop_boxes=data.boxes) for i in shown]
    return CaptionBatch(torch.stack(photos), torch.stack([rows[i][0] for i in shown]))


class GANINTCLSRecipe(Recipe):
    """GAN-INT-CLS in training.

    `texts`: what makes numbers of captions. `streams`: batches for the text stage, and for the other. `examples`:
    captions for the preview, with their photos.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        texts: Texts,
        streams: tuple[CaptionStream, CaptionStream] | None = None,
        *,
        seed: int = 0,
        examples: CaptionBatch | None = None,
        columns: int = 4,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options, self.streams = network, training, streams
        self.seed, self.examples, self.columns, self.card = seed, examples, columns, card or {}
        self.texts, self.G, self.D = texts, Generator(network), Discriminator(network)
        self.optimizers = {
            name: Adam(part.parameters(), lr=training.lr, betas=(0.5, 0.999))
            for name, part in (("G", self.G), ("D", self.D))
        }
        if training.text_steps:
            self.optimizers["text"] = Adam(texts.parameters(), lr=training.text_lr)

    def stages(self) -> Iterator[Stage]:
        assert self.streams is not None
        t, (for_text, for_pictures) = self.training_options, self.streams
        if t.text_steps:
            yield Stage("text", t.text_steps, for_text.batches, self.text_step)
        yield Stage("ganintcls", t.steps, for_pictures.batches, self.step)

    def text_step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """The encoder and the network of pictures learn which caption belongs to which photo."""
        t = self.training_options
        set_rate(self.optimizers["text"], t.text_lr * (0.5 + 0.5 * math.cos(math.pi * step / t.text_steps)))
        loss = self.texts.matching_step(batch.photo, batch.text)
        update(self.optimizers["text"], loss)
        return {"text": loss.detach()}

    def step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """D, then G, each with noise of its own."""
        t = self.training_options
        assert batch.wrong is not None
        for name in ("G", "D"):
            set_rate(self.optimizers[name], t.lr * 0.5 ** (step // t.halve if t.halve else 0))
        text = self.texts.embed(batch.text)
        with torch.no_grad():
            fake = self.G(self.noise(step, FOR_D, text), text)
        right = real_loss(self.D(batch.photo, text), "original")
        # CLS: a real picture is not enough, it must be one of its text (algorithm 1, lines 8 to 10).
        wrong = fake_loss(self.D(batch.wrong, text), "original")
        made = fake_loss(self.D(fake, text), "original")
        d_loss = right + t.mismatched * wrong + (1 - t.mismatched) * made
        update(self.optimizers["D"], d_loss)

        z = self.noise(step, FOR_G, text)
        if t.interpolated:
            # INT: texts that nobody wrote, yet between what people did (eq. 5). One batch, whose norms see them all.
            between = self.between(text)
            z, text = torch.cat([z, self.noise(step, FOR_BETWEEN, between)]), torch.cat([text, between])
        with frozen(self.D):
            on_fake = self.D(self.G(z, text), text)
            rows = len(batch.photo)
            g_loss = generator_loss(on_fake[:rows], "original")
            if t.interpolated:
                # As the authors weigh it: the sum over all texts by their number, a real one counting 1.
                half = generator_loss(on_fake[rows:], "original")
                g_loss = (2 * g_loss + t.interpolated * half) / 3
            update(self.optimizers["G"], g_loss)
        losses = {"D": d_loss, "D_right": right, "D_wrong": wrong, "D_made": made, "G": g_loss}
        return {name: loss.detach() for name, loss in losses.items()}

    def between(self, text: Tensor) -> Tensor:
        """Of texts [N, text_dim] and those of other processes half as many: `beta` of one, the rest of another."""
        beta = self.training_options.beta
        first, second = whole_batch(text).chunk(2)
        return (beta * first + (1 - beta) * second).chunk(world_size())[rank()]

    def noise(self, step: int, draw: int, text: Tensor) -> Tensor:
        return step_noise(self.seed, step, draw, len(text), self.network.z_dim, device=text.device)

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row a caption: its photo, and pictures of always the same noise."""
        if self.examples is None:
            return None
        device = next(self.G.parameters()).device
        rows, columns = len(self.examples.photo), self.columns
        text = self.texts.embed(self.examples.text.to(device))
        generator = torch.Generator().manual_seed(self.seed)
        z = torch.randn(columns, self.network.z_dim, generator=generator).to(device)
        self.G.eval()
        pictures = self.G(z.repeat(rows, 1), text.repeat_interleave(columns, dim=0))
        self.G.train()
        pictures = pictures.view(rows, columns, *pictures.shape[1:]).cpu()
        return torch.cat([self.examples.photo[:, None], pictures], dim=1)

    def model_file(self) -> ModelFile:
        tensors = self.texts.tensors()
        for name, value in state_on_cpu(self.G.state_dict()).items():
            half = self.training_options.store == "float16" and value.dim() == 4
            tensors[f"G.{name}"] = value.half() if half else value
        config = dataclasses.asdict(self.network) | self.texts.described()
        return ModelFile("ganintcls", config, tensors, card=self.card)
