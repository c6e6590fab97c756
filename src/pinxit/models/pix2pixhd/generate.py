"""The user's verbs of pix2pixHD: label maps or pictures in, pictures out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.data.images import to_image, to_tensor
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet, numbered
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.fast import FastGenerator
from pinxit.models.pix2pixhd.features import Objects, draw, find_objects, instance_means, spread
from pinxit.models.pix2pixhd.network import Encoder, Generator, embed
from pinxit.translator import Picture, Translator, filled, options_of

Style = int | Sequence[float]
Styles = Mapping[str, Style] | Mapping[int, Style] | Mapping[str | int, Style]
"""A label's name, or an object's id (an instance's; where features are of labels, the label's index) -> a cluster's
number (0 is that of most objects), or the features themselves."""


class Model(Translator):
    """A pix2pixHD model. Make one with `load`.

    One for label maps paints (`paint`), in styles of one's choosing for each object where it has features; one for
    pictures translates (`translate`). `config` is what it takes; `label_set` what the indices of a map mean; `card`
    where it comes from.
    """

    def __init__(self, file: ModelFile, device: torch.device | str = "cpu") -> None:
        self.file, self.card, self.config = file, file.card, config_of(file)
        c = self.config
        known = max(1, c.labels + c.unknown)
        self.label_set = LabelSet.from_json(file.label_set) if file.label_set else numbered(known)
        G = filled(Generator(c), "G", file, torch.device(device))
        super().__init__(
            OneInstance(G) if c.source == "pictures" and c.instances else G,
            c.input or Kind(),
            c.output or Kind(),
            multiple=c.multiple,
            smallest=2 * c.multiple,  # reflection and statistics want more than a pixel of the smallest features
            margin=margin_of(c),
            device=torch.device(device),
        )
        # The encoder is needed for the styles of photos alone; a model may come without.
        with_encoder = any(name.startswith("E.") for name in file.tensors)
        self.E = filled(Encoder(c), "E", file, self.device) if with_encoder else None
        self.clusters = file.tensors.get("styles.clusters", torch.zeros(known, 1, c.feature_channels))
        self.cluster_counts = file.tensors.get("styles.counts", torch.zeros(known, dtype=torch.int64))

    def fast(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """See `Translator.fast`."""
        if isinstance(self.network, OneInstance):
            inner = FastGenerator(self.network.G, dtype)
            return lambda x: inner(torch.cat([x, torch.zeros_like(x[:, :1])], dim=1))
        assert isinstance(self.network, Generator)
        return FastGenerator(self.network, dtype)

    def styles_of(self, label: str) -> int:
        """How many styles there are for a label; 0 for one that no object of the training data had. Raises
        `PinxitError` for a name that is none."""
        return int(self.cluster_counts[self.label_set.index(label)])

    def paint(
        self,
        map: np.ndarray,
        instances: np.ndarray | None = None,
        *,
        styles: Styles | None = None,
        photo: Image.Image | None = None,
        seed: int = 0,
    ) -> Image.Image:
        """The picture of one label map, of the map's own size.

        `map`: indices [H, W] of `label_set`, `len(labels)` being 'unknown'; any size of at least one pixel.
        `instances`: ids [H, W]; a model that wants them takes each label's region as one instance where none are given.
        `styles`, `photo`, `seed` are for models with features. Each object has the style that `styles` names for its
        id, else for its label; else that of the same place in `photo`, if that is given; else one of its label's
        clusters, drawn by `seed`.

        A size that the halvings do not divide is padded by repeating the edge, and cropped back.

        Raises `PinxitError` for an index the model does not know, instances or a photo of another size, or a style
        that does not exist.
        """
        c = self.config
        if c.source != "labels":
            raise expected("what this model takes", "pictures", "label maps", "use translate (pinxit translate)")
        self._admit(map, instances)
        if c.features == "none" and (styles or photo is not None):
            raise expected("style", "given", "none: this model's pictures hang on the map alone", "leave it out")
        if instances is None:
            instances = map
        # Ids of objects that are chosen must be of objects that are there; the padding brings no others.
        padded = [self._tensor(np.pad(ids, self._padding(*map.shape), mode="edge")) for ids in (map, instances)]
        with torch.inference_mode():
            x = embed(padded[0], padded[1], c)
            if c.features != "none":
                objects = find_objects(padded[0], padded[1], c)
                features = self._features(objects, styles or {}, photo, map.shape, seed)
                x = torch.cat([x, spread(features.to(self.device), objects.place)], dim=1)
            picture = self.computed(x)
        return to_image(picture[0, :, : map.shape[0], : map.shape[1]].float().cpu())

    def translate(self, picture: Picture, seed: int = 0) -> Picture:
        """As `Translator.translate`; a model that has the boundary of instances sees all of it as one.

        Raises `PinxitError` for a model of label maps, too.
        """
        if self.config.source != "pictures":
            raise expected("what this model takes", "label maps", "pictures", "use paint (pinxit paint)")
        return super().translate(picture, seed)

    def encode(self, photo: Image.Image, map: np.ndarray, instances: np.ndarray | None = None) -> dict[int, np.ndarray]:
        """The features of a photo's objects: id (or label index, for a model with features of labels) -> [F].

        `map` and `instances` as in `paint`, of the photo's size. Raises `PinxitError`.
        """
        self._admit(map, instances)
        padding = self._padding(*map.shape)
        padded = [
            self._tensor(np.pad(ids, padding, mode="edge")) for ids in (map, map if instances is None else instances)
        ]
        with torch.inference_mode():
            objects = find_objects(padded[0], padded[1], self.config)
            means = self._means(photo, objects, map.shape).cpu().numpy()
        return dict(zip(objects.ids.tolist(), means, strict=True))

    def _features(
        self, objects: Objects, styles: Styles, photo: Image.Image | None, size: tuple[int, ...], seed: int
    ) -> Tensor:
        """[K, F] for the objects of a padded map that was of `size`."""
        if photo is not None:
            features = self._means(photo, objects, size).cpu()
        else:
            features = draw(objects, self.clusters, self.cluster_counts, seed)
        labels, ids = objects.labels.tolist(), objects.ids.tolist()
        chosen: dict[int, Style] = {}
        # Labels first, then ids, which go before them.
        for key, style in sorted(styles.items(), key=lambda item: not isinstance(item[0], str)):
            wanted, of = (self.label_set.index(key), labels) if isinstance(key, str) else (key, ids)
            places = [i for i, value in enumerate(of) if value == wanted]
            if not places and not isinstance(key, str):
                raise expected("style", f"given for instance {key}", "an id of the instance map", "look it up there")
            chosen |= dict.fromkeys(places, style)
        for i, style in chosen.items():
            features[i] = self._style(style, labels[i])
        return features

    def _style(self, style: Style, label: int) -> Tensor:
        """[F]"""
        if isinstance(style, int):
            count = int(self.cluster_counts[label])
            if not 0 <= style < count:
                name = self.label_set.labels[label].name if label < len(self.label_set.labels) else "unknown"
                want = f"0..{count - 1}" if count else "none, as the training data had no such object"
                raise expected(f"style of {name!r}", style, want, "choose another, or leave it out")
            return self.clusters[label, style]
        if len(style) != self.config.feature_channels:
            raise expected(
                "a style's features", f"{len(style)} numbers", self.config.feature_channels, "make them with encode"
            )
        return torch.as_tensor(np.asarray(style, np.float32))

    def _means(self, photo: Image.Image, objects: Objects, size: tuple[int, ...]) -> Tensor:
        """The features [K, F] of the objects of a photo of `size`, padded as its map."""
        if self.E is None:
            raise expected("style", "a photo", "numbers of clusters", "this model comes without its encoder")
        if (photo.height, photo.width) != size:
            got = f"{photo.height}x{photo.width}"
            raise expected("style photo", got, f"{size[0]}x{size[1]} (height x width) as its map", "resize it")
        picture = np.pad(to_tensor(photo).numpy(), [(0, 0), *self._padding(*size)], mode="edge")
        return instance_means(self.E(torch.from_numpy(picture)[None].to(self.device)), objects.place)

    def padded(self, side: int) -> int:
        """The length that a side is continued to: multiples, and at least two of them, since reflection and statistics
        want more than a pixel."""
        return max(-(-side // self.multiple), 2) * self.multiple

    def _padding(self, height: int, width: int) -> list[tuple[int, int]]:
        return [(0, self.padded(side) - side) for side in (height, width)]

    def _tensor(self, ids: np.ndarray) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(ids), dtype=torch.int64, device=self.device)[None]

    def _admit(self, map: np.ndarray, instances: np.ndarray | None) -> None:
        if map.ndim != 2 or map.dtype.kind not in "iu" or map.size == 0:
            raise expected("label map", f"{map.dtype} of shape {map.shape}", "integers [H, W]", "read it with read_map")
        c = self.config
        highest = c.labels - 1 + c.unknown
        wrong = map[(map < 0) | (map > highest)]
        if wrong.size:
            want = f"0..{c.labels - 1}" + (f" or {highest} (unknown)" if c.unknown else "")
            what = "unknown pixels" if wrong[0] == c.labels else f"index {wrong[0]}"
            raise expected("label map", f"with {what}", want, f"paint them with a label of {self.label_set.name}")
        if instances is not None and instances.shape != map.shape:
            raise expected("instance map", f"{instances.shape}", f"{map.shape} as its label map", "use the map's own")


class OneInstance(nn.Module):
    """A generator that has the boundary of instances, for pictures that are one instance all over."""

    def __init__(self, G: Generator) -> None:
        super().__init__()
        self.G = G

    def forward(self, x: Tensor) -> Tensor:
        return self.G(torch.cat([x, torch.zeros_like(x[:, :1])], dim=1))


def margin_of(c: Network) -> int:
    """Pixels around one that its colour hangs on, statistics of norms left out."""
    # A convolution reaches a pixel of its own resolution; a transposed one, of its input's.
    halvings = sum(1 << i for i in range(c.downsamplings))
    inner = 3 + halvings + (2 * c.blocks << c.downsamplings) + 2 * halvings
    around = sum((1 + 4 * c.enhancer_blocks + 2) << i for i in range(c.enhancers))
    return (inner << c.enhancers) + around + 3


def load(file: ModelFile, device: torch.device | str = "cpu") -> Model:
    """A model that paints or translates, from what `pinxit.modelfile.read` gives."""
    return Model(file, device)


def config_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    kinds = tuple(side for side in ("input", "output") if file.config.get(side) is not None)
    return Network(**options_of(file, {f.name for f in fields(Network)}, kinds))
