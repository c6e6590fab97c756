"""The char-CNN-RNN of Reed et al. 2016, which reads a sentence letter by letter: its network, and it as an encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.errors import expected
from pinxit.modelfile import ModelFile, read
from pinxit.text.encoder import clean

METHOD = "charcnnrnn"
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
"""The published one. The minus is in it twice and means the second; the first is never seen."""
_PLACES = {letter: place for place, letter in enumerate(ALPHABET, 1)}
_KERNEL = 4
_LEAST = 1e-6
"""What activations must exceed not to become 0: the default of Torch's `nn.Threshold`."""
_AT_ONCE = 64


def characters(sentences: Sequence[str], length: int) -> Tensor:
    """int64 [N, length]: places in `ALPHABET`, from 1; 0, whose column of the one-hot input is empty, for the rest.

    A sentence is cleaned and its capitals made small; what is longer than `length` is cut off, as published. A
    character that is not in the alphabet (é, an emoji, Japanese) leaves its place empty, as in the authors' demo,
    whose characters are bytes, so that they leave as many places empty as UTF-8 has bytes.

    Raises `PinxitError` for a sentence of which nothing is left.
    """
    rows = torch.zeros(len(sentences), length, dtype=torch.int64)
    for row, sentence in zip(rows, sentences, strict=True):
        text = clean(sentence).lower()[:length]
        places = [_PLACES.get(letter, 0) for letter in text]
        if not any(place not in (0, _PLACES[" "]) for place in places):
            shown = sentence if len(sentence) <= 40 else sentence[:40] + "…"
            got = f"without any letter that char-CNN-RNN knows in its first {length}"
            raise expected(f"sentence {shown!r}", got, "English letters, digits or signs", "write it in these")
        row[: len(places)] = torch.tensor(places)
    return rows


class CharCNNRNN(nn.Module):
    """Three convolutions over letters, a recurrence over what they find, and its mean (Reed et al. 2016, sec. 4.3).

    Layers, kernels and the form of the recurrences are those of the released code, which differ from the paper's.

    Args:
        length: letters of a sentence; more are not looked at.
        channels: of the first two convolutions.
        hidden: of the third, and of the recurrence.
        last_pool: whether the third is pooled too, as in the CVPR models and the ICML one of flowers.
        recurrence: a rectified layer, or the gated one of the ICML models of birds and COCO.
        average: whether the mean over time is taken, or the last state.
        embedding: numbers that come out.
    """

    def __init__(
        self,
        length: int = 201,
        channels: tuple[int, int] = (384, 512),
        hidden: int = 256,
        last_pool: bool = True,
        recurrence: Literal["rectified", "gated"] = "rectified",
        average: bool = True,
        embedding: int = 1024,
    ) -> None:
        super().__init__()
        self.length, self.last_pool, self.average, self.embedding = length, last_pool, average, embedding
        first, second = channels
        self.convolutions = nn.ModuleList(
            [
                nn.Conv1d(len(ALPHABET), first, _KERNEL),
                nn.Conv1d(first, second, _KERNEL),
                nn.Conv1d(second, hidden, _KERNEL),
            ]
        )
        self.recurrence = Rectified(hidden) if recurrence == "rectified" else Gated(hidden)
        self.head = nn.Linear(hidden, embedding)

    def forward(self, characters: Tensor) -> Tensor:
        """int64 [N, length] as `characters` gives it -> [N, embedding]."""
        x = F.one_hot(characters, len(ALPHABET) + 1)[..., 1:].transpose(1, 2).to(self.head.weight.dtype)
        # The last pooling steps by 2, the others by 3, as wide as they are.
        for convolution, stride in zip(self.convolutions, (3, 3, 2 if self.last_pool else 0), strict=True):
            x = F.threshold(convolution(x), _LEAST, 0.0)
            if stride:
                x = F.max_pool1d(x, 3, stride)
        states = self.recurrence(x.permute(2, 0, 1))
        return self.head(states.mean(dim=0) if self.average else states[-1])


