"""What the methods that learn from captions share: captions become rows of batches, and rows become embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.data.captions import Captioned
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.text.cache import encoded
from pinxit.text.encoder import TextEncoder, check_same, clean, open_encoder
from pinxit.text.matching import PictureNetwork, TextNetwork, matching_loss, same_rows, tokens
from pinxit.text.precomputed import read_precomputed

BUILT_IN = "built-in"
"""The encoder that a method trains itself, in a first stage, before all else."""
PRECOMPUTED = "precomputed"
"""Embeddings that others computed, which lie in the data folder as StackGAN's authors published them."""

CACHE = "texts"
"""Folder, among what is kept for this user, of foreign encoders' vectors of captions."""

DESCRIBED = ("text_encoder", "text_width", "text_digest", "text_pictures")
"""What `Texts.described` adds to the configuration in a model file."""


class Texts(nn.Module):
    """A text encoder as a recipe uses it: a sub-module of it, so that a checkpoint has what is learnt.

    With the built-in encoder rows are tokens, int16 [N, TOKENS, PIECES]. A first stage, Stage("text"), lets `network`
    and `pictures` learn by `matching_step`; from then on they stay as they are. With any other encoder rows are its
    embeddings, float32 [N, width], made once ahead of the training and kept on disk; if there is such a stage, then
    `pictures` alone learns, so that it can be measured whether a picture fits its text.

        texts = Texts(data.text_encoder, network.text_dim, data.data)
        stream = CaptionStream(items, texts.prepare(items), ...)
        optimizers["text"] = Adam(texts.parameters(), lr)
        update(optimizers["text"], texts.matching_step(photo, text))       a step of the first stage
        embedding = texts.embed(batch.text)                                in every later step
        ModelFile(..., asdict(network) | texts.described(), tensors | texts.tensors())
        Texts.of_model(file)                                               in generate.py

    Attributes:
        name: "built-in", "sentence:…", "clip:…", "char-cnn-rnn:…" or "precomputed".
        width: numbers of an embedding.
        network: the built-in encoder; else None.
        pictures: what it is matched with; None where nothing is.
        encoder: a foreign one; else None.
    """

    def __init__(
        self,
        name: str = BUILT_IN,
        width: int = 128,
        folder: Path | None = None,
        cache: Path | None = None,
        *,
        pictures: bool = True,
        opened: bool = True,
    ) -> None:
        """`width`: of the built-in encoder; others have their own. `folder`: where precomputed embeddings are; `cache`:
        where those of foreign encoders are kept. `pictures`: whether pictures are to be matched with texts. `opened`:
        without, a foreign encoder is known by name and `width` alone, and no sentence can be encoded.

        Raises `PinxitError` for an encoder that there is not.
        """
        super().__init__()
        self.name, self.width, self.cache, self.digest = name, width, cache, ""
        self.encoder: TextEncoder | None = None
        self.precomputed = None
        if name == PRECOMPUTED and opened:
            if folder is None:
                raise expected("--data", "missing", "the folder with precomputed embeddings", "name it")
            self.precomputed = read_precomputed(folder)
            self.width, self.digest = self.precomputed.width, self.precomputed.digest
        elif name != BUILT_IN and opened:
            self.encoder = open_encoder(name)
            self.width, self.digest = self.encoder.width, self.encoder.digest
        self.network = TextNetwork(width) if name == BUILT_IN else None
        self.pictures = PictureNetwork(self.width) if pictures else None

    def prepare(self, items: Sequence[Captioned]) -> list[Tensor]:
        """For each item the rows of its captions [captions, ...]: what `CaptionStream` takes as `texts`.

        Raises `PinxitError` for a photo without embedding, where they are precomputed.
        """
        if self.precomputed is not None:
            return self.precomputed.of([item.photo for item in items])
        if self.network is not None:
            return [self.rows(item.captions) for item in items]
        assert self.encoder is not None
        sentences = [clean(caption) for item in items for caption in item.captions]
        rows = encoded(self.encoder, sentences, self.cache)
        return list(rows.split([len(item.captions) for item in items]))

    def require_averages(self, captions: int) -> None:
        """Raises `PinxitError` where several captions of a photo are to be averaged that are not numbers yet."""
        if captions > 1 and self.network is not None:
            remedy = "set it so, or name another --text-encoder"
            raise expected("--captions", captions, f"1 with the encoder {BUILT_IN!r}", remedy)

    def rows(self, sentences: Sequence[str]) -> Tensor:
        """Plain sentences as rows [N, ...]. Raises `PinxitError` for an empty one, or where there is no encoder."""
        if self.encoder is not None:
            return self.encoder.encode([clean(sentence) for sentence in sentences])
        if self.network is None:
            got = "trained on precomputed embeddings"
            raise expected("the model", got, "an encoder of sentences", "name the one they came from: --text-encoder")
        return tokens(sentences).to(torch.int16)

    def embed(self, rows: Tensor) -> Tensor:
        """Rows of a batch -> float32 [N, width], without a gradient to the encoder."""
        if self.network is None:
            return rows.float()
        training = self.network.training
        self.network.eval()
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            embeddings = self.network(rows.long())
        self.network.train(training)
        return embeddings

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Plain sentences -> float32 [N, width], on the networks' device; on the CPU where there are none."""
        rows = self.rows(sentences)
        return self.embed(rows if self.network is None else rows.to(next(self.network.parameters()).device))

    def matching_step(self, photo: Tensor, rows: Tensor, temperature: float = 0.1) -> Tensor:
        """The loss of an iteration of the first stage: symmetric InfoNCE over the whole batch, that of all processes.

        photo [N, 3, H, W] in [-1, 1], rows as in batches. Captions that are equal are not told apart.
        """
        assert self.pictures is not None
        text = self.embed(rows) if self.network is None else self.network(rows.long())
        everyones = whole_batch(text), whole_batch(self.pictures(photo))
        return matching_loss(*everyones, temperature, same_rows(whole_batch(rows)))

    @torch.no_grad()
    def match(self, photo: Tensor, embeddings: Tensor) -> Tensor:
        """Cosines [P, S] of photos [P, 3, H, W] in [-1, 1] and embeddings [S, width].

        Raises `PinxitError` where there is no network of pictures.
        """
        if self.pictures is None:
            got = "without a network that compares pictures with texts"
            raise expected("the model", got, "with one", "train one with --text-steps above 0")
        training = self.pictures.training
        pictures = self.pictures.eval()(photo)
        self.pictures.train(training)
        return F.normalize(pictures.float(), dim=1) @ F.normalize(embeddings.float(), dim=1).t()

    def described(self) -> dict[str, Any]:
        """What the configuration in a model file tells of the encoder."""
        return dict(zip(DESCRIBED, (self.name, self.width, self.digest, self.pictures is not None), strict=True))

    def tensors(self) -> dict[str, Tensor]:
        """Weights for a model file, on the CPU: `texts.…` of the built-in encoder; else none."""
        return {f"texts.{name}": x.detach().cpu().contiguous() for name, x in self.state_dict().items()}

    @staticmethod
    def of_model(file: ModelFile, encoder: str | None = None, device: torch.device | str = "cpu") -> Texts:
        """The encoder of a model file, frozen.

        `encoder`: where the very same one is on this machine, or the one that precomputed embeddings came from; None:
        the name in the file, and of precomputed ones none. Raises `PinxitError` for another one, and where the file is
        not whole.
        """
        name, width, digest, pictures = (file.config.get(key) for key in DESCRIBED)
        if not (isinstance(name, str) and isinstance(width, int) and isinstance(digest, str)):
            raise expected("the model", "without its text encoder", "whole", "train it again")
        if name != encoder and encoder in (BUILT_IN, PRECOMPUTED):
            raise expected("--text-encoder", repr(encoder), f"{name!r} of the training", "leave it out")
        if name == BUILT_IN and encoder not in (None, BUILT_IN):
            raise expected("--text-encoder", repr(encoder), "none: the model brings its own", "leave it out")
        opened = name not in (BUILT_IN, PRECOMPUTED) or encoder not in (None, name)
        texts = Texts(encoder or name, width, pictures=bool(pictures), opened=opened)
        if name == PRECOMPUTED and texts.width != width:
            got = f"of {texts.width} numbers a sentence"
            raise expected(f"text encoder {encoder!r}", got, f"{width}, as the model's", "name that of the training")
        if texts.encoder is not None and name != PRECOMPUTED:
            check_same(texts.encoder, name, width, digest, "the model")
        state = {k.removeprefix("texts."): v for k, v in file.tensors.items() if k.startswith("texts.")}
        try:
            texts.load_state_dict(state)
        except RuntimeError as error:
            got = "without the whole of its text encoder"
            raise expected("the model", got, "all weights", "train it again") from error
        return texts.to(device).eval().requires_grad_(False)


