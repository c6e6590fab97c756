"""The user's verb of DeepLabV3: photos in, label maps out."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.data.labels import LabelSet, numbered
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import Network
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.translator import filled


class Segmenter:
    """A DeepLabV3 that says what is where in a photo. Make one with `load`.

    `label_set` says what the indices of a map mean. `precision` bf16 is quicker where the processor has instructions
    for it; some pixels near edges then get another label.

    A photo of another size than the trained one is first scaled, in its aspect, to as many pixels as that has, its
    sides rounded to multiples of the output stride; the scores are scaled back to the photo's own size, and of them the
    label with the highest is taken. 'Unknown' is never predicted.
    """

    def __init__(
        self, file: ModelFile, device: torch.device | str = "cpu", *, precision: Literal["fp32", "bf16"] = "fp32"
    ) -> None:
        self.device, self.precision = torch.device(device), precision
        self.network = network_of(file)
        self.card = file.card
        self.label_set = LabelSet.from_json(file.label_set) if file.label_set else numbered(self.network.labels)
        if len(self.label_set.labels) != self.network.labels:
            got, want = f"{len(self.label_set.labels)} labels", f"{self.network.labels} as its network"
            raise expected("the model's label set", got, want, "train or import it again")
        self.S = filled(DeepLabV3(self.network), "S", file, self.device)
        self.file = replace(file, tensors={})  # not to hold them twice

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each index."""
        return tuple(label.name for label in self.label_set.labels)

    @property
    def palette(self) -> np.ndarray:
        """uint8 [labels + 1, 3]: the colour of each index, and of 'unknown'."""
        return self.label_set.palette

    def segment(self, photo: Image.Image) -> np.ndarray:
        """A photo of any size -> its map, int64 [H, W] indices of `label_set`, of the photo's own size."""
        pixels = torch.from_numpy(np.array(photo.convert("RGB")))
        return self.segment_batch(pixels.permute(2, 0, 1)[None])[0].numpy()

    def segment_batch(self, photos: Tensor) -> Tensor:
        """Photos uint8 [N, 3, H, W] -> their maps, int64 [N, H, W] indices of `label_set`, on the CPU.

        A photo's map does not depend on what else is in the batch.

        Raises `PinxitError` for a tensor of another form.
        """
        if photos.dtype != torch.uint8 or photos.ndim != 4 or photos.shape[1] != 3 or 0 in photos.shape[2:]:
            got = f"{str(photos.dtype).removeprefix('torch.')} of shape {list(photos.shape)}"
            raise expected("photos", got, "uint8 [N, 3, H, W]", "convert them")
        height, width = photos.shape[2:]
        with torch.inference_mode():
            x = photos.to(self.device).float() / 127.5 - 1
            size = self.computed_size(height, width)
            if size != (height, width):
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
            bf16 = self.precision == "bf16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                scores, _ = self.S(x.contiguous(memory_format=torch.channels_last))
            return highest(scores.float(), height, width).cpu()

    def computed_size(self, height: int, width: int) -> tuple[int, int]:
        """The height and width at which a photo of this size is seen."""
        step = self.network.output_stride
        scale = math.sqrt(math.prod(self.network.size) / (height * width))
        rounded = [max(1, round(side * scale / step)) * step for side in (height, width)]
        return rounded[0], rounded[1]


def load(
    file: ModelFile, device: torch.device | str = "cpu", *, precision: Literal["fp32", "bf16"] = "fp32"
) -> Segmenter:
    """A model that segments, from what `pinxit.modelfile.read` gives."""
    return Segmenter(file, device, precision=precision)


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    if extra := sorted(set(file.config) - {f.name for f in fields(Network)}):
        raise expected("the model's configuration", f"with {extra[0]!r}", "options of this version", "update Pinxit")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in file.config.items()}
    return Network(**values)


def highest(scores: Tensor, height: int, width: int) -> Tensor:
    """Scores [N, labels, h, w] -> the index of the highest at each pixel of [N, height, width].

    They are enlarged one label after the other: all of them at the size of a large photo would fill the memory.
    """
    best = index = None
    for label in range(scores.shape[1]):
        score = F.interpolate(scores[:, label : label + 1], size=(height, width), mode="bilinear", align_corners=False)
        if best is None or index is None:
            best, index = score[:, 0], torch.zeros_like(score[:, 0], dtype=torch.int64)
        else:
            index[score[:, 0] > best] = label
            best = torch.maximum(best, score[:, 0])
    assert index is not None
    return index
