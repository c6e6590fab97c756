"""The two networks that learn what goes together: of sentences, and of pictures where no features are given."""

from __future__ import annotations

import dataclasses

from torch import nn

from pinxit.models.charcnnrnn.config import Network
from pinxit.text.char_cnn_rnn import CharCNNRNN, made
from pinxit.text.matching import PictureNetwork


def text_network(network: Network) -> CharCNNRNN:
    """int64 [N, length] -> [N, embedding]; see `pinxit.text.char_cnn_rnn`."""
    return made(dataclasses.asdict(network))


def picture_network(network: Network) -> nn.Module:
    """Photos [N, 3, H, W] in [-1, 1], or features [N, embedding] as they are -> [N, embedding]."""
    return PictureNetwork(network.embedding) if network.pictures == "network" else nn.Identity()
