"""The user's verb of pix2pix: a picture in, its translation out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from pinxit.modelfile import ModelFile
from pinxit.models.pix2pix.config import Network
from pinxit.models.pix2pix.fast import fast
from pinxit.models.pix2pix.network import generator
from pinxit.translator import Translator, filled, options_of


class Model(Translator):
    """A pix2pix model that translates. Make one with `load`.

    `file.card` says where it comes from, `options` how it was made.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device) -> None:
        self.file, self.card, self.options = file, file.card, options
        assert options.input is not None
        assert options.output is not None
        G = filled(generator(options), "G", file, device)
        super().__init__(
            G,
            options.input,
            options.output,
            multiple=options.multiple,
            smallest=options.smallest,
            margin=G.margin,
            device=device,
        )

    def fast(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """See `Translator.fast`."""
        return fast(self.network, dtype)  # pyright: ignore[reportArgumentType] - a generator, in a wider attribute


def load(
    file: ModelFile,
    device: torch.device | str = "cpu",
    *,
    norm: Literal["picture", "running"] | None = None,
    dropout: bool | None = None,
) -> Model:
    """A model that translates, from what `pinxit.modelfile.read` gives.

    `norm`: statistics batch norm is to use, the picture's own or those gathered in training; by default as the model
    says. `dropout`: whether it is to be left on, as in the authors' test script; by default as the model says.
    """
    options = network_of(file)
    if norm is not None:
        options = dataclasses.replace(options, test_norm=norm)
    if dropout is not None:
        options = dataclasses.replace(options, test_dropout=dropout)
    return Model(file, options, torch.device(device))


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    return Network(**options_of(file, {f.name for f in dataclasses.fields(Network)}, ("input", "output")))
