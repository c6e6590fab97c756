"""The user's verbs of SPADE: pictures in, pictures out."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import read_photo, to_image, to_tensor
from pinxit.data.labels import LabelSet, numbered
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.spade import fast
from pinxit.models.spade.config import Network
from pinxit.models.spade.network import Encoder, Generator

T = TypeVar("T", bound=torch.nn.Module)

MOST_KEPT = 1 << 30
"""Bytes of what is computed of a map and kept from one of its pictures to the next."""

Style = int | Image.Image | np.ndarray
"""A seed, a picture whose style to take (through the encoder), or a vector z [z_dim] itself."""


@dataclass(frozen=True)
class Canvas:
    """A label map that a model has admitted, to be painted in many styles. Make one with `Model.canvas`."""

    height: int
    width: int
    """The map's own, which pictures are cropped to."""
    labels: Tensor
    instances: Tensor | None
    """int64 [1, H, W], padded."""
    tables: fast.Canvas | None = None
    """All that hangs on the map alone, once `Model.prepared` has computed it."""


class Model:
    """A SPADE model that paints. Make one with `load`.

    `label_set` says what the indices of a map mean; `network` what the model takes; `card` where it comes from.

    On the CPU it paints with `fast.FastGenerator`, elsewhere with the generator as it was trained. `precision` bf16 is
    quicker where the processor has instructions for it; pictures then differ by some thousandths of their range. The
    encoder always computes in fp32.
    """

    def __init__(
        self, file: ModelFile, device: torch.device | str = "cpu", *, precision: Literal["fp32", "bf16"] = "fp32"
    ) -> None:
        self.device, self.precision = torch.device(device), precision
        self.network = network_of(file)
        self.card = file.card
        self.label_set = LabelSet.from_json(file.label_set) if file.label_set else numbered(self.network.labels)
        G = _filled(Generator(self.network), "G", file, self.device)
        self.doublings = G.doublings
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.generator = fast.FastGenerator(G, dtype) if self.device.type == "cpu" else G
        # The encoder is needed for style pictures alone; a model may come without.
        with_encoder = self.network.vae and any(name.startswith("E.") for name in file.tensors)
        self.E = _filled(Encoder(self.network), "E", file, self.device) if with_encoder else None
        self.file = replace(file, tensors={})  # not to hold them twice

    def paint(self, map: np.ndarray, style: Style = 0, instances: np.ndarray | None = None) -> Image.Image:
        """The picture of one label map, of the map's own size.

        `map`: indices [H, W] of `label_set`, `len(labels)` being 'unknown'; any size of at least one pixel.
        `style`: unused by a model without a VAE, whose picture the map alone decides.
        `instances`: ids [H, W]; a model that wants them takes each label's region as one instance where none are given.

        A size that the network's doublings do not divide is padded by repeating the edge, and cropped back. One far
        from the trained size draws a warning, as pictures there look washed out.

        Raises `PinxitError` for an index the model does not know, or instances of another size.
        """
        canvas = self.canvas(map, instances)
        self.warn_of_size(*map.shape)
        return self.paint_on(canvas, style)

    def canvas(self, map: np.ndarray, instances: np.ndarray | None = None) -> Canvas:
        """A map, with instances as for `paint`, that many pictures are to be painted of.

        Raises `PinxitError` for an index the model does not know, or instances of another size.
        """
        self._admit(map, instances)
        height, width = map.shape
        step = 1 << self.doublings
        margin = [(0, -height % step), (0, -width % step)]
        own_statistics = self.network.norm == "instance" or self.network.norm_at_test == "batch"
        if own_statistics and max(height, width) <= step:
            margin[1] = (0, 2 * step - width)  # a first feature map of one pixel has no statistics
        labels = self._tensor(np.pad(map, margin, mode="edge"))
        ids = None
        if self.network.instances:
            ids = self._tensor(np.pad(map if instances is None else instances, margin, mode="edge"))
        return Canvas(height, width, labels, ids)

    def prepared(self, canvas: Canvas, like: Canvas | None = None, most: float = math.inf) -> Canvas:
        """The canvas with all computed that hangs on its map alone, which is a good part of a picture's time. It stays
        as it is where that would take more than `most` bytes of memory, and on other devices than the CPU.

        `like`: a prepared canvas, from which all is taken that is the same there if it is as large: quicker where the
        maps differ in a part. The picture then agrees to rounding (about 1e-6 of its range).
        """
        if not isinstance(self.generator, fast.FastGenerator) or canvas.tables is not None:
            return canvas
        if like is not None and like.tables is not None and like.labels.shape == canvas.labels.shape:
            return replace(canvas, tables=self.generator.edited(like.tables, canvas.labels, canvas.instances, most))
        return replace(canvas, tables=self.generator.canvas(canvas.labels, canvas.instances, most))

    def bytes_prepared(self, canvas: Canvas) -> int:
        """Memory of what `prepared` has computed."""
        return 0 if canvas.tables is None else canvas.tables.nbytes

    def paint_on(self, canvas: Canvas, style: Style = 0) -> Image.Image:
        """As `paint`, of the map of a canvas, prepared or not, which makes no difference to the picture."""
        z = self._tensor(self.style(style))[0][None] if self.network.vae else None
        bf16 = self.precision == "bf16" and self.device.type != "cpu"
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if canvas.tables is None:
                picture = self.generator(canvas.labels, canvas.instances, z)
            else:
                assert isinstance(self.generator, fast.FastGenerator)
                picture = self.generator.paint(canvas.tables, z)
        return to_image(picture[0, :, : canvas.height, : canvas.width].float().cpu())

    def variations(
        self, map: np.ndarray, n: int, seed: int = 0, instances: np.ndarray | None = None
    ) -> list[Image.Image]:
        """`n` pictures of one map in the styles of the seeds from `seed` on (Park et al. 2019, fig. 9)."""
        canvas = self.canvas(map, instances)
        self.warn_of_size(*map.shape)
        if n > 1:
            canvas = self.prepared(canvas, most=MOST_KEPT)
        return [self.paint_on(canvas, seed + i) for i in range(n)]

    def style(self, style: Style) -> np.ndarray:
        """The vector z, float32 [z_dim], of a seed (standard normal), a picture (the encoder's mean) or a z.

        Raises `PinxitError` where the model has no styles or no encoder, or z is of another width.
        """
        if not self.network.vae:
            raise expected("style", "given", "none: this model's pictures hang on the map alone", "leave it out")
        if isinstance(style, Image.Image):
            if self.E is None:
                raise expected("style", "a picture", "a seed or a z", "this model file comes without its encoder")
            with torch.inference_mode():
                return self.E(to_tensor(style)[None].to(self.device))[0][0].float().cpu().numpy()
        if isinstance(style, np.ndarray):
            if style.shape != (self.network.z_dim,):
                raise expected(
                    "style z", f"of shape {style.shape}", f"({self.network.z_dim},)", "make it with this model"
                )
            return style.astype(np.float32)
        return torch.randn(self.network.z_dim, generator=torch.Generator().manual_seed(style)).numpy()

    def between(self, first: Style, last: Style, n: int) -> list[np.ndarray]:
        """`n` styles z in equal steps from one to another, both included."""
        a, b = self.style(first), self.style(last)
        return [a * (1 - t) + b * t for t in np.linspace(0, 1, n, dtype=np.float32)]

    def _tensor(self, values: np.ndarray) -> Tensor:
        kind = torch.float32 if values.dtype.kind == "f" else torch.int64
        return torch.as_tensor(np.ascontiguousarray(values), dtype=kind, device=self.device)[None]

    def _admit(self, map: np.ndarray, instances: np.ndarray | None) -> None:
        if map.ndim != 2 or map.dtype.kind not in "iu" or map.size == 0:
            raise expected("label map", f"{map.dtype} of shape {map.shape}", "integers [H, W]", "read it with read_map")
        highest = self.network.labels - 1 + self.network.unknown
        wrong = map[(map < 0) | (map > highest)]
        if wrong.size:
            want = f"0..{self.network.labels - 1}" + (f" or {highest} (unknown)" if self.network.unknown else "")
            what = "unknown pixels" if wrong[0] == self.network.labels else f"index {wrong[0]}"
            raise expected("label map", f"with {what}", want, f"paint them with a label of {self.label_set.name}")
        if instances is not None and instances.shape != map.shape:
            raise expected("instance map", f"{instances.shape}", f"{map.shape} as its label map", "use the map's own")

    def warn_of_size(self, height: int, width: int) -> None:
        """Draw a warning of a map's size where it is far from the trained one, at the line that called the caller."""
        trained = self.network.size
        if not all(0.66 <= now / then <= 1.5 for now, then in zip((height, width), trained, strict=True)):
            warnings.warn(
                f"the map is {height}x{width} and the model was trained at {trained[0]}x{trained[1]} (height x width): "
                "the picture may look washed out",
                stacklevel=3,
            )


