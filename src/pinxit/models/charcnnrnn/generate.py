"""The user's verbs of the char-CNN-RNN: sentences become vectors, and find their pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from pinxit.data.images import to_tensor
from pinxit.data.squares import square
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.charcnnrnn.config import Network
from pinxit.models.charcnnrnn.network import picture_network
from pinxit.models.charcnnrnn.recipe import compatibility
from pinxit.text.char_cnn_rnn import CharCNNRNNEncoder, network_of
from pinxit.text.matching import PICTURE
from pinxit.translator import filled, options_of


class Model:
    """A trained or imported encoder of sentences. Make one with `load`.

    `file.card` says where it comes from, `options` how it was made; `encoder` is what methods take.
    """

    def __init__(self, file: ModelFile, options: Network, device: torch.device) -> None:
        self.file, self.card, self.options, self.device = file, file.card, options, device
        self.encoder = CharCNNRNNEncoder(network_of(file).to(device))
        learnt = any(name.startswith("P.") for name in file.tensors)
        self.P = filled(picture_network(options), "P", file, device) if learnt else None

    def embed(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, embedding] on the CPU. Raises `PinxitError` for a sentence without a letter of the alphabet."""
        return self.encoder.encode(sentences)

    @torch.no_grad()
    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        """How well each picture (its middle square) and each sentence go together: scores [pictures, sentences], of
        which only the order means anything.

        Raises `PinxitError` where the model has learnt from features, and so looks at no picture itself.
        """
        if self.P is None:
            want = "a model that was trained with --pictures network"
            raise expected("the model", "without a network for pictures", want, "compare features with embed() instead")
        shown = [to_tensor(square(picture.convert("RGB"), PICTURE)) for picture in pictures]
        seen = self.P(torch.stack(shown).to(self.device)) if shown else torch.zeros(0, self.options.embedding)
        return compatibility(seen.float().cpu(), self.embed(sentences))


def load(file: ModelFile, device: torch.device | str = "cpu") -> Model:
    """What embeds sentences, from what `pinxit.modelfile.read` gives.

    Raises `PinxitError` for options that this version does not know.
    """
    options = Network(**options_of(file, {f.name for f in dataclasses.fields(Network)}, ()))
    return Model(file, options, torch.device(device))
