"""The user's verb of CycleGAN: a picture of one side in, its translation to the other out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.cyclegan.config import MULTIPLE, SMALLEST, Direction, Network
from pinxit.models.cyclegan.network import generator, kinds
from pinxit.nn.folded import Folded
from pinxit.translator import Translator, filled, options_of


class Model(Translator):
    """A CycleGAN model that translates in one direction. Make one with `load`; `towards` gives the other.

    `file.card` says where it comes from, `options` how it was made.
    """

    def __init__(self, file: ModelFile, options: Network, direction: Direction, device: torch.device) -> None:
        self.file, self.card, self.options, self.direction = file, file.card, options, direction
        G = filled(generator(options, direction), direction, file, device)
        into, out = kinds(options, direction)
        super().__init__(G, into, out, multiple=MULTIPLE, smallest=SMALLEST, margin=G.margin, device=device)

    def fast(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """See `Translator.fast`."""
        return Folded([self.network.model], dtype)  # pyright: ignore[reportArgumentType] - a module's attribute

    def towards(self, direction: Direction) -> Model:
        """The model in that direction. Raises `PinxitError` where the file lacks it."""
        if direction not in self.options.directions:
            have = " and ".join(self.options.directions)
            raise expected("direction", direction, f"{have}, which is all the model has", "choose it, or import both")
        return self if direction == self.direction else Model(self.file, self.options, direction, self.device)


def load(
    file: ModelFile,
    device: torch.device | str = "cpu",
    *,
    norm: Literal["picture", "running"] | None = None,
    dropout: bool | None = None,
) -> Model:
    """A model that translates from A to B, or where it has that direction alone from B to A.

    `norm`: statistics batch norm is to use, the picture's own or those gathered in training; by default as the model
    says. `dropout`: whether it is to be left on, as in the authors' test script; by default as the model says.
    """
    options = network_of(file)
    if norm is not None:
        options = dataclasses.replace(options, test_norm=norm)
    if dropout is not None:
        options = dataclasses.replace(options, test_dropout=dropout)
    return Model(file, options, options.directions[0], torch.device(device))


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    return Network(**options_of(file, {f.name for f in dataclasses.fields(Network)}, ("a", "b")))