class Rectified(nn.Module):
    """h_1 = relu(U x_1), h_t = relu(U x_t + V h_(t-1)), U and V with bias: no V, and no bias of it, at the first."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.input, self.state = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[steps, N, hidden] -> all states, of that shape."""
        first, *others = self.input(x)
        states = [F.relu(first)]
        for given in others:
            states.append(F.relu(given + self.state(states[-1])))
        return torch.stack(states)


class Gated(nn.Module):
    """A gated recurrent unit whose update gate says how much of the *candidate* is taken; h_1 = tanh(U x_1)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.input, self.state = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.input_update, self.state_update = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.input_reset, self.state_reset = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[steps, N, hidden] -> all states, of that shape."""
        states = [torch.tanh(self.input(x[0]))]
        for given in x[1:]:
            before = states[-1]
            update = torch.sigmoid(self.input_update(given) + self.state_update(before))
            reset = torch.sigmoid(self.input_reset(given) + self.state_reset(before))
            candidate = torch.tanh(self.input(given) + self.state(reset * before))
            states.append(update * candidate + (1 - update) * before)
        return torch.stack(states)


class CharCNNRNNEncoder:
    """A `TextEncoder` around a `CharCNNRNN`, which it freezes."""

    def __init__(self, network: CharCNNRNN, name: str = "char-cnn-rnn") -> None:
        self.network, self.name, self.width = network.eval().requires_grad_(False), name, network.embedding
        seen = hashlib.sha256(f"{network.length} {network.last_pool} {network.average}".encode())
        seen.update(type(network.recurrence).__name__.encode())
        for part, weights in sorted(network.state_dict().items()):
            seen.update(f"{part} {tuple(weights.shape)}".encode())
            seen.update(weights.detach().cpu().float().contiguous().numpy().tobytes())
        self.digest = seen.hexdigest()

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, width] on the CPU. Raises `PinxitError`, see `characters`."""
        rows = characters(sentences, self.network.length)
        device = self.network.head.weight.device
        found = [self.network(some.to(device)).float().cpu() for some in rows.split(_AT_ONCE)]
        return torch.cat(found) if found else torch.zeros(0, self.width)


def load(path: Path) -> CharCNNRNNEncoder:
    """The encoder in a model folder or file of the method `charcnnrnn`, trained or imported.

    Raises `PinxitError` where there is none, and for a file of Torch's own, which is to be imported first.
    """
    if path.suffix == ".t7":
        advice = f"import it: pinxit import {METHOD} {path} --out MODEL"
        raise expected(f"text encoder '{path}'", "a file of Lua Torch", f"a model of {METHOD}", advice)
    file = read(path)
    if file.method != METHOD:
        raise expected(f"text encoder '{path}'", f"a model of {file.method}", METHOD, "train or import one")
    return CharCNNRNNEncoder(network_of(file), f"char-cnn-rnn:{path}")


def network_of(file: ModelFile) -> CharCNNRNN:
    """The network in a model file, whose weights are called `T.…`. Raises `PinxitError` where they are not whole."""
    network = made(file.config)
    state = {name.removeprefix("T."): v for name, v in file.tensors.items() if name.startswith("T.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        got = f"not as its configuration ({problem})"
        raise expected("the model's text encoder", got, "whole", "train or import it again") from error
    return network.eval().requires_grad_(False)


def made(config: Mapping[str, Any]) -> CharCNNRNN:
    """A network with random weights, of the options that a model file of `charcnnrnn` has.

    Raises `PinxitError` where one of them is missing.
    """
    try:
        return CharCNNRNN(
            config["length"],
            tuple(config["channels"]),
            config["hidden"],
            config["last_pool"],
            config["recurrence"],
            config["average"],
            config["embedding"],
        )
    except (KeyError, TypeError) as error:
        got = f"damaged ({error})"
        raise expected("the configuration of the text encoder", got, f"one of {METHOD}", "copy it again") from error