def load(file: ModelFile, device: torch.device | str = "cpu", *, precision: Literal["fp32", "bf16"] = "fp32") -> Model:
    """A model that paints, from what `pinxit.modelfile.read` gives."""
    return Model(file, device, precision=precision)


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    known = {f.name for f in fields(Network)}
    extra = sorted(set(file.config) - known)
    if extra:
        raise expected("the model's configuration", f"with {extra[0]!r}", "options of this version", "update Pinxit")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in file.config.items()}
    return Network(**values)


def read_style(text: str) -> Style:
    """A style as it is written on the command line: `seed:7` or `7`, a `.npy` with a z, or a picture's path.

    Raises `PinxitError`.
    """
    number = text.removeprefix("seed:")
    if number.isdecimal():
        return int(number)
    path = Path(text)
    if not path.is_file():
        raise expected("--style", repr(text), "a number, a .npy or a picture", "check the path")
    if path.suffix == ".npy":
        try:
            with path.open("rb") as f:
                return np.lib.format.read_array(f, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise expected(f"style '{text}'", "no plain array", "a z saved by --save-style", "save it again") from error
    return read_photo(path)


def _filled(network: T, part: str, file: ModelFile, device: torch.device) -> T:
    state = {name.removeprefix(f"{part}."): v for name, v in file.tensors.items() if name.startswith(f"{part}.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise expected(
            f"the model's {part}", f"not as its configuration ({problem})", "whole", "train or import it again"
        ) from error
    network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    return network.eval().requires_grad_(False)
