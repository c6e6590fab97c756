"""The structured joint embedding of sentences and pictures, and one training iteration (Reed et al. 2016, sec. 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pinxit.data.captions import Captioned, find_captioned, splits_of_captions, still
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.charcnnrnn.config import Data, Network, Options, Training
from pinxit.models.charcnnrnn.network import picture_network, text_network
from pinxit.models.charcnnrnn.pairs import Pairs, PairStream, Pictures
from pinxit.recipe import Recipe, Stage, rank, set_rate, state_on_cpu, update, world_size
from pinxit.text.char_cnn_rnn import characters
from pinxit.text.matching import PICTURE, same_rows

GALLERY = 64
"""Photos that the sheet's sentences choose from."""
FOUND = 4
"""Of them shown, the best first."""


class Examples(NamedTuple):
    """What the sheet is made of."""

    text: Tensor
    """int64 [rows, length]: a caption of each of the first photos of the gallery."""
    picture: Tensor
    """The gallery as the picture network takes it."""
    photo: Tensor
    """The gallery's photos, float32 [gallery, 3, H, W] in [-1, 1]."""


def build(options: Options, *, seed: int = 0, workers: int = 0) -> CharCNNRNNRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data or the options.
    """
    data, network, t = options.data, options.network, options.training
    require_pictures(data, network)
    items = find_captioned(data.data, data.split)
    letters = letters_of(items, network.length)
    pictures = pictures_of(items, data, network)
    if data.check and rank() == 0:
        pictures.check()
    share = (rank(), world_size(), workers)
    stream = PairStream(pictures, letters, t.batch, seed, *share, flip=t.flip, by_class=t.by_class)
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone.
    torch.manual_seed(seed)
    assert data.data is not None
    card = {
        "data": f"{data.data.name}, {len(items)} photos with captions, {len(stream.classes)} told apart",
        "source": "trained with pinxit train charcnnrnn",
        "steps": str(t.steps),
    }
    return CharCNNRNNRecipe(network, t, stream, examples=examples_of(items, data, network), card=card)


def require_pictures(data: Data, network: Network) -> None:
    """Raises `PinxitError` where --pictures and --features do not say the same."""
    if network.pictures == "features" and data.features is None:
        advice = "name it, or train with --pictures network"
        raise expected("--features", "missing", "a folder with a .npy for each photo", advice)
    if network.pictures == "network" and data.features is not None:
        raise expected("--pictures", "network", "features, as --features is given", "set it, or leave --features out")


def pictures_of(items: Sequence[Captioned], data: Data, network: Network) -> Pictures:
    assert data.data is not None
    return Pictures(items, data.data, data.features, network.embedding)


def letters_of(items: Sequence[Captioned], length: int) -> list[Tensor]:
    """For each item its captions, int64 [captions, length].

    Raises `PinxitError`, which names the photo, for a caption without a letter of the alphabet.
    """
    found = []
    for item in items:
        try:
            found.append(characters(item.captions, length))
        except PinxitError as error:
            raise PinxitError(f"caption of '{item.photo}': {error}") from error
    return found


def examples_of(items: Sequence[Captioned], data: Data, network: Network) -> Examples | None:
    """Photos and captions for the sheet, spread over the validation split where there is one, else over `items`."""
    if data.rows < 1:
        return None
    gallery = items
    assert data.data is not None
    # Not the classes to test on, which serve as val where that is missing.
    if data.split == "train" and any(name.startswith("val") for name in splits_of_captions(data.data)):
        with suppress(PinxitError):  # it may be damaged, or without features
            held_out = find_captioned(data.data, "val")
            pictures_of(held_out, data, network).all_of(0)
            gallery = held_out
    gallery = [gallery[i * len(gallery) // GALLERY] for i in range(GALLERY)] if len(gallery) > GALLERY else gallery
    pictures = pictures_of(gallery, data, network)
    return Examples(
        torch.cat([letters[:1] for letters in letters_of(gallery[: data.rows], network.length)]),
        torch.stack([pictures.all_of(i)[0] for i in range(len(gallery))]),
        torch.stack([still(item, PICTURE) for item in gallery]),
    )


class CharCNNRNNRecipe(Recipe):
    """The networks of sentences, T, and of pictures, P (nothing where features are given), on the batches of `stream`.

    `examples`: for the preview; `card`: what the model file says of itself.
    """

    def __init__(
        self,
        network: Network,
        training: Training,
        stream: PairStream | None = None,
        *,
        examples: Examples | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.training_options = network, training
        self.stream, self.examples, self.card = stream, examples, card or {}
        self.T, self.P = text_network(network), picture_network(network)
        for weights in self.T.parameters():
            nn.init.uniform_(weights, -training.init, training.init)
        self.optimizers = {"both": torch.optim.RMSprop([*self.T.parameters(), *self.P.parameters()], lr=training.lr)}

    def stages(self) -> Iterator[Stage]:
        assert self.stream is not None
        yield Stage("charcnnrnn", self.training_options.steps, self.stream.batches, self.step)

    def step(self, batch: Pairs, step: int) -> dict[str, Tensor]:
        """All scores of the batch at once, then one update of both networks."""
        t = self.training_options
        set_rate(self.optimizers["both"], t.lr * t.decay ** (step // t.decay_every))
        letters = of_all_ranks(batch.text)
        text, picture = of_all_ranks(self.T(batch.text)), of_all_ranks(self.P(batch.picture))
        same = same_rows(letters) if t.spare_equal else None
        scores = compatibility(picture, text)
        loss = joint_embedding_loss(scores, t.margin, same)
        if t.symmetric:
            loss = loss + joint_embedding_loss(scores.T, t.margin, same)
        # Each process has the gradients of its own rows of the one loss: their sum is wanted, where `update` averages.
        update(self.optimizers["both"], loss * world_size())
        right = scores.detach().argmax(dim=1) == torch.arange(len(scores), device=scores.device)
        return {"loss": loss.detach(), "right": right.float().mean()}

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row a sentence: the photo it was written of, then those of the gallery that score best by it."""
        if self.examples is None:
            return None
        device = self.T.head.weight.device
        letters, pictures, photos = self.examples
        best = compatibility(self.T(letters.to(device)), self.P(pictures.to(device))).argsort(dim=1, descending=True)
        found = photos[best[:, :FOUND].cpu()]
        return torch.cat([photos[: len(letters), None], found], dim=1)

    def model_file(self) -> ModelFile:
        tensors = {f"T.{name}": value for name, value in state_on_cpu(self.T.state_dict()).items()}
        tensors |= {f"P.{name}": value for name, value in state_on_cpu(self.P.state_dict()).items()}
        return ModelFile("charcnnrnn", dataclasses.asdict(self.network), tensors, card=self.card)


def compatibility(these: Tensor, those: Tensor) -> Tensor:
    """F(v, t), the inner product of every row of the one with every row of the other (sec. 4.1): [N, W], [M, W] ->
    [N, M], in fp32."""
    with torch.autocast(these.device.type, enabled=False):
        return these.float() @ those.float().T


def joint_embedding_loss(scores: Tensor, margin: float = 1.0, same: Tensor | None = None) -> Tensor:
    """Mean over *all* pairs of what a wrong one's score exceeds the right one's less the margin by (sec. 4.2).

    scores [N, N]: row i's right column is i. The mean is over N * N as in the released code, though N of them are 0.
    `same`: bool [N, N], pairs that are not wrong.
    """
    excess = (margin + scores - scores.diagonal()[:, None]).clamp(min=0)
    right = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    return excess.masked_fill(right if same is None else right | same, 0.0).mean()


def of_all_ranks(rows: Tensor) -> Tensor:
    """The rows of every process in their order; gradients flow to this one's own."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    parts[rank()] = rows
    return torch.cat(parts)
