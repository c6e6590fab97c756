"""The user's verbs of PhotoSketch: a photo in, its contour drawing out; and the bare network, for losses of others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.kinds import Kind
from pinxit.modelfile import ModelFile
from pinxit.models.photosketch.config import Network
from pinxit.models.photosketch.network import generator, without_dropout
from pinxit.nn.folded import Folded
from pinxit.nn.resnet import ResnetGenerator
from pinxit.translator import Translator, filled, options_of


class Model(Translator):
    """A PhotoSketch model that draws photos. Make one with `load`.

    `file.card` says where it comes from, `options` how it was made.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device) -> None:
        self.file, self.card, self.options = file, file.card, options
        self.G = filled(generator(options), "G", file, device)
        super().__init__(
            self.G,
            Kind(),
            Kind(1),
            multiple=options.multiple,
            smallest=options.smallest,
            margin=self.G.margin,
            device=device,
        )

    def fast(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """See `Translator.fast`."""
        return Folded([self.G.model], dtype)

    def draw(self, photo: Image.Image) -> Image.Image:
        """As the authors' test script: the photo scaled to the size that was trained at, its drawing scaled back.

        Lines are then as strong as in training, measured by the picture; `translate` draws at the photo's own size.
        """
        height, width = self.options.size
        drawing = self.translate(photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
        return drawing.convert("L").resize(photo.size, Image.Resampling.BICUBIC)


def load(
    file: ModelFile, device: torch.device | str = "cpu", *, norm: Literal["picture", "running"] | None = None
) -> Model:
    """A model that draws, from what `pinxit.modelfile.read` gives.

    `norm`: statistics batch norm is to use, the picture's own or those gathered in training; by default as the model
    says.
    """
    options = network_of(file)
    if norm is not None:
        options = dataclasses.replace(options, test_norm=norm)
    return Model(file, options, torch.device(device))


def contour_network(file: ModelFile, device: torch.device | str = "cpu") -> ResnetGenerator:
    """The network alone, for losses on drawings of generated pictures: photos [N, 3, H, W] in [-1, 1], which are not
    clipped -> drawings [N, 1, H, W] in [-1, 1], paper 1. H and W multiples of 4.

    Gradients flow through it to the photos; its weights take none. It has no dropout, and is in train mode, as in
    GAN Sketching (Wang et al. 2021): batch norm takes the statistics of the batch, over all ranks, and the running ones
    move. `eval()` makes it what a finished model computes.

    Raises `PinxitError` where the file is of another method or its weights are not the network's.
    """
    G = filled(generator(network_of(file)), "G", file, torch.device(device))
    return without_dropout(G).train()


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    return Network(**options_of(file, {f.name for f in dataclasses.fields(Network)}, ()))
