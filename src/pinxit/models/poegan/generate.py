"""The user's verbs of PoE-GAN: any of a label map, a sketch, a sentence and a style picture in, pictures out."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from pinxit.data.conditions import sketch_at
from pinxit.data.images import to_image, to_tensor
from pinxit.data.labels import LabelSet, numbered
from pinxit.data.sketches import SAME_ASPECT
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.poegan.config import MODALITIES, Network
from pinxit.models.poegan.network import Generator
from pinxit.text.training import DESCRIBED, Texts
from pinxit.translator import filled, options_of

AT_ONCE = 8
"""Pictures that are made together."""
KEPT = 8
"""Inputs whose encodings an encoder remembers."""
MOST_SEED = (1 << 64) - 1


@dataclass(frozen=True)
class Canvas:
    """What pictures are to be painted by, as a model takes it. Make one with `Model.canvas`.

    It is encoded once, when the first picture is painted by it; so are canvases made of it by `only` and `with_`.
    """

    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """Of some of `MODALITIES`, in their order: a row each."""

    def only(self, *names: str) -> Canvas:
        """The canvas with these of its inputs alone. Raises `PinxitError` for one that it does not have."""
        for name in names:
            if name not in self.inputs:
                want = f"some of {', '.join(self.inputs) or 'nothing'}, which it has"
                raise expected("an input of the canvas", repr(name), want, "leave it out")
        return Canvas({name: x for name, x in self.inputs.items() if name in names})

    def with_(self, other: Canvas) -> Canvas:
        """The canvas with the inputs of the other besides, or in place of its own."""
        both = {**self.inputs, **other.inputs}
        return Canvas({name: both[name] for name in MODALITIES if name in both})


class Model:
    """A PoE-GAN that paints. Make one with `load`.

    `label_set` says what the indices of a map mean (None: the model takes no map), `inputs` what the model takes,
    `size` the height and width of its pictures, `card` where it comes from.
    """

    def __init__(self, file: ModelFile, device: torch.device, text_encoder: str | None = None) -> None:
        self.device, self.options, self.card = device, network_of(file), file.card
        self.label_set = _label_set(file, self.options)
        self.G = filled(Generator(self.options), "G", file, device)
        for name, encoder in self.G.encoders.items():
            self.G.encoders[name] = _Remembering(encoder)
        # The encoder of sentences is opened when the first one comes: a model paints without it, too.
        texts = {name: x for name, x in file.tensors.items() if name.startswith("texts.")}
        self.file, self._text_encoder = replace(file, tensors=texts), text_encoder

    @property
    def inputs(self) -> tuple[str, ...]:
        """Which of map, sketch, text and style it takes."""
        return tuple(name for name in MODALITIES if name in self.options.inputs)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its pictures."""
        return self.options.size

    @property
    def subsets(self) -> tuple[tuple[str, ...], ...]:
        """All that it can be given together, from nothing to everything."""
        return tuple(some for count in range(len(self.inputs) + 1) for some in combinations(self.inputs, count))

    def require_input(self, name: str) -> None:
        """Raises `PinxitError` where the model takes no such input, of `MODALITIES`."""
        if name not in self.inputs:
            want = f"{' and '.join(self.inputs)}, or some of it, as the model was trained with"
            remedy = f"leave the {name} out, or train on data that has some"
            raise expected("what to paint by", f"a {name}", want, remedy)

    @cached_property
    def texts(self) -> Texts:
        """Its encoder of sentences. Raises `PinxitError` where that is not on this machine, or cannot be opened."""
        self.require_input("text")
        return Texts.of_model(self.file, self._text_encoder, self.device)

    def paint(
        self,
        map: np.ndarray | None = None,
        sketch: Image.Image | None = None,
        text: str | None = None,
        style: Image.Image | None = None,
        *,
        n: int = 1,
        seed: int = 0,
    ) -> list[Image.Image]:
        """`n` pictures of what is given, of the seeds from `seed` on; of nothing they are whatever the model knows.

        `map`: indices [H, W] of `label_set`, `len(labels)` being 'unknown'. `sketch`: dark lines on white, of the map's
        size. `text`: a sentence. `style`: a picture whose colours and light to take; without one each seed has its own.
        Map and sketch may be of any size, and are scaled to the model's; where that squeezes them a warning is drawn.

        A picture hangs on its conditions and its seed alone, not on how many are painted.

        Raises `PinxitError` for an input that the model was not trained with, a map and a sketch of different sizes, a
        label that it does not know, a blank sketch, an empty text, or a text without its encoder.
        """
        return self.paint_on(self.canvas(map, sketch, text, style), n=n, seed=seed)

    def canvas(
        self,
        map: np.ndarray | None = None,
        sketch: Image.Image | None = None,
        text: str | None = None,
        style: Image.Image | None = None,
    ) -> Canvas:
        """What many pictures are to be painted by, as for `paint`. Raises `PinxitError`, as it."""
        for name, given in zip(MODALITIES, (map, sketch, text, style), strict=True):
            if given is not None:
                self.require_input(name)
        if map is not None:
            self._admit_map(map)
            if sketch is not None and (sketch.height, sketch.width) != map.shape:
                want = f"{map.shape[1]}x{map.shape[0]} (width x height) as the label map has"
                remedy = "resize one of them, or check that they belong together"
                raise expected("size of the sketch", f"{sketch.width}x{sketch.height}", want, remedy)
        for shown in (None if map is None else map.shape, None if sketch is None else (sketch.height, sketch.width)):
            if shown is not None:
                self._warn_of_aspect(*shown)
                break
        inputs: dict[str, Tensor] = {}
        height, width = self.size
        if map is not None:
            small = Image.fromarray(map.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
            inputs["map"] = torch.from_numpy(np.array(small)).long()[None]
        if sketch is not None:
            lines = np.asarray(sketch_at(sketch, (sketch.height, sketch.width), self.size)).astype(np.float32) / 255
            inputs["sketch"] = torch.from_numpy(lines)[None, None]
        if text is not None:
            inputs["text"] = self.texts.encode([text])
        if style is not None:
            fitted = ImageOps.fit(style.convert("RGB"), (width, height), Image.Resampling.BICUBIC)
            inputs["style"] = to_tensor(fitted)[None]
        return Canvas({name: x.to(self.device) for name, x in inputs.items()})

    def seen(self, canvas: Canvas, name: str) -> Image.Image:
        """The map, the sketch or the style of a canvas as the model sees it, of its size; a map in colours."""
        x = canvas.inputs[name][0].cpu()
        if name == "map":
            assert self.label_set is not None
            return Image.fromarray(self.label_set.colorize(x.numpy()))
        return to_image(x) if name == "style" else to_image((1 - 2 * x).expand(3, -1, -1))

    def paint_on(self, canvas: Canvas, *, n: int = 1, seed: int = 0) -> list[Image.Image]:
        """As `paint`, of a canvas. Raises `PinxitError` for one of another model, or a seed out of range."""
        if n < 1:
            raise expected("n", n, "1 or more", "enlarge it")
        for name in canvas.inputs:
            self.require_input(name)
        seeds = [self.noise(seed + i) for i in range(n)]
        found: list[Image.Image] = []
        for start in range(0, n, AT_ONCE):
            noise = [torch.stack(parts) for parts in zip(*seeds[start : start + AT_ONCE], strict=True)]
            found += [to_image(picture) for picture in self.pictures(canvas, noise)]
        return found

    def interpolate(
        self, first: Canvas, last: Canvas, steps: int = 8, *, seed: int = 0, last_seed: int | None = None
    ) -> list[Image.Image]:
        """`steps` pictures in equal steps from one canvas to another, both included.

        What both have is blended: the features of maps, sketches and styles, and the embeddings of texts; what is the
        same in both stays as it is. The noise is that of `seed`, or goes on to that of `last_seed` at the same pace.

        Raises `PinxitError` where one has an input that the other lacks, or for fewer than two steps.
        """
        if steps < 2:
            raise expected("steps", steps, "2 or more", "enlarge it")
        if first.inputs.keys() != last.inputs.keys():
            one, other = (", ".join(canvas.inputs) or "nothing" for canvas in (first, last))
            raise expected("the last canvas", f"one of {other}", f"one of {one}, as the first", "give both the same")
        a, b = self.noise(seed), self.noise(seed if last_seed is None else last_seed)
        found = []
        for t in np.linspace(0, 1, steps).tolist():
            noise = [between(x, y, t)[None] for x, y in zip(a, b, strict=True)]
            found.append(to_image(self.pictures(self._blended(first, last, t), noise)[0]))
        return found

    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        """How well pictures fit sentences, cosines [P, S], by the networks that the model learnt its texts with.

        Raises `PinxitError` where it has no such network, or no encoder of sentences.
        """
        photos = torch.stack([to_tensor(picture) for picture in pictures]).to(self.device)
        return self.texts.match(photos, self.texts.encode(sentences).to(self.device)).cpu()

    @torch.no_grad()
    def pictures(self, canvas: Canvas, noise: Sequence[Tensor]) -> Tensor:
        """[N, 3, H, W] in [-1, 1], for noise of N rows. Canvases have one row, which the network spreads over all."""
        present = torch.tensor([[name in canvas.inputs for name in MODALITIES]], device=self.device)
        labels, sketch, text, style = (canvas.inputs.get(name) for name in MODALITIES)
        return self.G([x.to(self.device) for x in noise], labels, sketch, text, style, present).float().cpu()

    @torch.no_grad()
    def _blended(self, first: Canvas, last: Canvas, t: float) -> Canvas:
        inputs = {}
        for name, a in first.inputs.items():
            b = last.inputs[name]
            if a is b or torch.equal(a, b):
                inputs[name] = a
            elif name == "text":
                inputs[name] = torch.lerp(a, b, t)
            else:
                encoder = self.G.encoders[name]
                assert isinstance(encoder, _Remembering)
                features = [torch.lerp(x, y, t) for x, y in zip(encoder(a), encoder(b), strict=True)]
                # Stands for an input that there is not; the encoder is told what it would have found in it.
                inputs[name] = encoder.remember(torch.empty_like(a), features)
        return Canvas(inputs)

    def noise(self, seed: int) -> list[Tensor]:
        """The noise of one picture."""
        if not 0 <= seed <= MOST_SEED:
            raise expected("seed", seed, f"0..{MOST_SEED}", "choose another")
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=generator) for shape in self.G.noise_shapes()]

    def _admit_map(self, map: np.ndarray) -> None:
        if map.ndim != 2 or map.dtype.kind not in "iu" or map.size == 0:
            raise expected("label map", f"{map.dtype} of shape {map.shape}", "integers [H, W]", "read it with read_map")
        assert self.label_set is not None
        labels = self.options.labels
        highest = labels - 1 + self.options.unknown
        wrong = map[(map < 0) | (map > highest)]
        if wrong.size:
            want = f"0..{labels - 1}" + (f" or {highest} (unknown)" if self.options.unknown else "")
            what = "unknown pixels" if wrong[0] == labels else f"index {wrong[0]}"
            raise expected("label map", f"with {what}", want, f"paint them with a label of {self.label_set.name}")

    def _warn_of_aspect(self, height: int, width: int) -> None:
        tall, wide = self.size
        if abs(math.log(width / height * tall / wide)) > SAME_ASPECT:
            warnings.warn(
                f"the model paints {wide}x{tall} pictures (width x height): what is {width}x{height} is squeezed",
                stacklevel=3,
            )


