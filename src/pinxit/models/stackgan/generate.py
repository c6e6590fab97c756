"""The user's verbs of StackGAN: sentences in, PIL pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_image, to_tensor
from pinxit.data.squares import square
from pinxit.errors import expected
from pinxit.modelfile import ModelFile, read
from pinxit.models.stackgan.config import FIRST
from pinxit.models.stackgan.network import StageOne, StageTwo
from pinxit.models.stackgan.recipe import network_of
from pinxit.text.training import BUILT_IN, Texts
from pinxit.translator import filled

AT_ONCE = 8
"""Pictures that are made together."""
MOST_SEED = (1 << 63) - 1


class Model:
    """Generators with their text encoder. Make one with `load`.

    A picture is made of a sentence and a seed, which gives the noise and the draws of conditioning augmentation: two
    sentences of one seed differ by what they say alone.

    Attributes:
        last: the last stage there is: 1 or 2.
        size: side of the last one's pictures.
        options: the network's.
    """

    def __init__(self, file: ModelFile, device: torch.device, text_encoder: str | None = None) -> None:
        self.file, self.card, self.options, self.device = file, file.card, network_of(file), device
        last = file.config.get("stages")
        if last not in (1, 2):
            raise expected("stages in the model", last, "1 or 2", "train or import it again")
        self.last: int = last
        self.G1 = filled(StageOne(self.options), "G1", file, device)
        self.G2 = filled(StageTwo(self.options), "G2", file, device) if self.last == 2 else None
        self.size = FIRST if self.G2 is None else self.options.size
        self.text_encoder, self._texts = text_encoder, None
        if text_encoder is not None or file.config.get("text_encoder") == BUILT_IN:
            self._texts = Texts.of_model(file, text_encoder, device)

    @property
    def texts(self) -> Texts:
        """The text encoder, opened when it is first asked for something."""
        if self._texts is None:
            self._texts = Texts.of_model(self.file, self.text_encoder, self.device)
        return self._texts

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, text_dim] on the model's device. Raises `PinxitError` for an empty sentence."""
        return self.texts.encode(sentences).to(self.device)

    def sample(self, sentence: str, n: int = 1, seed: int = 0, stage: int | None = None) -> list[Image.Image]:
        """`n` pictures of a sentence; each has a seed of its own, `seed` and those that follow.

        `stage`: the one whose pictures they are; by default the last there is. Raises `PinxitError`.
        """
        stage = self.last if stage is None else stage
        if stage not in range(1, self.last + 1):
            want = "1" if self.last == 1 else "1 or 2"
            raise expected(
                "stage", stage, want, "choose another; this model has no more" if stage == 2 else "correct it"
            )
        made = self.made(self._one(sentence, n), range(seed, seed + n))
        return [to_image(picture) for picture in made[stage - 1]]

    def stages(self, sentence: str, n: int = 1, seed: int = 0) -> list[tuple[Image.Image, Image.Image]]:
        """`n` pairs: what Stage-I made of a sentence, and what Stage-II of that. Raises `PinxitError`."""
        if self.G2 is None:
            raise expected("the model", "of Stage-I alone", "one with Stage-II", "train it on with --stages 2 --resume")
        first, second = self.made(self._one(sentence, n), range(seed, seed + n))
        return [(to_image(a), to_image(b)) for a, b in zip(first, second, strict=True)]

    def interpolate(self, a: str, b: str, steps: int = 8, seed: int = 0) -> list[Image.Image]:
        """From one sentence to another in `steps` pictures, both ends included, the noise being the same: the paper's
        figure of sentence interpolation. Vectors of the sentences are mixed linearly. Raises `PinxitError`."""
        if steps < 2:
            raise expected("steps", steps, "2 or more", "enlarge it")
        start, end = self.embed([a, b])
        text = torch.stack([start + (end - start) * (i / (steps - 1)) for i in range(steps)])
        return [to_image(picture) for picture in self.made(text, [seed] * steps)[-1]]

    @torch.no_grad()
    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        """How well each picture fits each sentence: cosines [P, S] on the CPU, -1 to 1.

        Pictures are cut to the square in their middle. Raises `PinxitError` where the model has no network of pictures.
        """
        photos = [to_tensor(square(picture.convert("RGB"), FIRST)) for picture in pictures]
        text = self.embed(sentences)
        rows = [self.texts.match(some, text) for some in torch.stack(photos).to(self.device).split(64)]
        return torch.cat(rows).float().cpu()

    def _one(self, sentence: str, n: int) -> Tensor:
        if n < 1:
            raise expected("n", n, "1 or more", "enlarge it")
        return self.embed([sentence]).expand(n, -1)

    @torch.no_grad()
    def made(self, text: Tensor, seeds: Sequence[int]) -> tuple[Tensor, ...]:
        """Pictures of each stage there is, [N, 3, H, W] on the CPU, for as many vectors and seeds."""
        if not 0 <= min(seeds) <= max(seeds) <= MOST_SEED:
            raise expected("seed", min(seeds), f"0..{MOST_SEED}", "choose another")
        o = self.options
        noise = [
            torch.randn(o.z_dim + o.first_condition + o.condition_dim, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
        parts = torch.stack(noise).to(self.device).split([o.z_dim, o.first_condition, o.condition_dim], dim=1)
        made: list[list[Tensor]] = [[] for _ in range(self.last)]
        for some, z, eps1, eps2 in zip(text.split(AT_ONCE), *(x.split(AT_ONCE) for x in parts), strict=True):
            rough = self.G1(some, z, eps1)[0]
            made[0].append(rough.cpu())
            if self.G2 is not None:
                made[1].append(self.G2(rough, some, eps2)[0].cpu())
        return tuple(torch.cat(pictures) for pictures in made)


def load(source: ModelFile | Path | str, device: torch.device | str = "auto", text_encoder: str | None = None) -> Model:
    """A model ready to sample, out of a model file, or a path to one or to its folder.

    `device`: auto is a GPU where there is one. `text_encoder`: where the encoder that it was trained with lies on this
    machine, or the one that its precomputed embeddings came from; one built in needs none. Raises `PinxitError`.
    """
    file = source if isinstance(source, ModelFile) else read(Path(source))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return Model(file, torch.device(device), text_encoder)