def embeddings_in(folder: Path | None, split: str) -> Path | None:
    """Where the published embeddings of a split are: in the data folder's folder of its name, else in itself."""
    return folder / split if folder is not None and (folder / split).is_dir() else folder


def others(rows: Tensor) -> Tensor:
    """For each row of a batch [N, ...] another one of all processes' rows: the next that is not equal to it.

    What a discriminator is shown as the wrong text of a picture. Where all are equal, a row gets its own.
    """
    everyones = whole_batch(rows)
    count, mine = len(everyones), len(rows)
    first = mine * (dist.get_rank() if dist.is_initialized() else 0)
    here = torch.arange(first, first + mine, device=rows.device)
    # [N, count - 1]: the places after each row's own, around the end.
    places = (here[:, None] + torch.arange(1, count, device=rows.device)) % count
    if count == 1:
        return rows
    flat = everyones.flatten(1)
    differ = (flat[here][:, None] != flat[places]).any(dim=2)
    chosen = places.gather(1, differ.int().argmax(dim=1, keepdim=True))[:, 0]
    return everyones[chosen]


def whole_batch(x: Tensor) -> Tensor:
    """The rows of all processes [N * processes, ...], in the order of one process alone; gradients reach each its own.

    Every process is taken to compute the same loss of them; the mean over processes of what arrives at the weights,
    which `pinxit.recipe.update` takes, is then the gradient of that loss.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    return _Gather.apply(x) if x.requires_grad else _gathered(x)


def _gathered(x: Tensor) -> Tensor:
    # By a sum: gathers of 16-bit integers are not there for every backend, and a batch is small.
    slots = torch.zeros((dist.get_world_size(), *x.shape), dtype=x.dtype, device=x.device)
    if not x.dtype.is_floating_point:
        slots = slots.long()
    slots[dist.get_rank()] = x
    dist.all_reduce(slots)
    return slots.flatten(0, 1).to(x.dtype)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _gathered(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