class _Remembering(nn.Module):
    """An encoder that computes what it has just seen no second time. It knows tensors by identity."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.seen: list[tuple[Tensor, list[Tensor]]] = []

    def forward(self, x: Tensor) -> list[Tensor]:
        for seen, features in self.seen:
            if seen is x:
                return features
        features = self.encoder(x)
        self.remember(x, features)
        return features

    def remember(self, x: Tensor, features: list[Tensor]) -> Tensor:
        """From now on `features` are what is found in x; -> x."""
        self.seen = [*self.seen[-KEPT + 1 :], (x, features)]
        return x


def between(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From noise to other noise: along an arc, so that what lies between is as large as they are."""
    if torch.equal(a, b):
        return a
    x, y = a.flatten(), b.flatten()
    angle = torch.arccos((x @ y / (x.norm() * y.norm())).clamp(-0.9999, 0.9999))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def load(file: ModelFile, device: torch.device | str = "cpu", text_encoder: str | None = None) -> Model:
    """A model ready to paint, from what `pinxit.modelfile.read` gives.

    `text_encoder`: where the encoder that it was trained with lies on this machine, if not where the file says.
    Raises `PinxitError` where the file is not whole.
    """
    return Model(file, torch.device(device), text_encoder)


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    known = {f.name for f in dataclasses.fields(Network)}
    options = options_of(file, known | set(DESCRIBED), ())
    return Network(**{name: value for name, value in options.items() if name in known})


def _label_set(file: ModelFile, options: Network) -> LabelSet | None:
    if "map" not in options.inputs:
        return None
    label_set = LabelSet.from_json(file.label_set) if file.label_set else numbered(options.labels)
    if len(label_set.labels) != options.labels:
        got, want = f"{len(label_set.labels)} labels", f"{options.labels} as its network"
        raise expected("the model's label set", got, want, "train it again")
    return label_set
