"""The user's verbs of GAWWN: sentences and places in, PIL pictures out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_image, to_tensor
from pinxit.data.squares import square
from pinxit.errors import expected, unknown_name
from pinxit.modelfile import ModelFile
from pinxit.models.gawwn.config import PARTS, SIZE, Network
from pinxit.models.gawwn.network import generator
from pinxit.text.training import BUILT_IN, DESCRIBED, Texts
from pinxit.translator import filled, options_of

AT_ONCE = 16
"""Pictures that are made together."""
MOST_SEED = (1 << 63) - 1
MIDDLE = (0.15, 0.15, 0.7, 0.7)
"""The box where none is given."""

Box = tuple[float, float, float, float]
Points = Mapping[str, tuple[float, float]]


class Model:
    """A generator with its text encoder. Make one with `load`.

    Places are told in parts of the picture's side, from 0 at the left and the top to 1: a `box` as x, y, width and
    height, `points` as the x and y of parts by their names in `PARTS`. Noise is a function of the
    seed alone: so words and places can be changed and pictures compared.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device, text_encoder: str | None) -> None:
        self.file, self.card, self.options, self.device = file, file.card, options, device
        self.text_encoder = text_encoder
        self.G = filled(generator(options), "G", file, device)
        if file.config.get("text_encoder") == BUILT_IN:
            _ = self.texts  # of a damaged file all is told at once

    @cached_property
    def texts(self) -> Texts:
        """The text encoder; one that is not built in is opened when it is first asked for something."""
        return Texts.of_model(self.file, self.text_encoder, self.device)

    def sample(
        self, sentence: str, n: int = 1, seed: int = 0, *, box: Box | None = None, points: Points | None = None
    ) -> list[Image.Image]:
        """`n` pictures of a sentence at a place, each with a seed of its own, `seed` and those that follow.

        A model of boxes takes the middle where no place is given.

        Raises `PinxitError` for an empty sentence, and a place that is none or not of the model's kind.
        """
        text, place = self.embed([sentence]), self.place(box, points)
        return self.pictures(self.noise(n, seed), text.expand(n, -1), place)

    def interpolate(
        self, a: str, b: str, steps: int = 8, seed: int = 0, *, box: Box | None = None, points: Points | None = None
    ) -> list[Image.Image]:
        """`steps` pictures from the sentence `a` to the sentence `b`, in even steps of the embedding, of one noise and
        at one place."""
        if steps < 2:
            raise expected("steps", steps, "2 or more", "enlarge it")
        first, last = self.embed([a, b])
        text = torch.stack([first.lerp(last, i / (steps - 1)) for i in range(steps)])
        return self.pictures(self.noise(1, seed).expand(steps, -1), text, self.place(box, points))

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, text_dim]."""
        return self.texts.encode(sentences).to(self.device)

    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        """Cosines [pictures, sentences], by what the text stage learnt. Raises `PinxitError` where it was left out."""
        photos = torch.stack([to_tensor(square(picture.convert("RGB"), SIZE)) for picture in pictures])
        return self.texts.match(photos.to(self.device), self.embed(sentences)).cpu()

    def place(self, box: Box | None, points: Points | None) -> Tensor:
        """What the network is told: [4], or [15, 3]. Raises `PinxitError`."""
        if self.options.where == "box":
            if points is not None:
                raise expected("points", "given", "a box, which this model was trained with", "give one")
            x, y, width, height = MIDDLE if box is None else box
            # Without NaN, which is neither more nor less than anything.
            inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1
            if not (inside and x + width <= 1 + 1e-6 and y + height <= 1 + 1e-6):
                got = f"{x:g}, {y:g}, {width:g}, {height:g} (x, y, width, height)"
                raise expected("box", got, "within 0..1 of the picture's side", "correct it")
            return torch.tensor([x, y, width, height], device=self.device)
        if box is not None or not points:
            got = "a box" if box is not None else "missing"
            raise expected("the place", got, "points of one part or more, as this model was trained", "give some")
        place = torch.zeros(len(PARTS), 3)
        for name, (x, y) in points.items():
            if name not in PARTS:
                raise unknown_name("point", name, PARTS)
            if not (0 <= x <= 1 and 0 <= y <= 1):
                raise expected(f"point {name!r}", f"{x:g}, {y:g}", "within 0..1 of the picture's side", "correct it")
            place[PARTS.index(name)] = torch.tensor([x, y, 1.0])
        return place.to(self.device)

    def noise(self, n: int, seed: int) -> Tensor:
        """z [n, z_dim]: a row for each seed, `seed` and those that follow."""
        if n < 1:
            raise expected("n", n, "1 or more", "enlarge it")
        if not 0 <= seed <= MOST_SEED - n:
            raise expected("seed", seed, f"0..{MOST_SEED - n}", "choose another")
        chances = [torch.Generator().manual_seed(seed + i) for i in range(n)]
        return torch.stack([torch.randn(self.options.z_dim, generator=chance) for chance in chances]).to(self.device)

    @torch.no_grad()
    def pictures(self, z: Tensor, text: Tensor, place: Tensor) -> list[Image.Image]:
        """A picture for each row of z [N, z_dim] and text [N, text_dim], all at one place."""
        pairs = zip(z.split(AT_ONCE), text.split(AT_ONCE), strict=True)
        made = (self.G(some, words, place.expand(len(some), *place.shape)) for some, words in pairs)
        return [to_image(picture) for some in made for picture in some]


def load(file: ModelFile, device: torch.device | str = "cpu", text_encoder: str | None = None) -> Model:
    """A model ready to sample.

    `text_encoder`: where the encoder that it was trained with is on this machine, by default where it was then. Raises
    `PinxitError` for another one, and where the file is not whole.
    """
    fields = {f.name for f in dataclasses.fields(Network)}
    options = options_of(file, fields | set(DESCRIBED), ())
    network = Network(**{name: value for name, value in options.items() if name in fields})
    return Model(file, network, torch.device(device), text_encoder)
