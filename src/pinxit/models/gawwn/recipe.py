"""The objective of GAWWN and one training iteration (Reed et al. 2016, sec. 4)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from pinxit.data.captions import CaptionBatch, Captioned, CaptionStream, FoundCaptions, check_captions, find_captioned
from pinxit.data.check import raise_first
from pinxit.data.download import cache_folder
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.gawwn.config import SIZE, Data, Network, Options, Training, Where
from pinxit.models.gawwn.network import Discriminator, generator
from pinxit.nn.losses import fake_loss, generator_loss, real_loss
from pinxit.recipe import Adam, Recipe, Stage, frozen, rank, set_rate, state_on_cpu, step_noise, update, world_size
from pinxit.text.training import CACHE, Texts, embeddings_in, others

NOISE = 0
"""Number of a step's draw."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> GAWWNRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, t = options.data, options.training
    items = with_places(find_captioned(data.data, data.split), options.network.where)
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
        crop_boxes=False,
        squeeze=data.squeeze,
        mean_of=t.captions,
    )
    streams = shown(batch=t.text_batch), shown(batch=t.batch, with_places=True)
    card = {
        "data": f"{data.data.resolve().name}, {len(items)} photos with captions",
        "source": "trained with pinxit train gawwn",
        "steps": str(t.steps),
    }
    network = dataclasses.replace(options.network, text_dim=texts.width)
    examples = examples_of(items, rows, data)
    return GAWWNRecipe(network, t, texts, streams, seed=seed, examples=examples, columns=data.columns, card=card)


def with_places(items: Sequence[Captioned], where: Where) -> list[Captioned]:
    """The items that have what tells their place. Raises `PinxitError` where none has."""
    placed = [item for item in items if (item.box if where == "box" else item.points) is not None]
    if not placed:
        want = "bounding_boxes.txt" if where == "box" else "parts/part_locs.txt"
        other = "--where points, or train ganintcls" if where == "box" else "--where box, or train ganintcls"
        raise expected("the data set", f"without {where}", f"one with {want}, as CUB-200-2011", f"take {other}")
    return placed


def examples_of(items: Sequence[Captioned], rows: Sequence[Tensor], data: Data) -> CaptionBatch | None:
    """Photos, first captions and places for the sample sheet, spread over the items; None: no sheet is wanted."""
    count = min(data.rows, len(items))
    if count < 1 or data.columns < 1:
        return None
    shown = [i * len(items) // count for i in range(count)]
    stream = CaptionStream(
        [items[i] for i in shown],
        [rows[i][:1] for i in shown],
        SIZE,
        count,
        seed=0,
        flip=False,
        crop_boxes=False,
        squeeze=data.squeeze,
        with_places=True,
    )
    return next(stream.batches())


class GAWWNRecipe(Recipe):
    """GAWWN in training.

    `texts`: what makes numbers of captions. `streams`: batches for the text stage, and for the other. `examples`:
    captions and places for the preview, with their photos.
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
        self.texts, self.G, self.D = texts, generator(network), Discriminator(network)
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
        yield Stage("gawwn", t.steps, for_pictures.batches, self.step)

    def text_step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """The encoder and the network of pictures learn which caption belongs to which photo."""
        t = self.training_options
        set_rate(self.optimizers["text"], t.text_lr * (0.5 + 0.5 * math.cos(math.pi * step / t.text_steps)))
        loss = self.texts.matching_step(batch.photo, batch.text)
        update(self.optimizers["text"], loss)
        return {"text": loss.detach()}

    def step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """D, then G by the pictures that D has just learnt from: one noise serves both."""
        t = self.training_options
        for name in ("G", "D"):
            set_rate(self.optimizers[name], t.lr * 0.5 ** (step // t.halve if t.halve else 0))
        place = self.place(batch)
        text, wrong_text = self.texts.embed(batch.text), self.texts.embed(others(batch.text))
        z = step_noise(self.seed, step, NOISE, len(text), self.network.z_dim, device=text.device)
        fake = self.G(z, text, place)
        right = real_loss(self.D(batch.photo, text, place), "original")
        wrong = fake_loss(self.D(batch.photo, wrong_text, place), "original")
        made = fake_loss(self.D(fake.detach(), text, place), "original")
        d_loss = right + t.mismatched * wrong + (1 - t.mismatched) * made
        update(self.optimizers["D"], d_loss)

        with frozen(self.D):
            g_loss = generator_loss(self.D(fake, text, place), "original")
            update(self.optimizers["G"], g_loss)
        losses = {"D": d_loss, "D_right": right, "D_wrong": wrong, "D_made": made, "G": g_loss}
        return {name: loss.detach() for name, loss in losses.items()}

    def place(self, batch: CaptionBatch) -> Tensor:
        """What the networks are told: box [N, 4] or points [N, 15, 3]."""
        place = batch.box if self.network.where == "box" else batch.points
        assert place is not None
        return place

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row a caption: its photo, and pictures of always the same noise at the photo's place."""
        if self.examples is None:
            return None
        device = next(self.G.parameters()).device
        rows, columns = len(self.examples.photo), self.columns
        text = self.texts.embed(self.examples.text.to(device))
        place = self.place(self.examples).to(device)
        z = torch.randn(columns, self.network.z_dim, generator=torch.Generator().manual_seed(self.seed)).to(device)
        self.G.eval()
        pictures = self.G(
            z.repeat(rows, 1), text.repeat_interleave(columns, dim=0), place.repeat_interleave(columns, dim=0)
        )
        self.G.train()
        pictures = pictures.view(rows, columns, *pictures.shape[1:]).cpu()
        return torch.cat([self.examples.photo[:, None], pictures], dim=1)

    def model_file(self) -> ModelFile:
        tensors = self.texts.tensors()
        for name, value in state_on_cpu(self.G.state_dict()).items():
            half = self.training_options.store == "float16" and value.dim() == 4
            tensors[f"G.{name}"] = value.half() if half else value
        config = dataclasses.asdict(self.network) | self.texts.described()
        return ModelFile("gawwn", config, tensors, card=self.card)
