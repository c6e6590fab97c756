"""What a training of pix2pixHD will take: counted on networks without weights, timed on a small picture."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from pinxit.models.pix2pixhd.config import PRESETS, Network, Training
from pinxit.models.pix2pixhd.network import (
    Discriminator,
    Encoder,
    Generator,
    parts,
    picture_channels,
    semantic_channels,
)
from pinxit.nn.counting import Saved, counted, speed
from pinxit.nn.vgg import PerceptualDistance
from pinxit.recipe import Forecast, world_size


def forecast(network: Network, training: Training, G: Generator) -> Forecast:
    """Seconds and bytes of a training, at the speed that `G` has on its device; and of the preset `cpu`, where that
    takes less."""
    side = max(64, 4 * (G.config.multiple >> (G.config.enhancers - G.level)))
    rate = speed(G, torch.zeros(1, G.inputs, side, 2 * side, device=next(G.parameters()).device))
    seconds, memory = cost(network, training, rate)
    others = {}
    small = PRESETS["cpu"]
    shape = dataclasses.replace(small.network, labels=network.labels, unknown=network.unknown, output=network.output)
    if network.source == "labels":
        other = cost(shape, small.training, rate)
        if other[0] < seconds / 2:
            others["cpu"] = other
    return Forecast(seconds, memory, others)


def cost(network: Network, training: Training, rate: float) -> tuple[float, float]:
    """Seconds of all stages, and bytes of the largest, at `rate` operations a second."""
    seconds = memory = 0.0
    first = 0 if training.coarse_steps else network.enhancers
    for level in range(first, network.enhancers + 1):
        operations, held = step_cost(network, training, level)
        steps = training.steps if level == network.enhancers else training.coarse_steps
        steps += training.frozen_steps if level > first else 0
        seconds += steps * operations / rate
        memory = max(memory, held)
    return seconds, memory


def step_cost(network: Network, training: Training, level: int) -> tuple[float, float]:
    """Operations of an iteration at a level, and bytes of its activations, weights, gradients and Adam's moments."""
    missing = network.enhancers - level
    height, width = (side >> missing for side in network.size)
    rows = max(1, training.batch // world_size())
    with torch.device("meta"):
        G = Generator(network, level)
        D = Discriminator(network, training, max(1, training.d_scales - missing))
        E = Encoder(network) if network.features != "none" else None
        x = torch.empty(rows, G.inputs, height, width)
        picture = torch.empty(rows, picture_channels(network), height, width)
        seen = torch.empty(rows, semantic_channels(network) + picture_channels(network), height, width)
    # A backward pass takes two forward ones. D is passed forward three times; backward twice to its weights, which is
    # two thirds, and once to the fake.
    operations, held = counted(G, x)
    of_d, held_by_d = counted(D, seen)
    operations, apart = 3 * operations, 0
    if training.checkpointing:
        with torch.device("meta"):
            recomputing = Counting(network, level)
        recomputing(x)
        operations, held = operations * 4 / 3 + 9 * of_d, recomputing.kept + recomputing.largest
        held, apart = held + held_by_d, 2 * held_by_d
    else:
        operations, held = operations + 8 * of_d, held + 3 * held_by_d
    if E is not None:
        more, saved = counted(E, picture)
        operations, held = operations + 3 * more, held + saved
    if training.perceptual and picture.shape[1] == 3:
        with torch.device("meta"):
            vgg = PerceptualDistance()
        more, saved = counted(vgg, picture, picture)
        operations, held = operations + 2 * more, held + saved
    weights = sum(p.numel() for part in (G, D, E) if part is not None for p in part.parameters())
    return operations, max(held, apart) + 16 * weights + 4 * 3 * x.numel()


class Counting(Generator):
    """A generator that counts what checkpointing keeps: what goes into each part, and the largest part."""

    kept = largest = 0

    def run(self, layers: nn.Sequential, x: Tensor) -> Tensor:
        for part in parts(layers):
            self.kept += x.numel() * x.element_size()
            saved = Saved()
            with saved.noting():
                x = part(x)
            self.largest = max(self.largest, saved.bytes)
        return x
