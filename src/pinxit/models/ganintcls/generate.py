"""The user's verbs of GAN-INT-CLS: sentences in, PIL pictures out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_image, to_tensor
from pinxit.data.squares import square
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.ganintcls.config import SIZE, Network
from pinxit.models.ganintcls.network import Generator
from pinxit.text.training import BUILT_IN, DESCRIBED, Texts
from pinxit.translator import filled, options_of

AT_ONCE = 16
"""Pictures that are made together."""
MOST_SEED = (1 << 63) - 1


class Model:
    """A generator with its text encoder. Make one with `load`.

    The noise of a picture is a function of the seed alone, not of the sentence: so words can be changed and pictures
    compared.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device, text_encoder: str | None) -> None:
        self.file, self.card, self.options, self.device = file, file.card, options, device
        self.text_encoder = text_encoder
        self.G = filled(Generator(options), "G", file, device)
        if file.config.get("text_encoder") == BUILT_IN:
            _ = self.texts  # of a damaged file all is told at once

    @cached_property
    def texts(self) -> Texts:
        """The text encoder; one that is not built in is opened when it is first asked for something."""
        return Texts.of_model(self.file, self.text_encoder, self.device)

    def sample(self, sentence: str, n: int = 1, seed: int = 0) -> list[Image.Image]:
        """`n` pictures of a sentence; each has a seed of its own, `seed` and those that follow.

        Raises `PinxitError` for an empty one.
        """
        text = self.embed([sentence])
        return self.pictures(self.noise(n, seed), text.expand(n, -1))

    def interpolate(self, a: str, b: str, steps: int = 8, seed: int = 0) -> list[Image.Image]:
        """`steps` pictures from the sentence `a` to the sentence `b`, in even steps of the embedding, of one noise."""
        if steps < 2:
            raise expected("steps", steps, "2 or more", "enlarge it")
        first, last = self.embed([a, b])
        text = torch.stack([first.lerp(last, i / (steps - 1)) for i in range(steps)])
        return self.pictures(self.noise(1, seed).expand(steps, -1), text)

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, text_dim]."""
        return self.texts.encode(sentences).to(self.device)

    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        """Cosines [pictures, sentences], by what the text stage learnt. Raises `PinxitError` where it was left out."""
        photos = torch.stack([to_tensor(square(picture.convert("RGB"), SIZE)) for picture in pictures])
        return self.texts.match(photos.to(self.device), self.embed(sentences)).cpu()

    def noise(self, n: int, seed: int) -> Tensor:
        """z [n, z_dim]: a row for each seed, `seed` and those that follow."""
        if n < 1:
            raise expected("n", n, "1 or more", "enlarge it")
        if not 0 <= seed <= MOST_SEED - n:
            raise expected("seed", seed, f"0..{MOST_SEED - n}", "choose another")
        chances = [torch.Generator().manual_seed(seed + i) for i in range(n)]
        return torch.stack([torch.randn(self.options.z_dim, generator=chance) for chance in chances]).to(self.device)

    @torch.no_grad()
    def pictures(self, z: Tensor, text: Tensor) -> list[Image.Image]:
        """A picture for each row of z [N, z_dim] and text [N, text_dim]."""
        pairs = zip(z.split(AT_ONCE), text.split(AT_ONCE), strict=True)
        return [to_image(picture) for some in pairs for picture in self.G(*some)]


def load(file: ModelFile, device: torch.device | str = "cpu", text_encoder: str | None = None) -> Model:
    """A model ready to sample.

    `text_encoder`: where the encoder that it was trained with is on this machine, by default where it was then. Raises
    `PinxitError` for another one, and where the file is not whole.
    """
    fields = {f.name for f in dataclasses.fields(Network)}
    options = options_of(file, fields | set(DESCRIBED), ())
    network = Network(**{name: value for name, value in options.items() if name in fields})
    return Model(file, network, torch.device(device), text_encoder)
